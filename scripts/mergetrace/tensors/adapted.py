"""A base with an adapter merged into it, slice by slice: its base's bytes, to which the
adapter's change is added as they are read. Nothing of it is ever written down.

What is needed of the adapter lies in one safetensors file: the matrices of every change,
the tensors that it holds in place of the base's, and in its metadata what belongs to
which bytes of the base.
"""

import json
import os
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mergetrace.errors import ModelFileError
from mergetrace.files.adapter_files import ADAPTER_FILE, METADATA
from mergetrace.files.safetensors_file import read_header, read_into
from mergetrace.files.safetensors_header import Header, TensorInfo
from mergetrace.files.safetensors_writer import Entry, places, write_tensors
from mergetrace.files.strict_json import shown
from mergetrace.numerics.arrays import AnyArray, Bytes, Singles
from mergetrace.numerics.dtypes import FORMATS, decode, encode
from mergetrace.numerics.low_rank import product
from mergetrace.numerics.quantisers import TORCH_DTYPES
from mergetrace.numerics.tool_sums import lengthened
from mergetrace.tensors.adapter_tensors import Anew, LowRank

CHECKED_AT_ONCE = 1 << 20  # elements
MAX_KEPT_BYTES = 1 << 26  # of right matrices that are kept in memory

ReadBase = Callable[[str, int, Bytes], None]
"""Fills a buffer with the bytes of a shard of the base from an offset on."""


@dataclass(frozen=True)
class Change:
    """What is added to one tensor."""

    shard: str  # that holds the base's tensor, or ADAPTER_FILE
    start: int  # its first byte there
    held: str  # in ADAPTER_FILE, the tensor's name there
    dtype: str
    rows: int
    cols: int
    scale: float
    twice: bool  # whether the change is rounded to `dtype` before it is added
    has_sizes: bool = False  # whether rows are brought to a length (DoRA)

    @property
    def end(self) -> int:
        """The byte after its last one."""
        return self.start + self.rows * self.cols * FORMATS[self.dtype].width


def prepare(
    path: Path,
    weights: Path,
    base: str,
    low_rank: Sequence[LowRank],
    anew: Sequence[Anew],
    twice: bool,
) -> list[tuple[int, int]]:
    """Write the prepared file; where each of `anew` lies in it.

    weights: the adapter's own file. base: what the configuration calls its base. twice:
    whether changes are rounded before they are added. ModelFileError, without the
    adapter's name, where a number is none.
    """
    numbers = {each.target.name: number for number, each in enumerate(anew)}
    changes = []
    entries: list[Entry] = []
    for number, each in enumerate(low_rank):
        changes.append(_change(each, numbers, twice))
        for side, tensor in (("left", each.left), ("right", each.right)):
            entries.append(_matrix(f"{number}.{side}", tensor, weights, each))
        if each.sizes is not None:
            entries.append(_lengths(f"{number}.sizes", each.sizes, weights))
    for number, held in enumerate(anew):
        entries.append(_whole(_held_name(number), held, weights))
    stated = {"base": base, "changes": [asdict(change) for change in changes]}
    metadata = {METADATA: json.dumps(stated)}
    write_tensors(path, entries, metadata)
    where = places(entries, metadata)
    return [where[_held_name(number)] for number in range(len(anew))]


