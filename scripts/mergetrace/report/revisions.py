"""Two revisions of one suspect, before and after a re-upload: what changed, tensor by
tensor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mergetrace.finding.wording_headline import headline
from mergetrace.readable import count, decimal, percent, rate, visible
from mergetrace.records.verdict import Verdict
from mergetrace.report.rendering import render
from mergetrace.sums.evidence import Sample

KEY = ["tensor", "slice"]
"""What tells the slices of one revision apart."""
NUMBERS = ["alpha", "cos_fit", "bit_exact_rate", "status"]
"""The columns of tensors.csv that are given of both revisions."""
SIDES = ("before", "after")
STATES = ("changed", "unchanged", "only before", "only after", "not comparable")
MOST_ROWS = 100
"""Slices that the page shows."""

Kept = Mapping[tuple[str, str], tuple[int, int] | None]
"""By tensor and slice, how many elements were kept of both revisions, and how many of
them differ.
"""


class Side(TypedDict):
    """The finding on one revision."""

    audit: str
    """The audit's name."""
    suspect: str
    """The model under audit."""
    verdict: str
    """The verdict's word."""
    sentence: str
    """The verdict in one sentence."""
    parents: dict[str, float | None]
    """By offered donor its share."""


class Comparison(TypedDict):
    """Two revisions in short, as JSON."""

    name: str
    """The comparison's name."""
    before: Side
    """The finding on the earlier revision."""
    after: Side
    """The finding on the later revision."""
    slices: dict[str, int]
    """By state (of STATES) the number of slices."""
    elements: int
    """The number of elements that were kept of both."""
    changed: int
    """The number of these that differ."""
    sentence: str
    """What changed, in one sentence."""


@dataclass(frozen=True)
class ChangedRow:
    """One slice that differs, in words."""

    name: str
    """The tensor, and which part of it."""
    state: str
    """What became of it: one of STATES."""
    share: str
    """The share of its kept elements that differ."""
    alpha_before: str
    """alpha in the earlier revision."""
    alpha_after: str
    """alpha in the later revision."""
    bit_exact_rate_before: str
    """The bit-exact rate in the earlier revision."""
    bit_exact_rate_after: str
    """The bit-exact rate in the later revision."""


def changed_elements(
    before: Sample,
    after: Sample,
    before_blocks: NDArray[np.int64],
    after_blocks: NDArray[np.int64],
) -> tuple[int, int] | None:
    """(elements kept of both revisions, of them different). before_blocks,
    after_blocks: where each was kept, int64 [blocks, 2].

    None where the two were kept at different places or in different numbers. Numbers
    are compared, not bytes: a model saved again in another dtype is changed where that
    changed its numbers.
    """
    if not np.array_equal(before_blocks, after_blocks):
        return None
    old = before.values()
    new = after.values()
    if old.size != new.size:
        return None
    both_nan = np.isnan(old) & np.isnan(new)
    return old.size, int(np.count_nonzero((old != new) & ~both_nan))


def compare(before: pd.DataFrame, after: pd.DataFrame, kept: Kept) -> pd.DataFrame:
    """A row per slice of either revision: tensor, slice, layer, component, state (of
    STATES), compared, changed, then NUMBERS of both.

    before, after: the two tensors.csv. kept: `changed_elements` of the slices that both
    have.
    """
    columns = [*KEY, "layer", "component", *NUMBERS]
    old, new = (
        table[columns].assign(slice=table["slice"].fillna(""))
        for table in (before, after)
    )
    table = old.merge(
        new, on=KEY, how="outer", suffixes=("_before", "_after"), sort=False
    )
    for name in ("layer", "component"):
        table[name] = table.pop(f"{name}_after").fillna(table.pop(f"{name}_before"))
    keys = zip(table["tensor"], table["slice"], strict=True)
    counts = [kept.get(key) for key in keys]
    table["compared"] = [None if pair is None else pair[0] for pair in counts]
    table["changed"] = [None if pair is None else pair[1] for pair in counts]
    table["state"] = [_state(row) for row in table.to_dict("records")]
    pairs = [f"{name}_{side}" for name in NUMBERS for side in SIDES]
    return table[[*KEY, "layer", "component", "state", "compared", "changed", *pairs]]


