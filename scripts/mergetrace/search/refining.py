"""A wide mixture that gives back all but a few elements, made exact by the elements of
all tensors.

The pilot holds a few dozen tensors, and its elements leave an interval for each weight.
The elements that a weight from its middle misses lie next to a midpoint of two stored
numbers, and those of the whole model, few as they are, leave hardly a number of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mergetrace.merging.applying import Piece, apply_recipe
from mergetrace.merging.facts import HeldFacts
from mergetrace.merging.recipes import Recipe
from mergetrace.search.proposals.alike_varying import (
    MIXED_ALIKE,
    NEAR_MIDPOINT,
    Varying,
)
from mergetrace.search.proposals.ways import is_wide, mixed_models_of, ways_of
from mergetrace.search.trial import elements_of

NEARLY_EXACT = 0.999  # of the informative elements: below, something else is amiss
MAX_REFINED_ELEMENTS = 1 << 20
"""Next to midpoints: about one in a hundred of a model's, and enough of the largest."""
MAX_REFINED_RECIPES = 3  # recipes that are counted on all evidence


def can_be_refined(recipe: Recipe, rate: float) -> bool:
    """Whether a recipe is a mixture whose weights are all that it lacks."""
    mixes = recipe.method in MIXED_ALIKE and is_wide(recipe)
    return mixes and NEARLY_EXACT <= rate < 1


@dataclass
class Refinement:
    """What the elements next to midpoints say of the weights of a mixture."""

    recipe: Recipe
    """As the search left it."""
    base: str
    """The base of the frame."""
    kept: list[Piece] = field(default_factory=list)
    """The elements next to midpoints, by tensor."""

    def add(self, piece: Piece) -> None:
        """Keep what one tensor has next to midpoints."""
        if sum(one.size for one in self.kept) >= MAX_REFINED_ELEMENTS:
            return
        near = self._next_to_midpoints(piece)
        if near.size:
            self.kept.append(near)

    def recipes(self) -> list[Recipe]:
        """The ways to write the mixture, and the weights, that leave fewest of these
        elements.
        """
        varying = Varying(self.recipe, self.base, tuple(self.kept))
        if not self.kept or not varying.layers:
            return []
        found = varying.recipes()[:MAX_REFINED_RECIPES]
        return found + self._on_arcs(found[0])

    def _on_arcs(self, refined: Recipe) -> list[Recipe]:
        """Every way to write a SLERP of these weights: which angle a tensor's inner
        product gave depends on how it was summed, and only the whole tensor tells.
        """
        if refined.method != "slerp":
            return []
        by_model = dict(zip(refined.models, refined.weights, strict=True))
        shares = [by_model[name] for name in mixed_models_of(refined)]
        return [build(shares) for build in ways_of(refined, self.base)]

    def _next_to_midpoints(self, piece: Piece) -> Piece:
        """Elements that a weight some millionths away may give or take, and those that
        are missed.
        """
        merged = apply_recipe(self.recipe, piece)
        greatest = _greatest(piece, mixed_models_of(self.recipe))
        low, high = piece.cell
        with np.errstate(invalid="ignore"):
            room = np.minimum(merged - low, high - merged)
            near = room <= NEAR_MIDPOINT * greatest
        kept = replace(elements_of(piece, near), ends=(), names=())
        # An angle is that of the whole tensor, which its inner products tell.
        if isinstance(piece.facts, HeldFacts):
            facts = replace(piece.facts, values=kept.values)
            kept = replace(kept, facts=facts)
        return kept


def _greatest(piece: Piece, models: Sequence[str]) -> np.ndarray:
    sizes: np.ndarray = np.max([np.abs(piece.values[name]) for name in models], axis=0)
    return sizes
