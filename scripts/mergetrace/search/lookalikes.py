"""Donors so alike that one may stand for the other: the best recipe beside the same
recipe with one donor in the other's place.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from mergetrace.merging.applying import Piece, apply_and_store
from mergetrace.merging.recipes import Recipe
from mergetrace.search.counting import confining_elements


@dataclass
class Swap:
    """One donor of a recipe and another model in its place, counted over slices."""

    donor: str
    """The recipe's own donor."""
    other: str
    """The model that is like it."""
    only_donor: int = 0
    """Elements that only the recipe gives back."""
    only_other: int = 0
    """Elements that only the recipe with the other model gives back."""


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
            Swap(donor, other)
            for donor, other in orders
            if donor in parents and other not in parents
        ]

    def add(self, piece: Piece) -> None:
        """Apply both recipes to one slice."""
        if not self.swaps:
            return
        stored = piece.audited_values
        given_back = stored == apply_and_store(self.recipe, piece)
        for swap in self.swaps:
            parents = (*self.recipe.parents, swap.other)
            confined = confining_elements(piece, parents, self.width)
            other_recipe = swapped(self.recipe, swap.donor, swap.other)
            given_by_other = stored == apply_and_store(other_recipe, piece)
            swap.only_donor += int((confined & given_back & ~given_by_other).sum())
            swap.only_other += int((confined & given_by_other & ~given_back).sum())

    def result(self) -> list[dict[str, Any]]:
        """The fields of each swap by name."""
        return [asdict(swap) for swap in self.swaps]


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
