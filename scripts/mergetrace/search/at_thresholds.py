"""What lies at a threshold of TIES, where lines by hand choose otherwise than the merge
tool.

Such elements refute no recipe and prove none (see applying.undecided_elements), and no
rule looks at them; but the model is given back to the last byte only by the lines that
choose as its owner's did.
"""

from collections.abc import Iterable

from mergetrace.merging.recipes import Recipe
from mergetrace.search.counting import missed_by
from mergetrace.search.finalists import SOLVING_RATE
from mergetrace.search.proposals.trimming import HAND_CHOICES
from mergetrace.search.trial import Trial


def choices_at_thresholds(
    trial: Trial, recipes: Iterable[Recipe]
) -> dict[Recipe, Recipe]:
    """By recipe of TIES that gives back all that tells of it, the lines by hand that
    give back more of the pilot's other elements, where there are any.
    """
    found = {}
    for recipe in recipes:
        if recipe.method == "ties" and trial.rate(recipe) >= SOLVING_RATE:
            choice = _best_choice(trial, recipe)
            if choice != recipe:
                found[recipe] = choice
    return found


def _best_choice(trial: Trial, recipe: Recipe) -> Recipe:
    choices = [recipe, *(recipe.with_settings(choice) for choice in HAND_CHOICES)]
    return min(choices, key=lambda choice: missed_by(choice, trial.pieces))
