"""The same tensor found in every model, whatever its writer called it and however it
was packed.
"""

import re
from collections import defaultdict
from typing import Any

import pandas as pd

from mergetrace.tensors.naming import component_of, layer_of
from mergetrace.tensors.views import Key, View, label


def pair(
    models: dict[str, dict[Key, View]], required: list[str]
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Pair the views of all models.

    models: views by model. required: the models without which a slice cannot be fitted (a base, every donor).
    Returns one row per slice and model (slice_id, tensor, slice, layer, component, elements, model, and the view's fields; `elements`
    is what all models share) and what is not paired as {model, tensor, reason, source}.
    """
    rows: list[dict[str, Any]] = []
    unpaired: list[dict[str, str]] = []
    holders: dict[Key, list[str]] = defaultdict(list)
    for model, held in models.items():
        for key in held:
            holders[key].append(model)
    optional = [model for model in models if model not in required]
    slice_id = 0
    for key in sorted(holders, key=_natural):
        members = {model: models[model][key] for model in holders[key]}
        if all(
            view.borrowed for view in members.values()
        ):  # a head that is everybody's embedding: it is compared there
            continue
        missing = [model for model in required if model not in members]
        if missing or not any(model in members for model in optional):
            lacking = ", ".join(missing or optional)
            unpaired += [
                _entry(model, view, f"not in {lacking}")
                for model, view in members.items()
                if not view.borrowed
            ]
            continue
        rows_compared, refused = _common_rows(members, required[0])
        unpaired += refused
        if not rows_compared * members[required[0]].cols:
            unpaired += [
                _entry(model, view, "holds no element")
                for model, view in members.items()
            ]
            continue
        members = {
            model: view
            for model, view in members.items()
            if model not in {entry["model"] for entry in refused}
        }
        lost = [model for model in required if model not in members] or [
            model for model in optional if model not in members
        ]
        if any(model in required for model in lost) or not any(
            model in members for model in optional
        ):
            unpaired += [
                _entry(model, view, f"another shape than in {', '.join(lost)}")
                for model, view in members.items()
            ]
            continue
        absent = [model for model in optional if model not in holders[key]]
        unpaired += [
            _entry(model, models[required[0]][key], f"{model} has no such tensor")
            for model in absent
        ]
        common = {
            "slice_id": slice_id,
            "tensor": key[0],
            "slice": key[1],
            "layer": layer_of(key[0]),
            "component": component_of(key[0]),
            "elements": rows_compared * members[required[0]].cols,
        }
        rows += [
            {**common, "model": model, **vars(view)} for model, view in members.items()
        ]
        slice_id += 1
    return _with_row_maps(pd.DataFrame(rows)), unpaired


def _with_row_maps(plan: pd.DataFrame) -> pd.DataFrame:
    """The plan with its row maps as lists, and without the column where no view has
    one.
    """
    if plan.empty:
        return plan
    maps = [None if rows is None else rows.tolist() for rows in plan["row_map"]]
    if all(rows is None for rows in maps):
        return plan.drop(columns="row_map")
    return plan.assign(row_map=pd.Series(maps, dtype=object))


def _common_rows(
    members: dict[str, View], base: str
) -> tuple[int, list[dict[str, str]]]:
    """How many leading rows all members share; members whose shape cannot be compared
    with the base's are refused with the reason.

    Only the vocabulary may differ in length: its common rows are compared.
    """
    reference = members[base]
    vocabulary = component_of(reference.tensor) in ("embedding", "lm_head")
    refused = []
    rows = reference.rows
    for model, view in members.items():
        if view.cols == reference.cols and (view.rows == reference.rows or vocabulary):
            rows = min(rows, view.rows)
        else:
            reason = (
                f"shape {view.rows} x {view.cols} in {model}, {reference.rows} x"
                f" {reference.cols} in {base}"
            )
            refused.append(_entry(model, view, reason))
    return rows, refused


def _entry(model: str, view: View, reason: str) -> dict[str, str]:
    return {
        "model": model,
        "tensor": label(view),
        "reason": reason,
        "source": view.source,
    }


def _natural(key: Key) -> list[Any]:
    """Sort key that puts layer 10 after layer 9."""
    return [
        (1, int(part), "") if part.isdigit() else (0, 0, part)
        for part in re.split(r"(\d+)", ".".join(key))
        if part
    ]
