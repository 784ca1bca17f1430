"""What a merge that drops elements leaves behind, where no formula can give it back:
random masks, and choices by other rules.

Survivors of a drop are base + weight * delta, exactly, whatever chose them; which
elements survived, seen against the size of the delta, names the family: DARE drops at
random (Yu et al. 2024, arXiv 2311.03099), DELLA with a probability that falls with the
rank of |delta| (Deep et al. 2024, arXiv 2406.11617), TIES the smallest, breadcrumbs
both tails (Davari & Belilovsky 2023, arXiv 2312.06795).
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mergetrace.merging.applying import Piece
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.rounding import replay, replay_intervals
from mergetrace.search.trial import Trial, narrow

BINS = 10
MIN_MOVED = 200  # elements of a piece; fewer measure nothing
SLACK = 0.005  # of a change: narrow arithmetic takes several roundings to it

# By which pattern a choice is called. They name it and no more: whether anything was
# dropped at all is for the verdict to say.
# within which ten shares are one, or on one line: of 2,000 elements each they lie .035
# apart by chance
LEVEL = 0.06
# of 1/2, within which a coin chose: by chance the auc of 20,000 elements strays .004
EVEN = 0.03
# the auc where all smaller ones were dropped; less than 1 where deltas of one size were
# kept and dropped
SORTED = 0.97
# by how much more is kept of each tenth of the sizes where the chance grows with rank:
# by mergekit's default epsilon, .15, about .015
RISE = 0.01
LESS_AT_TOP = 0.05
# by how much fewer of the largest and of the smallest are kept than between, where both
# were dropped
LESS_AT_BOTTOM = 0.2


def signature(trial: Trial, donors: tuple[str, ...]) -> dict[str, Any] | None:
    """What a dropping merge of these donors would have left, the strongest donor first;
    None where nothing could be measured.

    stayed: share of well separated elements at the base's value, in slices where not all are. survivors: share of the others that one weight per
    slice explains, and the same with the donor's deltas shuffled; weight: of the survivors. kept_by_size: share kept in ten classes of |delta|,
    smallest first; auc: chance that a kept delta is larger than a dropped one. unscaled_weight: the weight before survivors were scaled to the sum
    of |delta| that all had, as DARE and DELLA do.
    family: dare, della, ties, breadcrumbs, selection (another choice), of several donors `dropped`: the pattern of what was kept, whether or not
    the numbers are those of a dropping merge.
    """
    found = [
        measured
        for piece in trial.pieces
        if (measured := _measure(trial, piece, donors)) is not None
    ]
    if not found:
        return None
    weights = [one["moved"] for one in found]
    total = sum(one["informative"] for one in found)
    kept_by_size = np.sum([one["kept_by_size"] for one in found], axis=0) / np.sum(
        [one["by_size"] for one in found], axis=0
    )
    numbers = {
        "donors": list(donors),
        "informative": total,
        "stayed": 1 - sum(weights) / total,
        "survivors": float(
            np.average([one["survivors"] for one in found], weights=weights)
        ),
        "survivors_shuffled": float(
            np.average([one["shuffled"] for one in found], weights=weights)
        ),
        "weights": {
            donor: float(np.median([one["weights"][i] for one in found]))
            for i, donor in enumerate(donors)
        },
        "auc": float(np.average([one["auc"] for one in found], weights=weights)),
        "kept_by_size": [float(share) for share in kept_by_size],
    }
    family = _family(numbers)
    numbers["unscaled_weight"] = (
        float(np.median([one["weights"][0] * one["mass"] for one in found]))
        if len(donors) == 1
        else None
    )
    density = 1 - numbers["stayed"] if len(donors) == 1 else None
    return {"family": family, "density": density, **numbers}


def _measure(
    trial: Trial, piece: Piece, donors: tuple[str, ...]
) -> dict[str, Any] | None:
    base = piece.values[trial.frame.base]
    stored = piece.audited_values
    far = np.logical_and.reduce(
        [narrow(piece, (trial.frame.base, donor), trial.width) for donor in donors]
    )
    far &= _touched(
        piece,
        far & (stored != base),
        # experts that stayed whole, between others that moved whole, were not dropped from
    )
    moved = far & (stored != base)
    if moved.sum() < MIN_MOVED:
        return None
    low, high = (ends[moved] - base[moved] for ends in piece.audited.midpoints())
    deltas = [piece.values[donor][moved] - base[moved] for donor in donors]
    generator = np.random.default_rng(0)
    weights = _weights(low, high, deltas, trial.width)
    size = np.abs(piece.values[donors[0]] - base)[far]
    kept = moved[far]
    ranks = pd.Series(size).rank().to_numpy()
    classes = np.minimum((ranks - 1) * BINS // len(ranks), BINS - 1).astype(int)
    dropped = int((~kept).sum())
    larger = (
        (ranks[kept].sum() - kept.sum() * (kept.sum() + 1) / 2) / (kept.sum() * dropped)
        if dropped
        else np.nan
    )
    return {
        "informative": int(far.sum()),
        "moved": int(moved.sum()),
        "survivors": _explained(low, high, deltas, weights, trial.width),
        "shuffled": _shuffled(low, high, deltas, trial.width, generator),
        "weights": weights,
        "mass": float(size[kept].sum() / size.sum()),
        "auc": 0.5 if np.isnan(larger) else float(larger),
        "kept_by_size": np.bincount(classes, kept, BINS),
        "by_size": np.bincount(classes, minlength=BINS),
    }


def _touched(piece: Piece, moved: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The elements of those slices in which anything moved: bool [n]."""
    return np.concatenate(
        [np.full(len(part), part.any()) for part in np.split(moved, piece.ends[:-1])]
    )


