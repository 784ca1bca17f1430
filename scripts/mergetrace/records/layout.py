"""layout.json: where an audited model's tensors lie in its parents, and which disguises
were looked for.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mergetrace.records.json_records import from_json


@dataclass(frozen=True)
class LayoutFacts:
    """What was found for one audited model that is on this machine."""

    undone: tuple[str, ...]
    """The disguises that were undone before anything was compared, a sentence each."""
    not_undone: tuple[str, ...]
    """The disguises that show and could not be undone, a sentence each."""
    looked_for: tuple[str, ...]
    """The kinds of disguise that were looked for."""
    kin: float
    """The share of the matrices that lie where one of a parent's does."""
    visible: bool
    """Whether a disguise shows on matrices that do have a counterpart."""
    rounded: bool
    """Whether numbers were rounded to the parents' format before they were compared."""
    layers: Mapping[str, int]
    """By layer that is another one in the parents, its number there."""
    reference: str | None
    """The parent that most matrices were found in."""
    findings: tuple[Mapping[str, Any], ...] = ()
    """The sentences of `undone` and `not_undone` as codes and numbers: of each its
    `kind`, whether it is `undone`, and its fields (see disguises/findings.py).
    """
    findings_of_parents: Mapping[str, tuple[Mapping[str, Any], ...]] = field(
        default_factory=dict
    )
    """By parent that is read in the order of the first what was undone in it."""


def read_layouts(value: Mapping[str, Any] | None) -> dict[str, LayoutFacts]:
    """By audited model its layout, from `models` of layout.json; empty where nobody
    looked.
    """
    return {
        model: from_json(LayoutFacts, entry, f"layout.json.models.{model}")
        for model, entry in (value or {}).items()
    }
