"""Recipes that choose elements, tried where some stayed at the base."""

from mergetrace.merging.recipes import Recipe, make
from mergetrace.search.clues import NARROW_DTYPES, Clues
from mergetrace.search.proposals.trimming import trimmed_recipes
from mergetrace.search.survivors import stayed_share, survivor_weights
from mergetrace.search.trial import Trial

MAX_SELECTING_DONORS = 3


def propose_selections(trial: Trial, clues: Clues) -> list[Recipe]:
    """TIES and breadcrumbs of the strongest donor, of the two and of the three
    strongest; a fusion of two models, either the base.
    """
    recipes: list[Recipe] = []
    if stayed_share(trial, clues.donors[:1]) >= trial.min_stayed:
        recipes += _fusions(trial, clues)
    for count in range(1, min(len(clues.donors), MAX_SELECTING_DONORS) + 1):
        donors = clues.donors[:count]
        if stayed_share(trial, donors) < trial.min_stayed**count:
            continue
        weights = [survivor_weights(trial, donor) for donor in donors]
        if all(weights):
            recipes += trimmed_recipes(trial, donors, weights)
    return recipes


def _fusions(trial: Trial, clues: Clues) -> list[Recipe]:
    """Arcee fusion, which only a tensor that is all there can tell."""
    if not all(piece.facts.whole for piece in trial.screen):
        return []
    base = trial.frame.base
    donor = clues.donors[0]
    recipes = []
    for model, other in ((donor, base), (base, donor)):
        for dtype in (*NARROW_DTYPES, "float32"):
            recipes.append(make("arcee_fusion", {model: 1}, other, dtype))
    return recipes
