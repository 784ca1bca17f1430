"""The replay of one slice's evidence under one frame: which blend weight towards each
donor explains most stored numbers, and what a pure merge at it would have shown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from mergetrace.fit.estimators import cosine
from mergetrace.numerics.arithmetic import to_float32
from mergetrace.numerics.arrays import Array, Integers, Mask
from mergetrace.numerics.cell_replay import (
    cell_intervals,
    informative_cells,
    replay_cells,
    shuffled_cells,
)
from mergetrace.numerics.rounding import (
    NOTHING,
    Replay,
    replay,
    replay_intervals,
    shuffled_coverage,
)
from mergetrace.sums.as_stored import round_as_stored
from mergetrace.sums.evidence import Sample, only_usable
from mergetrace.sums.frames import Frame
from mergetrace.tables.naming import of_donor, of_pair

NAN = float("nan")


@dataclass(frozen=True)
class DonorReplay:
    """The replay towards one donor on its own."""

    weight: Replay
    """The weight that explains most informative elements, and its coverage."""
    coverage_shuffled: float
    """What the best weight covers by chance: with the donor's changes at shuffled
    places.
    """


@dataclass(frozen=True)
class PureMerge:
    """The donor of greatest coverage, and what a pure merge at its weight would have
    shown on the same elements. All NaN where no element is informative.
    """

    alpha_replay: float = NAN
    """Its weight."""
    alpha_replay_low: float = NAN
    alpha_replay_high: float = NAN
    """Between these ends that coverage lasts."""
    coverage: float = NAN
    alpha_expected: float = NAN
    """Least squares of the pure merge: what rounding does to alpha."""
    cos_expected: float = NAN
    """Its cosine."""


@dataclass(frozen=True)
class SliceReplay:
    """The replay of one slice."""

    by_donor: tuple[DonorReplay, ...]
    """In the frame's order."""
    explained_alone: Integers
    """int64 [k, k]: elements that one donor explains at its weight and the other does
    not at its own.
    """
    pure: PureMerge

    def columns(self, donors: Sequence[str]) -> dict[str, Any]:
        """The replay's part of the slice's row in the table of fits."""
        row: dict[str, Any] = {}
        for donor, of_one in zip(donors, self.by_donor, strict=True):
            weight = of_one.weight
            numbers = {
                "replay": weight.alpha,
                "replay_low": weight.low,
                "replay_high": weight.high,
                "coverage": weight.coverage,
                "coverage_base": weight.coverage_base,
                "coverage_donor": weight.coverage_donor,
                "coverage_shuffled": of_one.coverage_shuffled,
                "informative": weight.informative,
            }
            row |= {of_donor(name, donor): value for name, value in numbers.items()}
        for i, j in permutations(range(len(donors)), 2):
            count = int(self.explained_alone[i, j])
            row[of_pair("only", donors[i], donors[j])] = count
        return row | vars(self.pure)


def replay_slice(
    samples: Mapping[str, Sample], frame: Frame, width: float, seed: int
) -> SliceReplay:
    """Replay one slice's evidence towards every donor on its own.

    samples: by model. width: an interval of weights narrower than this makes an element
    informative. seed: of the shuffle.
    """
    samples = only_usable(samples, frame.models)
    audited = samples[frame.audited].on_lattice()
    base = samples[frame.base].values()
    values = [samples[donor].values() for donor in frame.donors]
    replays = []
    explained = []
    for donor_values in values:
        of_one, explained_by_it = _replay(audited, base, donor_values, width, seed)
        replays.append(of_one)
        explained.append(explained_by_it)
    best = _greatest_coverage(replays)
    if best is None:
        pure = PureMerge()
    else:
        pure = _pure_merge(audited, base, values[best], replays[best].weight)
    return SliceReplay(tuple(replays), _alone(explained), pure)


def _replay(
    audited: Sample, base: Array, donor: Array, width: float, seed: int
) -> tuple[DonorReplay, Mask]:
    """The replay towards one donor, and which elements its weight explains."""
    if audited.is_packed:
        return _replay_cells(audited, base, donor, width, seed)
    if audited.dtype == "F64":  # no lattice finer than float64 to confine anything
        return DonorReplay(NOTHING, NAN), np.zeros(len(base), bool)
    low, high = audited.midpoints()
    start, end = replay_intervals(low, high, base, donor)
    weight = replay(start, end, width)
    holds = (start <= weight.alpha) & (weight.alpha <= end)
    by_chance = shuffled_coverage(low, high, base, donor, width, seed)
    return DonorReplay(weight, by_chance), holds & (end - start < width)


def _replay_cells(
    audited: Sample, base: Array, donor: Array, width: float, seed: int
) -> tuple[DonorReplay, Mask]:
    """The same of a packed sample."""
    low, high = audited.midpoints()
    start, end = cell_intervals(low, high, base, donor)
    weight = replay_cells(start, end, width)
    holds = (start <= weight.alpha) & (weight.alpha <= end)
    by_chance = shuffled_cells(low, high, base, donor, width, seed)
    could_refute = informative_cells(start, end, weight.alpha, width)
    return DonorReplay(weight, by_chance), holds & could_refute


def _greatest_coverage(replays: Sequence[DonorReplay]) -> int | None:
    """The index of the donor of greatest coverage; None where there is no coverage."""
    known = [i for i, one in enumerate(replays) if not np.isnan(one.weight.coverage)]
    return max(known, key=lambda i: replays[i].weight.coverage, default=None)


def _pure_merge(
    audited: Sample, base: Array, donor: Array, weight: Replay
) -> PureMerge:
    alpha = weight.alpha
    replica = round_as_stored(to_float32((1 - alpha) * base + alpha * donor), audited)
    u = replica - base
    v = donor - base
    finite = np.isfinite(u) & np.isfinite(v)
    u = u[finite]
    v = v[finite]
    return PureMerge(
        alpha_replay=alpha,
        alpha_replay_low=weight.low,
        alpha_replay_high=weight.high,
        coverage=weight.coverage,
        alpha_expected=float(u @ v / (v @ v)) if v.any() else NAN,
        cos_expected=cosine(float(u @ v), float(u @ u), float(v @ v)),
    )


def _alone(explained: Sequence[Mask]) -> Integers:
    """int64 [k, k]: elements of the first mask that are not of the second."""
    alone = [[int((one & ~other).sum()) for other in explained] for one in explained]
    return np.array(alone)
