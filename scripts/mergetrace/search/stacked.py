"""Tensors taken whole from one parent or another: the counts of equal elements say
whose they are, and nothing is left to search.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from mergetrace.merging.owners import ALL_OF_TENSOR, Holders, passthrough_of
from mergetrace.merging.recipes import Recipe, make
from mergetrace.merging.settings import Setting
from mergetrace.sums.frames import Frame
from mergetrace.tables.naming import of_donor
from mergetrace.tensors.naming import slice_name

NOTHING_ELSE = ("", (0.0,))
ByRow = Mapping[int, Holders]
"""Who holds the slice of each row of the fits."""
NEW_IN_A_MIXTURE = ("router", "shared_expert_gate")
"""Components that a mixture of experts made of several models has of none of them."""


def stacked_recipe(fits: pd.DataFrame, frame: Frame) -> Recipe | None:
    """The recipe that takes every tensor, or every expert, whole from one of two or
    more parents: by layers where these are whole, else by component, by expert or by
    tensor.

    None unless every slice is a parent's, routers apart, and each named donor has one
    that votes and is nobody else's. fits: of one frame.
    """
    if fits.empty:
        return None
    holders = _holders(fits, frame)
    is_held = np.array([bool(holders[row]) for row in fits.index])
    kept = fits[is_held | ~fits["component"].isin(NEW_IN_A_MIXTURE)]
    if not all(holders[row] for row in kept.index):
        return None
    alone = _alone(kept, holders)
    numbers = kept["slice"].astype(str)
    names = map(slice_name, kept["tensor"], numbers)
    by_name = {name: holders[row] for name, row in zip(names, kept.index, strict=True)}
    recipe = (
        passthrough_of(by_name, frame.parents, by_kind=True)
        or _by_layers(kept, holders, frame)
        or passthrough_of(by_name, frame.parents, by_kind=False)
    )
    if recipe is None or not set(recipe.models) <= {frame.base, *alone}:
        return None
    return recipe


def _by_layers(fits: pd.DataFrame, holders: ByRow, frame: Frame) -> Recipe | None:
    """The stack of whole layers; None where it is none. A layer that several parents
    share goes with the one before it.
    """
    owners: dict[str, str] = {}
    previous = frame.base
    for name, rows in _groups(fits):
        common = frozenset.intersection(*(holders[row] for row in rows.index))
        if not common:
            return None
        if previous not in common:
            previous = next(name for name in frame.parents if name in common)
        owners[name] = previous
    if len(set(owners.values())) < 2:
        return None
    weights: dict[str, Setting] = {}
    for parent in dict.fromkeys(owners.values()):
        own = [
            (name, ALL_OF_TENSOR) for name, owner in owners.items() if owner == parent
        ]
        weights[parent] = (*own, NOTHING_ELSE)
    return make("passthrough", weights)


def _holders(fits: pd.DataFrame, frame: Frame) -> ByRow:
    """By slice the parents whose elements are all of its own, rounded as it is."""
    sound = fits["nonfinite"] == 0
    columns = {frame.base: "rounded_base"}
    columns |= {donor: of_donor("rounded_donor", donor) for donor in frame.donors}
    held = {
        parent: (sound & (fits[column] == fits["n"])).tolist()
        for parent, column in columns.items()
    }
    return {
        row: frozenset(parent for parent, own in held.items() if own[i])
        for i, row in enumerate(fits.index.tolist())
    }


def _alone(fits: pd.DataFrame, holders: ByRow) -> set[str]:
    """The parents that have a slice that votes and is nobody else's."""
    voting = [holders[row] for row in fits.index[fits["votes"]]]
    return {next(iter(own)) for own in voting if len(own) == 1}


def _groups(fits: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each layer, and of each tensor outside, under what the tensors' names
    hold: from the embedding to the head.
    """
    numbered = fits["layer"].str.isdigit()
    layers = sorted(fits.loc[numbered, "layer"].unique(), key=int)
    inside = [(f"layers.{layer}.", fits[fits["layer"] == layer]) for layer in layers]
    before: list[tuple[str, pd.DataFrame]] = []
    after: list[tuple[str, pd.DataFrame]] = []
    for tensor, rows in fits[~numbered].groupby("tensor"):
        part = before if "embed" in str(tensor) else after
        part.append((str(tensor), rows))
    return [*before, *inside, *after]
