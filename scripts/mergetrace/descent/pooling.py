"""Looks into many matrices pooled: the weight, how even it is, and how large it can be
at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.descent.directions import BINS, Look
from mergetrace.descent.evenness import pool
from mergetrace.descent.lattice import GRID
from mergetrace.numerics.arrays import Array
from mergetrace.records.spectrum import Along, BinWeight, Evenness, Whitened

LINEAR = 1e-9
"""Arithmetic's own errors in interpolating between weights."""
SURE = 3.0
"""Standard errors above the smallest of some twenty weights, which is small by chance
too: its upper 95 % limit.
"""


@dataclass(frozen=True)
class Seen:
    """What one matrix shows of one audited model along one donor's directions."""

    component: str
    """What the matrix is for."""
    look: Look
    """The audited model's change along the donor's directions."""
    replayed: Array
    """float64 [len(GRID), BINS]: what pure merges would show."""
    whitened: Look
    """The same, weighed by what else the changes hold."""
    whitened_replayed: Array
    """What pure merges would show, weighed alike."""
    stayed: float | None = None
    """See lattice.Rows.stayed."""
    overlap: float | None = None
    """See overlap.overlap."""
    repeated: float | None = None
    """See repeated.repeated."""
    participation: float | None = None
    """See participation.participation."""


@dataclass(frozen=True)
class _Pooled:
    """Looks into all matrices, pooled."""

    bins: tuple[BinWeight, ...]
    tail: Evenness
    weight: float
    ends: tuple[float, float]
    matrices: Evenness | None
    cells: Evenness | None
    rounded: bool


def along(
    seen: Sequence[Seen],
    reverse: Sequence[Look],
    over_rounding: float | None = None,
    reverse_whitened: Sequence[Look] = (),
) -> Along:
    """Everything that is said of one audited model and one donor.

    reverse: the donor's change along the audited model's directions, by matrix.
    over_rounding: see records.Along.
    """
    alphas, errors = _numbers([each.look for each in seen])
    pooled = _pooled(alphas, errors, [each.replayed for each in seen])
    turned = tail_of(reverse)
    if pooled is None:
        bins = _bins(alphas, errors)
        return Along(bins, None, None, None, None, None, turned, None, False)
    return Along(
        bins=pooled.bins,
        tail=pooled.tail,
        weight=pooled.weight,
        weight_ci95=pooled.ends,
        matrices=pooled.matrices,
        cells=pooled.cells,
        reverse=turned,
        least=_least(alphas, errors, [each.component for each in seen]),
        rounded=pooled.rounded,
        over_rounding=over_rounding,
        stayed=_median([each.stayed for each in seen]),
        overlap=_median([each.overlap for each in seen]),
        repeated=_median([each.repeated for each in seen]),
        participation=_median([each.participation for each in seen]),
        whitened=_whitened(seen, reverse_whitened),
    )


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def _whitened(seen: Sequence[Seen], reverse: Sequence[Look]) -> Whitened | None:
    alphas, errors = _numbers([each.whitened for each in seen])
    pooled = _pooled(alphas, errors, [each.whitened_replayed for each in seen])
    if pooled is None or pooled.matrices is None or pooled.cells is None:
        return None
    return Whitened(
        bins=pooled.bins,
        tail=pooled.tail,
        weight=pooled.weight,
        weight_ci95=pooled.ends,
        matrices=pooled.matrices,
        cells=pooled.cells,
        reverse=tail_of(reverse),
    )


def _numbers(looks: Sequence[Look]) -> tuple[Array, Array]:
    """alpha and its error, float64 [matrices, BINS]."""
    alphas = np.array([look.alpha for look in looks]).reshape(-1, BINS)
    errors = np.array([look.error for look in looks]).reshape(-1, BINS)
    return alphas, np.maximum(errors, LINEAR)  # of a copy there is no chance at all


def _pooled(alphas: Array, errors: Array, merges: Sequence[Array]) -> _Pooled | None:
    """merges: what pure ones would show, by matrix."""
    tail = pool(*tails(alphas, errors))
    if tail is None:
        return None
    replayed = np.array(merges)
    weight = _solved(tail.value, replayed, errors)
    pure = np.array([pure_alphas(weight, each) for each in replayed])
    rounded = bool(np.abs(pure - weight).max() > LINEAR)
    # About the measured tail, so that what rounding adds in some matrices is taken off.
    even = alphas - pure + (tail.value if rounded else weight)
    ends = (
        _solved(tail.low, replayed, errors),
        _solved(tail.high, replayed, errors),
    )
    return _Pooled(
        bins=_bins(alphas, errors),
        tail=tail,
        weight=weight,
        ends=ends,
        matrices=pool(*tails(even, errors)),
        cells=pool(even[:, 1:].ravel(), errors[:, 1:].ravel()),
        rounded=rounded,
    )


def tails(alphas: Array, errors: Array) -> tuple[Array, Array]:
    """All bins beyond the first of every matrix pooled, and the standard errors.

    alphas, errors: float64 [matrices, BINS].
    """
    weights = 1 / errors[:, 1:] ** 2
    total = weights.sum(axis=1)
    return (weights * alphas[:, 1:]).sum(axis=1) / total, total**-0.5


def pure_alphas(weight: float, replayed: Array) -> Array:
    """What a pure merge at a weight would show in one matrix, float64 [BINS].

    replayed: float64 [len(GRID), BINS].
    """
    if not GRID[0] <= weight <= GRID[-1]:
        return np.full(BINS, weight)
    place = min(int(np.searchsorted(GRID, weight, "right")), len(GRID) - 1)
    part = (weight - GRID[place - 1]) / (GRID[place] - GRID[place - 1])
    found: Array = (1 - part) * replayed[place - 1] + part * replayed[place]
    return found


def tail_of(looks: Sequence[Look]) -> Evenness | None:
    """The tails of several matrices pooled."""
    return pool(*tails(*_numbers(looks)))


def _bins(alphas: Array, errors: Array) -> tuple[BinWeight, ...]:
    return tuple(_bin(alphas[:, place], errors[:, place]) for place in range(BINS))


def _bin(values: Array, errors: Array) -> BinWeight:
    pooled = pool(values, errors)
    if pooled is None:
        return BinWeight(None, None)
    return BinWeight(pooled.value, (pooled.high - pooled.low) / 4)


def _solved(tail: float, replayed: Array, errors: Array) -> float:
    """The weight at which pure merges show this tail; beyond the ends of GRID as it is
    measured.
    """
    weights = 1 / errors[:, 1:] ** 2
    shown = (replayed[:, :, 1:] * weights[:, None]).sum(axis=(0, 2)) / weights.sum()
    shown = np.maximum.accumulate(shown)
    if not shown[0] < tail < shown[-1]:
        return tail
    return float(np.interp(tail, shown, GRID))


def _least(alphas: Array, errors: Array, components: Sequence[str]) -> float | None:
    """The upper limit of the smallest weight, by component and bin beyond the first: a
    blend holds its weight in each.
    """
    limits = []
    of = np.array(components)
    for component in sorted(set(components)):
        own = of == component
        for place in range(1, BINS):
            pooled = pool(alphas[own, place], errors[own, place])
            if pooled is not None:
                error = max((pooled.high - pooled.low) / 4, 0.0)
                limits.append(pooled.value + SURE * error)
    return float(min(limits)) if limits else None
