"""Layers taken whole from one parent or another: the counts of equal elements say whose
they are, and nothing is left to search.
"""

import pandas as pd

from mergetrace.merging.recipes import Recipe, make
from mergetrace.sums.frames import Frame


def stacked(fits: pd.DataFrame, frame: Frame) -> Recipe | None:
    """The recipe that stacks the layers of two or more parents; None unless every
    layer, and every tensor outside the layers, equals one parent's.

    fits: of one frame. A layer that several parents share goes with the one before it.
    """
    equal = {
        frame.base: "equal_base",
        **{donor: f"equal_donor.{donor}" for donor in frame.donors},
    }
    owners: dict[str, str] = {}
    last = frame.base
    for name, rows in _groups(fits):
        held = [
            parent
            for parent, column in equal.items()
            if (rows[column] == rows["n"]).all() and not rows["nonfinite"].any()
        ]
        if not held:
            return None
        owners[name] = last = last if last in held else held[0]
    taken = {
        parent: [(name, (1.0,)) for name, owner in owners.items() if owner == parent]
        for parent in dict.fromkeys(owners.values())
    }
    return (
        make(
            "passthrough",
            {parent: (*names, ("", (0.0,))) for parent, names in taken.items()},
        )
        if len(taken) > 1
        else None
    )


def _groups(fits: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each layer, and of each tensor outside, under what the tensors' names
    hold: from the embedding to the head.
    """
    numbered = fits["layer"].str.isdigit()
    layers = sorted(fits.loc[numbered, "layer"].unique(), key=int)
    inside = [(f"layers.{layer}.", fits[fits["layer"] == layer]) for layer in layers]
    outside = [
        (str(tensor), rows) for tensor, rows in fits[~numbered].groupby("tensor")
    ]
    return [
        *(one for one in outside if "embed" in one[0]),
        *inside,
        *(one for one in outside if "embed" not in one[0]),
    ]
