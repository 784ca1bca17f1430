"""The finalists of a search by what they give back of all evidence, and which of them
cannot be told apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mergetrace.merging.methods import METHODS
from mergetrace.merging.recipes import Recipe
from mergetrace.search.counting import Count, add_counts, exact_rate

ORDER_TIE = 5e-5
"""Rates this close are not told apart where sums or sorts matter: the worst emulation
of a float32 method misses that many elements.
"""


@dataclass(frozen=True)
class Replayed:
    """A recipe and how much of the audited model it gives back."""

    recipe: Recipe
    count: Count
    """Over all evidence."""
    rate: float
    """The share of the informative elements given back bit for bit."""


def ranked(
    recipes: Sequence[Recipe],
    counts: Sequence[Sequence[Count]],
    min_informative_share: float,
) -> list[Replayed]:
    """Finalists that some informative element could refute, by falling bit-exact
    rate; of equals the one of fewest models, then the merge tool's own, then the
    simplest, first proposed.

    counts: by slice, of each recipe. min_informative_share: the threshold of the
    configuration.
    """
    entries = []
    for i, recipe in enumerate(recipes):
        count = add_counts(by_recipe[i] for by_recipe in counts)
        if count.informative:
            rate = exact_rate(count, min_informative_share)
            entries.append(Replayed(recipe, count, rate))
    return sorted(
        entries,
        key=lambda entry: (
            -entry.rate,
            len(set(entry.recipe.parents)),
            bool(entry.recipe.script),
            entry.recipe.method == "nuslerp",
        ),
    )


def indistinguishable(ranking: Sequence[Replayed]) -> tuple[str, ...]:
    """The methods of recipes that cannot be told from the best; none where that is the
    best recipe's own method alone.
    """
    alike = [entry.recipe.method for entry in ranking if _alike(ranking[0], entry)]
    methods = tuple(dict.fromkeys(alike))
    return methods if len(methods) > 1 else ()


def _alike(best: Replayed, other: Replayed) -> bool:
    """Whether two recipes cannot be told apart: they give the same elements back, or
    nearly, where a sum's order or a sort's is not known.
    """
    methods = (METHODS[entry.recipe.method] for entry in (best, other))
    open_to_order = any(method.needs != "elements" for method in methods)
    tie = ORDER_TIE if open_to_order else 0
    return other.rate >= best.rate - tie
