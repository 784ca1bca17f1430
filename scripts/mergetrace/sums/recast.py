"""Whether an audited model's elements are a parent's, rounded once to the format in
which the audited model is stored.
"""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import FORMATS, decode, encode
from mergetrace.numerics.lattice import neighbour_midpoints
from mergetrace.tensors.weights import scaled

if TYPE_CHECKING:
    from mergetrace.sums.gram import Stored


PROBE = 4096  # elements: in anything but a parent rounded, one of so many differs
SLACK = (
    2.0**-20
)  # relative: what dividing by a scale in float32 adds to the rounding itself


def differing(
    audited: "Stored", parent: "Stored", own: Any, theirs: Any, edges: NDArray[np.int64]
) -> Array | None:
    """Elements of each piece edges[i]..edges[i+1] that are not the parent's rounded to
    the audited model's format: float64 [pieces].

    own, theirs: the numbers of the two as a kernel loaded them. None where rounding changes nothing: these are the elements that differ. All that
    matters is whether there is any in a slice: where there is one among the first, 1 stands for each piece and nothing more is looked at.
    What lies beyond the largest number may have been set to it. Elements that are NaN or infinite are for the caller to leave out.
    """
    if _holds(audited, parent):
        return None
    first = slice(PROBE)
    every = slice(None)
    if _apart(audited, parent, own, theirs, first).any():
        return np.ones(edges.size - 1)
    apart = _apart(audited, parent, own, theirs, every)
    return np.array(
        [np.count_nonzero(apart[start:end]) for start, end in pairwise(edges.tolist())],
        np.float64,
    )


def _apart(
    audited: "Stored", parent: "Stored", own: Any, theirs: Any, which: slice
) -> NDArray[np.bool_]:
    """Whether each of these elements is finite in both and not the parent's rounded."""
    mine = _numbers(audited, own, which)
    its = _numbers(parent, theirs, which)
    with np.errstate(over="ignore", invalid="ignore"):
        return (
            ~_explained(audited.chosen(which), mine, its)
            & np.isfinite(mine)
            & np.isfinite(its)
        )


def _numbers(stored: "Stored", loaded: Any, which: slice) -> NDArray:
    """Numbers in the processor's memory; a GPU's are decoded again."""
    if isinstance(loaded, np.ndarray):
        return loaded[which]
    chosen = stored.chosen(which)
    return scaled(decode(chosen.raw, chosen.dtype), chosen.scales)


def _holds(audited: "Stored", parent: "Stored") -> bool:
    """Whether the audited model's format holds every number of the parent's."""
    if audited.scales is not None or parent.scales is not None:
        return False
    own = FORMATS[audited.dtype]
    theirs = FORMATS[parent.dtype]
    smallest = (
        theirs.min_exponent - theirs.fraction_bits
        >= own.min_exponent - own.fraction_bits
    )
    return (
        own.fraction_bits >= theirs.fraction_bits
        and smallest
        and _largest(audited.dtype) >= _largest(parent.dtype)
    )


def _explained(audited: "Stored", own: NDArray, values: NDArray) -> NDArray[np.bool_]:
    """Whether each number is what a parent's value rounds to."""
    largest = _largest(audited.dtype)
    if audited.scales is None:
        codes = encode(np.clip(values, -largest, largest), audited.dtype)
        return decode(codes, audited.dtype, np.empty(codes.size, own.dtype)) == own
    low, high = neighbour_midpoints(audited.raw, audited.dtype)
    with np.errstate(divide="ignore", invalid="ignore"):  # a scale of 0
        wanted = np.clip(values / audited.scales, -largest, largest)
    room = SLACK * np.abs(wanted)
    return (low - room <= wanted) & (wanted <= high + room)


def _largest(dtype: str) -> float:
    return float(
        decode(
            np.array([FORMATS[dtype].largest], FORMATS[dtype].codes).view(np.uint8),
            dtype,
        )[0]
    )
