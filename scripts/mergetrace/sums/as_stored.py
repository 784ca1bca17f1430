"""Numbers rounded as the file of an audited model would have stored them."""

import numpy as np

from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import Codes, decode, encode
from mergetrace.sums.dividing import divided
from mergetrace.sums.evidence import Sample
from mergetrace.tensors.weights import scaled


def round_as_stored(values: Array, like: Sample) -> Array:
    """Values rounded to the lattice of a sample (its scales included) and decoded
    again: float64 [n].
    """
    codes = codes_as_stored(values, like, like.dtype)
    return scaled(decode(codes, like.dtype), like.scales, like.shifts)


def codes_as_stored(values: Array, like: Sample, dtype: str) -> Codes:
    """Values as `dtype` would hold them on the way to a sample like this one: rounded
    to the format they go through, divided by their scale, rounded.
    """
    if like.through is None:
        return encode(_unscaled(values, like), dtype)
    coarse = decode(encode(values, like.through), like.through)
    if like.is_packed:
        return encode(_unscaled(coarse, like), dtype)
    if like.scales is None:
        return encode(coarse, dtype)
    # The tool multiplies in float32 or bf16: that makes ties.
    stored = like.raw if like.dtype == dtype and coarse.ndim == 1 else None
    return divided(coarse, like.scales, dtype, stored)


def _unscaled(values: Array, like: Sample) -> Array:
    """Values before they are scaled and shifted as a sample is; a scale of 0 of a packed
    format makes any number the shift.
    """
    if like.shifts is not None:
        values = values - like.shifts
    if like.scales is None:
        return values
    if like.is_packed:
        return values / np.where(like.scales == 0, 1.0, like.scales)
    return values / like.scales
