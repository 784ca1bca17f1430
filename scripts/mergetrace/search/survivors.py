"""What a merge that chooses elements left at the base, and what it kept: how many
stayed, the weight of those that moved, the run of sizes that was kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from mergetrace.merging.applying import Piece
from mergetrace.numerics.arrays import Array, Mask
from mergetrace.numerics.rounding import replay, replay_intervals
from mergetrace.numerics.simple import Interval, decimals
from mergetrace.search.clues import SUM_SLACK
from mergetrace.search.counting import confining_elements
from mergetrace.search.trial import Trial

States = NDArray[np.int8]
"""Per element: 1 where a donor's change was kept, -1 where it was dropped, 0 where that
is not known.
"""

MIN_SHARED_WEIGHT = 0.1
"""A weight counts where at least this share of the moved elements agree on it."""
CHANGE_SLACK = 0.005
"""Of a change: narrow arithmetic takes several roundings to it. Shuffled elements, with
which a verdict compares, are given as much.
"""


@dataclass(frozen=True)
class KeptRun:
    """The run of delta sizes that a magnitude rule kept, in shares of all elements."""

    density_low: float
    """The least share kept. It is an interval because deltas of equal size are kept in
    any order.
    """
    density_high: float
    """The greatest share kept."""
    top: float
    """The share of larger deltas left out."""
    largest_dropped: float
    """The size of the largest delta behind the run; 0 where none is known."""
    smallest_kept: float
    """The size of the smallest in it."""


def stayed_share(trial: Trial, donors: Sequence[str]) -> float:
    """The share of elements at the base's value among those that every donor moved far."""
    base = trial.frame.base
    stayed = total = 0
    for piece in trial.pieces:
        base_values = piece.values[base]
        far = np.logical_and.reduce(
            [confining_elements(piece, (base, donor), trial.width) for donor in donors]
        )
        stayed += int((piece.audited_values[far] == base_values[far]).sum())
        total += int(far.sum())
    return stayed / total if total else 0.0


def survivor_weights(trial: Trial, donor: str) -> list[float]:
    """Short decimals for the weight of the deltas that were kept: the weight on which
    most of the moved elements agree. None where too few agree.
    """
    ends = [_survivor_intervals(piece, trial, donor) for piece in trial.pieces]
    start, end = np.concatenate(ends, axis=1)
    shared = replay(start, end, trial.width)
    too_few = not shared.informative or shared.coverage < MIN_SHARED_WEIGHT
    if too_few or shared.alpha <= 0:
        return []
    for digits in range(1, 7):
        short = decimals(shared.low - SUM_SLACK, shared.high + SUM_SLACK, digits)
        if short:
            return short
    return [shared.alpha]


def _survivor_intervals(piece: Piece, trial: Trial, donor: str) -> Array:
    """The weights that each moved element allows: least and most, float64 [2, moved]."""
    base = trial.frame.base
    base_values = piece.values[base]
    low, high = piece.audited.midpoints()
    moved = confining_elements(piece, (base, donor), trial.width)
    moved = moved & (piece.audited_values != base_values)
    intervals = replay_intervals(
        low[moved], high[moved], base_values[moved], piece.values[donor][moved]
    )
    return np.stack(intervals)


def kept_runs(
    trial: Trial, donors: Sequence[str], weights: Sequence[float]
) -> list[list[KeptRun]]:
    """By donor, the run that was kept in each piece where one shows. weights: the
    donors'.
    """
    base = trial.frame.base
    runs: list[list[KeptRun]] = [[] for _ in donors]
    for piece in trial.pieces:
        states = element_states(piece, base, donors, weights)
        for donor_runs, donor, donor_states in zip(runs, donors, states, strict=True):
            sizes = np.abs(piece.values[donor] - piece.values[base])
            run = kept_run(sizes, donor_states)
            if run is not None:
                donor_runs.append(run)
    return runs


def kept_run(sizes: Array, states: States) -> KeptRun | None:
    """The run of delta sizes that a magnitude rule kept, or None where nothing was.

    Elements are ordered by size, the largest first; the run of greatest sum of states is
    what was kept (Bentley 1984, Communications of the ACM 27, 865).
    """
    order = np.argsort(-sizes, kind="stable")
    ranked = sizes[order]
    ranked_states = states[order]
    sums = np.concatenate([[0], np.cumsum(ranked_states)])
    end = int(np.argmax(sums - np.minimum.accumulate(sums)))
    if not end:
        return None
    first = int(np.argmin(sums[: end + 1]))
    known_after = np.flatnonzero(ranked_states[end:])
    following = end + int(known_after[0]) if known_after.size else len(sizes) - 1
    least_end = np.searchsorted(-ranked, -ranked[end - 1], side="left")
    most_end = np.searchsorted(-ranked, -ranked[following], side="right")
    count = len(sizes)
    return KeptRun(
        density_low=float((least_end - first) / count),
        density_high=float((most_end + 1 - first) / count),
        top=first / count,
        largest_dropped=float(ranked[following]) if known_after.size else 0.0,
        smallest_kept=float(ranked[end - 1]),
    )


def element_states(
    piece: Piece, base: str, donors: Sequence[str], weights: Sequence[float]
) -> list[States]:
    """By donor, whether its weighted delta is in the change of each element; 0 also
    where several subsets of the donors, or none, would do.
    """
    base_values = piece.values[base]
    low, high = piece.audited.midpoints()
    deltas = [
        weight * (piece.values[donor] - base_values)
        for donor, weight in zip(donors, weights, strict=True)
    ]
    fits = {}
    for subset in subsets_of(len(donors)):
        change = np.zeros_like(base_values)
        for i in subset:
            change = change + deltas[i]
        slack = CHANGE_SLACK * np.abs(change)
        possible = base_values + change >= low - slack
        fits[subset] = possible & (base_values + change <= high + slack)
    return stated(fits, len(donors), piece.size)


def stated(
    fits: Mapping[tuple[int, ...], Mask], donors: int, elements: int
) -> list[States]:
    """By donor what the elements say of it. fits: by subset of the donors the elements
    that it would give.
    """
    present = [np.zeros(elements, bool) for _ in range(donors)]
    absent = [np.zeros(elements, bool) for _ in range(donors)]
    for subset, possible in fits.items():
        for i in range(donors):
            states = present[i] if i in subset else absent[i]
            states |= possible
    return [
        kept.astype(np.int8) - dropped.astype(np.int8)
        for kept, dropped in zip(present, absent, strict=True)
    ]


def survivor_range(piece: Piece, trial: Trial, donor: str) -> Interval | None:
    """The weights of the deltas that one tensor kept, on which most of the moved
    elements agree; None where too few do.
    """
    start, end = _survivor_intervals(piece, trial, donor)
    shared = replay(start, end, trial.width)
    too_few = not shared.informative or shared.coverage < MIN_SHARED_WEIGHT
    return None if too_few else (shared.low, shared.high)


def subsets_of(count: int) -> Iterator[tuple[int, ...]]:
    """Every subset of so many things, the empty one first."""
    for size in range(count + 1):
        yield from combinations(range(count), size)
