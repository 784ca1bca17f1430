"""Ask of every recipe whether the parents would be given back from the audited model,
as parents that were made from it are.
"""

import argparse
from pathlib import Path

import pandas as pd
from frontdoor import add_roles, frames, run, say

from mergetrace.outputs import read_json, write_json
from mergetrace.search.joining import Joiner
from mergetrace.search.turning import spread, turns
from mergetrace.sums.evidence import read_evidence


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_roles(parser)
    parser.add_argument("--fits", type=Path, nargs="+", required=True)
    parser.add_argument("--evidence", type=Path, nargs="+", required=True)
    parser.add_argument("--recipes", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    fits = pd.concat(map(pd.read_parquet, arguments.fits), ignore_index=True)
    found = {
        (entry["model"], entry["base"]): entry for entry in read_json(arguments.recipes)
    }
    results = []
    for frame in frames(arguments):
        own = fits[(fits["model"] == frame.audited) & (fits["base"] == frame.base)]
        reversals = turns(frame, own, found[frame.audited, frame.base])
        joiner = Joiner(frame, own)
        wanted = spread(own)
        for path in arguments.evidence if reversals else []:
            for joined in joiner.pieces(read_evidence(path), wanted):
                for reversal in reversals.values():
                    reversal.add(joined.piece)
        turned = {name: reversal.result() for name, reversal in reversals.items()}
        results.append({"model": frame.audited, "base": frame.base, "turns": turned})
        for name, turn in turned.items():
            said = ", ".join(
                f"{parent} {_share(entry['reverse'])} (expected"
                f" {_share(entry['expected'])})"
                for parent, entry in turn["parents"].items()
            )
            say(
                f"{frame.audited} on {frame.base}, {name} turned round gives back:"
                f" {said}"
            )
    write_json(arguments.output, results)


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    run(main)
