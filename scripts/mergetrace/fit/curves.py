"""Coverage as a curve: how much of the evidence each blend weight would explain, and
how much by chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mergetrace.numerics.arrays import Array, Integers
from mergetrace.numerics.rounding import holding_counts, replay_intervals, sorted_ends

LOW = -0.25
HIGH = 1.25
STEP = 0.005  # weights of the curve; a merge may reach a little beyond its parents


def grid(peaks: Sequence[float]) -> Array:
    """The weights to look at: evenly spread, and closer around the peaks, which may be
    too narrow to meet one of them. float64, ascending.
    """
    even = np.linspace(LOW, HIGH, round((HIGH - LOW) / STEP) + 1).round(6)
    around = np.linspace(-4 * STEP, 4 * STEP, 81)
    return np.unique(
        np.concatenate([even, *(peak + around for peak in peaks if LOW < peak < HIGH)])
    )


@dataclass
class Curve:
    """The coverage of one audited model by one donor, at `alphas`, summed over slices.
    width: see rounding.replay; seed: of the shuffles.
    """

    alphas: Array
    width: float
    seed: int
    informative: int = 0
    _holding: Array = field(init=False)
    _shuffled: Array = field(init=False)
    _shuffled_informative: int = 0

    def __post_init__(self) -> None:
        self._holding = np.zeros(self.alphas.size)
        self._shuffled = np.zeros(self.alphas.size)

    def add(self, low: Array, high: Array, base: Array, donor: Array) -> None:
        """Count one slice. low, high: midpoints of the stored numbers; base, donor:
        decoded; float64 [n] each.
        """
        held, count = self._held(low, high, base, donor)
        self._holding += held
        self.informative += count
        held, count = self._held(
            low,
            high,
            base,
            base + np.random.default_rng(self.seed).permutation(donor - base),
        )
        self._shuffled += held
        self._shuffled_informative += count

    @property
    def seen(self) -> Array:
        """The share of informative elements that each weight explains; NaN where none
        is informative.
        """
        return _share(self._holding, self.informative)

    @property
    def by_chance(self) -> Array:
        """The same with the donor's changes at shuffled places."""
        return _share(self._shuffled, self._shuffled_informative)

    def _held(
        self, low: Array, high: Array, base: Array, donor: Array
    ) -> tuple[Integers, int]:
        start, end = replay_intervals(low, high, base, donor)
        start, end = sorted_ends(start, end, self.width)
        return holding_counts(start, end, self.alphas), start.size


def _share(counts: Array, total: int) -> Array:
    return counts / total if total else np.full(counts.size, np.nan)
