"""Whether an audited model's elements are a parent's, rounded once to the format in
which the audited model is stored.
"""

from itertools import pairwise

import numpy as np

from mergetrace.numerics.arrays import AnyArray, Array, Integers, Mask
from mergetrace.numerics.dtypes import FORMATS, decode, encode, largest_number
from mergetrace.numerics.lattice import neighbour_midpoints
from mergetrace.sums.cells import cell_ends
from mergetrace.sums.dividing import widened
from mergetrace.sums.kernels import Numbers
from mergetrace.sums.stored import Stored

FIRST_LOOK = 4096  # elements: in anything but a parent rounded, one of so many differs
SCALE_SLACK = 2.0**-20
"""Relative: what dividing by a scale in float32 adds to the rounding itself."""


def count_recast_misses(
    audited: Stored,
    parent: Stored,
    audited_numbers: Numbers,
    parent_numbers: Numbers,
    edges: Integers,
) -> Array | None:
    """How many elements of each piece edges[i]..edges[i+1] are not the parent's rounded
    to the audited model's format: float64 [pieces].

    audited_numbers, parent_numbers: the numbers of the two as a kernel loaded them.
    None where rounding changes nothing: these are the elements that differ. All that
    matters is whether there is any in a slice: where there is one among the first, 1
    stands for each piece and nothing more is looked at. A parent's number beyond the
    format's largest may have been set to that. Elements that are NaN or infinite are
    for the caller to leave out.
    """
    if _holds_every_number(audited, parent):
        return None
    numbers = (audited_numbers, parent_numbers)
    if _misses(audited, parent, *numbers, slice(FIRST_LOOK)).any():
        return np.ones(edges.size - 1)
    misses = _misses(audited, parent, *numbers, slice(None))
    counts = [
        np.count_nonzero(misses[start:end]) for start, end in pairwise(edges.tolist())
    ]
    return np.array(counts, np.float64)


def is_no_recast(audited: Stored, parent: Stored) -> bool | None:
    """Whether one of these elements is not the parent's rounded; None where rounding
    changes nothing.
    """
    if _holds_every_number(audited, parent):
        return None
    numbers = audited.numbers(), parent.numbers()
    return bool(_misses(audited, parent, *numbers, slice(None)).any())


def _misses(
    audited: Stored,
    parent: Stored,
    audited_numbers: Numbers,
    parent_numbers: Numbers,
    which: slice,
) -> Mask:
    """Whether each of these elements is finite in both and not the parent's rounded."""
    values = _in_memory(audited, audited_numbers, which)
    wanted = _in_memory(parent, parent_numbers, which)
    with np.errstate(over="ignore", invalid="ignore"):
        explained = _is_rounded(audited.chosen(which), values, wanted)
        return np.asarray(~explained & np.isfinite(values) & np.isfinite(wanted))


def _in_memory(stored: Stored, loaded: Numbers, which: slice) -> AnyArray:
    """Numbers in the processor's memory. A GPU's are decoded again, and so are those of
    a kernel that loads the stored codes as they are: integers, which are no numbers.
    """
    if isinstance(loaded, np.ndarray) and loaded.dtype.kind == "f":
        return loaded[which]
    return stored.chosen(which).numbers()


def _holds_every_number(audited: Stored, parent: Stored) -> bool:
    """Whether the audited model's format holds every number of the parent's."""
    if audited.scales is not None or parent.scales is not None:
        return False
    if audited.shifts is not None or parent.shifts is not None:
        return False
    own = FORMATS[audited.dtype]
    other = FORMATS[parent.dtype]
    own_smallest = own.min_exponent - own.fraction_bits
    other_smallest = other.min_exponent - other.fraction_bits
    return (
        own.fraction_bits >= other.fraction_bits
        and own_smallest <= other_smallest
        and largest_number(audited.dtype) >= largest_number(parent.dtype)
    )


def _is_rounded(audited: Stored, values: AnyArray, wanted: AnyArray) -> Mask:
    """Whether each audited value is what the parent's wanted value rounds to."""
    if FORMATS[audited.dtype].levels:
        low, high = cell_ends(audited)
        return np.asarray((low <= wanted) & (wanted <= high))
    if audited.shifts is not None:
        wanted = wanted - audited.shifts
        values = values - audited.shifts
    largest = largest_number(audited.dtype)
    if audited.scales is None:
        codes = encode(np.clip(wanted, -largest, largest), audited.dtype)
        rounded = decode(codes, audited.dtype, np.empty(codes.size, values.dtype))
        return np.asarray(rounded == values)
    low, high = neighbour_midpoints(audited.raw, audited.dtype)
    low, high = widened(low, high, audited.scales)
    with np.errstate(divide="ignore", invalid="ignore"):  # a scale of 0
        unscaled = np.clip(wanted / audited.scales, -largest, largest)
    room = SCALE_SLACK * np.abs(unscaled)
    return np.asarray((low - room <= unscaled) & (unscaled <= high + room))
