"""Which tensor of every parent goes into which tensor of the model that is made again,
and what keeps a plain programme from doing it.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from mergetrace.files.tensor_records import TensorRecord, records_of
from mergetrace.merging.units import Unit, pair_units
from mergetrace.tensors.view import View

TORCH_DTYPES = {"F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""The formats that a tensor library writes as they are, and what it calls them."""

Hindrance = Literal[
    "no_lines",
    "by_hand",
    "choices",
    "last_bit",
    "owners",
    "layers",
    "names",
    "dtypes",
    "missing",
    "rows",
    "rearranged",
    "cut",
    "packed",
    "copied",
]
"""Why a form of a recipe does not give back every byte (see wording.HINDRANCES)."""


@dataclass(frozen=True)
class Pairs:
    """The tensors of a model beside those of its parents."""

    units: tuple[Unit, ...]
    """The model's tensors that every parent holds, each in one tensor."""
    missing: tuple[str, ...]
    """Its tensors that some parent lacks."""
    renamed: Mapping[str, Mapping[str, str]]
    """By tensor and parent the parent's name for it, where that is another one."""
    left_out: tuple[str, ...]
    """The first parent's tensors that the model does not hold under that name."""
    dtype: str
    """What most of its numbers are stored in, as torch calls it."""
    dtypes: Mapping[str, str]
    """The dtype of the tensors that are stored in another one."""
    rows: Mapping[str, int]
    """How many rows a tensor has where a parent has more or fewer."""
    copied: Mapping[str, str]
    """By tensor the parent whose numbers it has, where the recipe gives others."""
    hindrances: tuple[Hindrance, ...]
    """What keeps even lines of torch from giving back every byte: tensors that are no
    `units`, and rows.
    """


def pair_up(
    plan: pd.DataFrame,
    tensors: Mapping[str, pd.DataFrame],
    suspect: str,
    parents: Sequence[str],
    copied: Mapping[str, str],
) -> Pairs:
    """Read the plan of an audit.

    plan: plan.parquet. tensors: by model the table of its tensors. parents: those of
    the recipe, in its order. copied: by tensor the parent whose numbers it has, where
    the recipe gives others.
    """
    found, missing = pair_units(plan, tensors[suspect], suspect, parents)
    own = {record.name: record for record in records_of(tensors[suspect])}
    names = [record.name for record in records_of(tensors[parents[0]])]
    by_parent = {
        parent: {record.name: record for record in records_of(tensors[parent])}
        for parent in parents
    }
    hindrances: list[Hindrance] = ["missing"] if missing else []
    units = []
    for unit in found:
        of_unit = tuple(_hindrances(unit, own[unit.name], by_parent))
        hindrances += of_unit
        if set(of_unit) <= {"rows"}:
            units.append(unit)
    renamed = _renamed(units, parents)
    kept = {unit.name for unit in units} - set(renamed)
    sizes = Counter[str]()
    for unit in units:
        sizes[unit.dtype] += unit.elements
    main = sizes.most_common(1)[0][0] if sizes else "F32"
    return Pairs(
        units=tuple(units),
        missing=tuple(record.name for record in missing),
        renamed=renamed,
        left_out=tuple(name for name in names if name not in kept),
        dtype=TORCH_DTYPES.get(main, main),
        dtypes={
            unit.name: TORCH_DTYPES.get(unit.dtype, unit.dtype)
            for unit in units
            if unit.dtype != main
        },
        rows=_rows(units, own, by_parent),
        copied={unit.name: copied[unit.name] for unit in units if unit.name in copied},
        hindrances=tuple(dict.fromkeys(hindrances)),
    )


def source_of(unit: Unit, model: str) -> str:
    """The model's own name for a tensor."""
    return unit.parts[0].members[model].source


def _renamed(
    units: Sequence[Unit], parents: Sequence[str]
) -> dict[str, dict[str, str]]:
    renamed = {}
    for unit in units:
        others = {parent: source_of(unit, parent) for parent in parents}
        others = {parent: name for parent, name in others.items() if name != unit.name}
        if others:
            renamed[unit.name] = others
    return renamed


def _rows(
    units: Sequence[Unit],
    own: Mapping[str, TensorRecord],
    by_parent: Mapping[str, Mapping[str, TensorRecord]],
) -> dict[str, int]:
    rows = {}
    for unit in units:
        shape = own[unit.name].shape
        for parent, records in by_parent.items():
            if shape and records[source_of(unit, parent)].shape[:1] != shape[:1]:
                rows[unit.name] = shape[0]
    return rows


def _hindrances(
    unit: Unit,
    own: TensorRecord,
    by_parent: Mapping[str, Mapping[str, TensorRecord]],
) -> Iterator[Hindrance]:
    """What keeps a programme from making one tensor; with `rows` it makes a part."""
    if unit.dtype not in TORCH_DTYPES:
        yield "packed"
    if unit.compared != unit.elements:
        yield "rows"
    for part in unit.parts:
        for view in part.members.values():
            yield from _of_view(view)
    for parent, records in by_parent.items():
        if not _same_places(unit, parent, records[source_of(unit, parent)], own):
            yield "cut"


def _of_view(view: View) -> Iterator[Hindrance]:
    if view.is_rearranged or view.through or view.stored_dtype or view.factor != 1:
        yield "rearranged"
    if view.row_scale is not None or view.col_scale is not None:
        yield "rearranged"
    if view.scale_shard or view.dtype not in TORCH_DTYPES:
        yield "packed"


def _same_places(
    unit: Unit, parent: str, theirs: TensorRecord, ours: TensorRecord
) -> bool:
    """Whether a parent's tensor has the same elements in the same places, but for rows
    at the end.
    """
    if theirs.shape[1:] != ours.shape[1:] or len(theirs.shape) != len(ours.shape):
        return False
    width = {"F32": 4, "BF16": 2, "F16": 2}.get(theirs.dtype, 1)
    place = 0
    for part in unit.parts:
        view = part.members[parent]
        if (view.source, view.shard) != (theirs.name, theirs.shard):
            return False
        if view.start != theirs.start + place * width:
            return False
        place += part.elements
    return True


LAYER = re.compile(r"\.(\d+)\.")
"""Where a tensor's name holds the number of its layer."""


def layers_are_named(units: Sequence[Unit]) -> bool:
    """Whether every layer's number is the first number in the tensor's name."""
    for unit in units:
        match = LAYER.search(unit.name)
        if (match[1] if match else "") != (unit.layer if unit.layer.isdigit() else ""):
            return False
    return True
