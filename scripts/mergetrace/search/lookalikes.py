"""Donors so alike that one may stand for the other: the best recipe beside the same
recipe with one donor in the other's place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mergetrace.merging.applying import Piece, apply_and_store
from mergetrace.merging.recipes import Recipe
from mergetrace.records.recipe_search import Swap
from mergetrace.search.counting import confining_elements


@dataclass
class Swaps:
    """The swaps of one recipe."""

    recipe: Recipe
    pairs: Sequence[tuple[str, str]]
    """Donors that are alike."""
    width: float
    """Of informative intervals (see counting.confining_elements)."""
    swaps: list[Swap] = field(init=False)

    def __post_init__(self) -> None:
        orders = [*self.pairs, *((second, first) for first, second in self.pairs)]
        parents = self.recipe.parents
        self.swaps = [
            Swap(donor, other, only_donor=0, only_other=0)
            for donor, other in orders
            if donor in parents and other not in parents
        ]

    def add(self, piece: Piece) -> None:
        """Apply both recipes to one slice."""
        if not self.swaps:
            return
        stored = piece.audited_values
        given_back = stored == apply_and_store(self.recipe, piece)
        for i, swap in enumerate(self.swaps):
            parents = (*self.recipe.parents, swap.other)
            confined = confining_elements(piece, parents, self.width)
            other_recipe = swapped(self.recipe, swap.donor, swap.other)
            given_by_other = stored == apply_and_store(other_recipe, piece)
            only_donor = int((confined & given_back & ~given_by_other).sum())
            only_other = int((confined & given_by_other & ~given_back).sum())
            self.swaps[i] = replace(
                swap,
                only_donor=swap.only_donor + only_donor,
                only_other=swap.only_other + only_other,
            )

    def result(self) -> tuple[Swap, ...]:
        """Every swap, counted over all slices."""
        return tuple(self.swaps)


def swapped(recipe: Recipe, donor: str, other: str) -> Recipe:
    """The recipe with `other` wherever it says `donor`, in the settings of one model
    too.
    """
    settings = []
    for name, value in recipe.settings:
        parameter, _, model = name.partition(".")
        settings.append((f"{parameter}.{other}" if model == donor else name, value))
    return replace(
        recipe,
        models=tuple(other if name == donor else name for name in recipe.models),
        base=other if recipe.base == donor else recipe.base,
        settings=tuple(sorted(settings)),
    )