class Adapted:
    """The merged model's bytes."""

    def __init__(self, path: Path, read_base: ReadBase) -> None:
        """path: the prepared file. read_base: reads the model that `prepared_base` names."""
        header = read_header(path)
        self.path = path
        self._tensors = header.tensors
        self._read_base = read_base
        self._descriptor = os.open(path, os.O_RDONLY)
        self._changes: dict[str, list[tuple[Change, str]]] = {}  # by shard, ascending
        for number, change in enumerate(_changes(header)):
            self._changes.setdefault(change.shard, []).append((change, str(number)))
        for changes in self._changes.values():
            changes.sort(key=_start)
        self._lock = threading.Lock()
        self._kept: dict[str, Singles] = {}
        self._factors: dict[str, Singles] = {}

    def close(self) -> None:
        os.close(self._descriptor)

    def read_into(self, shard: str, offset: int, buffer: Bytes) -> None:
        """Fill `buffer` with the bytes of a shard from `offset` on, where whole numbers
        begin.
        """
        self._stored(shard, offset, buffer)
        for change, number in self._within(shard, offset, offset + buffer.size):
            first = max(offset, change.start)
            last = min(offset + buffer.size, change.end)
            part = buffer[first - offset : last - offset]
            self._add(change, number, first - change.start, part)

    def _stored(self, shard: str, offset: int, buffer: Bytes) -> None:
        """Bytes to which nothing was added yet."""
        if shard == ADAPTER_FILE:
            read_into(self._descriptor, offset, buffer, self.path)
        else:
            self._read_base(shard, offset, buffer)

    def _within(self, shard: str, start: int, end: int) -> Iterator[tuple[Change, str]]:
        """The changes of bytes start..end of a shard, with their numbers."""
        changes = self._changes.get(shard, [])
        place = bisect_right(changes, start, key=_start) - 1
        for change, number in changes[max(place, 0) :]:
            if change.start >= end:
                return
            if change.end > start:
                yield change, number

    def _add(self, change: Change, number: str, offset: int, part: Bytes) -> None:
        """Add the change to some of a tensor's bytes. offset: of the first one."""
        width = FORMATS[change.dtype].width
        first, count = offset // width, part.size // width
        added = self._added(change, number, first, count)
        with np.errstate(over="ignore", invalid="ignore"):
            if change.twice:
                added = _singles(encode(added, change.dtype), change.dtype)
            stored = decode(part, change.dtype)
            if change.dtype != "F64":
                stored = stored.astype(np.float32)
            total = stored + added
            if change.has_sizes:
                rows = np.arange(first, first + count) // change.cols
                factors = self._factors_of(change, number)
                if change.twice:
                    total = _singles(encode(total, change.dtype), change.dtype)
                total = total * factors[rows]
            part[:] = encode(total, change.dtype).view(np.uint8)

    def _factors_of(self, change: Change, number: str) -> Singles:
        """What DoRA multiplies each row by: its learned length over the length that it
        has, both in the precision of the sum. Kept, as the whole tensor is read for it.
        """
        with self._lock:
            if number in self._factors:
                return self._factors[number]
        step = max(CHECKED_AT_ONCE // change.cols, 1)
        found = np.empty(change.rows, np.float32)
        for first in range(0, change.rows, step):
            rows = min(step, change.rows - first)
            sizes = self._read(f"{number}.sizes", first, rows).reshape(-1)
            total = self._sum_of_rows(change, number, first, rows)
            dtype = TORCH_DTYPES[change.dtype] if change.twice else "float32"
            with np.errstate(divide="ignore", invalid="ignore"):
                found[first : first + rows] = lengthened(total, sizes, dtype)
        with self._lock:
            self._factors[number] = found
        return found

    def _sum_of_rows(
        self, change: Change, number: str, first: int, rows: int
    ) -> Singles:
        """Whole rows of the base with the change, before they are lengthened."""
        width = FORMATS[change.dtype].width * change.cols
        raw = np.empty(rows * width, np.uint8)
        self._stored(change.shard, change.start + first * width, raw)
        added = self._added(change, number, first * change.cols, rows * change.cols)
        if change.twice:
            added = _singles(encode(added, change.dtype), change.dtype)
        total = _singles(raw, change.dtype) + added
        return total.reshape(rows, change.cols)

    def _added(self, change: Change, number: str, first: int, count: int) -> Singles:
        """The change of `count` elements from the tensor's element `first` on."""
        cols = change.cols
        row, skip = divmod(first, cols)
        rows = -(-(first + count) // cols) - row
        left = self._read(f"{number}.left", row, rows)
        right = self._right(f"{number}.right")
        if rows == 1:
            right = right[:, skip : skip + count]
            skip = 0
        together = product(left, right) * np.float32(change.scale)
        flat: Singles = together.reshape(-1)[skip : skip + count]
        return flat

    def _right(self, name: str) -> Singles:
        """A right matrix, kept in memory for the next slice of its tensor."""
        with self._lock:
            if name in self._kept:
                return self._kept[name]
        matrix = self._read(name, 0, self._tensors[name].shape[0])
        with self._lock:
            held = sum(each.nbytes for each in self._kept.values())
            if held + matrix.nbytes > MAX_KEPT_BYTES:
                self._kept.clear()
            self._kept[name] = matrix
        return matrix

    def _read(self, name: str, row: int, rows: int) -> Singles:
        """Rows of a matrix."""
        tensor = self._tensors[name]
        row_bytes = tensor.shape[1] * FORMATS[tensor.dtype].width
        raw = np.empty(rows * row_bytes, np.uint8)
        read_into(self._descriptor, tensor.start + row * row_bytes, raw, self.path)
        return _singles(raw, tensor.dtype).reshape(rows, tensor.shape[1])


def _changes(header: Header) -> list[Change]:
    stated = json.loads(header.metadata[METADATA])
    changes = []
    for each in stated["changes"]:
        change = Change(**each)
        if change.held:
            start = header.tensors[change.held].start
            change = Change(**{**each, "start": start})
        changes.append(change)
    return changes


def _start(entry: tuple[Change, str]) -> int:
    return entry[0].start


def _change(each: LowRank, anew: Mapping[str, int], twice: bool) -> Change:
    target = each.target
    is_held = target.name in anew
    rows = each.left.shape[1 if each.transposed else 0]
    return Change(
        shard=ADAPTER_FILE if is_held else target.shard,
        start=0 if is_held else target.start,
        held=_held_name(anew[target.name]) if is_held else "",
        dtype=target.dtype,
        rows=rows,
        cols=each.right.shape[0 if each.transposed else 1],
        scale=each.scale,
        twice=twice or each.embedding,
        has_sizes=each.sizes is not None,
    )


def _held_name(number: int) -> str:
    return f"anew.{number}"


def _matrix(name: str, tensor: TensorInfo, weights: Path, each: LowRank) -> Entry:
    """A matrix as it will be multiplied."""
    shape = tensor.shape[::-1] if each.transposed else tensor.shape

    def pieces() -> Iterator[bytes]:
        if not each.transposed:
            yield from _checked(tensor, weights)
            return
        codes = np.frombuffer(b"".join(_checked(tensor, weights)), np.uint8)
        codes = codes.view(FORMATS[tensor.dtype].codes).reshape(tensor.shape)
        yield np.ascontiguousarray(codes.T).tobytes()

    return Entry(name, tensor.dtype, shape, pieces)


def _lengths(name: str, tensor: TensorInfo, weights: Path) -> Entry:
    """The lengths of rows, one in each row."""
    shape = tensor.shape[0], 1
    return Entry(name, tensor.dtype, shape, lambda: _checked(tensor, weights))


def _whole(name: str, each: Anew, weights: Path) -> Entry:
    """A tensor that the adapter holds, in the format of the base's."""
    dtype = each.target.dtype

    def pieces() -> Iterator[bytes]:
        for raw in _checked(each.held, weights):
            if each.held.dtype == dtype:
                yield raw
            else:
                yield encode(decode(raw, each.held.dtype), dtype).tobytes()

    return Entry(name, dtype, each.held.shape, pieces)


def _checked(tensor: TensorInfo, weights: Path) -> Iterator[bytes]:
    """The bytes of an adapter's tensor, all of whose numbers are finite."""
    step = CHECKED_AT_ONCE * FORMATS[tensor.dtype].width
    with open(weights, "rb") as handle:
        for start in range(tensor.start, tensor.end, step):
            raw = np.empty(min(step, tensor.end - start), np.uint8)
            read_into(handle.fileno(), start, raw, weights)
            if not np.isfinite(decode(raw, tensor.dtype)).all():
                raise ModelFileError(
                    f"{shown(tensor.name)} holds NaN or infinity; no loader merges that"
                )
            yield raw.tobytes()


def _singles(raw: AnyArray, dtype: str) -> Singles:
    return decode(raw.reshape(-1).view(np.uint8), dtype).astype(np.float32)
