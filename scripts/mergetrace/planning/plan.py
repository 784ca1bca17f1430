"""What an audit will compare and what that will cost, from the manifests alone."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.errors import AuditError
from mergetrace.planning.pairing import pair
from mergetrace.planning.sampling import allot
from mergetrace.planning.unmet import with_true_reasons
from mergetrace.tensors.fused import with_common_rows
from mergetrace.tensors.naming import canonical_names, component_of, is_adapter
from mergetrace.tensors.prefixes import SEVERAL, with_prefixes
from mergetrace.tensors.views import Cut, cut, not_read

COLUMNS = ["model", "tensor", "reason", "source"]
"""Of the table of what is not compared: `tensor` is the name for people, with the
expert; `source` the name in the model's file.
"""


def pair_models(
    tables: dict[str, pd.DataFrame],
    manifests: dict[str, dict[str, Any]],
    required: list[str],
    suspect: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Pair every model of an audit.

    tables: each model's tensors; manifests: each model's manifest; required: bases and donors.
    Returns the plan (one row per slice and model) and what is not compared (see COLUMNS).
    Raises AuditError where the suspect shares no tensor with the parents, or a model is an adapter alone.
    """
    cuts = cut_models(tables, manifests)
    plan, unpaired = pair({model: own.views for model, own in cuts.items()}, required)
    left_out = [
        {"model": model, **entry}
        for model, own in cuts.items()
        for entry in not_read(own)
    ]
    not_compared = pd.DataFrame(
        with_true_reasons(left_out, unpaired, common_names(tables)[0]), columns=COLUMNS
    )
    if plan.empty or suspect not in set(plan["model"]):
        raise AuditError(
            f"{_why_nothing(cuts, manifests, required, suspect)}\n{_example(not_compared, suspect)}"
        )
    return plan, not_compared


def cut_models(
    tables: Mapping[str, pd.DataFrame], manifests: Mapping[str, Mapping[str, Any]]
) -> dict[str, Cut]:
    """The views of every model of an audit, under names and in an order of rows that
    are those of all. Arguments as of pair_models.
    """
    known, unclear = common_names(tables)
    for model, table in tables.items():
        _refuse_adapter(model, table, known[model])
    configs = {model: manifests[model]["config"] for model in tables}
    cuts = {
        model: cut(table, configs[model], known[model], unclear.get(model))
        for model, table in tables.items()
    }
    with_common_rows(cuts, configs)
    return cuts


def common_names(
    tables: Mapping[str, pd.DataFrame],
) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, str]]]:
    """The canonical names of every model's tensors by their own, and why some are left
    out (see prefixes.with_prefixes), both by model.
    """
    shapes = {
        model: {
            name: tuple(shape)
            for name, shape in zip(table["name"], table["shape"], strict=True)
        }
        for model, table in tables.items()
    }
    return with_prefixes(
        {model: canonical_names(table["name"]) for model, table in tables.items()},
        shapes,
    )


def with_blocks(
    plan: pd.DataFrame, mode: str, alpha_se: float, block_elements: int, seed: int
) -> pd.DataFrame:
    """The plan and, per slice, how many `blocks` of it are sampled (see sampling.allot) and its `weight`: the elements of its tensor for each
    one that is read. A full audit reads all, and keeps one block of every slice at least.
    """
    slices = plan.drop_duplicates("slice_id").set_index("slice_id")
    blocks = allot(slices, alpha_se, block_elements, seed)
    read = np.minimum(slices["elements"], blocks * block_elements)
    sums = (
        pd.DataFrame({"all": slices["elements"], "read": read})
        .groupby([slices["layer"], slices["tensor"]])
        .transform("sum")
    )
    weight = sums["all"] / sums["read"]
    if mode == "full":
        blocks = blocks.clip(lower=1)
        weight = weight.clip(1, 1)
    return plan.assign(
        blocks=plan["slice_id"].map(blocks), weight=plan["slice_id"].map(weight)
    )


def _refuse_adapter(model: str, table: pd.DataFrame, names: Mapping[str, str]) -> None:
    """AuditError where nothing is there but an adapter, and what is saved with one:
    embedding, head, modules trained as a whole.
    """
    parts = [name for name in names if is_adapter(name)]
    rest = [
        name
        for name in names
        if name not in set(parts) and "modules_to_save" not in name
    ]
    if parts and all(
        component_of(names[name]) in ("embedding", "lm_head") for name in rest
    ):
        shard = table.loc[table["name"] == parts[0], "shard"].iloc[0]
        raise AuditError(
            f"{model}: {shard}: this is a LoRA adapter; merge it into its base first"
            f" (its tensors are such as {parts[0]!r})"
        )


def _why_nothing(
    cuts: Mapping[str, Cut],
    manifests: Mapping[str, Mapping[str, Any]],
    required: list[str],
    suspect: str,
) -> str:
    """Why no tensor is compared, and what would help."""
    held = {model: set(cuts[model].views) for model in (suspect, *required)}
    empty = [model for model, keys in held.items() if not keys]
    if empty:
        return (
            f"`{empty[0]}` holds no tensor that this program decodes; give the weights"
            " it was made from, as bf16, fp16, fp32 or fp8"
        )
    parents = set.intersection(*(held[model] for model in required))
    kinds = "; ".join(f"{model}: {_kind(manifests[model])}" for model in held)
    if not parents:
        return (
            f"the offered parents ({', '.join(required)}) have no tensor in common with"
            f" each other ({kinds}); offer parents of one architecture"
        )
    both = parents & held[suspect]
    what = (
        f"the suspect `{suspect}` and the offered parents have no tensor in common"
        f" ({kinds})"
    )
    if both:
        return (
            f"{what}: {len(both)} have the same names and other shapes; a model of"
            " another size is no parent of its weights, offer one of its size"
        )
    if any(entry["reason"].startswith(SEVERAL) for entry in cuts[suspect].left_out):
        return (
            f"{what}, and which of its stacks of layers is the language model cannot be"
            " told; give a folder that holds that one alone"
        )
    return f"{what}; offer parents of the same architecture"


def _kind(manifest: dict[str, Any]) -> str:
    return (
        ", ".join(manifest["config"]["architectures"])
        or manifest["config"]["model_type"]
        or "architecture unknown"
    )


def _example(not_compared: pd.DataFrame, suspect: str) -> str:
    mine = not_compared[not_compared["model"] == suspect]
    if mine.empty:
        return f"{suspect} holds no tensor this program decodes"
    first = mine.iloc[0]
    return f"for example {first['tensor']!r}: {first['reason']}"
