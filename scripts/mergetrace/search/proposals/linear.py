"""Recipes in which every donor has one share: averages, and what equals them in float32."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import permutations

from mergetrace.merging.recipes import Recipe, make
from mergetrace.merging.settings import Setting, constant, single_value
from mergetrace.numerics.simple import Interval, decimals, simple_weights
from mergetrace.search.clues import (
    SUM_SLACK,
    Clues,
    family_found,
    shows_rounding,
    strongest_or_all,
)
from mergetrace.search.proposals.scaled import divided_by_their_sum, with_lambdas
from mergetrace.search.shares import MIN_AGREEING_SHARE, allowed_weights
from mergetrace.search.trial import Trial

MAX_CAST_VARIANTS = 4  # recipes tried again with parents that were cast first
MAX_MODELS_IN_ANY_ORDER = 3  # of an average: 6 orders
MAX_MODELS_REORDERED = 5  # of the best average: 120 orders
SUM_TO_ONE = 1e-9
LONGEST_WEIGHT = 9  # decimals: more than float32 shows


def propose_linear(trial: Trial, clues: Clues) -> list[Recipe]:
    """Linear merges and what equals them in float32: task arithmetic, SLERP of nearly
    parallel tensors, lerp.
    """
    recipes = _of_one_donor(trial, clues)
    if len(clues.donors) > 1 and not family_found(trial, recipes):
        recipes += _of_several_donors(trial, clues, recipes)
    if not family_found(trial, recipes):
        recipes += _not_normalised(trial, clues)
    if trial.stored_dtype == "F16" and family_found(trial, recipes):
        recipes += _with_parents_cast(trial, recipes)
    if family_found(trial, recipes) and not trial.solved():
        recipes += _in_other_orders(trial, trial.best(recipes))
    if shows_rounding(trial, "float32") and not trial.solved():
        recipes += _scaled(trial, recipes)
    return recipes


def _scaled(trial: Trial, recipes: Sequence[Recipe]) -> list[Recipe]:
    """Task arithmetic with a lambda, or divided by the weights' sum: where float32
    numbers are stored as they are, each operation shows.
    """
    added = [recipe for recipe in recipes if recipe.method == "task_arithmetic"]
    best = trial.ranked(added)[:1]
    return [
        scaled
        for recipe in best
        for scaled in (
            *with_lambdas(trial, recipe),
            *divided_by_their_sum(trial, recipe),
        )
    ]


def _of_one_donor(trial: Trial, clues: Clues) -> list[Recipe]:
    recipes: list[Recipe] = []
    if clues.interval is None:
        return recipes
    for weights in simple_weights([_widened(clues.interval)]):
        base_weight, donor_weight = weights
        recipes += _pair(trial.frame.base, clues.donors[0], base_weight, donor_weight)
    return recipes


def _pair(
    base: str, donor: str, base_weight: float, donor_weight: float
) -> list[Recipe]:
    """The merges of two models that are one blend, in any arithmetic of float32."""
    weights = {base: base_weight, donor: donor_weight}
    recipes = []
    for order in ((base, donor), (donor, base)):
        ordered = {name: weights[name] for name in order}
        recipes += [make("linear", ordered, fused=fused) for fused in (1, 0)]
    if not base_weight + donor_weight:
        return recipes
    t = donor_weight / (base_weight + donor_weight)
    interpolated = {base: 1 - t, donor: t}
    return [
        *_as_written(recipes, make("task_arithmetic", {donor: t}, base), 0 <= t <= 1),
        make("slerp", interpolated),
        make("nuslerp", interpolated),
        make("lerp", interpolated),
    ]


def _of_several_donors(
    trial: Trial, clues: Clues, tried_before: Sequence[Recipe]
) -> list[Recipe]:
    recipes: list[Recipe] = []
    for donors in strongest_or_all(clues.donors):
        allowed = allowed_weights(trial, donors)
        if allowed.agreeing >= MIN_AGREEING_SHARE:
            intervals = [_widened(ends) for ends in allowed.intervals]
            for weights in (*simple_weights(intervals), _rounded(allowed.center)):
                recipes += _several(trial.frame.base, donors, weights)
        if family_found(trial, [*tried_before, *recipes]):
            break
    return recipes


def _rounded(center: Sequence[float]) -> tuple[float, ...]:
    """Weights of the base and the donors as they are, where nobody wrote short ones."""
    donors = [round(weight, LONGEST_WEIGHT) for weight in center]
    return (round(1 - sum(donors), LONGEST_WEIGHT), *donors)


def _several(
    base: str, donors: Sequence[str], weights: Sequence[float]
) -> list[Recipe]:
    """weights: of the base, then of the donors. Averages in every order of up to three
    models; of more, the base first or last.
    """
    used = {
        name: weight
        for name, weight in zip((base, *donors), weights, strict=True)
        if weight
    }
    orders: list[tuple[str, ...]] = [tuple(used), tuple(reversed(used))]
    if len(used) <= MAX_MODELS_IN_ANY_ORDER:
        orders = list(permutations(used))
    recipes = [
        make("linear", {name: used[name] for name in order}, fused=1)
        for order in orders
    ]
    whole = sum(weights)
    if whole:
        donor_weights = zip(donors, weights[1:], strict=True)
        shares = {donor: weight / whole for donor, weight in donor_weights}
        is_average = min(weight / whole for weight in weights) >= 0
        task_arithmetic = make("task_arithmetic", shares, base)
        return _as_written(recipes, task_arithmetic, is_average)
    return recipes


def _as_written(
    averages: list[Recipe], task_arithmetic: Recipe, is_average: bool
) -> list[Recipe]:
    """Of recipes that give the same, first the one that somebody writes: changes that
    are taken away, or added more than whole, are no average.
    """
    if is_average:
        return [*averages, task_arithmetic]
    return [task_arithmetic, *averages]


def _not_normalised(trial: Trial, clues: Clues) -> list[Recipe]:
    """Averages whose weights do not sum to one and are not divided by their sum."""
    recipes = []
    for donors in strongest_or_all(clues.donors, least=1):
        allowed = allowed_weights(trial, donors, free_base=True)
        if allowed.agreeing < MIN_AGREEING_SHARE:
            continue
        weights = [_shortest_decimal(low, high) for low, high in allowed.intervals]
        if abs(sum(weights) - 1) < SUM_TO_ONE or not any(weights):
            continue
        used = [
            (name, weight)
            for name, weight in zip((trial.frame.base, *donors), weights, strict=True)
            if weight
        ]
        for order in (used, used[::-1]):
            recipes.append(make("linear", dict(order), normalize=0))
    return recipes


def _shortest_decimal(low: float, high: float) -> float:
    """The first decimal of as few digits as the interval allows, else its middle."""
    for digits in range(1, 7):
        inside = decimals(low - SUM_SLACK, high + SUM_SLACK, digits)
        if inside:
            return inside[0]
    return (low + high) / 2


def _with_parents_cast(trial: Trial, recipes: Sequence[Recipe]) -> list[Recipe]:
    """The best recipes with parents that were cast to f16 first, which lose the last
    bits of small numbers.
    """
    best = trial.ranked(recipes)[:MAX_CAST_VARIANTS]
    return [recipe.with_settings({"cast": 1}) for recipe in best]


def _in_other_orders(trial: Trial, best: Recipe) -> list[Recipe]:
    """The best average with its models in every order.

    Of weights whose blends often fall between two numbers the order of the sum decides.
    """
    recipes = _reordered(trial, best)
    averages = [
        recipe
        for recipe in [best, *trial.rates]
        if recipe.method == "linear" and recipe.dtype == "float32"
    ]
    if not trial.solved() and averages:
        average = trial.best(averages)
        if len(average.models) > 2:
            recipes += _as_written_by_hand(trial, average)
    return recipes


def _reordered(trial: Trial, recipe: Recipe) -> list[Recipe]:
    """The recipe in every order of up to five models; of more in the order in which they
    were offered, and in its own, forward and backward.
    """
    recipes = []
    weighted = list(zip(recipe.models, recipe.weights, strict=True))
    orders = (
        list(permutations(weighted)) if len(weighted) <= MAX_MODELS_REORDERED else []
    )
    if not orders:
        offered = trial.frame.parents
        as_offered = sorted(weighted, key=lambda entry: offered.index(entry[0]))
        for forward in (weighted, as_offered):
            orders += [tuple(forward), tuple(reversed(forward))]
    for order in orders:
        models = tuple(model for model, _ in order)
        weights = tuple(weight for _, weight in order)
        recipes.append(replace(recipe, models=models, weights=weights))
    return recipes


def _as_written_by_hand(trial: Trial, recipe: Recipe) -> list[Recipe]:
    """The average as a few lines of code would sum it, in every order: weights that sum
    to one, no division by their sum, with and without fused multiply-adds.
    """
    weights = _single_values(recipe.weights)
    if weights is None or not sum(weights):
        return []
    parts = [constant(round(weight / sum(weights), 12)) for weight in weights]
    scaled = replace(recipe, weights=tuple(parts))
    recipes = []
    for fused in (0, 1):
        ways: Mapping[str, float] = {"fused": fused, "normalize": 0}
        recipes += _reordered(trial, scaled.with_settings(ways))
    return recipes


def _single_values(weights: Sequence[Setting]) -> list[float] | None:
    """Each weight's number; None where one differs between tensors."""
    values = []
    for weight in weights:
        value = single_value(weight)
        if value is None:
            return None
        values.append(value)
    return values


def _widened(interval: Interval) -> Interval:
    low, high = interval
    return low - SUM_SLACK, high + SUM_SLACK
