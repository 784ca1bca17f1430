"""Search the merge recipe of every audited model on the evidence of all layers."""

import argparse
from pathlib import Path

import pandas as pd

from frontdoor import add_roles, frames, run, say
from mergetrace.evidence import read_evidence
from mergetrace.files import write_json, write_parquet
from mergetrace.recipe_search import start_search


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_roles(parser)
    parser.add_argument("--fits", type=Path, nargs="+", required=True)
    parser.add_argument("--evidence", type=Path, nargs="+", required=True)
    parser.add_argument("--replay-width", type=float, required=True)
    parser.add_argument("--recipes", type=Path, required=True)
    parser.add_argument("--slices", type=Path, required=True)
    arguments = parser.parse_args()

    fits = pd.concat(map(pd.read_parquet, arguments.fits), ignore_index=True)
    by_frame = {frame: fits[(fits["model"] == frame.audited) & (fits["base"] == frame.base)] for frame in frames(arguments)}
    searches = [start_search(frame, mine) for frame, mine in by_frame.items()]
    voting = {frame: set(mine.loc[mine["votes"], "slice_id"]) for frame, mine in by_frame.items()}
    for path in arguments.evidence:
        for slice_id, samples in read_evidence(path):
            for search in searches:
                if slice_id in voting[search.frame]:
                    search.add(slice_id, samples, arguments.replay_width)
    write_parquet(arguments.slices, pd.concat([search.slices() for search in searches], ignore_index=True))
    results = [search.result() for search in searches]
    write_json(arguments.recipes, results)
    for result in results:
        best = result["best"]
        found = f"{best['method']}, alpha {best['parameters']['alpha']:.6g}: {best['bit_exact_rate']:.5%} bit-exact" if best else "nothing to replay"
        say(f"{result['model']} on {result['base']} with {result['donor']}: {found} of {result['informative_elements']} informative elements")


if __name__ == "__main__":
    run(main)
