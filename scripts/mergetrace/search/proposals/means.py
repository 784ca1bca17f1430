"""Recipes of methods without weights: Karcher mean, model stock, SCE."""

from mergetrace.merging.recipes import Recipe, make
from mergetrace.search.clues import ARITHMETIC_DTYPES, Clues, strongest_or_all
from mergetrace.search.trial import Trial

TOPK_TENTHS = range(1, 10)


def propose_means(trial: Trial, clues: Clues) -> list[Recipe]:
    """Methods without weights, of the strongest donors offered, with the base as one of
    the models and without.
    """
    base = trial.frame.base
    recipes = []
    for dtype in ARITHMETIC_DTYPES:
        for donors in strongest_or_all(clues.offered, least=1):
            equal = dict.fromkeys(donors, 1.0)
            recipes.append(make("karcher", {base: 1.0, **equal}, None, dtype))
            if len(donors) == 1:
                continue
            recipes.append(make("karcher", equal, None, dtype))
            recipes.append(make("model_stock", equal, base, dtype))
            recipes.append(make("sce", equal, base, dtype))
            for tenths in TOPK_TENTHS:
                recipes.append(make("sce", equal, base, dtype, topk=tenths / 10))
    return recipes
