"""Weights bounded by linear inequalities: the nearest ones, and how far each reaches."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mergetrace.numerics.arrays import Array, Integers, Mask
from mergetrace.numerics.simple import Interval

MAX_BOUNDS = 20_000
"""Inequalities of one linear programme; in a few unknowns it takes many."""
LARGEST_WEIGHT = 3.0
"""Of a donor in either direction. It keeps a programme bounded; weights that people
write lie within.
"""
Range = tuple[float | None, float | None]
"""The least and the greatest of an unknown; None where it is free."""


@dataclass(frozen=True)
class Bounds:
    """Inequalities low <= rows . weights <= high."""

    rows: Array
    """float64 [n, k]."""
    low: Array
    """float64 [n]."""
    high: Array
    """float64 [n]."""

    def chosen(self, which: Mask | Integers | slice) -> "Bounds":
        """Some of the inequalities."""
        return Bounds(self.rows[which], self.low[which], self.high[which])

    @staticmethod
    def joined(parts: Sequence["Bounds"]) -> "Bounds":
        """The inequalities of all parts, one after another."""
        return Bounds(
            np.concatenate([part.rows for part in parts]),
            np.concatenate([part.low for part in parts]),
            np.concatenate([part.high for part in parts]),
        )


def nearest_weights(bounds: Bounds) -> Array | None:
    """The weights of least summed violation of the bounds, float64 [k]; None where the
    programme has no solution.
    """
    from scipy.sparse import csr_array, eye_array, hstack, vstack

    count, weights = bounds.rows.shape
    violation = -eye_array(count, format="csr")
    above = hstack([csr_array(bounds.rows), violation])
    below = hstack([csr_array(-bounds.rows), violation])
    cost = np.concatenate([np.zeros(weights), np.ones(count)])
    ranges: list[Range] = [(-LARGEST_WEIGHT, LARGEST_WEIGHT)] * weights
    ranges += [(0, None)] * count
    reach = np.concatenate([bounds.high, -bounds.low])
    solution = _minimise(cost, vstack([above, below]), reach, ranges)
    return None if solution is None else solution[:weights]


def weight_ranges(bounds: Bounds, center: Array) -> list[Interval]:
    """The least and the greatest of each weight under the bounds, at most
    LARGEST_WEIGHT in size; that of `center` where a programme has no solution.
    """
    sides = np.concatenate([bounds.rows, -bounds.rows])
    reach = np.concatenate([bounds.high, -bounds.low])
    ranges: list[Range] = [(-LARGEST_WEIGHT, LARGEST_WEIGHT)] * len(center)
    intervals = []
    for i, middle in enumerate(center.tolist()):
        ends = _extremes(i, sides, reach, ranges)
        low, high = (middle if end is None else end for end in ends)
        intervals.append((low, high))
    return intervals


def weight_extents(bounds: Bounds, center: Array) -> list[Interval]:
    """The least and the greatest of each weight under the bounds, the others moving
    freely within; `center` lies inside.

    Bounds that were left out could only narrow the result. It is worked out around the
    center in units of the nearest bound, since the room may be a millionth. A weight
    without bounds gives infinities.
    """
    blended = bounds.rows @ center
    size = np.sqrt((bounds.rows**2).sum(1))
    above = np.maximum(bounds.high - blended, 0) / size
    below = np.maximum(blended - bounds.low, 0) / size
    if len(center) == 1:
        return [_extent_of_one(bounds.rows[:, 0], above, below, float(center[0]))]
    nearest = np.argsort(np.minimum(above, below))[:MAX_BOUNDS]
    directions = bounds.rows[nearest] / size[nearest, None]
    above = above[nearest]
    below = below[nearest]
    unit = float(np.median(np.minimum(above, below))) or 1.0
    sides = np.concatenate([directions, -directions])
    reach = np.concatenate([above, below]) / unit
    free: list[Range] = [(None, None)] * len(center)
    intervals = []
    for i, middle in enumerate(center.tolist()):
        least, greatest = _extremes(i, sides, reach, free)
        low = -np.inf if least is None else middle + unit * least
        high = np.inf if greatest is None else middle + unit * greatest
        intervals.append((low, high))
    return intervals


def _extent_of_one(
    direction: Array, above: Array, below: Array, center: float
) -> Interval:
    """The nearest bound on either side of a single weight."""
    rises = direction > 0
    down = np.where(rises, below, above).min(initial=np.inf)
    up = np.where(rises, above, below).min(initial=np.inf)
    return float(center - down), float(center + up)


def _extremes(
    index: int, sides: Array, reach: Array, ranges: Sequence[Range]
) -> tuple[float | None, float | None]:
    """The least and the greatest of one unknown; None where there is no solution."""
    ends = []
    for sign in (1.0, -1.0):
        cost = np.zeros(len(ranges))
        cost[index] = sign
        solution = _minimise(cost, sides, reach, ranges)
        ends.append(None if solution is None else float(solution[index]))
    return ends[0], ends[1]


def _minimise(
    cost: Array, sides: Any, reach: Array, ranges: Sequence[Range]
) -> Array | None:
    """The linear programme: x of least cost . x under sides . x <= reach and the range
    of each x; None where it has no solution. sides: dense or sparse [m, n].
    """
    from scipy.optimize import linprog

    solved = linprog(cost, A_ub=sides, b_ub=reach, bounds=ranges, method="highs")
    if not solved.success:
        return None
    solution: Array = solved.x
    return solution