def _weights(low: Array, high: Array, deltas: list[Array], width: float) -> list[float]:
    """Each donor's weight on its own survivors: the weight that most moved elements
    share.
    """
    zero = np.zeros_like(low)
    return [
        replay(*replay_intervals(low, high, zero, delta), width).alpha
        for delta in deltas
    ]


def _explained(
    low: Array, high: Array, deltas: list[Array], weights: list[float], width: float
) -> float:
    """The share of elements that some non-empty subset of the weighted deltas gives
    back: their sum, or (two donors) their average.

    Methods that divide by the weights of what was kept average two survivors and leave
    a single one as it is.
    """
    singles = [weight * delta for delta, weight in zip(deltas, weights, strict=True)]
    alone = np.logical_or.reduce([_hit(low, high, one) for one in singles])
    if len(singles) == 1:
        return float(alone.mean())
    sums = [np.zeros_like(low)]
    for single in singles:
        sums += [one + single for one in sums]
    added = alone | np.logical_or.reduce([_hit(low, high, one) for one in sums[1:]])
    if len(singles) > 2:
        return float(added.mean())
    rest = [part[~alone] for part in (low, high, *singles)]
    share = replay(
        *replay_intervals(*rest), width
    ).alpha  # of the second donor, on which most of the others agree
    averaged = (
        alone | _hit(low, high, (1 - share) * singles[0] + share * singles[1])
        if 0 < share < 1
        else alone
    )
    return float(max(added.mean(), averaged.mean()))


def _hit(low: Array, high: Array, change: Array) -> NDArray[np.bool_]:
    """Where a change gives the stored number, to SLACK of the change."""
    slack = SLACK * np.abs(change)
    return (change >= low - slack) & (change <= high + slack)


def _shuffled(
    low: Array,
    high: Array,
    deltas: list[Array],
    width: float,
    generator: np.random.Generator,
) -> float:
    """What the same search explains with the deltas at other elements."""
    elsewhere = [generator.permutation(delta) for delta in deltas]
    return _explained(
        low, high, elsewhere, _weights(low, high, elsewhere, width), width
    )


def _family(numbers: dict[str, Any]) -> str:
    if len(numbers["donors"]) > 1:
        return "dropped"
    kept = np.array(numbers["kept_by_size"])
    auc = numbers["auc"]
    classes = np.arange(BINS)
    slope, start = np.polyfit(classes, kept, 1)
    middle = kept[3:8].max()
    families = {
        "dare": np.ptp(kept) < LEVEL and abs(auc - 0.5) < EVEN,
        "ties": auc > SORTED,
        "breadcrumbs": (
            kept[-1] < middle - LESS_AT_TOP and kept[0] < middle - LESS_AT_BOTTOM
        ),
        "della": (
            slope > RISE and np.abs(kept - (slope * classes + start)).max() < LEVEL
        ),
    }
    return next((family for family, is_so in families.items() if is_so), "selection")
