"""What a folder declares of its merge beside what was found, as rows of a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mergetrace.finding.wording_declared import declared_sentence
from mergetrace.readable import visible
from mergetrace.records.verdict import DeclaredBeside, DeclaredItem, Verdict

MOST_SHOWN = 200
"""Characters of a value that are shown."""
AGREEMENT: Mapping[bool | None, str] = {
    True: "agrees",
    False: "differs",
    None: "not established",
}


@dataclass(frozen=True)
class DeclaredRow:
    """One declared thing in words."""

    what: str
    """The matter."""
    declared: str
    """What is declared."""
    found: str
    """What was found."""
    agreement: str
    """Whether both agree."""


@dataclass(frozen=True)
class DeclaredTable:
    """One declared merge."""

    sentence: str
    """What became of it."""
    file: str
    """The file that declares it."""
    rows: list[DeclaredRow]
    """What it declares, one thing after another."""


def declared_tables(verdict: Verdict) -> list[DeclaredTable]:
    """Every declared merge beside what was found."""
    return [_table(merge, verdict.suspect) for merge in verdict.declared_merges]


def _table(merge: DeclaredBeside, suspect: str) -> DeclaredTable:
    rows = [_row(item) for item in merge.items]
    return DeclaredTable(declared_sentence(suspect, merge), merge.file, rows)


def _row(item: DeclaredItem) -> DeclaredRow:
    if item.what == "model":
        declared = visible(item.name, MOST_SHOWN)
        if item.declared is None:
            return DeclaredRow("Model", declared, "not offered", AGREEMENT[None])
        if item.declared != item.name:
            declared += f" (taken for {item.declared})"
        found = "a parent" if item.found else "not among the parents found"
        if item.agrees is None:
            found = "not established as a parent"
        return DeclaredRow("Model", declared, found, AGREEMENT[item.agrees])
    label = item.what.capitalize()
    if item.name:
        label = visible(item.name, MOST_SHOWN)
    found = _value(item.found, "not established")
    return DeclaredRow(
        label, _value(item.declared, "not stated"), found, AGREEMENT[item.agrees]
    )


def _value(value: Any, nothing: str) -> str:
    """A value as it stands in a configuration."""
    if value is None:
        return nothing
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, Mapping):
        parts = [f"{key} {_value(part, nothing)}" for key, part in value.items()]
        return visible(", ".join(parts), MOST_SHOWN)
    if isinstance(value, list | tuple):
        inside = ", ".join(_value(part, nothing) for part in value)
        return visible(f"[{inside}]", MOST_SHOWN)
    return visible(value, MOST_SHOWN)
