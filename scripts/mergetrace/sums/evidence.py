"""The kept sample: raw elements of every model, as stored, so that every later number
can be redone without the models.
"""

import json
import re
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mergetrace.errors import ModelFileError
from mergetrace.files.safetensors_file import read_header, read_into
from mergetrace.files.safetensors_header import Header
from mergetrace.files.strict_json import shown
from mergetrace.numerics.arrays import AnyArray, Array, Bytes, Integers, Mask
from mergetrace.numerics.dtypes import FORMATS, decode, encode, usable
from mergetrace.numerics.lattice import interval_through, neighbour_midpoints
from mergetrace.sums.cells import cell_ends
from mergetrace.sums.dividing import widened
from mergetrace.tensors.view import View
from mergetrace.tensors.weights import Weights, scaled

if TYPE_CHECKING:
    from safetensors import TensorSpec

WRITER_NAMES = {
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "U8": "uint8",
}
"""What safetensors calls dtypes when writing, by their name in the file."""
CODES = "U8"
GRID = "/grid"
"""The key's last part under which the codes of a grid lie, like a model's."""
PACKING = "packing"
"""The key's last part under which the format of packed codes is written down."""


@dataclass(frozen=True)
class Sample:
    """Kept elements of one slice in one model."""

    raw: Bytes
    """Their stored bytes: uint8 [n * width]."""
    dtype: str
    """Their format, by its safetensors name."""
    scales: Array | None = None
    """What each is multiplied by, where it is (an FP8 block's scale): float64 [n]."""
    through: str | None = None
    """The format they were rounded to before they were scaled and stored, where that is
    another one: BF16 of a bf16 merge quantised to FP8.
    """
    shifts: Array | None = None
    """What is added to each then, where the format has shifts: float64 [n]."""
    grid: "Sample | None" = None
    """The same numbers as codes of a coarse grid that they lie on, if they lie on one."""

    @property
    def is_packed(self) -> bool:
        """Whether the elements are codes of a packed format, of which each confines a
        number to a wide cell.
        """
        return bool(FORMATS[self.dtype].levels)

    def chosen(self, which: slice | Mask) -> "Sample":
        """Some of the elements."""
        raw = np.frombuffer(self.raw, np.uint8).reshape(-1, FORMATS[self.dtype].width)
        return replace(
            self,
            raw=np.ascontiguousarray(raw[which]).reshape(-1),
            scales=None if self.scales is None else self.scales[which],
            shifts=None if self.shifts is None else self.shifts[which],
            grid=None if self.grid is None else self.grid.chosen(which),
        )

    def values(self) -> Array:
        """Decoded, scaled and shifted elements, float64 [n]."""
        return scaled(decode(self.raw, self.dtype), self.scales, self.shifts)

    def on_lattice(self) -> "Sample":
        """The same numbers in the format they were rounded to: a merge rounded to bf16
        and stored as float32 still lies on bf16's lattice, one that was quantised and
        written back on a grid of few levels.

        Where every finite element of an F32 or F64 sample is a BF16 or an F16 number,
        the sample in that dtype; else the sample itself.
        """
        if self.grid is not None:
            return self.grid
        if self.dtype not in ("F32", "F64") or self.scales is not None:
            return self
        if self.shifts is not None:
            return self
        values = decode(self.raw, self.dtype)
        for dtype in ("BF16", "F16"):
            codes = encode(values, dtype)
            if np.array_equal(decode(codes, dtype), values, equal_nan=True):
                return Sample(codes.view(np.uint8), dtype)
        return self

    def midpoints(self) -> tuple[Array, Array]:
        """The interval that rounds to each element: (low, high), float64 [n] each.
        ValueError for F64, which has no finer lattice.
        """
        low, high = self._ends()
        if self.through is None:
            return low, high
        return interval_through(low, high, self.through)

    def _ends(self) -> tuple[Array, Array]:
        if self.is_packed:
            return cell_ends(self)
        low, high = neighbour_midpoints(self.raw, self.dtype)
        if self.scales is not None:
            low, high = widened(low, high, self.scales)
            ends = np.stack([low * self.scales, high * self.scales])
            low = ends.min(0)
            high = ends.max(0)
        if self.shifts is not None:
            return low + self.shifts, high + self.shifts
        return low, high


def sample_of(
    weights: Weights, view: View, stretches: Sequence[tuple[int, int]]
) -> Sample:
    """Some stretches (first, count) of a view's elements, one after another, as they
    are stored.
    """
    elements = sum(count for _, count in stretches)
    raw = np.empty(elements * FORMATS[view.dtype].width, np.uint8)
    scales, shifts = weights.stretches(view, stretches, raw)
    return Sample(raw, view.dtype, scales, view.through or None, shifts)


