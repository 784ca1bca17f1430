"""Merges that choose elements whose densities or weights vary: along the layers, or by
filter.

Which elements a tensor kept needs no density: of every subset of the donors it is seen
what it would have made of each element. The subsets that gave it say which donors were
kept there, and these say how many were. Weights are right where every element is given
by some subset.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mergetrace.merging.applying import Piece, apply_and_store
from mergetrace.merging.recipes import Recipe, make
from mergetrace.merging.settings import Setting, constant
from mergetrace.numerics.arithmetic import rounder
from mergetrace.numerics.arrays import Mask
from mergetrace.search.clues import (
    FAMILY_FOUND_RATE,
    HOPEFUL_RATE,
    SUM_SLACK,
    arithmetic_dtypes,
)
from mergetrace.search.gradients import Allowed
from mergetrace.search.patterns import explain
from mergetrace.search.survivors import (
    States,
    kept_run,
    stated,
    subsets_of,
    survivor_range,
)
from mergetrace.search.tensor_weights import MIN_TENSOR_SHARE, MIN_TENSORS
from mergetrace.search.trial import Trial, elements_of
from mergetrace.search.variations import highest

TRIM = "density."
MIN_GIVEN = 0.99
"""Of the elements that a donor moved, the share that some subset must give."""
MAX_TEMPLATES = 12
"""Recipes of constant numbers whose weights are looked at, the best first."""
MAX_FOLLOWED = 2
"""Of them, those whose weights give nearly all and whose densities are measured."""
GIVEN_ELEMENTS = 2048
"""Of a tensor, to find weights."""
SURVIVOR_REACH = 0.01  # relative, around what survivors tell, in narrow arithmetic
GIVEN_ROUNDS = 3
SAMPLE_ERRORS = 4  # standard errors of a share of which a sample tells


def propose_layered(trial: Trial, donors: Sequence[str]) -> list[Recipe]:
    """TIES and breadcrumbs of these donors whose numbers vary; none where constant ones
    give nearly all back.
    """
    if trial.best_rate() >= FAMILY_FOUND_RATE:
        return []
    recipes: list[Recipe] = []
    for template in _templates(trial, donors):
        recipes += _with_densities(trial, template)
    if any(trial.rate(recipe) >= FAMILY_FOUND_RATE for recipe in recipes):
        return recipes
    for dtype in arithmetic_dtypes(trial):
        for template in _of_varying_weights(trial, donors, dtype):
            recipes += _with_densities(trial, template)
    return recipes


def _templates(trial: Trial, donors: Sequence[str]) -> list[Recipe]:
    """The recipes of constant numbers by whose weights some subset gives nearly every
    element of a tensor.
    """
    tried = [
        recipe
        for recipe in trial.ranked(list(trial.rates))
        if recipe.selects
        and set(recipe.models) == set(donors)
        and any(name.startswith(TRIM) for name, _ in recipe.settings)
        and not recipe.setting("rescale")
        and trial.rate(recipe) >= HOPEFUL_RATE
    ]
    piece = elements_of(trial.screen[0], slice(GIVEN_ELEMENTS))
    good = [
        recipe
        for recipe in _of_other_weights(tried)[:MAX_TEMPLATES]
        if _given(recipe, piece) >= MIN_GIVEN
    ]
    return good[:MAX_FOLLOWED]


def _of_other_weights(recipes: Sequence[Recipe]) -> list[Recipe]:
    """The first of all recipes that differ in their densities alone."""
    first: dict[Recipe, Recipe] = {}
    for recipe in recipes:
        first.setdefault(_untrimmed(recipe), recipe)
    return list(first.values())


def _untrimmed(recipe: Recipe) -> Recipe:
    """The recipe where every donor keeps all of its changes."""
    return recipe.with_settings({TRIM + model: 1.0 for model in recipe.models})


def _given(recipe: Recipe, piece: Piece) -> float:
    """The share of the elements that some donor moved which some subset gives."""
    merged_by = _by_subset(recipe, piece)
    given = np.any(list(merged_by.values()), axis=0)
    base = piece.values[str(recipe.base)]
    moved = np.any([piece.values[name] != base for name in recipe.models], axis=0)
    return float(given[moved].mean()) if moved.any() else 0.0


def _by_subset(recipe: Recipe, piece: Piece) -> dict[tuple[int, ...], Mask]:
    """By subset of the donors, which elements it gives where it alone was kept."""
    untrimmed = _untrimmed(recipe)
    base = piece.values[str(recipe.base)]
    fits = {}
    for subset in subsets_of(len(recipe.models)):
        kept = {
            name: piece.values[name] if place in subset else base
            for place, name in enumerate(recipe.models)
        }
        part = replace(piece, values={**piece.values, **kept})
        fits[subset] = apply_and_store(untrimmed, part) == piece.audited_values
    return fits


def _states(recipe: Recipe, piece: Piece) -> list[States]:
    """By donor, whether each element shows that its change was kept or dropped."""
    return stated(_by_subset(recipe, piece), len(recipe.models), piece.size)


def _with_densities(trial: Trial, template: Recipe) -> list[Recipe]:
    """The recipe with the densities that its tensors tell."""
    allowed: list[list[Allowed]] = [[] for _ in template.models]
    for piece in trial.pieces:
        states = _states(template, piece)
        for place, name in enumerate(template.models):
            found = _density(template, name, piece, states[place])
            if found is not None:
                allowed[place].append(found)
    least = max(MIN_TENSORS, MIN_TENSOR_SHARE * len(trial.pieces))
    if min(map(len, allowed)) < least:
        return []
    settings: dict[str, float | Setting] = {}
    for name, entries in zip(template.models, allowed, strict=True):
        setting = explain(entries)
        if setting is None:
            return []
        settings[TRIM + name] = setting
    return [template.with_settings(settings)]


def _density(recipe: Recipe, name: str, piece: Piece, states: States) -> Allowed | None:
    """The densities that one tensor allows; None where nothing shows."""
    to_dtype = rounder(recipe.dtype)
    base = to_dtype(piece.values[str(recipe.base)])
    sizes = np.abs(to_dtype(to_dtype(piece.values[name]) - base))
    run = kept_run(sizes, states)
    if run is None:
        return None
    low, high = run.density_low, min(run.density_high, 1.0)
    if not piece.facts.whole:
        share = (low + high) / 2
        error = float(np.sqrt(share * (1 - share) / piece.size))
        low, high = low - SAMPLE_ERRORS * error, high + SAMPLE_ERRORS * error
    return Allowed(piece.tensor, piece.position, low, high)


def _of_varying_weights(
    trial: Trial, donors: Sequence[str], dtype: str
) -> list[Recipe]:
    """Changes that were weighted by numbers of their own in every tensor and added:
    with a sign elected and without.
    """
    starts = []
    for piece in trial.pieces:
        ranges = [survivor_range(piece, trial, donor) for donor in donors]
        if None not in ranges:
            starts.append((piece, [entry for entry in ranges if entry is not None]))
    if len(starts) < max(MIN_TENSORS, MIN_TENSOR_SHARE * len(trial.pieces)):
        return []
    templates = []
    for method, options in (("ties", {}), ("breadcrumbs", {"elect": 0.0})):
        equal = dict.fromkeys(donors, 1.0)
        plain = make(method, equal, trial.frame.base, dtype, normalize=0, **options)
        measured = [_weights(plain, piece, ranges) for piece, ranges in starts]
        told = [entry for entry in measured if entry is not None]
        if len(told) < MIN_TENSOR_SHARE * len(starts):
            continue
        settings = [explain(entries) for entries in zip(*told, strict=True)]
        known = [setting for setting in settings if setting is not None]
        if len(known) == len(settings):
            templates.append(replace(plain, weights=tuple(known)))
    return templates


def _weights(
    plain: Recipe, piece: Piece, ranges: Sequence[tuple[float, float]]
) -> tuple[Allowed, ...] | None:
    """The weights of one tensor by which some subset gives nearly every element; None
    where there are none.
    """
    part = elements_of(piece, slice(GIVEN_ELEMENTS))
    ends = [(low - SUM_SLACK, high + SUM_SLACK) for low, high in ranges]
    weights = [(low + high) / 2 for low, high in ranges]

    def given(place: int, value: float) -> float:
        moved = [*weights[:place], value, *weights[place + 1 :]]
        recipe = replace(plain, weights=tuple(constant(weight) for weight in moved))
        return _given(recipe, part)

    share = given(0, weights[0])
    if plain.dtype != "float32":
        for place, weight in enumerate(weights):
            reach = SURVIVOR_REACH * abs(weight)
            share, ends[place] = highest(given, place, weight, reach, GIVEN_ROUNDS)
            weights[place] = sum(ends[place]) / 2
    if share < MIN_GIVEN:
        return None
    return tuple(Allowed(piece.tensor, piece.position, *end) for end in ends)
