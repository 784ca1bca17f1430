"""The same tensor found in every model, whatever its writer called it and however it
was packed.
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import pandas as pd

from mergetrace.tensors.naming import component_of, layer_of
from mergetrace.tensors.view import Key, View

Entry = dict[str, str]
"""What is not compared: model, tensor, reason, source (see plan.COLUMNS)."""


VIEW_COLUMNS = (
    "source",
    "shard",
    "dtype",
    "start",
    "rows",
    "cols",
    "dimensions",
    "scale_shard",
    "scale_dtype",
    "scale_start",
    "scale_rows",
    "scale_cols",
    "block_rows",
    "block_cols",
    "scale_skip",
    "beside",
    "borrowed",
    "row_map",
    "through",
    "shift",
)
"""The columns of the plan that are a view's own (see View)."""
Members = Mapping[str, View]
"""The views of one slice by model."""


def pair(
    models: Mapping[str, Mapping[Key, View]], required: list[str]
) -> tuple[pd.DataFrame, list[Entry]]:
    """Pair the views of all models.

    models: views by model. required: the models without which a slice cannot be fitted
    (a base, every donor). Returns one row per slice and model (slice_id, tensor, slice,
    layer, component, elements, model, and the view's fields; `elements` is what all
    models share) and what is not paired as {model, tensor, reason, source}.
    """
    pairing = _Pairing(models, required)
    holders: dict[Key, list[str]] = defaultdict(list)
    for model, views in models.items():
        for key in views:
            holders[key].append(model)
    for key in sorted(holders, key=_natural):
        members = {model: models[model][key] for model in holders[key]}
        # A head that is everybody's embedding is compared there.
        if not all(view.borrowed for view in members.values()):
            pairing.add(key, members)
    return _with_row_maps(pd.DataFrame(pairing.rows)), pairing.unpaired


class _Pairing:
    """The rows of the plan and the unpaired views, as slice after slice is added."""

    def __init__(
        self, models: Mapping[str, Mapping[Key, View]], required: list[str]
    ) -> None:
        self.required = required
        self.optional = [model for model in models if model not in required]
        self.rows: list[dict[str, Any]] = []
        self.unpaired: list[Entry] = []
        self._slices = 0

    def add(self, key: Key, members: Members) -> None:
        """Compare one slice, or say why it is not compared. members: not all borrowed."""
        lacking = self._lacking(members)
        if lacking:
            own = {name: view for name, view in members.items() if not view.borrowed}
            self._leave_out(own, f"not in {', '.join(lacking)}")
            return
        base = members[self.required[0]]
        elements = base.cols * self._common_rows(members)
        if not elements:
            self._leave_out(members, "holds no element")
            return
        fitting = {name: view for name, view in members.items() if _fits(view, base)}
        lost = self._lacking(fitting)
        if lost:
            self._leave_out(fitting, f"another shape than in {', '.join(lost)}")
            return
        for model in self.optional:
            if model not in members:
                self._leave_out({model: base}, f"{model} has no such tensor")
        self._compare(key, fitting, elements)

    def _lacking(self, members: Members) -> list[str]:
        """The models for lack of which a slice is not compared: required ones, or all
        optional ones.
        """
        missing = [model for model in self.required if model not in members]
        if missing:
            return missing
        if any(model in members for model in self.optional):
            return []
        return self.optional

    def _common_rows(self, members: Members) -> int:
        """How many leading rows are compared: those that all members of a fitting shape
        have. Members of another shape are left out.
        """
        name = self.required[0]
        base = members[name]
        rows = base.rows
        for model, view in members.items():
            if _fits(view, base):
                rows = min(rows, view.rows)
            else:
                reason = (
                    f"shape {view.rows} x {view.cols} in {model}, {base.rows} x"
                    f" {base.cols} in {name}"
                )
                self._leave_out({model: view}, reason)
        return rows

    def _leave_out(self, members: Members, reason: str) -> None:
        for model, view in members.items():
            entry = {"model": model, "tensor": view.label, "reason": reason}
            self.unpaired.append(entry | {"source": view.source})

    def _compare(self, key: Key, members: Members, elements: int) -> None:
        tensor, expert = key
        common = {
            "slice_id": self._slices,
            "tensor": tensor,
            "slice": expert,
            "layer": layer_of(tensor),
            "component": component_of(tensor),
            "elements": elements,
        }
        for model, view in members.items():
            own = {name: getattr(view, name) for name in VIEW_COLUMNS}
            self.rows.append({**common, "model": model, **own})
        self._slices += 1


def _fits(view: View, base: View) -> bool:
    """Whether a view has a shape that can be compared with the base's. Only the
    vocabulary may differ in length: its common rows are compared.
    """
    if view.cols != base.cols:
        return False
    is_vocabulary = component_of(base.tensor) in ("embedding", "lm_head")
    return is_vocabulary or view.rows == base.rows


def _with_row_maps(plan: pd.DataFrame) -> pd.DataFrame:
    """The plan with its row maps as lists, and without the columns that say how views
    are read where no view needs them.
    """
    if plan.empty:
        return plan
    for name in ("through", "shift", "beside"):
        if not plan[name].astype(bool).any():
            plan = plan.drop(columns=name)
    maps = [None if rows is None else rows.tolist() for rows in plan["row_map"]]
    if all(rows is None for rows in maps):
        return plan.drop(columns="row_map")
    return plan.assign(row_map=pd.Series(maps, dtype=object))


def _natural(key: Key) -> list[Any]:
    """Sort key that puts layer 10 after layer 9."""
    return [
        (1, int(part), "") if part.isdigit() else (0, 0, part)
        for part in re.split(r"(\d+)", ".".join(key))
        if part
    ]
