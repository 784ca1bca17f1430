"""The kept sample: raw elements of every model, as stored, so that every later number
can be redone without the models.
"""

import json
import re
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergetrace.files.safetensors_file import read_header, read_into
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import FORMATS, decode, encode, usable
from mergetrace.numerics.lattice import interval_through, neighbour_midpoints
from mergetrace.tensors.weights import scaled

# safetensors calls dtypes by other names when writing than in the file.
WRITER_NAMES = {
    "BF16": "bfloat16",
    "F16": "float16",
    "F32": "float32",
    "F64": "float64",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
}


@dataclass(frozen=True)
class Sample:
    """The kept elements of one slice in one model: raw bytes, their dtype, and what
    each is multiplied by, where it is (an FP8 block's scale).

    through: the format they were rounded to before they were scaled and stored, where
    that is another one: a bf16 merge quantised to FP8.
    """

    raw: NDArray[np.uint8]
    dtype: str
    scales: Array | None = None
    through: str | None = None

    def values(self) -> Array:
        """Decoded elements, float64 [n]."""
        return scaled(decode(self.raw, self.dtype), self.scales)

    def on_lattice(self) -> "Sample":
        """The same numbers in the format they were rounded to: a merge rounded to bf16
        and stored as float32 still lies on bf16's lattice.

        Where every finite element of an F32 or F64 sample is a BF16 or an F16 number,
        the sample in that dtype; else the sample itself.
        """
        if self.dtype not in ("F32", "F64") or self.scales is not None:
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
        low, high = neighbour_midpoints(self.raw, self.dtype)
        if self.scales is not None:
            ends = np.stack([low * self.scales, high * self.scales])
            low = ends.min(0)
            high = ends.max(0)
        return (
            (low, high)
            if self.through is None
            else interval_through(low, high, self.through)
        )


def joined(samples: Sequence[Sample]) -> Sample:
    """Samples of one stored tensor as one, in the order given; all else (format, the
    one on the way to it) is the first's.
    """
    scales = (
        None
        if samples[0].scales is None
        else np.concatenate([sample.scales for sample in samples])
    )
    return replace(
        samples[0],
        raw=np.concatenate([sample.raw for sample in samples]),
        scales=scales,
    )


def write_evidence(
    path: Path,
    slices: Mapping[int, tuple[NDArray[np.int64], Mapping[str, Sample]]],
    metadata: Mapping[str, str],
) -> None:
    """Write the samples of many slices: per slice id its blocks (int64 [blocks, 2]:
    start, length) and a sample per model.

    Keys are `{slice_id}/blocks`, `{slice_id}/{model}` and `{slice_id}/{model}/scales` or `/through`: ours, never a tensor's name. `metadata` becomes
    one entry, as JSON: the safetensors writer puts several in another order each time, and the same sample should be the same bytes.
    """
    from safetensors import SafetensorError, serialize_file

    tensors: dict[str, tuple[str, NDArray]] = {}
    for slice_id, (blocks, samples) in slices.items():
        tensors[f"{slice_id}/blocks"] = ("I64", np.ascontiguousarray(blocks, "<i8"))
        for model, sample in samples.items():
            tensors[f"{slice_id}/{model}"] = (
                sample.dtype,
                np.ascontiguousarray(sample.raw),
            )
            if (
                sample.through is not None
            ):  # one zero, whose dtype is what there is to say
                tensors[f"{slice_id}/{model}/through"] = (
                    sample.through,
                    np.zeros(FORMATS[sample.through].width, np.uint8),
                )
            if sample.scales is not None:
                tensors[f"{slice_id}/{model}/scales"] = (
                    "F64",
                    np.ascontiguousarray(sample.scales, "<f8"),
                )
    specs = {
        key: _spec(dtype, array) for key, (dtype, array) in tensors.items()
    }  # `tensors` keeps the memory alive meanwhile
    try:
        serialize_file(
            specs, path, {"mergetrace": json.dumps(dict(metadata), sort_keys=True)}
        )
    except (
        SafetensorError
    ) as error:  # the writer wraps the system's error in one of its own
        number = re.search(r"os error (\d+)", str(error))
        raise (
            OSError(int(number[1]), str(error), str(path)) if number else error
        ) from None


