"""Decide: the verdict on the suspect and on every control, with reasons, as the JSON
that outsiders rely on.
"""

import argparse
import json
from pathlib import Path

from frontdoor import key_value, run, say

from mergetrace.finding.receipt import compose
from mergetrace.outputs import read_json, write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audit", required=True)
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--layout", type=Path, required=True)
    parser.add_argument("--manifests", type=Path, nargs="+", required=True)
    parser.add_argument("--scores", type=Path)
    parser.add_argument("--packed", type=Path, required=True)
    parser.add_argument(
        "--fetched",
        type=Path,
        nargs="+",
        default=[],
        help="records of files that were fetched whole",
    )
    parser.add_argument(
        "--published",
        type=key_value,
        nargs="*",
        default=[],
        help="NAME=DATE of every model whose date is stated",
    )
    parser.add_argument("--thresholds", type=json.loads, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    manifests = {
        manifest["model"]: manifest for manifest in map(read_json, arguments.manifests)
    }
    scores = None
    if arguments.scores:
        import pandas as pd

        scores = pd.read_csv(arguments.scores)
    fetched = [read_json(record) for record in arguments.fetched]
    plan = read_json(arguments.plan)
    layout = read_json(arguments.layout)
    summary = read_json(arguments.summary)
    packed = read_json(arguments.packed)
    found = (layout["models"], dict(arguments.published), layout["compared"], packed)
    verdict = compose(
        arguments.audit,
        summary,
        plan,
        manifests,
        scores,
        arguments.thresholds,
        fetched,
        *found,
    )
    write_json(arguments.output, verdict)
    say(f"{arguments.audit}: {verdict['verdict']}")


if __name__ == "__main__":
    run(main)
