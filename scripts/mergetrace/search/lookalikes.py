"""Donors so alike that one may stand for the other: the best recipe beside the same
recipe with one donor in the other's place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mergetrace.merging.applying import Piece, apply_and_store
from mergetrace.merging.recipes import Recipe
from mergetrace.search.trial import narrow


@dataclass
class Swaps:
    """Counted over slices. pairs: donors that are alike. width: of informative
    intervals (see trial.narrow).
    """

    recipe: Recipe
    pairs: Sequence[tuple[str, str]]
    width: float
    counts: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        orders = [*self.pairs, *((other, one) for one, other in self.pairs)]
        self.counts = {
            (own, other): [0, 0]
            for own, other in orders
            if own in self.recipe.parents and other not in self.recipe.parents
        }

    def add(self, piece: Piece) -> None:
        """Apply both recipes to one slice."""
        if not self.counts:
            return
        stored = piece.audited_values
        exact = stored == apply_and_store(self.recipe, piece)
        for (own, other), count in self.counts.items():
            telling = narrow(piece, (*self.recipe.parents, other), self.width)
            with_other = stored == apply_and_store(
                swapped(self.recipe, own, other), piece
            )
            count[0] += int((telling & exact & ~with_other).sum())
            count[1] += int((telling & with_other & ~exact).sum())

    def result(self) -> list[dict[str, Any]]:
        """donor (of the recipe), other; only_donor, only_other: elements that one
        recipe gives back and the other does not.
        """
        return [
            {"donor": own, "other": other, "only_donor": ours, "only_other": theirs}
            for (own, other), (ours, theirs) in self.counts.items()
        ]


def swapped(recipe: Recipe, own: str, other: str) -> Recipe:
    """The recipe with `other` wherever it says `own`, in the settings of one model too."""

    def renamed(name: str) -> str:
        return (
            name.removesuffix(f".{own}") + f".{other}"
            if name.endswith(f".{own}")
            else name
        )

    models = tuple(other if name == own else name for name in recipe.models)
    settings = tuple(sorted((renamed(name), value) for name, value in recipe.settings))
    return replace(
        recipe,
        models=models,
        base=other if recipe.base == own else recipe.base,
        settings=settings,
    )
