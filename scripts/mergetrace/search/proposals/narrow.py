"""Recipes computed in narrow arithmetic: every operation rounded to bf16 or f16.

There the weights that a person wrote are rounded before they are used, or after each
product; near the share that the sums say, short decimals are tried one after another.
"""

from collections.abc import Callable, Sequence

from mergetrace.merging.recipes import Recipe, make
from mergetrace.merging.settings import Setting, single_value
from mergetrace.numerics.arithmetic import rounder
from mergetrace.numerics.simple import near
from mergetrace.search.clues import (
    HOPEFUL_RATE,
    Clues,
    narrow_dtypes,
    strongest_subsets,
)
from mergetrace.search.proposals.scaled import divided_by_their_sum, with_lambdas
from mergetrace.search.trial import Trial

Build = Callable[..., Recipe]
"""Makes a recipe from the donors' weights."""

REACH = 0.06  # around a share, in which short decimals are tried
REFINED_REACH = 0.004
"""Around a weight: decimals that round to the same bf16 number, or nearly."""


def propose_narrow(trial: Trial, clues: Clues) -> list[Recipe]:
    """Task arithmetic and averages with every operation rounded to bf16, of an audited
    f16 model to f16 too: short decimals near the shares, one coordinate after the
    other.
    """
    recipes = []
    for donors in strongest_subsets(clues.donors, least=1):
        shares = clues.shares[: len(donors)]
        options = [_distinct_decimals(share) for share in shares]
        if not all(options):
            continue
        start = [
            _nearest(share, choices)
            for share, choices in zip(shares, options, strict=True)
        ]
        for dtype in narrow_dtypes(trial):
            recipes += _climbed(trial, donors, dtype, options, start)
    return recipes


def _distinct_decimals(share: float) -> list[float]:
    """Short decimals near a share, none of them zero: of those that round to the same
    bf16 number the first.
    """
    decimals = [value for value in near(share, REACH) if value]
    rounded = rounder("bfloat16")(decimals).tolist()
    first: dict[float, float] = {}
    for value, number in zip(decimals, rounded, strict=True):
        first.setdefault(number, value)
    return list(first.values())


def _nearest(value: float, choices: Sequence[float]) -> float:
    return min(choices, key=lambda choice: abs(choice - value))


def _climbed(
    trial: Trial,
    donors: tuple[str, ...],
    dtype: str,
    options: Sequence[Sequence[float]],
    start: Sequence[float],
) -> list[Recipe]:
    """The best task arithmetic and averages in one arithmetic."""
    base = trial.frame.base
    added = _task_arithmetic(base, donors, dtype)
    averaged = _average(base, donors, dtype, weights_rounded=1)
    unrounded = _average(base, donors, dtype, weights_rounded=0)
    best_added = trial.climb(added, options, start)
    best_averaged = trial.climb(averaged, options, start)
    average_weights = [
        _value(weight)
        for name, weight in zip(
            best_averaged.models, best_averaged.weights, strict=True
        )
        if name != base
    ]
    recipes = [best_added, best_averaged, _refined(trial, unrounded, average_weights)]
    recipes += with_lambdas(trial, best_added)
    recipes += divided_by_their_sum(trial, best_added)
    if dtype == "float16":
        added_weights = [_value(weight) for weight in best_added.weights]
        recipes.append(_refined(trial, added, added_weights))
        recipes.append(_refined(trial, averaged, average_weights))
    return recipes


def _task_arithmetic(base: str, donors: tuple[str, ...], dtype: str) -> Build:
    def build(*weights: float) -> Recipe:
        by_donor = dict(zip(donors, weights, strict=True))
        return make("task_arithmetic", by_donor, base, dtype)

    return build


def _average(
    base: str, donors: tuple[str, ...], dtype: str, weights_rounded: float
) -> Build:
    def build(*weights: float) -> Recipe:
        by_model = {
            base: round(1 - sum(weights), 6),
            **dict(zip(donors, weights, strict=True)),
        }
        used = {name: weight for name, weight in by_model.items() if weight}
        return make("linear", used, None, dtype, weights_rounded=weights_rounded)

    return build


def _refined(trial: Trial, build: Build, weights: Sequence[float]) -> Recipe:
    """The best of the decimals that round to the same bf16 numbers as these weights, or
    nearly: what they are where nothing rounds them.
    """
    recipe = build(*weights)
    if trial.rate(recipe) < HOPEFUL_RATE:
        return recipe
    options = [near(weight, REFINED_REACH) for weight in weights]
    return trial.climb(build, options, weights)


def _value(weight: Setting) -> float:
    """The number of a weight that is the same for every tensor, as all are here."""
    value = single_value(weight)
    if value is None:
        raise ValueError("a weight differs between tensors")
    return value
