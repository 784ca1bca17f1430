"""Apply the recipe that was found to the whole parents and compare the result with the
suspect's bytes, tensor by tensor.
"""

import argparse
import time
from pathlib import Path

import pandas as pd
from frontdoor import key_value, run, say

from mergetrace.merging.rebuild import (
    COLUMNS,
    not_rebuilt,
    rebuild,
    result,
    row,
    units,
    why_not,
)
from mergetrace.merging.recipes import from_json
from mergetrace.outputs import read_json, whole, write_json
from mergetrace.tensors.weights import Weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suspect", required=True)
    parser.add_argument(
        "--folders",
        type=key_value,
        nargs="+",
        required=True,
        help="NAME=FOLDER of every model",
    )
    for name in (
        "plan",
        "unpaired",
        "tensors",
        "recipes",
        "verdict",
        "output",
        "table",
    ):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument(
        "--remote", nargs="*", default=[], help="those whose weights are not here"
    )
    parser.add_argument("--mode", choices=("full", "sample"), required=True)
    parser.add_argument("--when", choices=("auto", "always"), required=True)
    parser.add_argument(
        "--whole-elements",
        type=int,
        required=True,
        help=(
            "largest tensor that is held whole where a method needs facts of all of it"
        ),
    )
    arguments = parser.parse_args()

    verdict = read_json(arguments.verdict)
    chosen = (arguments.suspect, verdict["base"]["name"])
    best = next(
        entry["best"]
        for entry in read_json(arguments.recipes)
        if (entry["model"], entry["base"]) == chosen
    )
    reason = why_not(
        arguments.when, arguments.mode, verdict["verdict"], best, arguments.remote
    )
    if reason is not None:
        write_table(arguments.table, [])
        write_json(arguments.output, not_rebuilt(reason))
        say(reason)
        return

    recipe = from_json(best)
    rows = []
    differences = []
    unpaired = pd.read_csv(arguments.unpaired, keep_default_na=False)
    reasons = dict(
        unpaired.loc[
            unpaired["model"] == arguments.suspect, ["tensor", "reason"]
        ].itertuples(index=False)
    )
    plan = pd.read_parquet(arguments.plan)
    found, left_out = units(
        plan,
        pd.read_parquet(arguments.tensors),
        arguments.suspect,
        recipe.parents,
        reasons,
    )
    layers = max((int(layer) for layer in plan["layer"] if layer.isdigit()), default=0)
    began = reported = time.monotonic()
    with Weights(dict(arguments.folders)) as weights:
        for done, unit in enumerate(found, start=1):
            outcome = rebuild(
                weights,
                unit,
                recipe,
                arguments.suspect,
                layers,
                arguments.whole_elements,
            )
            rows.append(row(unit, outcome))
            differences += [
                {"tensor": unit.name, "index": at, "suspect": own, "rebuilt": ours}
                for at, own, ours in outcome.differences
            ]
            if time.monotonic() - reported > 10:
                reported = time.monotonic()
                say(
                    f"{done} of {len(found)} tensors, {weights.bytes_read / 1e9:.2f}"
                    f" GB, {weights.bytes_read / (reported - began) / 1e9:.2f} GB/s"
                )
        read = weights.bytes_read
    answer = result(best, [*rows, *left_out], differences)
    write_table(arguments.table, [*rows, *left_out])
    write_json(arguments.output, answer)
    share = f"{answer['exact']:,} of {answer['compared']:,} elements bit for bit"
    say(
        f"{answer['identical']} of {answer['tensors']} tensors identical, {share};"
        f" {read / 1e6:.1f} MB read in {time.monotonic() - began:.1f} s"
    )


def write_table(path: Path, rows: list[dict]) -> None:
    """Write the rows as CSV, whole or not at all."""
    with whole(path) as partial:
        pd.DataFrame(rows, columns=COLUMNS).to_csv(partial, index=False)


if __name__ == "__main__":
    run(main)
