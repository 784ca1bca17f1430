"""What the rebuild found, tensor by tensor and in all."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from mergetrace.merging import rebuild_wording as wording
from mergetrace.merging.methods import METHODS
from mergetrace.merging.rebuild import Outcome, Unit

MAX_DIFFERENCES = 5
"""Shown of a model."""
STATUSES = ("identical", "copied", "differs", "partial", "not rebuilt")


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
    parent's numbers), partial (a part was compared), not rebuilt.
    """
    note: str | None
    """What the status does not say."""


COLUMNS = [entry.name for entry in fields(TensorRow)]


def rebuilt_row(unit: Unit, outcome: Outcome) -> TensorRow:
    """The line of a tensor that was rebuilt."""
    status, note = _status(unit, outcome)
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


def _status(unit: Unit, outcome: Outcome) -> tuple[str, str | None]:
    """The status and the note of a rebuilt tensor."""
    if outcome.sha256 is None and unit.compared == unit.elements:
        same = outcome.exact == unit.compared
        return "identical" if same else "differs", wording.PUT_BACK
    if outcome.sha256 is None:
        missing = unit.elements - unit.compared
        return "partial", wording.without_counterpart(missing)
    if outcome.sha256 == outcome.sha256_rebuilt:
        return "identical", None
    if outcome.copies:
        return "copied", wording.equal_to(outcome.copies[0])
    return "differs", None


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
) -> dict[str, Any]:
    """rebuild.json of a rebuilt model. recipe: an entry of recipes.json."""
    compared = sum(row.compared for row in rows)
    exact = sum(row.exact for row in rows)
    remainder = None
    if exact < compared:
        remainder = wording.OPEN_ELEMENTS.get(METHODS[recipe["method"]].needs)
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
        "first_differences": [
            entry.to_json() for entry in differences[:MAX_DIFFERENCES]
        ],
    }


def not_rebuilt(reason: str) -> dict[str, Any]:
    """rebuild.json where nothing was rebuilt, with the reason."""
    return {"rebuilt": False, "reason": reason}


def why_not(
    when: str,
    mode: str,
    verdict: str,
    best: Mapping[str, Any] | None,
    remote: Sequence[str] = (),
    packed: Sequence[str] = (),
) -> str | None:
    """The reason not to rebuild, otherwise None.

    when: `rebuild.enabled` of the configuration. best: the best recipe found, if any.
    remote: the models whose weights are not here. packed: the packed formats of the
    suspect.
    """
    if packed:
        return wording.PACKED
    if remote:
        return wording.not_here(remote)
    if best is None:
        return wording.NO_RECIPE
    if when == "auto" and mode != "full":
        return wording.ONLY_A_SAMPLE
    if when == "auto" and verdict != "merge":
        return wording.not_a_merge(verdict)
    return None
