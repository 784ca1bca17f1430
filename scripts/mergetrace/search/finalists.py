"""Which of the recipes that were tried on the pilot go on to all of the evidence."""

from mergetrace.merging.recipes import Recipe, written_length
from mergetrace.search.clues import HOPEFUL_RATE
from mergetrace.search.trial import HOPELESS_RATE, Trial

MAX_FINALISTS = 12
MAX_FINALISTS_OF_INNOCENT = 3
"""Where no recipe gives much back: enough to say how little the best does."""
SOLVING_RATE = 0.9995
"""A rate from which the screen may be too small to tell a recipe from the right one: so
many more go on to all of the evidence, which decides.
"""


def finalists(trial: Trial) -> list[Recipe]:
    """The recipes of highest pilot rate, of equals the shortest, each method's best
    among them; far behind the best only where nothing is good. In the order in which
    they were proposed.
    """
    ranked = _ranked(trial)
    if not ranked:
        return []
    if HOPEFUL_RATE <= trial.rates[ranked[0]] < HOPELESS_RATE:
        trial.measure_in_full(ranked[: 2 * MAX_FINALISTS])
        ranked = _ranked(trial)
    top = trial.rates[ranked[0]]
    best_of_methods = {recipe.method: recipe for recipe in reversed(ranked)}
    solving = [recipe for recipe in ranked if trial.rates[recipe] >= SOLVING_RATE]
    chosen = {
        *(
            recipe
            for recipe in best_of_methods.values()
            if trial.rates[recipe] >= top / 2
        ),
        *ranked[: MAX_FINALISTS // 2],
        *solving[:MAX_FINALISTS],
    }
    most = MAX_FINALISTS if top >= HOPELESS_RATE else MAX_FINALISTS_OF_INNOCENT
    # In the order of `ranked`, never of the set: a set's differs from run to run.
    kept = [recipe for recipe in ranked if recipe in chosen][:most]
    return sorted(kept, key=list(trial.rates).index)


def _ranked(trial: Trial) -> list[Recipe]:
    """Recipes by falling rate, of equals those that all of the pilot speaks for, then the
    shortest first.
    """

    def place(recipe: Recipe) -> tuple[float, bool, int]:
        is_other = recipe not in trial.preferred
        return -trial.rates[recipe], is_other, written_length(recipe)

    return sorted(trial.rates, key=place)