def summary(
    name: str, before: Verdict, after: Verdict, table: pd.DataFrame
) -> Comparison:
    """The comparison in short. table: of `compare`."""
    states = {state: int((table["state"] == state).sum()) for state in STATES}
    return {
        "name": name,
        "before": _side(before),
        "after": _side(after),
        "slices": states,
        "elements": int(table["compared"].sum()),
        "changed": int(table["changed"].sum()),
        "sentence": _sentence(before.verdict, after.verdict, states),
    }


def page(comparison: Comparison, table: pd.DataFrame) -> str:
    """The comparison as HTML. comparison: of `summary`. table: of `compare`."""
    changed = table[table["state"] != "unchanged"].copy()
    changed["share"] = changed["changed"] / changed["compared"]
    changed = changed.sort_values(
        "share", ascending=False, kind="stable", na_position="first"
    )
    rows = [_row(row) for row in changed.head(MOST_ROWS).to_dict("records")]
    return render(
        "comparison.html.j2",
        found=comparison,
        rows=rows,
        further=max(0, len(changed) - MOST_ROWS),
        layers=_by_layer(table),
    )


def _state(row: Mapping[Any, Any]) -> str:
    """What became of one slice."""
    if not isinstance(row["status_before"], str):
        return "only after"
    if not isinstance(row["status_after"], str):
        return "only before"
    if pd.isna(row["compared"]):
        return "not comparable"
    return "changed" if row["changed"] else "unchanged"


def _side(verdict: Verdict) -> Side:
    """One revision's finding."""
    return {
        "audit": verdict.audit,
        "suspect": verdict.suspect,
        "verdict": verdict.verdict,
        "sentence": headline(verdict).sentence,
        "parents": {model: entry.alpha for model, entry in verdict.parents.items()},
    }


def _row(row: Mapping[Any, Any]) -> ChangedRow:
    name = visible(row["tensor"], 200)
    if row["slice"]:
        name += f" [{row['slice']}]"
    why = "in one revision only"
    if row["state"] == "not comparable":
        why = "kept at different places"
    before = _why(row["status_before"])
    after = _why(row["status_after"])
    return ChangedRow(
        name,
        row["state"],
        percent(row["share"], why),
        decimal(row["alpha_before"], before),
        decimal(row["alpha_after"], after),
        rate(row["bit_exact_rate_before"], before),
        rate(row["bit_exact_rate_after"], after),
    )


def _by_layer(table: pd.DataFrame) -> Sequence[tuple[str, str, str]]:
    """By layer the number of slices, and the share of kept elements that differ."""
    layers = table.groupby("layer", sort=False).agg(
        slices=("state", "size"),
        compared=("compared", "sum"),
        changed=("changed", "sum"),
    )
    rows = []
    for row in layers.reset_index().to_dict("records"):
        share = row["changed"] / row["compared"] if row["compared"] else None
        text = percent(share, "nothing kept of both")
        rows.append((str(row["layer"]), count(row["slices"]), text))
    return rows


def _sentence(before: str, after: str, states: Mapping[str, int]) -> str:
    """What changed, in one sentence. before, after: the verdicts."""
    moved = sum(number for state, number in states.items() if state != "unchanged")
    weights = "No slice differs in what was kept of it"
    if moved:
        weights = f"{moved:,} of {sum(states.values()):,} slices differ"
    old = before.replace("_", " ")
    new = after.replace("_", " ")
    if old == new:
        return f"{weights}; the verdict is {old} both times."
    return f"{weights}; {old} became {new}."


def _why(status: object) -> str:
    """Why a slice has no number."""
    if not isinstance(status, str):
        return "not there"
    return "no informative element" if status == "ok" else status
