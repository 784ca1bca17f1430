"""What the rebuild found, tensor by tensor and in all."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from mergetrace.merging import rebuild_wording as wording
from mergetrace.merging.methods import METHODS
from mergetrace.merging.units import Beside, Outcome, Unit

MAX_DIFFERENCES = 5
"""Shown of a model."""
STATUSES = ("identical", "copied", "differs", "partial", "codes", "not rebuilt")


@dataclass(frozen=True)
class TensorRow:
    """One line of rebuild.csv."""

    tensor: str
    layer: str | None
    component: str | None
    dtype: str
    elements: int
    """In the file."""
    compared: int
    exact: int
    """Elements that the recipe gives back bit for bit."""
    undecided: int
    """Differing elements that lie exactly at a threshold of the method."""
    sha256: str | None
    sha256_rebuilt: str | None
    status: str
    """identical (every byte), differs, copied (not what the recipe gives, but a
    parent's numbers), partial (a part was compared), codes (of packed numbers with the file's
    scales: what lies in the cell of its code), not rebuilt.
    """
    note: str | None
    """What the status does not say."""
    blocks: int = 0
    """Of numbers that were quantised again: those that share a scale."""
    blocks_exact: int = 0
    """Blocks that came back with every code and their scale."""
    manner: str | None = None
    """How the tool computed that gives most back."""


COLUMNS = [entry.name for entry in fields(TensorRow)]


def rebuilt_rows(unit: Unit, outcome: Outcome, read_as: str | None) -> list[TensorRow]:
    """The lines of a tensor that was rebuilt and of what goes with it. read_as: its
    packed format, None where it has none.
    """
    beside = [_beside_row(unit, each, outcome.manner) for each in outcome.beside]
    return [_rebuilt_row(unit, outcome, read_as), *beside]


def _beside_row(unit: Unit, beside: Beside, manner: str | None) -> TensorRow:
    same = beside.sha256 == beside.sha256_rebuilt
    return TensorRow(
        tensor=beside.record.name,
        layer=unit.layer,
        component=unit.component,
        dtype=beside.record.dtype,
        elements=beside.record.elements,
        compared=beside.compared,
        exact=beside.exact,
        undecided=0,
        sha256=beside.sha256,
        sha256_rebuilt=beside.sha256_rebuilt,
        status="identical" if same else "differs",
        note=wording.goes_with(unit.name),
        manner=manner,
    )


def _rebuilt_row(unit: Unit, outcome: Outcome, read_as: str | None) -> TensorRow:
    status, note = _status(unit, outcome, read_as)
    return TensorRow(
        tensor=unit.name,
        layer=unit.layer,
        component=unit.component,
        dtype=unit.dtype,
        elements=unit.elements,
        compared=unit.compared,
        exact=outcome.exact,
        undecided=outcome.undecided,
        sha256=outcome.sha256,
        sha256_rebuilt=outcome.sha256_rebuilt,
        status=status,
        note=note,
        blocks=outcome.blocks,
        blocks_exact=outcome.blocks_exact,
        manner=outcome.manner,
    )


def unpaired_row(tensor: str, dtype: str, elements: int, reason: str) -> TensorRow:
    """The line of a tensor that could not be rebuilt, with the reason."""
    return TensorRow(
        tensor=tensor,
        layer=None,
        component=None,
        dtype=dtype,
        elements=elements,
        compared=0,
        exact=0,
        undecided=0,
        sha256=None,
        sha256_rebuilt=None,
        status="not rebuilt",
        note=reason,
    )


def _status(
    unit: Unit, outcome: Outcome, read_as: str | None
) -> tuple[str, str | None]:
    """The status and the note of a rebuilt tensor."""
    missing = unit.elements - unit.compared
    if outcome.takes_scales and outcome.sha256 is None:
        found = "codes", wording.scales_taken(read_as or unit.dtype)
    elif outcome.sha256 is None and not missing:
        same = outcome.exact == unit.compared
        found = "identical" if same else "differs", wording.PUT_BACK
    elif outcome.sha256 is None:
        found = "partial", wording.without_counterpart(missing)
    elif outcome.sha256 == outcome.sha256_rebuilt:
        return "identical", _note(outcome)
    elif outcome.copies:
        found = "copied", wording.equal_to(outcome.copies[0])
    else:
        return "differs", _note(outcome)
    return found


def _note(outcome: Outcome) -> str | None:
    if outcome.takes_scales:
        return wording.WITH_ITS_SCALES
    return wording.how_made(outcome.manner)


@dataclass(frozen=True)
class Difference:
    """An element that differs from the suspect's."""

    tensor: str
    index: int
    """In the tensor."""
    suspect: float
    rebuilt: float

    def to_json(self) -> dict[str, Any]:
        """The fields by name, null for a number that is NaN or infinite."""
        entries = asdict(self)
        for name in ("suspect", "rebuilt"):
            if not math.isfinite(entries[name]):
                entries[name] = None
        return entries


