"""Write the index of all audits in a results folder, those of earlier configurations
included.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from mergetrace.outputs import read_json, write_text
from mergetrace.records.verdict import Verdict
from mergetrace.report.overview import page, row
from mergetrace.running.log import say


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    results: Path
    """The folder of all results."""


@dataclass(frozen=True)
class Params:
    """Nothing else decides the result."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    overview: Path
    """HTML."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """One line per audit that has a report."""
    # The convention by which builds are asked for the same bytes on another day.
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    rows = []
    for path in sorted(inputs.results.glob("*/verdict.json")):
        if path.with_name("report.html").is_file():
            when = float(fixed) if fixed else path.stat().st_mtime
            rows.append(row(Verdict.of(read_json(path)), when))
    paths = sorted(inputs.results.glob("comparisons/*.json"))
    comparisons = [read_json(path) for path in paths]
    write_text(outputs.overview, page(rows, comparisons))
    say(f"{outputs.overview}: {len(rows)} audits, {len(comparisons)} comparisons")
