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
    HOPEFUL_RATE,
    MIN_INTERVAL_ELEMENTS,
    Clues,
    arithmetic_dtypes,
    narrow_dtypes,
    second_share_of_two,
)
from mergetrace.search.proposals.scaled import nearest, values_of
from mergetrace.search.trial import Trial

SWEEP_SLACK = 2e-5
"""Of a weight: a sweep takes a sphere's prediction for a straight line, and its slope
from float32 numbers.
"""
MIN_SWEEP_COVERAGE = 0.5  # of a piece, below which its sweep says nothing
MAX_SIMPLE_WEIGHTS = 2
NOT_NORMALISED_REACH = 0.03
"""Around weights that least squares tell of one arc, where tensors have many."""
TENTHS = range(1, 11)
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
    return [*recipes, *_by_lines(trial, recipes)]


def _pairs(trial: Trial, clues: Clues) -> list[tuple[str, str]]:
    base = trial.frame.base
    with_base = [(base, donor) for donor in clues.donors[:MAX_DONORS_WITH_BASE]]
    return [*with_base, *combinations(clues.donors[:MAX_DONORS_IN_PAIRS], 2)]


def _swept(trial: Trial, clues: Clues, first: str, second: str) -> list[Recipe]:
    """The short weights on which most tensors agree, in float32."""

    def slerp(piece: Piece, t: float) -> Array:
        return apply_recipe(make("slerp", {first: 1 - t, second: t}), piece)

    around = clues.shares[0] if first == trial.frame.base else 0.5
    pooled = pooled_sweeps(trial.sweeps(slerp, around))
    if pooled is None:
        return []
    interval = (pooled.low - SWEEP_SLACK, pooled.high + SWEEP_SLACK)
    recipes = []
    for first_weight, second_weight in simple_weights([interval], MAX_SIMPLE_WEIGHTS):
        weights = {first: first_weight, second: second_weight}
        for method in ("slerp", "nuslerp", "multislerp"):
            recipes.append(make(method, weights))
    return recipes


def pooled_sweeps(swept: Sequence[Replay]) -> Replay | None:
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
        variants += [(method, dtype) for dtype in narrow_dtypes(trial)]
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
    starts = {"nuslerp": _part_of_arc(trial, clues), "multislerp": start}
    for method, start in starts.items():
        for dtype in arithmetic_dtypes(trial):
            build = _between(method, dtype, base, first, second)
            recipes.append(_best_short_weight(trial, start, build))
    for dtype in arithmetic_dtypes(trial):
        recipes += _not_normalised(trial, clues, dtype)
    return recipes


def _between(
    method: str,
    dtype: str,
    base: str | None,
    first: str,
    second: str,
    row_wise: float | None = None,
) -> Callable[[float, float], Recipe]:
    """Makes the recipe from the two models' weights. row_wise: of NuSLERP by lines."""
    options = {} if row_wise is None else {"flatten": 0.0, "row_wise": row_wise}

    def build(first_weight: float, second_weight: float) -> Recipe:
        weights = {first: first_weight, second: second_weight}
        return make(method, weights, base, dtype, **options)

    return build


def _best_short_weight(
    trial: Trial, start: float, build: Callable[[float, float], Recipe]
) -> Recipe:
    """The best short weight near a start, or of two weights of one decimal whose ratio
    is near; a third digit is tried only where two give something back (or the lattice
    is too fine for two).
    """
    shares = near(start, SPHERE_REACH) or [start]
    pairs = [(round(1 - t, 6), t) for t in shares]
    tenths = [
        (first / 10, second / 10)
        for first in TENTHS
        for second in TENTHS
        if first + second != 10
        and abs(second / (first + second) - start) < SPHERE_REACH
    ]
    two_digits = [pair for pair in pairs if pair[1] == round(pair[1], 2)]
    short = [build(*pair) for pair in [*two_digits, *tenths]]
    is_hopeless = trial.stored_dtype != "F32" and all(
        trial.rate(recipe) < HOPEFUL_RATE for recipe in short
    )
    if short and is_hopeless:
        return trial.best(short)
    return trial.best([*short, *(build(*pair) for pair in pairs)])


def _by_lines(trial: Trial, recipes: Sequence[Recipe]) -> list[Recipe]:
    """NuSLERP with an angle for every row or column, where one for the whole tensor in
    the same arithmetic gives something back: their weights are nearly the same.
    """
    whole = [recipe for recipe in recipes if recipe.method == "nuslerp"]
    best_of_dtypes = {recipe.dtype: recipe for recipe in reversed(trial.ranked(whole))}
    found: list[Recipe] = []
    for recipe in best_of_dtypes.values():
        if HOPEFUL_RATE <= trial.rate(recipe) < 1:
            first, second = values_of(recipe)
            for row_wise in (0.0, 1.0):
                build = _between(
                    recipe.method,
                    recipe.dtype,
                    recipe.base,
                    recipe.models[0],
                    recipe.models[1],
                    row_wise,
                )
                start = second / (first + second)
                found.append(_best_short_weight(trial, start, build))
    return found


def _not_normalised(trial: Trial, clues: Clues, dtype: str) -> list[Recipe]:
    """Multi-SLERP of two donors' changes whose weights are not divided by their sum."""
    donors = clues.donors[:2]
    weights = _weights_of_arc(trial, clues)
    choices = [near(weight, NOT_NORMALISED_REACH) for weight in weights]
    if not all(choices):
        return []
    short = [[value for value in own if value == round(value, 2)] for own in choices]
    if not all(short):
        return []

    def build(*values: float) -> Recipe:
        by_donor = dict(zip(donors, values, strict=True))
        base = trial.frame.base
        return make("multislerp", by_donor, base, dtype, normalize_weights=0)

    starts = [nearest(weight, own) for weight, own in zip(weights, short, strict=True)]
    first = build(*starts)
    if trial.rate(first) < HOPEFUL_RATE:
        return [first]
    return [trial.climb(build, short, starts)]


def _weights_of_arc(trial: Trial, clues: Clues) -> list[float]:
    """The weights on an arc whose shares by least squares are the clues'.

    On the arc a share is weight times the sum of all, over the length of the weighted
    sum of unit vectors.
    """
    shares = np.array(clues.shares[:2])
    cosine = _cosine_of_changes(trial, clues)
    length = shares @ np.array([[1, cosine], [cosine, 1]]) @ shares
    if length <= 0 or not shares.sum():
        return [0.0, 0.0]
    weights = shares * np.sqrt(length) / shares.sum()
    return [float(weight) for weight in weights]


def _part_of_arc(trial: Trial, clues: Clues) -> float:
    """How far along the arc from the first donor's change to the second's the point
    lies whose shares by least squares are the clues'.
    """
    first, second = clues.shares[:2]
    cosine = _cosine_of_changes(trial, clues)
    angle = np.arccos(np.clip(cosine, -1, 1))
    if not angle:
        return second_share_of_two(clues.shares)
    return float(np.arctan2(second * np.sin(angle), first + second * cosine) / angle)


def _cosine_of_changes(trial: Trial, clues: Clues) -> float:
    """The median cosine between the changes of the two strongest donors."""
    base = trial.frame.base
    cosines = []
    for piece in trial.pieces:
        one, other = ({donor: 1.0, base: -1.0} for donor in clues.donors[:2])
        sizes = piece.facts.norm(one) * piece.facts.norm(other)
        if sizes > 0:
            cosines.append(piece.facts.inner(one, other) / sizes)
    return float(np.median(cosines)) if cosines else 0.0
