"""Weights that a recipe multiplies by a lambda or divides by their sum: in float32 that
makes one number of them, in narrow arithmetic each operation shows.
"""

from collections.abc import Sequence
from fractions import Fraction

from mergetrace.merging.recipes import Recipe, make
from mergetrace.merging.settings import single_value
from mergetrace.numerics.simple import near
from mergetrace.search.clues import HOPEFUL_RATE
from mergetrace.search.trial import Trial

LAMBDAS = tuple(
    tenths / 10
    for tenths in sorted(range(2, 21), key=lambda tenths: abs(tenths - 10))
    if tenths != 10
)
"""The nearest to one first: a power of two more or less makes no difference."""
TENTHS = range(1, 11)
HUNDREDTH = 0.012
"""Of a weight, relative: how far narrow arithmetic leaves it from what was written."""
SCALED_RATIO_REACH = 0.06  # relative, in which the ratios of two weights are tried


def with_lambdas(trial: Trial, recipe: Recipe) -> list[Recipe]:
    """The recipe with its weights divided by a lambda that multiplies their sum again,
    where all of them are decimals of two digits then. None where the recipe gives next
    to nothing back, or everything.
    """
    if not HOPEFUL_RATE <= trial.rate(recipe) < 1:
        return []
    weights = values_of(recipe)
    variants = []
    for scale in LAMBDAS:
        written = [_written(weight / scale) for weight in weights]
        if all(written):
            changed = _with_weights(recipe, written)
            variants.append(changed.with_settings({"lambda": scale}))
    return variants


def divided_by_their_sum(trial: Trial, recipe: Recipe) -> list[Recipe]:
    """The recipe with weights of one decimal whose ratios are those of its own, divided
    by their sum, and a lambda where the weights do not sum to one.
    """
    if not HOPEFUL_RATE <= trial.rate(recipe) < 1:
        return []
    weights = values_of(recipe)
    whole = sum(weights)
    if len(weights) < 2 or min(weights) <= 0:
        return []
    scales = near(whole, HUNDREDTH * whole)[:1]
    options = {"normalize": 1.0}
    if scales and scales[0] != 1:
        options["lambda"] = scales[0]
    return [
        _with_weights(recipe, written).with_settings(options)
        for written in in_ratio(weights)
    ]


def in_ratio(weights: Sequence[float]) -> list[list[float]]:
    """Weights of one decimal, at most one, that lie to each other about as these do."""
    found = []
    for first in TENTHS:
        written = [first / 10]
        for weight in weights[1:]:
            exact = first * weight / weights[0]
            tenths = round(exact)
            if not 1 <= tenths <= 10 or abs(tenths / exact - 1) > SCALED_RATIO_REACH:
                break
            written.append(tenths / 10)
        if len(written) == len(weights):
            found.append(written)
    return found


def ratios() -> list[float]:
    """The ratios of two weights of one decimal, the simplest first."""
    found = {Fraction(first, second) for first in TENTHS for second in TENTHS}
    ordered = sorted(found, key=lambda ratio: (ratio.denominator, ratio))
    return [float(ratio) for ratio in ordered]


def nearest(value: float, choices: Sequence[float]) -> float:
    """The choice that lies nearest."""
    return min(choices, key=lambda choice: abs(choice - value))


def values_of(recipe: Recipe) -> list[float]:
    """The weights of a recipe that are the same for every tensor, as all are here."""
    values = [single_value(weight) for weight in recipe.weights]
    return [0.0 if value is None else value for value in values]


def _with_weights(recipe: Recipe, weights: Sequence[float]) -> Recipe:
    by_model = dict(zip(recipe.models, weights, strict=True))
    changed = make(recipe.method, by_model, recipe.base, recipe.dtype)
    return changed.with_settings(dict(recipe.settings))


def _written(weight: float) -> float:
    """The nearest decimal of two digits; 0 where none is near."""
    short = round(weight, 2)
    return short if abs(short - weight) <= HUNDREDTH * abs(weight) else 0.0
