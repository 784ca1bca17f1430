"""Two revisions of one suspect, before and after a re-upload: what changed, tensor by
tensor.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mergetrace import readable
from mergetrace.finding import wording
from mergetrace.report.rendering import TEMPLATES, render
from mergetrace.sums.evidence import Sample

KEY = ["tensor", "slice"]
NUMBERS = ["alpha", "cos_fit", "bit_exact_rate", "status"]
MOST = 100
STATES = ("changed", "unchanged", "only before", "only after", "not comparable")


def changed_elements(
    before: Sample, after: Sample, blocks: NDArray[np.int64], others: NDArray[np.int64]
) -> tuple[int, int] | None:
    """(elements kept of both revisions, of them different). blocks, others: where each
    was kept, int64 [blocks, 2].

    None where the two were kept at different places or in different numbers. Numbers are compared, not bytes: a model saved again in
    another dtype is changed where that changed its numbers.
    """
    if not np.array_equal(blocks, others):
        return None
    one = before.values()
    other = after.values()
    return (
        (
            one.size,
            int(np.count_nonzero((one != other) & ~(np.isnan(one) & np.isnan(other)))),
        )
        if one.size == other.size
        else None
    )


def compare(
    before: pd.DataFrame,
    after: pd.DataFrame,
    kept: Mapping[tuple[str, str], tuple[int, int] | None],
) -> pd.DataFrame:
    """A row per slice of either revision: tensor, slice, layer, component, state (of
    STATES), compared, changed, then NUMBERS of both.

    before, after: the two tensors.csv; kept: `changed_elements` of the slices that both
    have.
    """
    columns = [*KEY, "layer", "component", *NUMBERS]
    sides = [
        table[columns].assign(slice=table["slice"].fillna(""))
        for table in (before, after)
    ]
    table = sides[0].merge(
        sides[1], on=KEY, how="outer", suffixes=("_before", "_after"), sort=False
    )
    for name in ("layer", "component"):
        table[name] = table.pop(f"{name}_after").fillna(table.pop(f"{name}_before"))
    counts = [
        kept.get((tensor, part))
        for tensor, part in zip(table["tensor"], table["slice"], strict=True)
    ]
    table["compared"] = [None if count is None else count[0] for count in counts]
    table["changed"] = [None if count is None else count[1] for count in counts]
    table["state"] = [
        (
            "only after"
            if not isinstance(row.status_before, str)
            else (
                "only before"
                if not isinstance(row.status_after, str)
                else (
                    "not comparable"
                    if pd.isna(row.compared)
                    else "changed"
                    if row.changed
                    else "unchanged"
                )
            )
        )
        for row in table.itertuples()
    ]
    pairs = [f"{name}_{side}" for name in NUMBERS for side in ("before", "after")]
    return table[[*KEY, "layer", "component", "state", "compared", "changed", *pairs]]


def summary(
    name: str, before: Mapping[str, Any], after: Mapping[str, Any], table: pd.DataFrame
) -> dict[str, Any]:
    """The comparison in short: name, before and after (audit, suspect, verdict,
    sentence), slices by state, elements, and a sentence.
    """
    sides = {
        side: {
            "audit": verdict["audit"],
            "suspect": verdict["suspect"],
            "verdict": verdict["verdict"],
            "sentence": wording.finding(verdict).sentence,
            "parents": {
                model: entry["alpha"] for model, entry in verdict["parents"].items()
            },
        }
        for side, verdict in (("before", before), ("after", after))
    }
    states = {state: int((table["state"] == state).sum()) for state in STATES}
    elements = int(table["compared"].sum())
    changed = int(table["changed"].sum())
    return {
        "name": name,
        **sides,
        "slices": states,
        "elements": elements,
        "changed": changed,
        "sentence": _sentence(sides, states),
    }


def page(
    found: Mapping[str, Any], table: pd.DataFrame, templates: Path = TEMPLATES
) -> str:
    """The comparison as HTML. found: of `summary`; table: of `compare`."""
    changed = table[table["state"] != "unchanged"].assign(
        share=lambda rows: rows["changed"] / rows["compared"]
    )
    changed = changed.sort_values(
        "share", ascending=False, kind="stable", na_position="first"
    )
    rows = [
        {
            "name": (
                readable.visible(row["tensor"], 200)
                + (f" [{row['slice']}]" if row["slice"] else "")
            ),
            "state": row["state"],
            "share": readable.percent(
                row["share"],
                (
                    "kept at different places"
                    if row["state"] == "not comparable"
                    else "in one revision only"
                ),
            ),
            **{
                f"{key}_{side}": show(row[f"{key}_{side}"], _why(row[f"status_{side}"]))
                for key, show in (
                    ("alpha", readable.decimal),
                    ("bit_exact_rate", readable.rate),
                )
                for side in ("before", "after")
            },
        }
        for row in changed.head(MOST).to_dict("records")
    ]
    layers = table.groupby("layer", sort=False).agg(
        slices=("state", "size"),
        compared=("compared", "sum"),
        changed=("changed", "sum"),
    )
    by_layer = [
        (str(layer), readable.count(row.slices), _share(row.changed, row.compared))
        for layer, row in layers.iterrows()
    ]
    return render(
        "comparison.html.j2",
        templates=templates,
        found=found,
        rows=rows,
        further=max(0, len(changed) - MOST),
        layers=by_layer,
    )


def _sentence(sides: Mapping[str, Mapping[str, Any]], states: Mapping[str, int]) -> str:
    moved = sum(number for state, number in states.items() if state != "unchanged")
    weights = (
        f"{moved:,} of {sum(states.values()):,} slices differ"
        if moved
        else "No slice differs in what was kept of it"
    )
    one = sides["before"]["verdict"]
    other = sides["after"]["verdict"]
    verdict = (
        f"the verdict is {one.replace('_', ' ')} both times"
        if one == other
        else f"{one.replace('_', ' ')} became {other.replace('_', ' ')}"
    )
    return f"{weights}; {verdict}."


def _why(status: object) -> str:
    return (
        "not there"
        if not isinstance(status, str)
        else "no informative element"
        if status == "ok"
        else status
    )


def _share(changed: float, compared: float) -> str:
    return readable.percent(
        changed / compared if compared else None, "nothing kept of both"
    )
