"""The plan of an audit some of whose models lie otherwise than their names say."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.disguises.glimpses import Key
from mergetrace.disguises.layout import Layout
from mergetrace.planning.pairing import pair
from mergetrace.tensors.view import View

ARRAYS = ("row_map", "col_map", "row_scale", "col_scale")
FORMATS = ("through", "stored_dtype")


def rearranged_plan(
    models: Mapping[str, Mapping[Key, View]],
    layouts: Mapping[str, Layout],
    suspect: str,
    required: list[str],
) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Pair the models again, each slice under the suspect's name for it; what lies
    elsewhere in a model is looked up there.

    layouts: of the audited models. Returns what pairing.pair does, with columns that say how views are read (see weights.View).
    A parent's slice the suspect holds twice is compared twice, one it lacks is not compared.
    """
    order = layouts[suspect].counterpart
    kept = layouts[suspect].kept
    renamed = {suspect: dict(models[suspect])}
    own_keys = {suspect: {key: key for key in models[suspect]}}
    aside: list[dict[str, str]] = []
    goals = {key: order.get(key, key) for key in models[suspect]}
    for model, views in models.items():
        if model == suspect:
            continue
        elsewhere = layouts[model].counterpart if model in layouts else {}
        at = {elsewhere.get(key, key): key for key in views}
        own_keys[model] = {key: at[goal] for key, goal in goals.items() if goal in at}
        renamed[model] = {
            key: replace(views[own], tensor=key[0], slice=key[1])
            for key, own in own_keys[model].items()
        }
        for key in [
            key for key in renamed[model] if key in kept
        ]:  # a control that lacks rows itself is not compared there
            if (
                model in layouts and own_keys[model][key] in layouts[model].kept
            ) or renamed[model][key].rows <= kept[key].max():
                del renamed[model][key]
        used = set(own_keys[model].values())
        unused = [
            view for key, view in views.items() if key not in used and not view.borrowed
        ]
        aside += [
            {
                "model": model,
                "tensor": view.label,
                "reason": f"not in {suspect}",
                "source": view.source,
            }
            for view in unused
        ]
    renamed = {
        model: {
            key: replace(view, rows=len(kept[key])) if key in kept else view
            for key, view in held.items()
        }
        for model, held in renamed.items()
    }
    plan, unpaired = pair(renamed, required)
    return _with_maps(plan, layouts, own_keys, suspect), aside + unpaired


def _with_maps(
    plan: pd.DataFrame,
    layouts: Mapping[str, Layout],
    own_keys: Mapping[str, Mapping[Key, Key]],
    suspect: str,
) -> pd.DataFrame:
    if not any(layout.maps for layout in layouts.values()):
        return plan

    def maps_of(model: str, key: Key) -> Mapping[str, Any]:
        maps = (
            layouts[model].maps.get(own_keys[model][key], {})
            if model in layouts
            else {}
        )
        kept = layouts[suspect].kept.get(key)
        return (
            maps
            if kept is None or model == suspect
            else {
                **maps,
                "row_map": maps["row_map"][kept] if "row_map" in maps else kept,
            }
        )

    found = [
        maps_of(model, (tensor, number))
        for model, tensor, number in zip(
            plan["model"], plan["tensor"], plan["slice"], strict=True
        )
    ]
    if "row_map" in plan:
        found = [
            maps if rows is None else {"row_map": rows, **maps}
            for maps, rows in zip(found, plan["row_map"], strict=True)
        ]
    columns = {
        name: pd.Series([_plain(maps.get(name)) for maps in found], dtype=object)
        for name in ARRAYS
        if any(name in maps for maps in found)
    }
    columns |= {name: [maps.get(name) or "" for maps in found] for name in FORMATS}
    dtypes = [
        maps.get("dtype", dtype)
        for maps, dtype in zip(found, plan["dtype"], strict=True)
    ]
    return plan.assign(
        **columns, dtype=dtypes, factor=[maps.get("factor", 1.0) for maps in found]
    )


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray) else value
