"""What the fits of one frame say about recipes worth trying, and what all proposers
share.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mergetrace.merging.recipes import Recipe
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.rounding import replay
from mergetrace.numerics.simple import Interval
from mergetrace.search.shares import least_squares, visible_donors
from mergetrace.search.trial import Trial
from mergetrace.sums.frames import Frame
from mergetrace.tables.naming import of_donor

NARROW_DTYPES = ("bfloat16",)
"""The narrow arithmetic that merges are made in."""
FAMILY_FOUND_RATE = 0.98
"""A pilot rate from which a family counts as found: harder variants of it are not
tried. It only saves time.
"""
HOPEFUL_RATE = 0.1
"""A pilot rate of a weight of two digits from which the third is looked for. It only
saves time.
"""
SUM_SLACK = 1e-6
"""Of a weight: float32 sums move a few elements across a midpoint, which can shorten an
interval by this much.
"""
MIN_INTERVAL_ELEMENTS = 16
"""A slice's interval counts when at least this many informative elements made it."""
MAX_SUBSET = 4  # donors of a recipe, unless it is of all of them


@dataclass(frozen=True)
class Clues:
    """What the fits say of the donors."""

    donors: tuple[str, ...]
    """The donors that show, of greatest share first; where none does, the one whose
    replay covers most.
    """
    shares: tuple[float, ...]
    """Their shares by least squares; a half where that is not known."""
    interval: Interval | None
    """The share that most slices allow the first of them alone."""
    offered: tuple[str, ...]
    """All donors, of greatest share first: where shares differ from tensor to tensor,
    none of them may show.
    """


def read_clues(fits: pd.DataFrame, frame: Frame) -> Clues:
    """What the fits of one frame say."""
    voting = fits[fits["votes"]]
    alpha = error = np.full(len(frame.donors), np.nan)
    if len(voting):
        alpha, error = least_squares(fits, frame.donors)
    shares = dict(zip(frame.donors, alpha.tolist(), strict=True))

    def strength(donor: str) -> float:
        return 0.0 if np.isnan(shares[donor]) else abs(shares[donor])

    offered = sorted(frame.donors, key=strength, reverse=True)
    visible = _visible(frame, alpha, error)
    donors = [donor for donor in offered if donor in visible]
    if not donors:
        donors = [_best_covered(voting, frame)]
    return Clues(
        donors=tuple(donors),
        shares=tuple(
            0.5 if np.isnan(shares[donor]) else shares[donor] for donor in donors
        ),
        interval=_pooled_interval(voting, donors[0]),
        offered=tuple(offered),
    )


def _visible(frame: Frame, alpha: Array, error: Array) -> list[str]:
    shows = visible_donors(alpha, error)
    return [donor for donor, shown in zip(frame.donors, shows, strict=True) if shown]


def _best_covered(voting: pd.DataFrame, frame: Frame) -> str:
    """The donor whose replay covers most of the informative elements."""
    coverages = []
    for donor in frame.donors:
        informative = voting[of_donor("informative", donor)]
        coverage = voting[of_donor("coverage", donor)]
        known = coverage.notna() & (informative > 0)
        if known.any():
            weights = informative[known]
            coverages.append(float(np.average(coverage[known], weights=weights)))
        else:
            coverages.append(-1.0)
    return frame.donors[coverages.index(max(coverages))]


def _pooled_interval(voting: pd.DataFrame, donor: str) -> Interval | None:
    sound = voting[voting[of_donor("informative", donor)] >= MIN_INTERVAL_ELEMENTS]
    pooled = replay(
        sound[of_donor("replay_low", donor)].to_numpy(),
        sound[of_donor("replay_high", donor)].to_numpy(),
        np.inf,
    )
    return (pooled.low, pooled.high) if pooled.informative else None


def strongest_subsets(donors: Sequence[str], least: int = 2) -> list[tuple[str, ...]]:
    """The `least` strongest donors, one more, and so on: never all combinations."""
    most = min(len(donors), MAX_SUBSET)
    return [tuple(donors[:count]) for count in range(least, most + 1)]


def strongest_or_all(donors: Sequence[str], least: int = 2) -> list[tuple[str, ...]]:
    """The strongest subsets, and all of the donors: where many show, all may be true."""
    subsets = strongest_subsets(donors, least)
    return [*subsets, tuple(donors)] if len(donors) > MAX_SUBSET else subsets


def narrow_dtypes(trial: Trial) -> tuple[str, ...]:
    """The narrow arithmetic that may have made the audited model: f16 is tried where it
    is stored in f16.
    """
    return (*NARROW_DTYPES, *(("float16",) if trial.stored_dtype == "F16" else ()))


def shows_rounding(trial: Trial, dtype: str) -> bool:
    """Whether each operation of an arithmetic shows in what is stored: of float32 that
    is rounded to a narrow format nothing does but the last.
    """
    return dtype != "float32" or trial.stored_dtype == "F32"


def widening_dtypes(trial: Trial) -> tuple[str, ...]:
    """The narrow arithmetic of methods that add float32 numbers in the end, whatever
    the dtype: what they make is stored as float32.
    """
    if trial.stored_dtype == "F32":
        return (*NARROW_DTYPES, "float16")
    return narrow_dtypes(trial)


def arithmetic_dtypes(trial: Trial) -> tuple[str, ...]:
    """All arithmetic that may have made the audited model by a merge tool."""
    return ("float32", *narrow_dtypes(trial))


def family_found(trial: Trial, recipes: Sequence[Recipe]) -> bool:
    """Whether one of the recipes gives so much back that its family counts as found."""
    return any(trial.rate(recipe) >= FAMILY_FOUND_RATE for recipe in recipes)


def second_share_of_two(shares: Sequence[float]) -> float:
    """The second donor's part of the first two shares; a half where there is one donor,
    or the two shares cancel.
    """
    if len(shares) < 2:
        return 0.5
    both = shares[0] + shares[1]
    return shares[1] / both if both else 0.5
