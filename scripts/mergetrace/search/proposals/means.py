"""Recipes of methods without weights: Karcher mean, model stock, SCE, RAM."""

from collections.abc import Iterator, Sequence
from itertools import permutations

from mergetrace.merging.recipes import Recipe, make
from mergetrace.search.clues import (
    HOPEFUL_RATE,
    Clues,
    arithmetic_dtypes,
    shows_rounding,
    strongest_or_all,
    widening_dtypes,
)
from mergetrace.search.trial import HOPELESS_RATE, Trial

TOPK_TENTHS = range(1, 10)
MAX_IN_ANY_ORDER = 3  # models: 6 orders
KARCHER_STEPS = (1, 2, 3, 5)
EPSILONS = (1e-5, 1e-3)  # that RAM's changes must exceed, tried first
FURTHER_EPSILONS = (1e-8, 1e-7, 1e-6, 5e-6, 5e-5, 1e-4, 2e-4, 5e-4, 2e-3, 5e-3, 0.01)
REINFORCEMENTS = tuple(tenths / 10 for tenths in range(1, 11))
RATIOS = (0.2, 0.1, 0.3, 0.4, 0.5, 0.8, 1.0)


def propose_means(trial: Trial, clues: Clues) -> list[Recipe]:
    """Methods without weights, of the strongest donors offered, with the base as one of
    the models and without.
    """
    base = trial.frame.base
    recipes = []
    for dtype in arithmetic_dtypes(trial):
        for donors in strongest_or_all(clues.offered, least=1):
            equal = dict.fromkeys(donors, 1.0)
            recipes += _karcher(trial, (base, *donors), dtype)
            if len(donors) == 1:
                continue
            recipes += _karcher(trial, donors, dtype)
            recipes += _in_orders(trial, make("model_stock", equal, base, dtype))
            recipes.append(make("model_stock", equal, base, dtype, filter_wise=1))
            recipes.append(make("sce", equal, base, dtype))
            for tenths in TOPK_TENTHS:
                recipes.append(make("sce", equal, base, dtype, topk=tenths / 10))
            recipes += _agents(trial, donors, dtype)
    for dtype in widening_dtypes(trial):
        if dtype not in arithmetic_dtypes(trial):
            for donors in strongest_or_all(clues.offered):
                recipes += _agents(trial, donors, dtype)
    return recipes


def _karcher(trial: Trial, models: Sequence[str], dtype: str) -> list[Recipe]:
    """The Karcher mean, of as many steps as it takes, and of fewer where it nearly is
    one.
    """
    equal = dict.fromkeys(models, 1.0)
    recipes = _in_orders(trial, make("karcher", equal, None, dtype))
    best = trial.best(recipes)
    if HOPELESS_RATE <= trial.rate(best) < 1:
        recipes += [best.with_settings({"max_iter": steps}) for steps in KARCHER_STEPS]
    return recipes


def _in_orders(trial: Trial, recipe: Recipe) -> list[Recipe]:
    """The recipe, and where it gives nearly all back the same of its few models in
    every other order: sums round.
    """
    least = HOPEFUL_RATE if shows_rounding(trial, recipe.dtype) else HOPELESS_RATE
    is_near = least <= trial.rate(recipe) < 1
    if not is_near or len(recipe.models) > MAX_IN_ANY_ORDER:
        return [recipe]
    orders = permutations(recipe.models)
    return [
        make(recipe.method, dict.fromkeys(order, 1.0), recipe.base, recipe.dtype)
        for order in orders
    ]


def _agents(trial: Trial, donors: Sequence[str], dtype: str) -> list[Recipe]:
    """RAM and RAM+ with the tool's own numbers and, where these give something back,
    with others.
    """
    recipes = [_agent(trial, "ram", donors, dtype, epsilon) for epsilon in EPSILONS]
    recipes.append(_agent(trial, "ramplus_tl", donors, dtype, EPSILONS[0]))
    rate = max(map(trial.rate, recipes))
    if HOPEFUL_RATE <= rate < 1:
        for method in ("ram", "ramplus_tl"):
            for epsilon in FURTHER_EPSILONS:
                recipes.append(_agent(trial, method, donors, dtype, epsilon))
        best = trial.best([recipe for recipe in recipes if recipe.method != "ram"])
        recipes += _reinforced(best)
    return recipes


def _agent(
    trial: Trial, method: str, donors: Sequence[str], dtype: str, epsilon: float
) -> Recipe:
    equal = dict.fromkeys(donors, 1.0)
    return make(method, equal, trial.frame.base, dtype, epsilon=epsilon)


def _reinforced(recipe: Recipe) -> Iterator[Recipe]:
    """RAM+ with other reinforcements: r times the greatest ratio is what shows where
    many changes are shared.
    """
    for reinforcement in REINFORCEMENTS:
        for ratio in RATIOS:
            yield recipe.with_settings({"r": reinforcement, "greatest_ratio": ratio})