def summarise(
    recipe: Mapping[str, Any],
    rows: Sequence[TensorRow],
    differences: Sequence[Difference],
    on_grid: bool = False,
) -> dict[str, Any]:
    """rebuild.json of a rebuilt model. recipe: an entry of recipes.json. on_grid: whether
    the suspect's numbers lie on a coarse grid.
    """
    whole = [row for row in rows if row.status != "codes"]
    compared = sum(row.compared for row in whole)
    exact = sum(row.exact for row in whole)
    remainder = None
    if exact < compared:
        remainder = wording.OPEN_ELEMENTS.get(METHODS[recipe["method"]].needs)
        remainder = wording.WRITTEN_BACK if on_grid else remainder
    by_status = {
        status.replace(" ", "_"): sum(row.status == status for row in rows)
        for status in STATUSES
    }
    return {
        "rebuilt": True,
        "reason": None,
        "recipe": {key: recipe[key] for key in ("method", "dtype", "parameters")},
        "tensors": len(rows),
        **by_status,
        "elements": sum(row.elements for row in rows),
        "compared": compared,
        "exact": exact,
        "exact_rate": exact / compared if compared else None,
        "undecided": sum(row.undecided for row in rows),
        "remainder": remainder,
        "quantised": _quantised(rows),
        "first_differences": [
            entry.to_json() for entry in differences[:MAX_DIFFERENCES]
        ],
    }


def _quantised(rows: Sequence[TensorRow]) -> dict[str, Any] | None:
    """What came back of tensors that were quantised again, None where none was."""
    again = [row for row in rows if row.manner]
    codes = [row for row in rows if row.status == "codes"]
    if not again and not codes:
        return None
    same = [
        row
        for row in again
        if row.status == "identical" and row.note != wording.WITH_ITS_SCALES
    ]
    manners = Counter(row.manner for row in same if row.manner and row.blocks)
    numbers = {
        "tensors": len(again),
        "identical": len(same),
        "blocks": sum(row.blocks for row in again),
        "blocks_exact": sum(row.blocks_exact for row in again),
        "scales_taken": len(codes),
        "codes": sum(row.compared for row in codes),
        "codes_exact": sum(row.exact for row in codes),
    }
    sentence = wording.quantised(numbers, {row.note for row in codes if row.note})
    return {**numbers, "manners": dict(sorted(manners.items())), "sentence": sentence}


def not_rebuilt(reason: str) -> dict[str, Any]:
    """rebuild.json where nothing was rebuilt, with the reason."""
    return {"rebuilt": False, "reason": reason}


def why_not(
    when: str,
    mode: str,
    verdict: str,
    best: Mapping[str, Any] | None,
    remote: Sequence[str] = (),
) -> str | None:
    """The reason not to rebuild, otherwise None.

    when: `rebuild.enabled` of the configuration. best: the best recipe found, if any.
    remote: the models whose weights are not here.
    """
    if remote:
        return wording.not_here(remote)
    if best is None:
        return wording.NO_RECIPE
    if when == "auto" and mode != "full":
        return wording.ONLY_A_SAMPLE
    if when == "auto" and verdict != "merge":
        return wording.not_a_merge(verdict)
    return None