def joined(samples: Sequence[Sample]) -> Sample:
    """Samples of one stored tensor as one, in the order given; format and `through` are
    the first's.
    """
    raw = np.concatenate([sample.raw for sample in samples])
    scales = _together([sample.scales for sample in samples])
    shifts = _together([sample.shifts for sample in samples])
    grids = [sample.grid for sample in samples if sample.grid is not None]
    is_one = len(grids) == len(samples) and len({grid.dtype for grid in grids}) == 1
    grid = joined(grids) if is_one else None
    return replace(samples[0], raw=raw, scales=scales, shifts=shifts, grid=grid)


def _together(parts: Sequence[Array | None]) -> Array | None:
    held = [part for part in parts if part is not None]
    return np.concatenate(held) if held else None


def only_usable(
    samples: Mapping[str, Sample], models: Collection[str]
) -> dict[str, Sample]:
    """The models' samples of a slice with zeros, in all of them, in place of elements
    that are NaN, infinite or no weight in one (dtypes.usable).

    The sums of a frame leave such elements out (see gram); zeros in all its models say
    nothing for or against any recipe, and places stay what they are. A scale of 0 gives
    way to 1 under a stored 0, which is the same number.
    """
    chosen = {model: samples[model] for model in models}
    sound = np.logical_and.reduce(
        [
            usable(sample.raw, sample.dtype, sample.scales, sample.shifts)
            for sample in chosen.values()
        ]
    )
    return {model: blanked(sample, ~sound) for model, sample in chosen.items()}


def blanked(sample: Sample, lost: Mask) -> Sample:
    """The sample with zeros at the lost places, and where its scale is 0. Codes of a
    packed format that say nothing have a scale of 0.
    """
    if sample.is_packed:
        return _emptied(sample, lost)
    if sample.scales is not None:
        lost = lost | (sample.scales == 0)
    if not lost.any():
        return sample
    raw = sample.raw.reshape(lost.size, -1).copy()
    raw[lost] = 0
    scales = None if sample.scales is None else np.where(lost, 1.0, sample.scales)
    shifts = None if sample.shifts is None else np.where(lost, 0.0, sample.shifts)
    grid = None if sample.grid is None else _emptied(sample.grid, lost)
    return replace(sample, raw=raw.reshape(-1), scales=scales, shifts=shifts, grid=grid)


def _emptied(sample: Sample, lost: Mask) -> Sample:
    """A packed sample with zeros at the lost places, in cells without ends."""
    if not lost.any():
        return sample
    scales = None if sample.scales is None else np.where(lost, 0.0, sample.scales)
    shifts = None if sample.shifts is None else np.where(lost, 0.0, sample.shifts)
    return replace(sample, scales=scales, shifts=shifts)


