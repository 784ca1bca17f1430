"""Layers put into jobs: neighbouring small ones share one, since starting a job takes
longer than reading them.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from mergetrace.numerics.dtypes import FORMATS

MOST = {"read": 2_000_000_000, "kept": 64_000_000, "slices": 128}
"""What a batch of several layers holds at most. Bytes to read: a second or two, as long
as starting a job; so much is lost where one is killed. Bytes of evidence: a job keeps
them in memory, twice. Slices: each takes some milliseconds to fit, and batches are what
the cores share.
"""


def with_batches(
    plan: pd.DataFrame, mode: str, block_elements: int, apart: bool
) -> pd.DataFrame:
    """The plan and, per row, the name of the `batch` that its layer is in: `7`, or
    `0-5` for several.

    plan: with its blocks (see plan.with_blocks). apart: every layer on its own, where
    its files are fetched for it and thrown away.
    """
    width = plan["dtype"].map(lambda dtype: FORMATS[dtype].width)
    kept = width * np.minimum(plan["elements"], plan["blocks"] * block_elements)
    costs = pd.DataFrame(
        {
            "layer": plan["layer"],
            "read": width * plan["elements"] if mode == "full" else kept,
            "kept": kept,
        }
    )
    sizes = (
        costs.groupby("layer")
        .sum()
        .assign(slices=plan.groupby("layer")["slice_id"].nunique())
    )
    together: list[list[str]] = []
    room = dict.fromkeys(MOST, 0.0)
    for layer in layer_order(sizes.index):
        size = sizes.loc[layer].to_dict()
        if not together or apart or any(size[what] > room[what] for what in MOST):
            together.append([])
            room = dict(MOST)
        together[-1].append(layer)
        room = {what: room[what] - size[what] for what in MOST}
    names = {
        layer: "-".join(dict.fromkeys((batch[0], batch[-1])))
        for batch in together
        for layer in batch
    }
    return plan.assign(batch=plan["layer"].map(names))


def layer_order(layers: Iterable[str]) -> list[str]:
    """Numbered layers in order, then the named places."""
    return sorted(
        set(layers),
        key=lambda layer: (
            not layer.isdigit(),
            int(layer) if layer.isdigit() else 0,
            layer,
        ),
    )


def batch_order(plan: pd.DataFrame) -> list[str]:
    """The names of the plan's batches, in the order of their layers."""
    batch_of = dict(zip(plan["layer"], plan["batch"], strict=True))
    return list(dict.fromkeys(batch_of[layer] for layer in layer_order(batch_of)))
