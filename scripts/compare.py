"""Compare two audits of two revisions of one suspect, tensor by tensor: as a table, as
JSON and as a page.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from frontdoor import run, say

from mergetrace.outputs import read_json, whole, write_json, write_text
from mergetrace.report.revisions import changed_elements, compare, page, summary
from mergetrace.sums.evidence import Sample, read_blocks, read_evidence

TEXT_COLUMNS = {
    "layer": str,
    "slice": str,
    "component": str,
    "tensor": str,
    "status": str,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument(
        "--before",
        type=Path,
        required=True,
        help="the results folder of the earlier revision's audit",
    )
    parser.add_argument("--after", type=Path, required=True)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--page", type=Path, required=True)
    arguments = parser.parse_args()

    sides = [arguments.before, arguments.after]
    verdicts = [read_json(side / "verdict.json") for side in sides]
    tables = [
        pd.read_csv(
            side / "tensors.csv",
            dtype=TEXT_COLUMNS,
            keep_default_na=False,
            na_values=[""],
        )
        for side in sides
    ]
    kept: dict = {}
    plans = [
        pd.read_parquet(
            side / "plan.parquet",
            columns=["slice_id", "tensor", "slice", "layer", "batch"],
        )
        for side in sides
    ]
    for layer in dict.fromkeys(layer for plan in plans for layer in plan["layer"]):
        first, second = (
            dict(_kept(*of, layer))
            for of in zip(
                sides, plans, (verdict["suspect"] for verdict in verdicts), strict=True
            )
        )
        for key in first.keys() & second.keys():
            kept[key] = changed_elements(
                first[key][0], second[key][0], first[key][1], second[key][1]
            )
    table = compare(*tables, kept)
    found = summary(arguments.name, *verdicts, table)
    with whole(arguments.table) as partial:
        table.to_csv(partial, index=False)
    write_json(arguments.summary, found)
    write_text(arguments.page, page(found, table, Path(__file__).parent / "mergetrace/templates"))
    say(found["sentence"])


def _kept(
    side: Path, plan: pd.DataFrame, suspect: str, layer: str
) -> Iterator[tuple[tuple[str, str], tuple[Sample, object]]]:
    """The suspect's kept elements of one layer, and where they lie, by (tensor, slice)."""
    views = plan[plan["layer"] == layer]
    names = {row.slice_id: (row.tensor, row.slice) for row in views.itertuples()}
    for batch in views["batch"].unique():
        path = side / f"evidence/{batch}.safetensors"
        blocks = read_blocks(path)
        for slice_id, samples in read_evidence(path, names):
            if suspect in samples:
                yield names[slice_id], (samples[suspect], blocks[slice_id])


if __name__ == "__main__":
    run(main)
