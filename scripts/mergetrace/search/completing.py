"""Weights that vary, of every tensor: the pilot holds a few dozen, and where weights
follow no short pattern those of the others must be measured too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from mergetrace.merging.applying import Piece
from mergetrace.merging.recipes import Recipe
from mergetrace.merging.settings import constant, single_value
from mergetrace.numerics.arrays import some_of
from mergetrace.search.gradients import in_the_middle, well_inside
from mergetrace.search.trial import HOPELESS_RATE, Trial
from mergetrace.search.variations import (
    Counted,
    Measured,
    OfSeveral,
    OfTwo,
    Variation,
    recipes_of,
)

MAX_COMPLETED = 1000
"""Slices whose weights are measured, evenly spread over the model."""

MIXING = ("linear", "task_arithmetic", "lerp", "slerp", "nuslerp")
"""Methods that mix models by weights alone."""


@dataclass
class Completion:
    """What every tensor allows of the weights of a mixture that is known."""

    variation: Variation
    measured: list[Measured] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        """Measure one tensor."""
        allowed = self.variation.measure(piece)
        if allowed is not None:
            self.measured.append(allowed)

    def recipes(self) -> list[Recipe]:
        """The recipes with the weights of all tensors measured: with decimals that
        somebody may have written, and with what lies in the middle, where a formula's
        numbers do. One in ten intervals holds a decimal of five digits by chance.
        """
        if not self.measured:
            return []
        return [
            recipe
            for choose in (well_inside, in_the_middle)
            for recipe in recipes_of(
                self.variation, self.measured, choose=choose
            ).recipes
        ]


def completion_of(trial: Trial) -> Completion | None:
    """What is left to be measured of the best recipe whose weights vary; nothing where
    none gives as much back as any other.
    """
    least = max(trial.best_rate(), HOPELESS_RATE)
    for recipe in trial.ranked(list(trial.rates)):
        if trial.rate(recipe) < least:
            return None
        variation = None if is_constant(recipe) else variation_of(recipe, trial.width)
        if variation is not None:
            return Completion(variation)
    return None


def is_constant(recipe: Recipe) -> bool:
    """Whether the weights are the same for all tensors."""
    return all(single_value(weight) is not None for weight in recipe.weights)


def variation_of(recipe: Recipe, width: float) -> Variation | None:
    """The mixture that a recipe is, whatever its weights; None of methods that are
    none.
    """
    if recipe.method not in MIXING:
        return None
    models = recipe.models if recipe.base is None else (recipe.base, *recipe.models)
    if recipe.script or recipe.dtype != "float32" or recipe.method == "nuslerp":
        rounded = dict(recipe.settings).get("weights_rounded", constant(0.0))
        return Counted(
            models,
            recipe.method,
            recipe.base,
            recipe.dtype,
            recipe.script,
            bool(single_value(rounded)),
        )
    if len(models) > 2:
        return OfSeveral(models, width)
    pair = (models[0], models[1])
    return OfTwo(pair, "slerp" if recipe.method == "slerp" else "linear", width)


def slices_to_measure(voting: Sequence[int]) -> set[int]:
    """Of the voting slices, in the model's order, those whose weights are measured."""
    return set(some_of(voting, MAX_COMPLETED))
