"""Search the merge recipe of every audited model on the evidence of all layers."""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from frontdoor import add_roles, frames, run, say

from mergetrace.outputs import write_json, write_parquet
from mergetrace.search.joining import Joiner
from mergetrace.search.recipe_search import start_search
from mergetrace.sums.evidence import Sample, read_evidence


def slices(evidence: list[Path]) -> Iterator[tuple[int, dict[str, Sample]]]:
    """The slices of all evidence files, one in memory at a time."""
    for path in evidence:
        yield from read_evidence(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_roles(parser)
    parser.add_argument("--fits", type=Path, nargs="+", required=True)
    parser.add_argument("--evidence", type=Path, nargs="+", required=True)
    parser.add_argument("--replay-width", type=float, required=True)
    parser.add_argument(
        "--min-stayed",
        type=float,
        required=True,
        help="share of elements at the base from which methods that choose are tried",
    )
    parser.add_argument("--recipes", type=Path, required=True)
    parser.add_argument("--slices", type=Path, required=True)
    arguments = parser.parse_args()

    fits = pd.concat(map(pd.read_parquet, arguments.fits), ignore_index=True)
    by_frame = {
        frame: fits[(fits["model"] == frame.audited) & (fits["base"] == frame.base)]
        for frame in frames(arguments)
    }
    searches = [
        start_search(frame, mine, arguments.replay_width, arguments.min_stayed)
        for frame, mine in by_frame.items()
    ]
    joiners = {search.frame: Joiner(search.frame, search.fits) for search in searches}
    for search in searches:
        search.start(
            joiners[search.frame].pieces(
                slices(arguments.evidence), set(search.pilot())
            )
        )
        say(
            f"{search.frame.audited} on {search.frame.base}: {search.tried} recipes"
            f" tried, {len(search.recipes)} go on"
        )
    for search in searches:
        for joined in joiners[search.frame].pieces(
            slices(arguments.evidence),
            set(search.fits.loc[search.fits["votes"], "slice_id"]),
        ):
            search.add(joined)
    write_parquet(
        arguments.slices,
        pd.concat([search.slices() for search in searches], ignore_index=True),
    )
    results = [search.result() for search in searches]
    write_json(arguments.recipes, results)
    for result in results:
        best = result["best"]
        found = (
            f"{best['method']}, {best['parameters']['weights']}:"
            f" {best['bit_exact_rate']:.5%} bit-exact"
            if best
            else "nothing to replay"
        )
        say(
            f"{result['model']} on {result['base']}: {found} of"
            f" {result['informative_elements']} informative elements"
        )


if __name__ == "__main__":
    run(main)
