"""Layers taken whole from one parent or another: the counts of equal elements say whose
they are, and nothing is left to search.
"""

import pandas as pd

from mergetrace.merging.recipes import Recipe, make
from mergetrace.merging.settings import Setting
from mergetrace.sums.frames import Frame
from mergetrace.tables.naming import of_donor

ALL_OF_TENSOR = (1.0,)
NOTHING_ELSE = ("", (0.0,))


def stacked_recipe(fits: pd.DataFrame, frame: Frame) -> Recipe | None:
    """The recipe that stacks the layers of two or more parents; None unless every
    layer, and every tensor outside the layers, equals one parent's.

    fits: of one frame. A layer that several parents share goes with the one before it.
    """
    owners: dict[str, str] = {}
    previous = frame.base
    for name, rows in _groups(fits):
        holders = _holders(rows, frame)
        if not holders:
            return None
        if previous not in holders:
            previous = holders[0]
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


def _holders(rows: pd.DataFrame, frame: Frame) -> list[str]:
    """The parents whose elements are those of all these slices."""
    if rows["nonfinite"].any():
        return []
    columns = {frame.base: "equal_base"}
    columns |= {donor: of_donor("equal_donor", donor) for donor in frame.donors}
    return [
        parent
        for parent, column in columns.items()
        if (rows[column] == rows["n"]).all()
    ]


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
