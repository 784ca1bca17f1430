"""The plan of an audit some of whose models lie otherwise than their names say."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.disguises.adjustments import Adjustment
from mergetrace.disguises.alignment import Order
from mergetrace.disguises.layout import Layout
from mergetrace.planning.pairing import pair
from mergetrace.tensors.view import Key, View

ARRAY_COLUMNS = (
    *("row_map", "col_map", "row_scale", "col_scale"),
    *("row_decides", "col_decides", "pushed"),
)
FORMAT_COLUMNS = ("through", "stored_dtype")

Views = Mapping[Key, View]
Unpaired = dict[str, str]
"""{model, tensor, reason, source} of what is not compared."""


@dataclass(frozen=True)
class _Renamed:
    """A model's views under the suspect's names for them."""

    views: dict[Key, View]
    own_keys: dict[Key, Key]
    """The model's own key of each."""
    unpaired: list[Unpaired]


def rearranged_plan(
    models: Mapping[str, Views],
    layouts: Mapping[str, Layout],
    suspect: str,
    required: list[str],
) -> tuple[pd.DataFrame, list[Unpaired]]:
    """Pair the models again, each slice under the suspect's name for it; what lies
    elsewhere in a model is looked up there.

    models: the views of every model. layouts: of the audited models, and of parents
    read in another order. suspect: the model whose names count. required: the models
    without which a slice cannot be fitted (see pairing.pair).

    Returns the plan and what is not compared, as pairing.pair does, with columns that
    say how views are read (see Adjustment). A parent's slice the suspect holds twice is
    compared twice, one it lacks is not compared.
    """
    counterpart = layouts[suspect].counterpart
    held_rows = layouts[suspect].held_rows
    goals = {key: counterpart.get(key, key) for key in models[suspect]}
    renamed = {
        suspect: _Renamed(dict(models[suspect]), {key: key for key in goals}, [])
    }
    for model, views in models.items():
        if model != suspect:
            layout = layouts.get(model)
            renamed[model] = _renamed(model, views, layout, goals, held_rows, suspect)
    cut = {
        model: _with_held_rows(each.views, held_rows) for model, each in renamed.items()
    }
    plan, unpaired = pair(cut, required)
    aside = [entry for each in renamed.values() for entry in each.unpaired]
    if any(layout.adjusted for layout in layouts.values()):
        own_keys = {model: each.own_keys for model, each in renamed.items()}
        plan = _with_adjustments(plan, layouts, own_keys, suspect)
    return plan, aside + unpaired


def _renamed(
    model: str,
    views: Views,
    layout: Layout | None,
    goals: Mapping[Key, Key],
    held_rows: Mapping[Key, Order],
    suspect: str,
) -> _Renamed:
    """A model's views under the suspect's names. goals: by the suspect's key the
    parents' key of the same slice.
    """
    elsewhere = {} if layout is None else layout.counterpart
    lacking_rows = {} if layout is None else layout.held_rows
    at = {elsewhere.get(key, key): key for key in views}
    own_keys = {key: at[goal] for key, goal in goals.items() if goal in at}
    renamed = {
        key: replace(views[own_key], tensor=key[0], slice=key[1])
        for key, own_key in own_keys.items()
    }
    for key in [key for key in renamed if key in held_rows]:
        # A control that lacks rows itself is not compared there.
        too_short = renamed[key].rows <= held_rows[key].max()
        if own_keys[key] in lacking_rows or too_short:
            del renamed[key]
    used = set(own_keys.values())
    unpaired = [
        {
            "model": model,
            "tensor": view.label,
            "reason": f"not in {suspect}",
            "source": view.source,
        }
        for key, view in views.items()
        if key not in used and not view.borrowed
    ]
    return _Renamed(renamed, own_keys, unpaired)


def _with_held_rows(views: Views, held_rows: Mapping[Key, Order]) -> dict[Key, View]:
    """The views, of as many rows as the suspect holds of the parents'."""
    return {
        key: replace(view, rows=len(held_rows[key])) if key in held_rows else view
        for key, view in views.items()
    }


def _with_adjustments(
    plan: pd.DataFrame,
    layouts: Mapping[str, Layout],
    own_keys: Mapping[str, Mapping[Key, Key]],
    suspect: str,
) -> pd.DataFrame:
    """The plan with a column for every field of Adjustment that some view needs."""
    held_rows = layouts[suspect].held_rows
    row_maps = plan["row_map"] if "row_map" in plan else [None] * len(plan)
    rows = zip(plan["model"], plan["tensor"], plan["slice"], row_maps, strict=True)
    adjustments = []
    for model, tensor, expert, row_map in rows:
        key = (tensor, expert)
        adjustment = Adjustment()
        if model in layouts:
            own_key = own_keys[model][key]
            adjustment = layouts[model].adjusted.get(own_key, adjustment)
        if adjustment.row_map is None and row_map is not None:
            adjustment = replace(adjustment, row_map=np.asarray(row_map))
        if model != suspect and key in held_rows:
            adjustment = _of_held_rows(adjustment, held_rows[key])
        adjustments.append(adjustment)
    columns: dict[str, Any] = {}
    for name in ARRAY_COLUMNS:
        values = [getattr(adjustment, name) for adjustment in adjustments]
        if any(value is not None for value in values):
            columns[name] = pd.Series(_as_lists(values), dtype=object)
    for name in FORMAT_COLUMNS:
        own = plan[name] if name in plan else [""] * len(plan)
        columns[name] = [
            getattr(adjustment, name) or held
            for adjustment, held in zip(adjustments, own, strict=True)
        ]
    columns["dtype"] = [
        adjustment.dtype or dtype
        for adjustment, dtype in zip(adjustments, plan["dtype"], strict=True)
    ]
    columns["factor"] = [adjustment.factor for adjustment in adjustments]
    return plan.assign(**columns)


def _of_held_rows(adjustment: Adjustment, held: Order) -> Adjustment:
    """The adjustment of a model of whose rows only some are compared."""
    rows = held if adjustment.row_map is None else adjustment.row_map[held]
    return replace(adjustment, row_map=rows)


def _as_lists(values: Sequence[Any]) -> list[Any]:
    return [
        value.tolist() if isinstance(value, np.ndarray) else value for value in values
    ]
