"""The steps of a stored format at the numbers of a sample."""

import numpy as np

from mergetrace.numerics.arrays import Array, Mask
from mergetrace.numerics.dtypes import FORMATS, decode, encode
from mergetrace.sums.evidence import Sample


def coarsest_sample(sample: Sample) -> Sample:
    """A sample in the coarsest format that holds its numbers: bf16 numbers may be
    stored as float32 or, where they are not tiny, as f16.
    """
    coarse = sample.on_lattice()
    if coarse.dtype != "F16" or coarse.scales is not None:
        return coarse
    values = coarse.values()
    codes = encode(values, "BF16")
    decoded = decode(codes, "BF16").astype(np.float64)
    if not np.array_equal(decoded, values, equal_nan=True):
        return coarse
    return Sample(codes.view(np.uint8), "BF16")


def random_neighbours(
    sample: Sample, generator: np.random.Generator
) -> tuple[Array, Mask]:
    """Each element of a sample moved to the number before or after it in its format, at
    random: float64 [n]; and which of them exist: bool [n].
    """
    codes = np.frombuffer(sample.raw, FORMATS[sample.dtype].codes)
    shifts = generator.choice((-1, 1), codes.size)
    moved = (codes.astype(np.int64) + shifts).astype(codes.dtype)
    before = decode(sample.raw, sample.dtype).astype(np.float64)
    after = decode(moved.view(np.uint8), sample.dtype).astype(np.float64)
    possible = np.isfinite(after) & np.isfinite(before)
    possible &= (before != 0) & (after != 0)
    possible &= np.signbit(after) == np.signbit(before)
    return (after if sample.scales is None else after * sample.scales), possible


def stored_like(values: Array, sample: Sample) -> Sample:
    """Values as a sample of the same format would hold them."""
    unscaled = values if sample.scales is None else values / sample.scales
    codes = encode(unscaled, sample.dtype)
    return Sample(codes.view(np.uint8), sample.dtype, sample.scales)


def step_sizes(sample: Sample) -> Array:
    """The step of a sample's format at each element: float64 [n]; 0 where there is none
    (float64).
    """
    if sample.dtype == "F64":
        return np.zeros(len(sample.raw) // 8)
    low, high = sample.midpoints()
    return np.nan_to_num(high - low, nan=0.0, posinf=0.0)
