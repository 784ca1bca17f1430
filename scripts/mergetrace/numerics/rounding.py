"""What the number lattice does to a merge, and how to see a merge through it.

Under s = round((1-a) b + a d) every element with d != b confines a to an interval: the
blend must lie between the midpoints from s to its two neighbouring numbers. `Coverage`
of a is the share of informative elements whose interval holds a.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Replay:
    """The blend weight that explains most elements: its interval, and the coverage
    there, at 0 (base) and at 1 (donor).
    """

    alpha: float
    low: float
    high: float
    coverage: float
    coverage_base: float
    coverage_donor: float
    informative: int


NOTHING = Replay(*[float("nan")] * 6, informative=0)


def replay_intervals(
    low: Array, high: Array, base: Array, donor: Array
) -> tuple[Array, Array]:
    """The blend weights each element allows: ends of [(low - b)/(d - b), (high - b)/(d
    - b)], sorted.

    low, high: float64 [n], midpoints between the stored number and its lower and upper neighbour. base, donor: float64 [n].
    Elements with d == b, or anything not finite, give NaN.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        delta = donor - base
        ends = np.stack([(low - base) / delta, (high - base) / delta])
    ends[:, ~np.isfinite(ends).all(0) | (delta == 0)] = np.nan
    return ends.min(0), ends.max(0)


def replay(start: Array, end: Array, width: float) -> Replay:
    """Find the weight of greatest coverage by one sorted sweep over the informative
    intervals (narrower than `width`).

    Intervals are closed: a blend on a midpoint may round either way. Ties go to the
    first, lowest, weight.
    """
    informative = (end - start) < width  # NaN compares false
    start = np.sort(start[informative])
    end = np.sort(end[informative])
    count = start.size
    if not count:
        return NOTHING
    # Coverage rises only at a start, so its maximum is reached at one; it lasts until
    # the next end.
    holding = np.arange(1, count + 1) - np.searchsorted(end, start, side="left")
    best = int(np.argmax(holding))
    low = float(start[best])
    high = float(end[np.searchsorted(end, start[best], side="left")])
    return Replay(
        alpha=(low + high) / 2,
        low=low,
        high=high,
        coverage=float(holding[best]) / count,
        coverage_base=coverage(start, end, 0.0),
        coverage_donor=coverage(start, end, 1.0),
        informative=count,
    )


def coverage(start: Array, end: Array, alpha: float) -> float:
    """The share of intervals that hold `alpha`; start and end are sorted, each on its
    own.
    """
    if not start.size:
        return float("nan")
    inside = np.searchsorted(start, alpha, side="right") - np.searchsorted(
        end, alpha, side="left"
    )
    return float(inside) / start.size


def shuffled_coverage(
    low: Array, high: Array, base: Array, donor: Array, width: float, seed: int
) -> float:
    """The coverage a donor reaches by chance: the same deltas at shuffled places. The
    null of `Replay.coverage`.
    """
    shuffled = base + np.random.default_rng(seed).permutation(donor - base)
    return replay(*replay_intervals(low, high, base, shuffled), width).coverage
