"""Elements of a view, wherever the file keeps them: read by offset, decoded exactly,
FP8 block scales applied.
"""

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache, reduce
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergetrace.errors import AuditError
from mergetrace.files.safetensors_file import read_into
from mergetrace.files.sampled import Sampled
from mergetrace.formats.scales import bytes_of_scales, read_whole, rows_of_scales
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.block_scales import block_scales, decode_scales
from mergetrace.numerics.dtypes import FORMATS, decode, encode

View = Mapping[str, Any]
"""A row of the plan: model, shard, dtype, start, rows, cols and the scale_* and block_*
fields (see pairing.View).

Where the model's tensor lies otherwise than its parents' (see layout), `row_map` and
`col_map` say where (integers: element [r, c] of the view is element [row_map[r],
col_map[c]] of the file), `factor` what it was multiplied by (numbers come out divided
by it), `row_scale` and `col_scale` what numbers of each of the view's rows and columns
are multiplied by, `through` the format they were rounded to before (see
evidence.Sample), `stored_dtype` the file's dtype where numbers are rounded to `dtype`
as they are read.
"""


class Weights:
    """Open shards of several models. Reads what is asked and nothing else; no mmap, so
    memory stays the caller's. Safe to share by threads.

    folders: where each model's shards lie; a file stands for shards of which only some ranges are here (see sampled).
    in_order: whether the files are read from end to end; else the system is told not to read ahead.
    Models too large to stay in memory are forgotten as they are read, so that they push nothing else out of the system's cache.
    """

    def __init__(
        self, folders: Mapping[str, str | Path], in_order: bool = False
    ) -> None:
        self.folders = {model: Path(folder) for model, folder in folders.items()}
        self._sampled = {
            model: Sampled(path)
            for model, path in self.folders.items()
            if path.is_file()
        }
        self.bytes_read = 0
        self._in_order = in_order
        self._forgetting = (
            in_order
            and _size(self.folders.values())
            > os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        )
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], int] = {}

    def __enter__(self) -> "Weights":
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()
        for sampled in self._sampled.values():
            sampled.close()

    def raw(
        self, view: View, first: int, count: int, out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """The stored bytes of elements first..first+count of a view: uint8 [count *
        width], in `out` if given. AuditError on a short read.
        """
        width = FORMATS[view["dtype"]].width
        if view.get("stored_dtype"):
            return self._rounded(view, first, count, out)
        if rearranged(view):
            return self._gathered(view, first, count, out)
        return self._bytes(
            view["model"],
            view["shard"],
            view["start"] + first * width,
            count * width,
            out,
        )

    def stretches(
        self, view: View, stretches: Iterable[tuple[int, int]], out: NDArray[np.uint8]
    ) -> Array | None:
        """As raw, of several stretches (first, count) one after another, all of which fill `out`; returns what each number is multiplied by (see
        scales). Stretches that adjoin are one read.
        """
        width = FORMATS[view["dtype"]].width
        place = self.place(view, 0)
        name = self._name(view["model"], view["shard"])
        scales = []
        done = 0
        for first, count in _merged(stretches):
            part = out[done : done + count * width]
            if (
                place is not None
            ):  # the short way: thousands of stretches are read between two jobs' ends
                read_into(place[0], place[1] + first * width, part, name)
            else:
                self.raw(view, first, count, out=part)
                scales.append(self.scales(view, first, count))
            done += part.size
        if place is not None:
            self.count(done)
        return np.concatenate(scales) if scales and scales[0] is not None else None

    def place(self, view: View, first: int) -> tuple[int, int] | None:
        """The open file and the offset in it from where the stored bytes of a view's elements `first` and on are what `raw` gives; None where
        numbers are scaled, or do not lie there one after another as they are.
        """
        if (
            view.get("stored_dtype")
            or rearranged(view)
            or view["model"] in self._sampled
            or self.scales(view, first, 1) is not None
        ):
            return None
        return (
            self._descriptor(view["model"], view["shard"]),
            view["start"] + first * FORMATS[view["dtype"]].width,
        )

    def count(self, size: int) -> None:
        """Say that somebody read `size` bytes from where `place` said."""
        with self._lock:
            self.bytes_read += size

    def forget(self, view: View) -> None:
        """Say that a view will not be read again."""
        if self._forgetting and view["model"] not in self._sampled:
            size = view["rows"] * view["cols"] * FORMATS[view["dtype"]].width
            os.posix_fadvise(
                self._descriptor(view["model"], view["shard"]),
                view["start"],
                size,
                os.POSIX_FADV_DONTNEED,
            )

    def scales(self, view: View, first: int, count: int) -> Array | None:
        """What each stored number is multiplied by, float64 [count]: its FP8 block's scale, its row's and its column's, over the view's `factor`;
        None where that is 1.
        """
        parts = [
            part
            for part in (
                self._block_scales(view, first, count),
                _channels(view, first, count),
            )
            if part is not None
        ]
        factor = view.get("factor") or 1.0
        return (
            None
            if not parts and factor == 1
            else reduce(np.multiply, parts, np.ones(count)) / factor
        )

    def values(self, view: View, first: int, count: int) -> Array:
        """The decoded elements first..first+count of a view, float64 [count], exact."""
        return scaled(
            decode(self.raw(view, first, count), view["dtype"]),
            self.scales(view, first, count),
        )

    def _block_scales(self, view: View, first: int, count: int) -> Array | None:
        if not view["scale_shard"]:
            return None
        (start, held), block, skip = (
            rows_of_scales(view, first, count),
            (view["block_rows"], view["block_cols"]),
            view["scale_skip"],
        )
        place = bytes_of_scales(view, start, held)
        look_up = self._kept_scales if read_whole(view) else self._scales_at
        scale = look_up(
            view["model"],
            view["scale_shard"],
            view["scale_dtype"],
            *place,
            view["scale_cols"],
        )
        if not rearranged(view):
            above = (
                start * block[0] - skip
            )  # rows of the view, or before it, above the first of these scales
            return block_scales(
                scale,
                min(view["rows"] - above, held * block[0]),
                view["cols"],
                first - above * view["cols"],
                count,
                block,
            )
        rows, cols = _places(view, first, count)
        return scale[np.ix_((rows + skip) // block[0], cols // block[1])].reshape(-1)[
            first % view["cols"] :
        ][:count]

    def _rounded(
        self, view: View, first: int, count: int, out: NDArray[np.uint8] | None
    ) -> NDArray[np.uint8]:
        """Stored numbers rounded to the view's own dtype."""
        stored = self.raw(
            {**view, "dtype": view["stored_dtype"], "stored_dtype": None}, first, count
        )
        raw = encode(decode(stored, view["stored_dtype"]), view["dtype"]).view(np.uint8)
        if out is None:
            return raw
        out[:] = raw
        return out

    def _gathered(
        self, view: View, first: int, count: int, out: NDArray[np.uint8] | None
    ) -> NDArray[np.uint8]:
        """Whole rows from where the maps say, neighbours in one read, then their
        columns in order.
        """
        codes = FORMATS[view["dtype"]].codes
        stored = int(view["cols"])
        rows, cols = _places(view, first, count)
        found = np.empty((len(rows), stored), codes)
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        for start, end in pairwise([*starts.tolist(), len(rows)]):
            at = view["start"] + int(rows[start]) * stored * codes.itemsize
            self._bytes(
                view["model"],
                view["shard"],
                at,
                (end - start) * stored * codes.itemsize,
                found[start:end].reshape(-1).view(np.uint8),
            )
        raw = found[:, cols].reshape(-1)[first % stored :][:count].view(np.uint8)
        if out is None:
            return raw
        out[:] = raw
        return out

    def _bytes(
        self,
        model: str,
        shard: str,
        offset: int,
        size: int,
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        buffer = np.empty(size, np.uint8) if out is None else out
        if model in self._sampled:
            self._sampled[model].read_into(shard, offset, buffer)
        else:
            read_into(
                self._descriptor(model, shard), offset, buffer, self._name(model, shard)
            )
        self.count(size)
        return buffer

    def _name(self, model: str, shard: str) -> str:
        return f"{self.folders[model]}/{shard}"

    def _descriptor(self, model: str, shard: str) -> int:
        # The shard's name was checked to be a plain file name when the manifest was
        # made.
        with self._lock:
            if (model, shard) not in self._open:
                path = self.folders[model] / shard
                try:
                    descriptor = self._open[model, shard] = os.open(path, os.O_RDONLY)
                except FileNotFoundError:
                    raise AuditError(
                        f"{path}: gone since the manifest was made; put it back, or"
                        f" delete results/models/{model} and run again"
                    ) from None
                os.posix_fadvise(
                    descriptor,
                    0,
                    0,
                    (
                        os.POSIX_FADV_SEQUENTIAL
                        if self._in_order
                        else os.POSIX_FADV_RANDOM
                    ),
                )
            return self._open[model, shard]

    @lru_cache(maxsize=64)
    def _kept_scales(self, *place: Any) -> Array:
        return self._scales_at(*place)

    def _scales_at(
        self, model: str, shard: str, dtype: str, start: int, size: int, cols: int
    ) -> Array:
        return decode_scales(self._bytes(model, shard, start, size), dtype).reshape(
            -1, cols
        )


def scaled(values: Array, scales: Array | None) -> Array:
    """values * scales, or the values as they are; the product of an FP8 and a float32
    number is exact in float64.
    """
    return values if scales is None else values * scales


def rearranged(view: View) -> bool:
    """Whether the view's rows or columns lie in another order than its parents'."""
    return view.get("row_map") is not None or view.get("col_map") is not None


def _merged(stretches: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Adjoining (first, count) as one: a slice kept whole costs one read, not one per
    block.
    """
    first = count = 0
    for start, length in stretches:
        if count and start == first + count:
            count += length
            continue
        if count:
            yield first, count
        first = start
        count = length
    if count:
        yield first, count


def _places(
    view: View, first: int, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The stored rows that hold elements first..first+count, in order, and the stored
    place of every column.
    """
    rows = np.arange(first // view["cols"], -(-(first + count) // view["cols"]))
    row_map = view.get("row_map")
    col_map = view.get("col_map")
    return rows if row_map is None else np.asarray(row_map)[rows], (
        np.arange(view["cols"]) if col_map is None else np.asarray(col_map)
    )


def _channels(view: View, first: int, count: int) -> Array | None:
    """What elements first..first+count are multiplied by for their row and their
    column.
    """
    row_scale = view.get("row_scale")
    col_scale = view.get("col_scale")
    if row_scale is None and col_scale is None:
        return None
    rows, cols = np.divmod(np.arange(first, first + count), view["cols"])
    by_row, by_col = (
        1.0 if scale is None else np.asarray(scale)[places]
        for scale, places in ((row_scale, rows), (col_scale, cols))
    )
    return by_row * by_col


def _size(folders: Iterable[Path]) -> int:
    return sum(
        file.stat().st_size
        for folder in folders
        for file in folder.glob("*.safetensors")
        if file.exists()
    )
