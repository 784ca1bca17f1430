"""What an audit will compare and what that will cost, from the manifests alone."""

from typing import Any

import pandas as pd

from mergetrace.dtypes import FORMATS
from mergetrace.errors import AuditError
from mergetrace.pairing import pair, views


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


def cost(plan: pd.DataFrame, blocks: int, block_elements: int) -> dict[str, int]:
    """Bytes and read requests of a full and of a sample audit, and the evidence kept on disk."""
    width = plan["dtype"].map(lambda dtype: FORMATS[dtype].width)
    sampled = plan["elements"].clip(upper=blocks * block_elements) * width
    return {
        "full_bytes": int((plan["elements"] * width).sum()),
        "sample_bytes": int(sampled.sum()),
        "sample_requests": int((plan["elements"] > blocks * block_elements).map({True: blocks, False: 1}).sum()),
        "evidence_bytes": int(sampled.sum()),
    }


def layer_order(layers: list[str]) -> list[str]:
    """Numbered layers in order, then the named places."""
    return sorted(set(layers), key=lambda layer: (not layer.isdigit(), int(layer) if layer.isdigit() else 0, layer))


def _kind(manifest: dict[str, Any]) -> str:
    return ", ".join(manifest["config"]["architectures"]) or manifest["config"]["model_type"] or "architecture unknown"


def _example(not_compared: pd.DataFrame, suspect: str) -> str:
    mine = not_compared[not_compared["model"] == suspect]
    if mine.empty:
        return f"{suspect} holds no tensor this program decodes"
    first = mine.iloc[0]
    return f"for example {first['tensor']!r}: {first['reason']}"
