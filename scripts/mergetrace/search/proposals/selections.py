"""Recipes that choose elements, tried where some stayed at the base."""

from mergetrace.merging.recipes import Recipe, make
from mergetrace.search.clues import Clues, widening_dtypes
from mergetrace.search.proposals.layered import propose_layered
from mergetrace.search.proposals.trimming import elected_recipes, trimmed_recipes
from mergetrace.search.proposals.trimming_packed import trimmed_through_cells
from mergetrace.search.survivors import stayed_share, survivor_weights
from mergetrace.search.trial import Trial

MAX_SELECTING_DONORS = 3


def propose_selections(trial: Trial, clues: Clues) -> list[Recipe]:
    """TIES and breadcrumbs of the strongest donor, of the two and of the three
    strongest, also where nothing was dropped but what lost the election of a sign;
    a fusion of two models, either the base.
    """
    recipes: list[Recipe] = []
    if all(piece.audited.is_packed for piece in trial.screen):
        return trimmed_through_cells(trial, clues.donors[0])
    if stayed_share(trial, clues.donors[:1]) >= trial.min_stayed:
        recipes += _fusions(trial, clues)
    for count in range(1, min(len(clues.donors), MAX_SELECTING_DONORS) + 1):
        donors = clues.donors[:count]
        stayed = stayed_share(trial, donors) >= trial.min_stayed**count
        if not stayed and count == 1:
            continue
        weights = [survivor_weights(trial, donor) for donor in donors]
        if all(weights):
            propose = trimmed_recipes if stayed else elected_recipes
            recipes += propose(trial, donors, weights)
        if stayed:
            trial.best([*recipes, *trial.rates])  # each is rated
            recipes += propose_layered(trial, donors)
    return recipes


def _fusions(trial: Trial, clues: Clues) -> list[Recipe]:
    """Arcee fusion, which only a tensor that is all there can tell."""
    if not all(piece.facts.whole for piece in trial.screen):
        return []
    base = trial.frame.base
    donor = clues.donors[0]
    recipes = []
    for model, other in ((donor, base), (base, donor)):
        for dtype in (*widening_dtypes(trial), "float32"):
            recipes.append(make("arcee_fusion", {model: 1}, other, dtype))
    return recipes
