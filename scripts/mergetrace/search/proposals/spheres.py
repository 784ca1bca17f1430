"""Recipes that interpolate directions: SLERP and its relatives."""

from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np

from mergetrace.merging.applying import Piece, apply_recipe
from mergetrace.merging.recipes import Recipe, make
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.rounding import Replay, replay
from mergetrace.numerics.simple import near, simple_weights
from mergetrace.search.clues import (
    ARITHMETIC_DTYPES,
    HOPEFUL_RATE,
    MIN_INTERVAL_ELEMENTS,
    NARROW_DTYPES,
    Clues,
    second_share_of_two,
)
from mergetrace.search.trial import Trial

SWEEP_SLACK = 2e-5
"""Of a weight: a sweep takes a sphere's prediction for a straight line, and its slope
from float32 numbers.
"""
MIN_SWEEP_COVERAGE = 0.5  # of a piece, below which its sweep says nothing
MAX_SIMPLE_WEIGHTS = 2
SPHERE_REACH = 0.03  # around a weight, in which short decimals are tried
MAX_DONORS_WITH_BASE = 2
MAX_DONORS_IN_PAIRS = 3


def propose_spheres(trial: Trial, clues: Clues) -> list[Recipe]:
    """SLERP and its relatives between two models, in float32 and in narrow arithmetic."""
    recipes = []
    for first, second in _pairs(trial, clues):
        recipes += _swept(trial, clues, first, second)
        recipes += _climbed_between(trial, clues, first, second)
    if len(clues.donors) > 1:
        recipes += _climbed_between_deltas(trial, clues)
    return recipes


def _pairs(trial: Trial, clues: Clues) -> list[tuple[str, str]]:
    base = trial.frame.base
    with_base = [(base, donor) for donor in clues.donors[:MAX_DONORS_WITH_BASE]]
    return [*with_base, *combinations(clues.donors[:MAX_DONORS_IN_PAIRS], 2)]


def _swept(trial: Trial, clues: Clues, first: str, second: str) -> list[Recipe]:
    """The short weights on which most tensors agree, in float32."""

    def slerp(piece: Piece, t: float) -> Array:
        return apply_recipe(make("slerp", {first: 1 - t, second: t}), piece)

    around = clues.shares[0] if first == trial.frame.base else 0.5
    pooled = _pooled(trial.sweeps(slerp, around))
    if pooled is None:
        return []
    interval = (pooled.low - SWEEP_SLACK, pooled.high + SWEEP_SLACK)
    recipes = []
    for first_weight, second_weight in simple_weights([interval], MAX_SIMPLE_WEIGHTS):
        weights = {first: first_weight, second: second_weight}
        for method in ("slerp", "nuslerp", "multislerp"):
            recipes.append(make(method, weights))
    return recipes


def _pooled(swept: Sequence[Replay]) -> Replay | None:
    """The value that most pieces' intervals hold; None where no piece says anything."""
    telling = [
        best
        for best in swept
        if best.informative >= MIN_INTERVAL_ELEMENTS
        and best.coverage > MIN_SWEEP_COVERAGE
    ]
    if not telling:
        return None
    low = np.array([best.low for best in telling])
    high = np.array([best.high for best in telling])
    return replay(low, high, np.inf)


def _climbed_between(
    trial: Trial, clues: Clues, first: str, second: str
) -> list[Recipe]:
    """The best short weight of each method whose weight no sweep tells."""
    if first == trial.frame.base:
        start = clues.shares[0]
    else:
        start = second_share_of_two(clues.shares)
    variants = [("multislerp", "float32")]
    for method in ("nuslerp", "multislerp"):
        variants += [(method, dtype) for dtype in NARROW_DTYPES]
    return [
        _best_short_weight(trial, start, _between(method, dtype, None, first, second))
        for method, dtype in variants
    ]


def _climbed_between_deltas(trial: Trial, clues: Clues) -> list[Recipe]:
    """The best short weight between the changes of the two strongest donors."""
    first, second = clues.donors[:2]
    start = second_share_of_two(clues.shares)
    base = trial.frame.base
    recipes = []
    for method in ("nuslerp", "multislerp"):
        for dtype in ARITHMETIC_DTYPES:
            build = _between(method, dtype, base, first, second)
            recipes.append(_best_short_weight(trial, start, build))
    return recipes


def _between(
    method: str, dtype: str, base: str | None, first: str, second: str
) -> Callable[[float], Recipe]:
    """Makes the recipe from the second model's weight."""

    def build(t: float) -> Recipe:
        return make(method, {first: round(1 - t, 6), second: t}, base, dtype)

    return build


def _best_short_weight(
    trial: Trial, start: float, build: Callable[[float], Recipe]
) -> Recipe:
    """The best short weight near a start; a third digit is tried only where two give
    something back (or the lattice is too fine for two).
    """
    weights = near(start, SPHERE_REACH)
    two_digits = [t for t in weights if t == round(t, 2)]
    is_hopeless = trial.stored_dtype != "F32" and all(
        trial.rate(build(t)) < HOPEFUL_RATE for t in two_digits
    )
    if is_hopeless:
        weights = two_digits
    recipes = [build(t) for t in weights] or [build(start)]
    return trial.best(recipes)
