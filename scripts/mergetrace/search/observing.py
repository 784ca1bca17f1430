"""What the last bits of the pilot say beside the recipes: the nearest blend, whether the
numbers follow from the parents' alone, how they miss a blend's, what a drop would leave.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from mergetrace.merging.applying import Piece
from mergetrace.merging.recipes import Recipe
from mergetrace.records.recipe_search import (
    Dependence,
    FinerBlend,
    Leaning,
    LinearBlend,
    RoundTrip,
    Signature,
)
from mergetrace.search.blends import Blend, VaryingBlend, pilot_blend, varying_blend
from mergetrace.search.clues import Clues
from mergetrace.search.dependence import measure_dependence_of_most
from mergetrace.search.finer import measure_finer
from mergetrace.search.leaning import LEAST_TRACE, lean_to_pair, lean_to_recipe
from mergetrace.search.round_trips import measure_round_trip
from mergetrace.search.signatures import measure_signature
from mergetrace.search.trial import Trial, slices_of

Seen = TypeVar("Seen")


@dataclass(frozen=True)
class Observations:
    """What was seen; nothing of a packed model, whose cells hide last bits."""

    blend: LinearBlend | None = None
    """The weighted sum that is nearest."""
    dependence: Dependence | None = None
    """Whether the numbers follow from the parents' alone."""
    leanings: Mapping[str, Leaning] = field(default_factory=dict)
    """By donor, how the numbers miss those of the best blend of base and donor."""
    of_recipes: Mapping[Recipe, Leaning] = field(default_factory=dict)
    """The same of the recipes that do not give everything back."""
    finer: Mapping[str, FinerBlend] = field(default_factory=dict)
    """By donor the blend of finer numbers than it was offered with."""
    round_trip: RoundTrip | None = None
    """The blend of parents that were quantised and written back."""
    signature: Signature | None = None
    """What a dropping merge of the strongest donor would have left."""
    signature_of_two: Signature | None = None
    """What a dropping merge of the two strongest would have left."""


def observe(trial: Trial, clues: Clues, recipes: Sequence[Recipe]) -> Observations:
    """Look at the pilot, once its recipes were tried.

    recipes: the finalists.
    """
    if any(piece.audited.is_packed for piece in trial.pieces):
        return Observations()
    slices = slices_of(trial.pieces)
    blend, parents = _nearest_blend(trial, slices, clues)
    one_blend = blend is not None and blend.ranges is None
    donors = clues.donors
    of_two = measure_signature(trial, donors[:2]) if len(donors) > 1 else None
    leanings = _by_donor(trial, clues.offered, lean_to_pair)
    all_shown = (trial.frame.base, *donors)
    return Observations(
        blend=blend,
        dependence=measure_dependence_of_most(slices, parents, all_shown, one_blend),
        leanings=leanings,
        finer=_by_donor(trial, tuple(leanings), measure_finer),
        of_recipes=_leanings_to_recipes(trial, recipes),
        signature=measure_signature(trial, donors[:1]),
        signature_of_two=of_two,
        round_trip=measure_round_trip(trial, clues.offered),
    )


def _nearest_blend(
    trial: Trial, slices: Sequence[Piece], clues: Clues
) -> tuple[LinearBlend | None, tuple[str, ...]]:
    """The nearest blend, and the models that it is of: the base and the strongest donor
    where it is none.
    """
    numbers: LinearBlend | None = None
    blend: Blend | VaryingBlend | None = pilot_blend(trial, clues.offered)
    if blend is not None:
        numbers = blend.numbers()
    if isinstance(blend, Blend) and not blend.is_rounding:
        blend = varying_blend(slices, trial.frame.base, clues.offered)
    if blend is None or len(blend.models) < 2:
        return numbers, (trial.frame.base, clues.donors[0])
    return blend.numbers(), blend.models


def _leanings_to_recipes(
    trial: Trial, recipes: Sequence[Recipe]
) -> dict[Recipe, Leaning]:
    found = {}
    for recipe in recipes:
        if LEAST_TRACE <= trial.rates.get(recipe, 0.0) < 1:
            leaning = lean_to_recipe(trial.pieces, recipe, trial.frame.base)
            if leaning is not None:
                found[recipe] = leaning
    return found


def _by_donor(
    trial: Trial,
    donors: Sequence[str],
    measure: Callable[[Sequence[Piece], str, str, float], Seen | None],
) -> dict[str, Seen]:
    """What is seen of base and each donor alone, where anything is."""
    found = {}
    for donor in donors:
        seen = measure(trial.pieces, trial.frame.base, donor, trial.width)
        if seen is not None:
            found[donor] = seen
    return found
