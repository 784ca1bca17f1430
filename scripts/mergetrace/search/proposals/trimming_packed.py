"""TIES of one donor through few bits, where no single number says whether it was kept.

The largest changes are kept whatever the density is: their cells name the weight. The
density is the one that gives most back, of tenths first.
"""

import numpy as np

from mergetrace.merging.recipes import Recipe, make
from mergetrace.numerics.cell_replay import cell_intervals, replay_cells
from mergetrace.numerics.simple import near
from mergetrace.search.clues import arithmetic_dtypes
from mergetrace.search.trial import Trial

LARGEST_CHANGES = 0.1
"""The share of the largest changes that is taken to be kept."""
LARGEST_AGREE = 0.97
"""The share of those that may refute the weight is one less this: in a sibling more do."""
REACH_OF_CELLS = 0.003
DENSITY_TENTHS = tuple(tenth / 10 for tenth in range(1, 10))
FINER_DENSITIES = (0.05, 0.01)


def trimmed_through_cells(trial: Trial, donor: str) -> list[Recipe]:
    """The best of TIES for every arithmetic; none where the largest changes do not
    agree on a weight, or where the model is not packed.
    """
    weight = _weight_of_largest(trial, donor)
    if weight is None:
        return []
    found = []
    for dtype in arithmetic_dtypes(trial):
        best = _densest(trial, donor, dtype, weight)
        density = best.setting(f"density.{donor}")
        written = near(weight, REACH_OF_CELLS)
        tried = [_ties(trial, donor, dtype, each, density) for each in written]
        found.append(trial.best([*tried, best]))
    return found


def _weight_of_largest(trial: Trial, donor: str) -> float | None:
    """The weight that the cells of the largest changes agree on."""
    starts, ends = [], []
    for piece in trial.pieces:
        if not piece.audited.is_packed:
            continue
        base = piece.values[trial.frame.base]
        sizes = np.abs(piece.values[donor] - base)
        large = sizes >= np.quantile(sizes, 1 - LARGEST_CHANGES)
        low, high = (end[large] for end in piece.cell)
        parents = base[large], piece.values[donor][large]
        start, end = cell_intervals(low, high, *parents)
        starts.append(start)
        ends.append(end)
    if not starts:
        return None
    found = replay_cells(np.concatenate(starts), np.concatenate(ends), trial.width)
    agree = bool(found.informative) and found.coverage >= LARGEST_AGREE
    return found.alpha if agree and found.alpha > 0 else None


def _densest(trial: Trial, donor: str, dtype: str, weight: float) -> Recipe:
    """The density that gives most back, closed in on from tenths."""
    best = trial.best(
        [_ties(trial, donor, dtype, weight, each) for each in DENSITY_TENTHS]
    )
    for step in FINER_DENSITIES:
        density = best.setting(f"density.{donor}")
        around = [density + sign * step for sign in (-1, 1)]
        if step == min(FINER_DENSITIES):
            around = [density + step * steps for steps in range(-4, 5)]
        tried = [
            _ties(trial, donor, dtype, weight, round(each, 3))
            for each in around
            if 0 < each < 1
        ]
        best = trial.best([best, *tried])
    return best


def _ties(
    trial: Trial, donor: str, dtype: str, weight: float, density: float
) -> Recipe:
    options = {f"density__{donor}": density, "normalize": 0}
    return make("ties", {donor: weight}, trial.frame.base, dtype, **options)
