"""Numbers rounded as the file of an audited model would have stored them."""

from mergetrace.numerics.arithmetic import to_float32
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import Codes, decode, encode
from mergetrace.sums.evidence import Sample
from mergetrace.tensors.weights import scaled


def round_as_stored(values: Array, like: Sample) -> Array:
    """Values rounded to the lattice of a sample (its scales included) and decoded
    again: float64 [n].
    """
    codes = codes_as_stored(values, like, like.dtype)
    return scaled(decode(codes, like.dtype), like.scales)


def codes_as_stored(values: Array, like: Sample, dtype: str) -> Codes:
    """Values as `dtype` would hold them on the way to a sample like this one: rounded
    to the format they go through, divided by their scale, rounded.
    """
    if like.through is None:
        unscaled = values if like.scales is None else values / like.scales
        return encode(unscaled, dtype)
    coarse = decode(encode(values, like.through), like.through)
    if like.scales is None:
        return encode(coarse, dtype)
    # The tool multiplies in float32: that makes ties.
    return encode(to_float32(coarse / like.scales), dtype)