def read_evidence(
    path: Path, wanted: Container[int] | None = None
) -> Iterator[tuple[int, dict[str, Sample]]]:
    """Yield (slice id, samples by model) in the order of the ids, of those wanted
    (None: of all). One slice is in memory at a time.
    """
    header = read_header(path)
    by_slice: dict[int, list[str]] = {}
    for key in header.tensors:
        slice_id = int(key.split("/")[0])
        if wanted is None or slice_id in wanted:
            by_slice.setdefault(slice_id, []).append(key)
    with open(path, "rb") as handle:
        for slice_id in sorted(by_slice):
            raw: dict[str, tuple[NDArray[np.uint8], str]] = {}
            for key in by_slice[slice_id]:
                tensor = header.tensors[key]
                buffer = np.empty(tensor.end - tensor.start, np.uint8)
                read_into(handle.fileno(), tensor.start, memoryview(buffer), path)
                raw[key.split("/", 1)[1]] = (buffer, tensor.dtype)
            scales = {
                name.removesuffix("/scales"): data.view("<f8")
                for name, (data, _) in raw.items()
                if name.endswith("/scales")
            }
            through = {
                name.removesuffix("/through"): dtype
                for name, (_, dtype) in raw.items()
                if name.endswith("/through")
            }
            models = [name for name in raw if name != "blocks" and "/" not in name]
            yield (
                slice_id,
                {
                    model: Sample(*raw[model], scales.get(model), through.get(model))
                    for model in models
                },
            )


def only_usable(
    samples: Mapping[str, Sample], models: Collection[str]
) -> dict[str, Sample]:
    """The models' samples of a slice with zeros, in all of them, in place of elements
    that are NaN, infinite or no weight in one (dtypes.usable).

    The sums of a frame leave such elements out (see gram); zeros in all its models say nothing for or against any recipe, and places stay what
    they are.
    A scale of 0 gives way to 1 under a stored 0, which is the same number.
    """
    own = {model: samples[model] for model in models}
    sound = np.logical_and.reduce(
        [usable(sample.raw, sample.dtype, sample.scales) for sample in own.values()]
    )
    return {model: _blanked(sample, ~sound) for model, sample in own.items()}


def _blanked(sample: Sample, lost: NDArray[np.bool_]) -> Sample:
    """The sample with zeros at the lost places, and where its scale is 0."""
    if sample.scales is not None:
        lost = lost | (sample.scales == 0)
    if not lost.any():
        return sample
    raw = sample.raw.reshape(lost.size, -1).copy()
    raw[lost] = 0
    return replace(
        sample,
        raw=raw.reshape(-1),
        scales=None if sample.scales is None else np.where(lost, 1.0, sample.scales),
    )


def read_blocks(path: Path) -> dict[int, NDArray[np.int64]]:
    """Where the kept elements of every slice lie: int64 [blocks, 2] (start, length) by
    slice id.
    """
    header = read_header(path)
    found = {}
    with open(path, "rb") as handle:
        for key, tensor in header.tensors.items():
            if key.endswith("/blocks"):
                buffer = np.empty(tensor.end - tensor.start, np.uint8)
                read_into(handle.fileno(), tensor.start, memoryview(buffer), path)
                found[int(key.split("/")[0])] = buffer.view("<i8").reshape(-1, 2)
    return found


def _spec(dtype: str, array: NDArray) -> Any:
    from safetensors import TensorSpec

    shape = (
        [array.size // FORMATS[dtype].width]
        if array.dtype == np.uint8
        else list(array.shape)
    )
    return TensorSpec(
        dtype=WRITER_NAMES[dtype],
        shape=shape,
        data_ptr=array.ctypes.data,
        data_len=array.nbytes,
    )
