"""The cells of packed numbers: what each code, with its stored scale and shift, says of
the number that it was made of.

Whatever chose the scale (a search, a calibration, an importance matrix), the last step
of the quantiser is to take the nearest level; so the cell holds the number, and any
recipe's number can be asked whether it lies in it.
"""

from typing import Protocol

import numpy as np

from mergetrace.numerics.arrays import Array, Bytes
from mergetrace.numerics.lattice import neighbour_midpoints
from mergetrace.numerics.levels import ADDED_TO_CODES, SLACK, SLACK_OF_NUMBERS


class Coded(Protocol):
    """Numbers as codes."""

    @property
    def raw(self) -> Bytes:
        """Their codes."""

    @property
    def dtype(self) -> str:
        """Their packed format."""

    @property
    def scales(self) -> Array | None:
        """What each level is multiplied by."""

    @property
    def shifts(self) -> Array | None:
        """What is added to it."""


def cell_ends(coded: Coded, widened: bool = True) -> tuple[Array, Array]:
    """The ends of each number's cell: (low, high), float64 [n] each. Infinite where
    there is none; a scale of 0 leaves everything open.

    widened: by what tools are known to round; else as scale and shift put them.
    """
    low, high = neighbour_midpoints(coded.raw, coded.dtype)
    scales = np.ones(low.size) if coded.scales is None else coded.scales
    shifts = np.zeros(low.size) if coded.shifts is None else coded.shifts
    with np.errstate(invalid="ignore"):
        ends = np.sort(np.stack([low * scales, high * scales]), axis=0)
        room = _room(coded.dtype, ends, shifts) if widened else np.zeros(ends.shape)
        low, high = ends + shifts + room * np.array([[-1.0], [1.0]])
    is_open = scales == 0
    return np.where(is_open, -np.inf, low), np.where(is_open, np.inf, high)


def _room(dtype: str, ends: Array, shifts: Array) -> Array:
    """By how much a tool's rounding widens cells at each end, which lie at `ends` before
    they are shifted.
    """
    size = np.abs(ends)
    if dtype not in ADDED_TO_CODES:
        size = size + np.abs(shifts)
    room = SLACK[dtype] * size + SLACK_OF_NUMBERS[dtype] * np.abs(ends + shifts)
    return np.asarray(np.where(np.isfinite(ends), room, 0.0))
