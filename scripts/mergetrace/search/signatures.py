"""What a merge that drops elements leaves behind, where no formula can give it back:
random masks, and choices by other rules.

Survivors of a drop are base + weight * delta, exactly, whatever chose them; which
elements survived, seen against the size of the delta, names the family: DARE drops at
random (Yu et al. 2024, arXiv 2311.03099), DELLA with a probability that falls with the
rank of |delta| (Deep et al. 2024, arXiv 2406.11617), TIES the smallest, breadcrumbs
both tails (Davari & Belilovsky 2023, arXiv 2312.06795).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mergetrace.merging.applying import Piece
from mergetrace.numerics.arrays import AnyArray, Array, Mask
from mergetrace.numerics.rounding import replay, replay_intervals
from mergetrace.records.recipe_search import Signature
from mergetrace.search.counting import confining_elements
from mergetrace.search.survivors import CHANGE_SLACK
from mergetrace.search.trial import Trial

SIZE_CLASSES = 10
MIN_MOVED_ELEMENTS = 200
"""Of a piece; of fewer nothing is measured, and the piece is left out."""
MIDDLE_CLASSES = slice(3, 8)

# The limits by which the pattern of a choice is named. They name it and no more:
# whether anything was dropped at all is for the verdict to say.
LEVEL_SPREAD = 0.06
"""Within which ten shares are one, or on one line: of 2,000 elements each they lie .035
apart by chance.
"""
COIN_AUC_DISTANCE = 0.03
"""From 1/2, within which a coin chose: by chance the auc of 20,000 elements strays
.004.
"""
SORTED_AUC = 0.97
"""The auc where all smaller ones were dropped; less than 1 where deltas of one size were
kept and dropped.
"""
MIN_RISE = 0.01
"""By how much more is kept of each tenth of the sizes where the chance grows with rank:
by mergekit's default epsilon, .15, about .015.
"""
MIN_LOSS_AT_TOP = 0.05
"""By how much fewer of the largest are kept than between, where both tails were
dropped.
"""
MIN_LOSS_AT_BOTTOM = 0.2
"""The same of the smallest."""


@dataclass(frozen=True)
class PieceSignature:
    """The numbers of a Signature in one piece."""

    informative: int
    moved: int
    survivors: float
    survivors_shuffled: float
    weights: tuple[float, ...]
    """One for each donor."""
    kept_mass: float
    """The sum of |delta| that was kept over that of all, of the first donor."""
    auc: float
    kept_by_size: AnyArray
    """Elements kept in each class of |delta|: float64 [SIZE_CLASSES]."""
    elements_by_size: AnyArray
    """Elements in each class: int64 [SIZE_CLASSES]."""


def measure_signature(trial: Trial, donors: tuple[str, ...]) -> Signature | None:
    """What a dropping merge of these donors would have left, the strongest donor first;
    None where nothing could be measured.

    The family is dare, della, ties, breadcrumbs or selection (another choice), of
    several donors `dropped`: the pattern of what was kept, whether or not the numbers
    are those of a dropping merge.
    """
    measured = [_measure_piece(trial, piece, donors) for piece in trial.pieces]
    pieces = [piece for piece in measured if piece is not None]
    if not pieces:
        return None
    moved = [piece.moved for piece in pieces]
    informative = sum(piece.informative for piece in pieces)
    stayed = 1 - sum(moved) / informative
    kept = np.sum([piece.kept_by_size for piece in pieces], axis=0)
    elements = np.sum([piece.elements_by_size for piece in pieces], axis=0)
    kept_by_size = kept / np.maximum(elements, 1)  # few pieces may leave a class empty
    auc = float(np.average([piece.auc for piece in pieces], weights=moved))
    shuffled = [piece.survivors_shuffled for piece in pieces]
    survivors = [piece.survivors for piece in pieces]
    single = len(donors) == 1
    return Signature(
        family=_family(kept_by_size, auc) if single else "dropped",
        density=1 - stayed if single else None,
        donors=donors,
        informative=informative,
        stayed=stayed,
        survivors=float(np.average(survivors, weights=moved)),
        survivors_shuffled=float(np.average(shuffled, weights=moved)),
        weights=_median_weights(donors, pieces),
        auc=auc,
        kept_by_size=tuple(kept_by_size.tolist()),
        unscaled_weight=_unscaled_weight(pieces) if single else None,
    )


def _median_weights(
    donors: Sequence[str], pieces: Sequence[PieceSignature]
) -> dict[str, float]:
    return {
        donor: float(np.median([piece.weights[i] for piece in pieces]))
        for i, donor in enumerate(donors)
    }


def _unscaled_weight(pieces: Sequence[PieceSignature]) -> float:
    return float(np.median([piece.weights[0] * piece.kept_mass for piece in pieces]))


def _measure_piece(
    trial: Trial, piece: Piece, donors: tuple[str, ...]
) -> PieceSignature | None:
    """None where too few elements moved."""
    base = piece.values[trial.frame.base]
    differs = piece.audited_values != base
    far = np.logical_and.reduce(
        [
            confining_elements(piece, (trial.frame.base, donor), trial.width)
            for donor in donors
        ]
    )
    # Experts that stayed whole, between others that moved whole, were not dropped from.
    far &= _in_touched_slices(piece, far & differs)
    moved = far & differs
    if moved.sum() < MIN_MOVED_ELEMENTS:
        return None
    below, above = (end - base for end in piece.audited.midpoints())
    changes = [piece.values[donor] - base for donor in donors]
    low, high = below[moved], above[moved]
    deltas = [change[moved] for change in changes]
    generator = np.random.default_rng(0)
    weights = _survivor_weights(low, high, deltas, trial.width)
    far &= moved | ~_rounded_away(below, above, changes, weights)
    sizes = np.abs(piece.values[donors[0]] - base)[far]
    kept = moved[far]
    ranks = np.asarray(pd.Series(sizes).rank(), np.float64)
    classes = (ranks - 1) * SIZE_CLASSES // len(ranks)
    classes = np.minimum(classes, SIZE_CLASSES - 1).astype(int)
    return PieceSignature(
        informative=int(far.sum()),
        moved=int(moved.sum()),
        survivors=_explained_share(low, high, deltas, weights, trial.width),
        survivors_shuffled=_shuffled_share(low, high, deltas, trial.width, generator),
        weights=tuple(weights),
        kept_mass=float(sizes[kept].sum() / sizes.sum()),
        auc=_auc(ranks, kept),
        kept_by_size=np.bincount(classes, kept, SIZE_CLASSES),
        elements_by_size=np.bincount(classes, minlength=SIZE_CLASSES),
    )


def _in_touched_slices(piece: Piece, moved: Mask) -> Mask:
    """The elements of those slices in which anything moved: bool [n]."""
    slices = np.split(moved, piece.ends[:-1])
    return np.concatenate([np.full(len(part), part.any()) for part in slices])


def _auc(ranks: Array, kept: Mask) -> float:
    """The chance that a kept delta is larger than a dropped one, from the rank sum
    (Mann & Whitney 1947, Ann. Math. Stat. 18, 50); a half where none was dropped.
    """
    dropped = int((~kept).sum())
    if not dropped:
        return 0.5
    count = kept.sum()
    larger = (ranks[kept].sum() - count * (count + 1) / 2) / (count * dropped)
    return 0.5 if np.isnan(larger) else float(larger)


def _survivor_weights(
    low: Array, high: Array, deltas: Sequence[Array], width: float
) -> list[float]:
    """Each donor's weight on its own survivors: the weight that most moved elements
    share.
    """
    zero = np.zeros_like(low)
    return [
        replay(*replay_intervals(low, high, zero, delta), width).alpha
        for delta in deltas
    ]


def _rounded_away(
    low: Array, high: Array, changes: Sequence[Array], weights: Sequence[float]
) -> Mask:
    """Where a weighted change leaves the base's number, once it is rounded: what stayed
    there need not have been dropped. low, high: the cell of the audited number, and
    changes: the donors', from the base, float64 [n] each.
    """
    weighted = [
        weight * change for weight, change in zip(weights, changes, strict=True)
    ]
    return _any_gives_back(low, high, weighted)


def _explained_share(
    low: Array,
    high: Array,
    deltas: Sequence[Array],
    weights: Sequence[float],
    width: float,
) -> float:
    """The share of elements that some non-empty subset of the weighted deltas gives
    back: their sum, or (two donors) their average.

    Methods that divide by the weights of what was kept average two survivors and leave
    a single one as it is.
    """
    changes = [weight * delta for delta, weight in zip(deltas, weights, strict=True)]
    alone = _any_gives_back(low, high, changes)
    if len(changes) == 1:
        return float(alone.mean())
    sums = [np.zeros_like(low)]
    for change in changes:
        sums += [partial + change for partial in sums]
    added = alone | _any_gives_back(low, high, sums[1:])
    if len(changes) > 2:
        return float(added.mean())
    averaged = alone | _average_gives_back(low, high, changes, ~alone, width)
    return float(max(added.mean(), averaged.mean()))


def _average_gives_back(
    low: Array, high: Array, changes: Sequence[Array], among: Mask, width: float
) -> Mask:
    """Where an average of two changes gives the stored number, with the second's share
    on which most of the elements `among` agree.
    """
    first, second = changes
    intervals = replay_intervals(low[among], high[among], first[among], second[among])
    share = replay(*intervals, width).alpha
    if not 0 < share < 1:
        return np.zeros(low.shape, bool)
    return _gives_back(low, high, (1 - share) * first + share * second)


def _any_gives_back(low: Array, high: Array, changes: Sequence[Array]) -> Mask:
    given_back = np.zeros(low.shape, bool)
    for change in changes:
        given_back |= _gives_back(low, high, change)
    return given_back


def _gives_back(low: Array, high: Array, change: Array) -> Mask:
    """Where a change gives the stored number, to CHANGE_SLACK of the change."""
    slack = CHANGE_SLACK * np.abs(change)
    gives_back: Mask = (change >= low - slack) & (change <= high + slack)
    return gives_back


def _shuffled_share(
    low: Array,
    high: Array,
    deltas: Sequence[Array],
    width: float,
    generator: np.random.Generator,
) -> float:
    """What the same search explains with the deltas at other elements."""
    elsewhere = [generator.permutation(delta) for delta in deltas]
    weights = _survivor_weights(low, high, elsewhere, width)
    return _explained_share(low, high, elsewhere, weights, width)


def _family(kept_by_size: Array, auc: float) -> str:
    """The family whose pattern of what was kept this is, the first that fits."""
    by_coin = abs(auc - 0.5) < COIN_AUC_DISTANCE
    if np.ptp(kept_by_size) < LEVEL_SPREAD and by_coin:
        return "dare"
    if auc > SORTED_AUC:
        return "ties"
    most_between = kept_by_size[MIDDLE_CLASSES].max()
    fewer_at_top = kept_by_size[-1] < most_between - MIN_LOSS_AT_TOP
    fewer_at_bottom = kept_by_size[0] < most_between - MIN_LOSS_AT_BOTTOM
    if fewer_at_top and fewer_at_bottom:
        return "breadcrumbs"
    classes = np.arange(SIZE_CLASSES)
    slope, start = np.polyfit(classes, kept_by_size, 1)
    from_line = np.abs(kept_by_size - (slope * classes + start)).max()
    if slope > MIN_RISE and from_line < LEVEL_SPREAD:
        return "della"
    return "selection"
