"""What rounding does to a merge, and how the merge is seen through it.

Under s = round((1-a) b + a d) every element with d != b confines a to an interval: the
blend must lie between the midpoints from s to its two neighbouring numbers. An element
is informative where that interval is narrow. The coverage of a weight a is the share of
informative elements whose interval holds a.
"""

from dataclasses import dataclass

import numpy as np

from mergetrace.numerics.arrays import Array, Integers


@dataclass(frozen=True)
class Replay:
    """The blend weight that explains most elements."""

    alpha: float
    """The middle of the interval of such weights."""
    low: float
    high: float
    """The ends of that interval."""
    coverage: float
    """The share of informative elements whose interval holds alpha."""
    coverage_base: float
    """The same of weight 0: the base itself."""
    coverage_donor: float
    """The same of weight 1: the donor itself."""
    informative: int
    """How many elements are informative."""


_NAN = float("nan")
NOTHING = Replay(_NAN, _NAN, _NAN, _NAN, _NAN, _NAN, informative=0)
"""The replay of no informative element."""


def replay_intervals(
    low: Array, high: Array, base: Array, donor: Array
) -> tuple[Array, Array]:
    """The blend weights each element allows: the ends of [(low - b)/(d - b), (high -
    b)/(d - b)], sorted, float64 [n] each.

    low, high: float64 [n], the midpoints between the stored number and its lower and
    upper neighbour. base, donor: float64 [n]. Elements with d == b, or with anything
    that is not finite, give NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        delta = donor - base
        ends = np.stack([(low - base) / delta, (high - base) / delta])
    ends[:, ~np.isfinite(ends).all(0) | (delta == 0)] = np.nan
    return ends.min(0), ends.max(0)


def sorted_ends(start: Array, end: Array, width: float) -> tuple[Array, Array]:
    """The ends of the informative intervals (narrower than `width`), starts and ends
    sorted apart: float64 [informative] each.
    """
    informative = (end - start) < width  # NaN compares false
    return np.sort(start[informative]), np.sort(end[informative])


def replay(start: Array, end: Array, width: float) -> Replay:
    """Find the weight of greatest coverage by one sorted sweep over the informative
    intervals (narrower than `width`).

    Intervals are closed: a blend on a midpoint may round either way. Of several weights
    with the greatest coverage the lowest is taken.
    """
    start, end = sorted_ends(start, end, width)
    count = start.size
    if not count:
        return NOTHING
    # Coverage rises only at a start, so its maximum is reached at one; it lasts until
    # the next end.
    held = np.arange(1, count + 1) - np.searchsorted(end, start, side="left")
    best = int(np.argmax(held))
    low = float(start[best])
    high = float(end[np.searchsorted(end, start[best], side="left")])
    return Replay(
        alpha=(low + high) / 2,
        low=low,
        high=high,
        coverage=float(held[best]) / count,
        coverage_base=coverage(start, end, 0.0),
        coverage_donor=coverage(start, end, 1.0),
        informative=count,
    )


def holding_counts(start: Array, end: Array, values: Array) -> Integers:
    """How many of the closed intervals hold each value: int64, in the shape of
    `values`. start, end: sorted apart (see sorted_ends).
    """
    begun = np.searchsorted(start, values, side="right")
    ended = np.searchsorted(end, values, side="left")
    return begun - ended


def coverage(start: Array, end: Array, value: float) -> float:
    """The share of intervals that hold a value; NaN where there is no interval. start,
    end: sorted apart (see sorted_ends).
    """
    if not start.size:
        return float("nan")
    return float(holding_counts(start, end, np.array(value))) / start.size


def column_coverage(start: Array, end: Array, values: Array, tolerance: float) -> Array:
    """The share of each column's intervals that hold that column's value: float64 [d],
    0 where a column has no interval.

    start, end: float64 [n, d], in any order, NaN where an element allows nothing.
    values: float64 [d]. tolerance: relative; a value so near to an end is in the
    interval.
    """
    room = tolerance * np.abs(values)
    inside = (start - room <= values) & (values <= end + room)
    intervals = np.maximum((~np.isnan(start)).sum(0), 1)
    return np.asarray(inside.sum(0) / intervals, np.float64)


def shuffled_coverage(
    low: Array, high: Array, base: Array, donor: Array, width: float, seed: int
) -> float:
    """The coverage a donor reaches by chance, with the same deltas at shuffled places:
    the null of `Replay.coverage`. Arguments as of replay_intervals and replay.
    """
    shuffled = base + np.random.default_rng(seed).permutation(donor - base)
    start, end = replay_intervals(low, high, base, shuffled)
    return replay(start, end, width).coverage
