"""Recipes that the audited model's folder declares."""

from dataclasses import replace

from mergetrace.merging.mergekit_methods import takes
from mergetrace.merging.recipes import Recipe
from mergetrace.search.clues import HOPEFUL_RATE
from mergetrace.search.declared import Hypothesis
from mergetrace.search.trial import Trial


def propose_declared(trial: Trial, hypothesis: Hypothesis) -> Recipe | None:
    """The best reading of a declared merge; None where it cannot be replayed.

    A declaration may name a model that has no part in the merge. Of a reading that gives
    something back the same without each of its models is tried too: of equal rates the
    recipe of fewer models wins, so that nobody is named whom the numbers do not need.
    """
    if not hypothesis.recipes:
        return None
    best = trial.best(hypothesis.recipes)
    if trial.rate(best) >= HOPEFUL_RATE:
        for smaller in _without_each(best):
            trial.rate(smaller)
    return best


def _without_each(recipe: Recipe) -> list[Recipe]:
    """The recipe without one of its models, where enough are left."""
    fewer = len(recipe.models) - 1
    if recipe.method == "passthrough" or len(recipe.parents) < 3:
        return []
    if not takes(recipe.method, fewer):
        return []
    recipes = []
    for left_out in recipe.models:
        kept = [
            (model, weight)
            for model, weight in zip(recipe.models, recipe.weights, strict=True)
            if model != left_out
        ]
        settings = tuple(
            (name, value)
            for name, value in recipe.settings
            if name.partition(".")[2] != left_out
        )
        models = tuple(model for model, _ in kept)
        weights = tuple(weight for _, weight in kept)
        recipes.append(
            replace(recipe, models=models, weights=weights, settings=settings)
        )
    return recipes
