"""Coverage as a curve: how much of the evidence each blend weight would explain, and
how much by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mergetrace.numerics.arrays import Array, Integers
from mergetrace.numerics.cell_replay import CellCounter, cell_intervals
from mergetrace.numerics.rounding import holding_counts, replay_intervals, sorted_ends
from mergetrace.sums.evidence import Sample

LOWEST_WEIGHT = -0.25
HIGHEST_WEIGHT = 1.25
"""The ends of the curve where nothing lies beyond: a merge may reach a little beyond its
parents.
"""
FURTHEST_WEIGHTS = (-2.0, 3.0)
"""How far the curve follows a weight beyond: changes are taken away or added twice."""
COVERAGE_TO_SHOW = 0.2
"""What a weight must explain for the curve to follow it there."""
STEP = 0.005  # between two weights of the curve
FINE_STEPS = 81  # weights within four steps of a peak on either side


def grid(peaks: Sequence[float], to_show: Sequence[float] = ()) -> Array:
    """The weights to look at: evenly spread, and closer around the peaks, which may be
    too narrow to meet one of them. float64, ascending.

    to_show: peaks that the curve reaches even where they lie beyond its usual ends.
    """
    lowest, highest = FURTHEST_WEIGHTS
    reached = [peak for peak in to_show if lowest <= peak <= highest]
    margin = -LOWEST_WEIGHT
    low = min([LOWEST_WEIGHT, *(_whole_steps(peak - margin) for peak in reached)])
    high = max([HIGHEST_WEIGHT, *(_whole_steps(peak + margin) for peak in reached)])
    count = round((high - low) / STEP) + 1
    even = np.linspace(low, high, count).round(6)
    around = np.linspace(-4 * STEP, 4 * STEP, FINE_STEPS)
    inside = [peak for peak in peaks if low < peak < high]
    return np.unique(np.concatenate([even, *(peak + around for peak in inside)]))


def _whole_steps(weight: float) -> float:
    return round(weight / STEP) * STEP


@dataclass
class Curve:
    """The coverage of one audited model by one donor, summed over slices."""

    alphas: Array
    """The weights at which it is asked, ascending: float64 [weights]."""
    width: float
    """An interval of weights narrower than this makes an element informative."""
    seed: int
    """Of the shuffles."""
    _holding: Array = field(init=False)
    _counted: Array = field(init=False)
    _shuffled: Array = field(init=False)
    _shuffled_counted: Array = field(init=False)

    def __post_init__(self) -> None:
        zeros = np.zeros((4, self.alphas.size))
        self._holding, self._counted, self._shuffled, self._shuffled_counted = zeros

    def add(self, stored: Sample, base: Array, donor: Array) -> None:
        """Count one slice. stored: the audited model's elements; base, donor: decoded,
        float64 [n] each.
        """
        low, high = stored.midpoints()
        count = self._cells if stored.is_packed else self._intervals
        held, counted = count(low, high, base, donor)
        self._holding += held
        self._counted += counted
        shuffled = np.random.default_rng(self.seed).permutation(donor - base)
        held, counted = count(low, high, base, base + shuffled)
        self._shuffled += held
        self._shuffled_counted += counted

    @property
    def informative(self) -> int:
        """How many informative elements were counted; of a packed model, under the
        weight that has most.
        """
        return int(self._counted.max())

    @property
    def seen(self) -> Array:
        """The share of informative elements that each weight explains; NaN where none
        is informative.
        """
        return _share(self._holding, self._counted)

    @property
    def by_chance(self) -> Array:
        """The share that each weight would explain with the donor's changes at shuffled
        places.
        """
        return _share(self._shuffled, self._shuffled_counted)

    def _intervals(
        self, low: Array, high: Array, base: Array, donor: Array
    ) -> tuple[Integers, Integers]:
        """By weight how many informative elements it explains, and how many there are."""
        start, end = replay_intervals(low, high, base, donor)
        start, end = sorted_ends(start, end, self.width)
        held = holding_counts(start, end, self.alphas)
        return held, np.full_like(held, start.size)

    def _cells(
        self, low: Array, high: Array, base: Array, donor: Array
    ) -> tuple[Integers, Integers]:
        """The same of packed elements."""
        ends = cell_intervals(low, high, base, donor)
        counter = CellCounter.of(*ends, self.width)
        silent = counter.silent(self.alphas)
        return counter.holding(self.alphas) - silent, counter.known - silent


def _share(counts: Array, totals: Array) -> Array:
    with np.errstate(invalid="ignore"):
        return np.asarray(counts / totals)
