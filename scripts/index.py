"""Write the index of all audits in a results folder, those of earlier configurations
included.
"""

import argparse
import os
from pathlib import Path

from frontdoor import run, say

from mergetrace.outputs import read_json, write_text
from mergetrace.report.overview import page, row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    fixed = os.environ.get(
        "SOURCE_DATE_EPOCH"
    )  # the convention by which builds are asked for the same bytes on another day
    found = sorted(
        path
        for path in arguments.results.glob("*/verdict.json")
        if path.with_name("report.html").is_file()
    )
    rows = [
        row(read_json(path), float(fixed) if fixed else path.stat().st_mtime)
        for path in found
    ]
    comparisons = [
        read_json(path) for path in sorted(arguments.results.glob("comparisons/*.json"))
    ]
    write_text(
        arguments.output, page(rows, comparisons, Path(__file__).parent / "mergetrace/templates")
    )
    say(f"{arguments.output}: {len(rows)} audits, {len(comparisons)} comparisons")


if __name__ == "__main__":
    run(main)
