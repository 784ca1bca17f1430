"""Compare two audits of two revisions of one suspect, tensor by tensor: as a table, as
JSON and as a page.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mergetrace.outputs import read_json, whole, write_json, write_text
from mergetrace.records.csv_tables import read_csv_table
from mergetrace.records.verdict import Verdict
from mergetrace.report.revisions import changed_elements, compare, page, summary
from mergetrace.running.log import say
from mergetrace.sums.evidence import Sample, read_blocks, read_evidence


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    before: Path
    """The results folder of the earlier revision's audit."""
    after: Path
    """The results folder of the later revision's audit."""


@dataclass(frozen=True)
class Params:
    """How the comparison is called."""

    name: str
    """Its name in the configuration."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    table: Path
    """CSV: tensor by tensor."""
    summary: Path
    """JSON: the sentence and the counts."""
    page: Path
    """HTML."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Of weights only the evidence that both audits kept is compared."""
    sides = (inputs.before, inputs.after)
    verdicts = [Verdict.of(read_json(side / "verdict.json")) for side in sides]
    before, after = (read_csv_table(side / "tensors.csv") for side in sides)
    changed = _changed(sides, [verdict.suspect for verdict in verdicts])
    table = compare(before, after, changed)
    comparison = summary(params.name, verdicts[0], verdicts[1], table)
    with whole(outputs.table) as partial:
        table.to_csv(partial, index=False)
    write_json(outputs.summary, comparison)
    write_text(outputs.page, page(comparison, table))
    say(comparison["sentence"])


def _changed(sides: tuple[Path, Path], suspects: list[str]) -> dict[Any, Any]:
    """How many of the elements that both sides kept changed, by (tensor, slice)."""
    columns = ["slice_id", "tensor", "slice", "layer", "batch"]
    plans = [pd.read_parquet(side / "plan.parquet", columns=columns) for side in sides]
    changed: dict[Any, Any] = {}
    for layer in dict.fromkeys(layer for plan in plans for layer in plan["layer"]):
        first, second = (
            dict(_kept(side, plan, suspect, layer))
            for side, plan, suspect in zip(sides, plans, suspects, strict=True)
        )
        for key in first.keys() & second.keys():
            old, old_blocks = first[key]
            new, new_blocks = second[key]
            changed[key] = changed_elements(old, new, old_blocks, new_blocks)
    return changed


def _kept(
    side: Path, plan: pd.DataFrame, suspect: str, layer: str
) -> Iterator[tuple[tuple[str, str], tuple[Sample, Any]]]:
    """The suspect's kept elements of one layer, and where they lie, by (tensor, slice)."""
    views = plan[plan["layer"] == layer]
    places = zip(views["tensor"], views["slice"], strict=True)
    names: dict[Any, Any] = dict(zip(views["slice_id"], places, strict=True))
    for batch in views["batch"].unique():
        path = side / f"evidence/{batch}.safetensors"
        blocks = read_blocks(path)
        for slice_id, samples in read_evidence(path, names):
            if suspect in samples:
                yield names[slice_id], (samples[suspect], blocks[slice_id])
