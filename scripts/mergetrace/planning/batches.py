"""Layers put into jobs: neighbouring small ones share one, since starting a job takes
longer than reading them.
"""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from mergetrace.formats.block_layouts import bytes_each, kept_each

MAX_BATCH = {"read": 2_000_000_000, "kept": 64_000_000, "slices": 128}
"""What a batch of several layers holds at most.

read: bytes; a second or two, as long as starting a job: so much is lost where one is
killed. kept: bytes of evidence; a job holds them in memory, twice. slices: each takes
some milliseconds to fit, and batches are what the cores share.
"""


def with_batches(
    plan: pd.DataFrame, mode: str, block_elements: int, apart: bool
) -> pd.DataFrame:
    """The plan and, per row, the name of the `batch` that its layer is in: `7`, or
    `0-5` for several.

    plan: with its blocks (see plan.with_blocks). apart: every layer on its own, where
    its files are fetched for it and thrown away.
    """
    sizes = _layer_sizes(plan, mode, block_elements)
    batches: list[list[str]] = []
    room = dict.fromkeys(MAX_BATCH, 0.0)
    for layer in layer_order(sizes):
        size = sizes[layer]
        is_full = any(size[what] > room[what] for what in MAX_BATCH)
        if not batches or apart or is_full:
            batches.append([])
            room = {what: float(most) for what, most in MAX_BATCH.items()}
        batches[-1].append(layer)
        for what in MAX_BATCH:
            room[what] -= size[what]
    names = {}
    for batch in batches:
        name = batch[0] if len(batch) == 1 else f"{batch[0]}-{batch[-1]}"
        names.update(dict.fromkeys(batch, name))
    return plan.assign(batch=plan["layer"].map(names))


def _layer_sizes(
    plan: pd.DataFrame, mode: str, block_elements: int
) -> dict[str, dict[str, float]]:
    """By layer how much of what MAX_BATCH limits it takes."""
    width = plan["dtype"].map(bytes_each)
    sampled = np.minimum(plan["elements"], plan["blocks"] * block_elements)
    kept = plan["dtype"].map(kept_each) * sampled
    read = width * plan["elements"] if mode == "full" else kept
    sizes = pd.DataFrame({"layer": plan["layer"], "read": read, "kept": kept})
    by_layer = sizes.groupby("layer").sum()
    by_layer["slices"] = plan.groupby("layer")["slice_id"].nunique()
    return {
        str(layer): {what: float(row[what]) for what in MAX_BATCH}
        for layer, row in by_layer.iterrows()
    }


def layer_order(layers: Iterable[str]) -> list[str]:
    """Numbered layers in order, then the named places."""

    def order(layer: str) -> tuple[bool, int, str]:
        number = int(layer) if layer.isdigit() else 0
        return not layer.isdigit(), number, layer

    return sorted(set(layers), key=order)


def batch_order(plan: pd.DataFrame) -> list[str]:
    """The names of the plan's batches, in the order of their layers."""
    batch_of = dict(zip(plan["layer"], plan["batch"], strict=True))
    return list(dict.fromkeys(batch_of[layer] for layer in layer_order(batch_of)))
