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
from mergetrace.numerics.levels import (
    ADDED_TO_CODES,
    FLOAT32_DIVISION,
    FROM_AN_END,
    HALF_STEP_OF_BF16,
    SLACK,
    SLACK_OF_NUMBERS,
)

MAX_STEPS_TO_ZERO = 64
"""Steps from a group's end to zero that a scale in bf16 tells from one more or less."""
MIN_FROM_AN_END = 0.99
"""Of the numbers whose groups' ends lie a whole number of steps from zero: nearly all,
where a tool sees to it; of others one in ten does.
"""


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
    is_open = scales == 0
    slack = np.full(low.size, SLACK[coded.dtype])
    if coded.dtype in FROM_AN_END:
        unrounded = _before_rounding(scales, shifts)
        known = np.isfinite(unrounded)
        scales = np.where(known, unrounded, scales)
        slack[known] = FLOAT32_DIVISION
    with np.errstate(invalid="ignore"):
        ends = np.sort(np.stack([low * scales, high * scales]), axis=0)
        room = np.zeros(ends.shape)
        if widened:
            room = _room(coded.dtype, slack, ends, shifts)
        low, high = ends + shifts + room * np.array([[-1.0], [1.0]])
    return np.where(is_open, -np.inf, low), np.where(is_open, np.inf, high)


def _before_rounding(scales: Array, shifts: Array) -> Array:
    """The scales that MLX divided by before it rounded them to be stored: it takes the
    end of a group that lies further from zero as the shift, which is a number of the
    matrix and stays what it is, and makes that a whole number of steps. NaN where it is
    not known, everywhere where a tool did not do so.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        steps = np.rint(shifts / scales)
        unrounded = shifts / steps
        telling = (np.abs(steps) > 0) & (np.abs(steps) < MAX_STEPS_TO_ZERO)
        fits = telling & (np.abs(unrounded / scales - 1) <= HALF_STEP_OF_BF16)
    if not telling.any() or fits.sum() < MIN_FROM_AN_END * telling.sum():
        return np.full(scales.size, np.nan)
    return np.where(fits, unrounded, np.nan)


def _room(dtype: str, slack: Array, ends: Array, shifts: Array) -> Array:
    """By how much a tool's rounding widens cells at each end, which lie at `ends` before
    they are shifted.
    """
    size = np.abs(ends)
    if dtype not in ADDED_TO_CODES:
        size = size + np.abs(shifts)
    room = slack * size + SLACK_OF_NUMBERS[dtype] * np.abs(ends + shifts)
    return np.asarray(np.where(np.isfinite(ends), room, 0.0))
