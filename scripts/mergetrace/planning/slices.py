"""The rows of the plan that belong to one slice, as objects."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mergetrace.tensors.view import View, view_of


@dataclass(frozen=True)
class PlannedSlice:
    """One slice, as it is planned to be compared."""

    slice_id: int
    tensor: str  # canonical name
    slice: str  # the expert's number, or ""
    layer: str
    component: str
    elements: int  # that all models share, from the first on
    blocks: int  # how many are kept as evidence, and read in sample mode
    members: Mapping[str, View]  # by model


def planned_slices(plan: pd.DataFrame) -> Iterator[PlannedSlice]:
    """The slices of a plan with blocks (see plan.with_blocks), in the order of their
    ids.
    """
    for _, rows in plan.groupby("slice_id"):
        yield slice_of(rows.to_dict("records"))


def slice_of(rows: Sequence[Mapping[Hashable, Any]]) -> PlannedSlice:
    """One slice of rows of the plan: one per model that holds it."""
    first = rows[0]
    return PlannedSlice(
        slice_id=int(first["slice_id"]),
        tensor=first["tensor"],
        slice=first["slice"],
        layer=first["layer"],
        component=first["component"],
        elements=int(first["elements"]),
        blocks=int(first["blocks"]),
        members={row["model"]: view_of(row) for row in rows},
    )
