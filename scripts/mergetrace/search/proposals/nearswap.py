"""Recipes of near swap, which moves every element by at most t towards a donor."""

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.merging.recipes import Recipe, make
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.rounding import Replay, replay
from mergetrace.numerics.simple import decimals
from mergetrace.search.clues import Clues, arithmetic_dtypes
from mergetrace.search.counting import confining_elements
from mergetrace.search.trial import Trial

MAX_NEARSWAP_DONORS = 2
FAR_QUANTILE = 0.75
"""Of |donor - base|: elements beyond it are taken to have moved by the whole t."""
MIN_COVERAGE = 0.5  # of these elements, below which they share no t
RELATIVE_REACH = 0.02  # of t, in which decimals are tried at least
FURTHER_DIGITS = (0, 1, 2)  # beyond the first significant one
MAX_DECIMALS = 20  # of each number of digits


def propose_nearswap(trial: Trial, clues: Clues) -> list[Recipe]:
    """Near swap: far from the donor every element moves by t towards it, so t is a
    weight on the sign of the delta.
    """
    recipes = []
    for donor in clues.donors[:MAX_NEARSWAP_DONORS]:
        moved = [_moved_intervals(piece, trial, donor) for piece in trial.pieces]
        start, end = np.concatenate(moved, axis=1)
        shared = replay(start, end, np.inf)
        agrees = shared.informative and shared.coverage > MIN_COVERAGE
        if not agrees or shared.alpha <= 0:
            continue
        options = _decimals_near(shared)
        for dtype in arithmetic_dtypes(trial):
            variants = [
                make("nearswap", {donor: t}, trial.frame.base, dtype) for t in options
            ]
            recipes.append(trial.best(variants))
    return recipes


def _moved_intervals(piece: Piece, trial: Trial, donor: str) -> Array:
    """By how much each far element may have moved towards the donor: least and most,
    float64 [2, far elements].
    """
    base = trial.frame.base
    low, high = piece.audited.midpoints()
    delta = piece.values[donor] - piece.values[base]
    far = np.abs(delta) > np.quantile(np.abs(delta), FAR_QUANTILE)
    far &= confining_elements(piece, (base, donor), trial.width)
    towards = np.where(delta > 0, 1.0, -1.0)
    ends = np.stack([low - piece.values[base], high - piece.values[base]]) * towards
    moved: Array = np.sort(ends[:, far], axis=0)
    return moved


def _decimals_near(shared: Replay) -> list[float]:
    """Decimals of up to three significant digits, short ones first; the middle where
    there is none.
    """
    middle = shared.alpha
    reach = max((shared.high - shared.low) / 2, middle * RELATIVE_REACH)
    first_digit = int(np.ceil(-np.log10(middle)))
    options: list[float] = []
    for further in FURTHER_DIGITS:
        options += decimals(
            middle - reach, middle + reach, first_digit + further, most=MAX_DECIMALS
        )
    return options or [middle]
