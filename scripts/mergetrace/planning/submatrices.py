"""Which whole rows of which matrices are decomposed (see descent): the same of every
model, chosen by seed, spread over layers and components.

Neighbouring rows by the full width are one contiguous range of bytes, and have singular
directions of their own.
"""

import zlib
from collections.abc import Hashable, Iterator

import numpy as np
import pandas as pd

from mergetrace.numerics.dtypes import FORMATS

DECOMPOSED_ROWS = 512
"""Rows of one sub-matrix: decomposing them takes a tenth of a second."""
DECOMPOSED_ELEMENTS = 1 << 20
"""Elements of one sub-matrix."""
MOST_MATRICES = 96
"""Sub-matrices of an audit: their number is what evenness is measured with, and their
time.
"""
MIN_SIDE = 32
"""Of fewer rows or columns there are too few directions."""
LEFT_OUT = ("norm", "embedding", "lm_head", "router", "vision", "mtp", "other")
"""Components of which rows lie still or follow rules of their own."""

FIRST, ROWS = "spectrum_first", "spectrum_rows"
"""The columns of the plan: the first row and how many; 0 rows: none are read."""


def with_submatrices(plan: pd.DataFrame, megabytes: float, seed: int) -> pd.DataFrame:
    """The plan with the rows of every slice that are decomposed.

    plan: one row per slice and model. megabytes: how much of one model they may hold at
    most; 0 for none. Only slices that every model has, and none in packed codes, are
    taken.
    """
    slices = plan.drop_duplicates("slice_id").set_index("slice_id")
    models = plan.groupby("slice_id")["model"].nunique()
    plain = plan["dtype"].isin(FORMATS)
    models = models.mask(~plain.groupby(plan["slice_id"]).all(), 0)
    widths = plan.loc[plain, "dtype"].map(lambda dtype: FORMATS[dtype].width)
    widest = widths.max() if plain.any() else 0
    room = megabytes * 1e6
    chosen: dict[Hashable, tuple[int, int]] = {}
    everybody = plan["model"].nunique()
    usable = slices[
        (models.reindex(slices.index) == everybody)
        & ~slices["component"].isin(LEFT_OUT)
        & slices["layer"].str.isdigit()
        & (slices["dimensions"] > 1)
    ]
    for slice_id, row in _in_turn(usable, seed):
        shared = row["elements"] // max(row["cols"], 1)
        rows = min(DECOMPOSED_ROWS, shared, DECOMPOSED_ELEMENTS // max(row["cols"], 1))
        size = float(rows * row["cols"] * widest)
        if min(rows, row["cols"]) < MIN_SIDE or size > room:
            continue
        room -= size
        chosen[slice_id] = (_first(row, int(rows), seed), int(rows))
        if len(chosen) == MOST_MATRICES:
            break
    ids = plan["slice_id"]
    return plan.assign(
        **{
            FIRST: [chosen.get(slice_id, (0, 0))[0] for slice_id in ids],
            ROWS: [chosen.get(slice_id, (0, 0))[1] for slice_id in ids],
        }
    )


def _in_turn(slices: pd.DataFrame, seed: int) -> Iterator[tuple[Hashable, pd.Series]]:
    """The slices, one kind of tensor after the other in turn, each in a seeded order."""
    kind = slices["tensor"].str.replace(r"\d+", "#", regex=True)
    drawn = [
        zlib.crc32(f"{seed} {tensor} {part}".encode())
        for tensor, part in zip(slices["tensor"], slices["slice"], strict=True)
    ]
    order = pd.DataFrame({"kind": kind, "drawn": drawn}, index=slices.index)
    order = order.sort_values(["kind", "drawn"])
    order["turn"] = order.groupby("kind").cumcount()
    for slice_id in order.sort_values(["turn", "drawn"]).index:
        yield slice_id, slices.loc[slice_id]


def _first(row: pd.Series, rows: int, seed: int) -> int:
    """The first row of a slice that is read."""
    name = f"{row['tensor']}[{row['slice']}]"
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    shared = int(row["elements"]) // int(row["cols"])
    return int(generator.integers(shared - rows + 1))
