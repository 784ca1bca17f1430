"""Parents that were cast before they were merged: a merge tool that is told a dtype
opens every model in it, and what it then computes in float32 starts from rounded numbers.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np

from mergetrace.merging.applying import ARITHMETIC_OF_FORMAT, Piece, apply_recipe
from mergetrace.merging.facts import HeldFacts, gram_of
from mergetrace.merging.recipes import Recipe, make
from mergetrace.numerics.arrays import Array
from mergetrace.search.clues import Clues
from mergetrace.search.proposals.spheres import pooled_sweeps
from mergetrace.search.trial import BudgetError, Trial

Propose = Callable[[Trial, Clues], list[Recipe]]

MAX_CAST = 6
"""Recipes of cast parents that are tried on the audited model, the best first."""


def try_cast_parents(trial: Trial, clues: Clues, proposers: Sequence[Propose]) -> None:
    """Rate what is proposed where the parents were cast to the audited model's narrow
    format first; nothing where that changes no number of theirs.
    """
    if trial.solved() or not _casting_changes(trial):
        return
    cast = replace(
        trial,
        pieces=[_cast(piece) for piece in trial.pieces],
        rates={},
        max_recipes=trial.max_recipes - trial.tried,
    )
    known = replace(clues, interval=_blend_interval(cast, clues))
    with suppress(BudgetError):
        _rate_all(cast, known, proposers)
    trial.tried_beside += len(cast.rates)
    wide = [
        recipe
        for recipe in cast.ranked(list(cast.rates))
        if recipe.dtype == "float32" and not recipe.script
    ]
    for recipe in wide[:MAX_CAST]:
        trial.rate(recipe.with_settings({"cast": 1.0}))


def _rate_all(trial: Trial, clues: Clues, proposers: Sequence[Propose]) -> None:
    for propose in proposers:
        for recipe in propose(trial, clues):
            trial.rate(recipe)
        if trial.solved():
            break


def _casting_changes(trial: Trial) -> bool:
    """Whether a parent has numbers that the audited model's narrow format lacks."""
    piece = trial.pieces[0]
    if (
        piece.audited.dtype not in ARITHMETIC_OF_FORMAT
        or piece.audited.scales is not None
    ):
        return False
    return any(
        not np.array_equal(piece.values[name], piece.stored_parents[name])
        for name in trial.frame.parents
    )


def _cast(piece: Piece) -> Piece:
    """The piece with its parents in the audited model's format."""
    values = piece.stored_parents
    facts = piece.facts
    if isinstance(facts, HeldFacts):
        names = (facts.base, *facts.donors)
        gram = gram_of(values, names) if facts.whole else facts.gram
        facts = replace(facts, values=values, gram=gram)
    return replace(piece, values=values, facts=facts)


def _blend_interval(trial: Trial, clues: Clues) -> tuple[float, float] | None:
    """The share of the strongest donor alone that most tensors allow."""
    base, donor = trial.frame.base, clues.donors[0]

    def blend(piece: Piece, share: float) -> Array:
        return apply_recipe(make("linear", {base: 1 - share, donor: share}), piece)

    pooled = pooled_sweeps(trial.sweeps(blend, clues.shares[0]))
    return None if pooled is None else (pooled.low, pooled.high)
