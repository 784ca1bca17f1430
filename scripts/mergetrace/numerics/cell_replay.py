"""The replay through cells: which blend weight numbers confine of which each allows a
wide range.

A packed number's cell is wider than what tells its parents apart, so that no element
names the weight. But every end of a cell that lies between the parents is a line drawn
somewhere between weight 0 and weight 1, and the element says on which side of it the
blend lies. An element is informative for a weight unless every weight within reach of
it would have been stored alike: that is where the weight lies close to such a line, and
where it lies beyond one. A pure merge has no element beyond at its weight.
"""

from dataclasses import dataclass

import numpy as np

from mergetrace.numerics.arrays import Array, Integers, Mask
from mergetrace.numerics.rounding import NOTHING, Replay

LOWEST, HIGHEST = -1.0, 2.0  # weights that are looked at


def cell_intervals(
    low: Array, high: Array, base: Array, donor: Array
) -> tuple[Array, Array]:
    """The blend weights each element's cell allows, sorted; infinite where the cell has
    no end, NaN where base and donor are equal or not finite. float64 [n] each.

    low, high: the ends of the cells, of numbers before they were rounded.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        delta = donor - base
        ends = np.stack([(low - base) / delta, (high - base) / delta])
    ends[:, np.isnan(ends).any(0) | ~np.isfinite(delta) | (delta == 0)] = np.nan
    return ends.min(0), ends.max(0)


def informative_cells(start: Array, end: Array, weight: float, width: float) -> Mask:
    """The elements that could refute a weight: bool [n]. width: twice the reach."""
    reach = width / 2
    with np.errstate(invalid="ignore"):
        silent = (start + reach < weight) & (weight < end - reach)
    return np.asarray(~silent & ~np.isnan(start))


@dataclass(frozen=True)
class CellCounter:
    """Counts of elements by weight, from the ends of their intervals, which are sorted
    apart.
    """

    starts: Array
    ends: Array
    silent_from: Array
    silent_to: Array
    known: int

    @classmethod
    def of(cls, start: Array, end: Array, width: float) -> "CellCounter":
        known = ~np.isnan(start)
        start, end = start[known], end[known]
        first = start + width / 2
        last = end - width / 2
        ever = first < last
        return cls(
            np.sort(start),
            np.sort(end),
            np.sort(first[ever]),
            np.sort(last[ever]),
            int(known.sum()),
        )

    def holding(self, weights: Array) -> Integers:
        """How many elements allow each weight."""
        begun = np.searchsorted(self.starts, weights, side="right")
        return begun - np.searchsorted(self.ends, weights, side="left")

    def silent(self, weights: Array) -> Integers:
        """How many would have been stored alike around each weight."""
        begun = np.searchsorted(self.silent_from, weights, side="left")
        return begun - np.searchsorted(self.silent_to, weights, side="right")

    def coverage(self, weight: float) -> float:
        """The share of the informative elements that allow a weight."""
        at = np.array(weight)
        informative = self.known - int(self.silent(at))
        if not informative:
            return float("nan")
        return float(self.holding(at) - self.silent(at)) / informative

    def best(self) -> tuple[float, float] | None:
        """The interval of weights that fewest elements refute, the lowest of equals;
        None where no interval ends among the weights that are looked at.

        Ends coincide where parents lie few steps apart, so that what holds is asked
        between two ends, never at one.
        """
        edges = np.concatenate([self.starts, self.ends])
        edges = np.unique(edges[(edges > LOWEST) & (edges < HIGHEST)])
        if edges.size < 2:
            return None
        held = self.holding((edges[1:] + edges[:-1]) / 2)
        first = int(np.argmax(held))
        last = first
        while last + 1 < held.size and held[last + 1] == held[first]:
            last += 1
        return float(edges[first]), float(edges[last + 1])


def replay_cells(start: Array, end: Array, width: float) -> Replay:
    """The weight that most cells confirm, by one sorted sweep over the ends of what
    they allow (see cell_intervals). width: twice the reach around a weight within which
    an end makes an element informative.
    """
    counter = CellCounter.of(start, end, width)
    best = counter.best()
    if best is None:
        return NOTHING
    low, high = best
    weight = (low + high) / 2
    return Replay(
        alpha=weight,
        low=low,
        high=high,
        coverage=counter.coverage(weight),
        coverage_base=counter.coverage(0.0),
        coverage_donor=counter.coverage(1.0),
        informative=counter.known - int(counter.silent(np.array(weight))),
    )


def shuffled_cells(
    low: Array, high: Array, base: Array, donor: Array, width: float, seed: int
) -> float:
    """The coverage a donor reaches by chance, with the same deltas at shuffled places."""
    shuffled = base + np.random.default_rng(seed).permutation(donor - base)
    return replay_cells(*cell_intervals(low, high, base, shuffled), width).coverage
