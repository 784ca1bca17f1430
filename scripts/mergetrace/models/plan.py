"""What an audit will compare and what that will cost, from the manifests alone."""

from typing import Any

import numpy as np
import pandas as pd

from mergetrace.errors import AuditError
from mergetrace.models.pairing import pair, views
from mergetrace.models.sampling import allot


def pair_models(
    tables: dict[str, pd.DataFrame], manifests: dict[str, dict[str, Any]], required: list[str], suspect: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pair every model of an audit.

    tables: each model's tensors; manifests: each model's manifest; required: bases and donors.
    Returns the plan (one row per slice and model) and what is not compared (model, tensor, reason).
    Raises AuditError where the suspect shares no tensor with the parents.
    """
    found, left_out = {}, []
    for model, table in tables.items():
        found[model], skipped = views(table, manifests[model]["config"])
        left_out += [{"model": model, **entry} for entry in skipped]
    plan, unpaired = pair(found, required)
    not_compared = pd.DataFrame([*left_out, *unpaired], columns=["model", "tensor", "reason"])
    if plan.empty or suspect not in set(plan["model"]):
        kinds = "; ".join(f"{model}: {_kind(manifests[model])}" for model in (suspect, *required))
        raise AuditError(
            f"the suspect `{suspect}` and the offered parents have no tensor in common ({kinds}); "
            f"offer parents of the same architecture\n{_example(not_compared, suspect)}"
        )
    return plan, not_compared


def with_blocks(plan: pd.DataFrame, mode: str, alpha_se: float, block_elements: int, seed: int) -> pd.DataFrame:
    """The plan and, per slice, how many `blocks` of it are sampled (see sampling.allot) and its `weight`: the elements of its tensor for each
    one that is read. A full audit reads all, and keeps one block of every slice at least.
    """
    slices = plan.drop_duplicates("slice_id").set_index("slice_id")
    blocks = allot(slices, alpha_se, block_elements, seed)
    read = np.minimum(slices["elements"], blocks * block_elements)
    sums = pd.DataFrame({"all": slices["elements"], "read": read}).groupby([slices["layer"], slices["tensor"]]).transform("sum")
    weight = sums["all"] / sums["read"]
    if mode == "full":
        blocks, weight = blocks.clip(lower=1), weight.clip(1, 1)
    return plan.assign(blocks=plan["slice_id"].map(blocks), weight=plan["slice_id"].map(weight))


def _kind(manifest: dict[str, Any]) -> str:
    return ", ".join(manifest["config"]["architectures"]) or manifest["config"]["model_type"] or "architecture unknown"


def _example(not_compared: pd.DataFrame, suspect: str) -> str:
    mine = not_compared[not_compared["model"] == suspect]
    if mine.empty:
        return f"{suspect} holds no tensor this program decodes"
    first = mine.iloc[0]
    return f"for example {first['tensor']!r}: {first['reason']}"