def write_evidence(
    path: Path,
    slices: Mapping[int, tuple[Integers, Mapping[str, Sample]]],
    metadata: Mapping[str, str],
) -> None:
    """Write the samples of many slices: per slice id its blocks (int64 [blocks, 2]:
    start, length) and a sample per model.

    Keys are `{slice_id}/blocks`, `{slice_id}/{model}` and `{slice_id}/{model}/scales`
    or `/through`: ours, never a tensor's name. `metadata` becomes one entry, as JSON:
    the safetensors writer puts several in another order each time, and the same sample
    should be the same bytes. OSError where the file cannot be written.
    """
    from safetensors import SafetensorError, serialize_file

    tensors: dict[str, tuple[str, AnyArray]] = {}
    for slice_id, (blocks, samples) in slices.items():
        tensors[f"{slice_id}/blocks"] = ("I64", np.ascontiguousarray(blocks, "<i8"))
        for model, sample in samples.items():
            tensors |= _tensors_of(f"{slice_id}/{model}", sample)
            if sample.grid is not None:
                tensors |= _tensors_of(f"{slice_id}/{model}{GRID}", sample.grid)
    # `tensors` keeps the memory alive that the specifications point to.
    specs = {key: _spec(dtype, array) for key, (dtype, array) in tensors.items()}
    entry = {"mergetrace": json.dumps(dict(metadata), sort_keys=True)}
    try:
        serialize_file(specs, path, entry)
    except SafetensorError as error:
        # The writer wraps the system's error in one of its own.
        number = re.search(r"os error (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), str(error), str(path)) from None


def _tensors_of(key: str, sample: Sample) -> dict[str, tuple[str, AnyArray]]:
    """What is written of a sample: (dtype, array) by key."""
    dtype = CODES if sample.is_packed else sample.dtype
    tensors = {key: (dtype, np.ascontiguousarray(sample.raw))}
    if sample.is_packed:
        name = np.frombuffer(sample.dtype.encode(), np.uint8)
        tensors[f"{key}/{PACKING}"] = (CODES, name)
    if sample.through is not None:
        # One zero: its dtype is what there is to say.
        zero = np.zeros(FORMATS[sample.through].width, np.uint8)
        tensors[f"{key}/through"] = (sample.through, zero)
    if sample.scales is not None:
        tensors[f"{key}/scales"] = ("F64", np.ascontiguousarray(sample.scales, "<f8"))
    if sample.shifts is not None:
        tensors[f"{key}/shifts"] = ("F64", np.ascontiguousarray(sample.shifts, "<f8"))
    return tensors


def _spec(dtype: str, array: AnyArray) -> "TensorSpec":
    """Where the writer finds a tensor's bytes, and what they are."""
    from safetensors import TensorSpec

    shape = list(array.shape)
    if array.dtype == np.uint8:
        width = 1 if dtype == CODES else FORMATS[dtype].width
        shape = [array.size // width]
    return TensorSpec(
        dtype=WRITER_NAMES[dtype],
        shape=shape,
        data_ptr=array.ctypes.data,
        data_len=array.nbytes,
    )


def read_evidence(
    path: Path, wanted: Container[int] | None = None
) -> Iterator[tuple[int, dict[str, Sample]]]:
    """Yield (slice id, samples by model) in the order of the ids, of those wanted
    (None: of all). One slice is in memory at a time.
    """
    header = read_header(path)
    keys_of: dict[int, list[str]] = {}
    for key in header.tensors:
        slice_id = int(key.split("/")[0])
        if wanted is None or slice_id in wanted:
            keys_of.setdefault(slice_id, []).append(key)
    with open(path, "rb") as handle:
        for slice_id in sorted(keys_of):
            tensors = {
                key.split("/", 1)[1]: _read_tensor(handle.fileno(), path, header, key)
                for key in keys_of[slice_id]
            }
            yield slice_id, _samples_of(tensors)


def _samples_of(tensors: Mapping[str, tuple[Bytes, str]]) -> dict[str, Sample]:
    """The samples of one slice by model, from its tensors: (bytes, dtype) by the part
    of the key after the slice's.
    """
    samples = {}
    for model, (raw, stored_dtype) in tensors.items():
        if model == "blocks" or "/" in model.removesuffix(GRID):
            continue
        dtype = stored_dtype
        scales = shifts = through = None
        if f"{model}/{PACKING}" in tensors:
            dtype = _packing(tensors[f"{model}/{PACKING}"][0])
        if f"{model}/scales" in tensors:
            scales = tensors[f"{model}/scales"][0].view("<f8")
        if f"{model}/shifts" in tensors:
            shifts = tensors[f"{model}/shifts"][0].view("<f8")
        if f"{model}/through" in tensors:
            through = tensors[f"{model}/through"][1]
        samples[model] = Sample(raw, dtype, scales, through, shifts)
    for key in [key for key in samples if key.endswith(GRID)]:
        model = key.removesuffix(GRID)
        samples[model] = replace(samples[model], grid=samples.pop(key))
    return samples


def _packing(name: Bytes) -> str:
    """The packed format that was written down. ModelFileError where there is none."""
    text = name.tobytes().decode("ascii", "replace")
    if text not in FORMATS or not FORMATS[text].levels:
        raise ModelFileError(
            f"the evidence names a packed format that nobody knows: {shown(text)}; run"
            " the audit again with this version"
        )
    return text


def read_blocks(path: Path) -> dict[int, Integers]:
    """Where the kept elements of every slice lie: int64 [blocks, 2] (start, length) by
    slice id.
    """
    header = read_header(path)
    blocks = {}
    with open(path, "rb") as handle:
        for key in header.tensors:
            if key.endswith("/blocks"):
                raw, _ = _read_tensor(handle.fileno(), path, header, key)
                blocks[int(key.split("/")[0])] = raw.view("<i8").reshape(-1, 2)
    return blocks


def _read_tensor(
    descriptor: int, path: Path, header: Header, key: str
) -> tuple[Bytes, str]:
    """A tensor's bytes and its dtype."""
    tensor = header.tensors[key]
    raw = np.empty(tensor.end - tensor.start, np.uint8)
    read_into(descriptor, tensor.start, memoryview(raw.data), path)
    return raw, tensor.dtype
