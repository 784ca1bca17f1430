"""Measure what the best recipe of every audited model leaves unexplained, on the
evidence of all layers.
"""

import argparse
from pathlib import Path

import pandas as pd
from frontdoor import add_roles, frames, run, say

from mergetrace.fit.mixture import alike
from mergetrace.merging.recipes import from_json
from mergetrace.outputs import read_json, write_json
from mergetrace.search.joining import Joiner
from mergetrace.search.lookalikes import Swaps
from mergetrace.search.remainder import WORTH, Part, Remainder
from mergetrace.sums.evidence import read_blocks, read_evidence

ABOUT = ["tensor", "layer", "component", "votes"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_roles(parser)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--fits", type=Path, nargs="+", required=True)
    parser.add_argument("--evidence", type=Path, nargs="+", required=True)
    parser.add_argument("--recipes", type=Path, required=True)
    parser.add_argument("--replay-width", type=float, required=True)
    parser.add_argument("--max-inflation", type=float, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    fits = pd.concat(map(pd.read_parquet, arguments.fits), ignore_index=True)
    best = {
        (entry["model"], entry["base"]): entry["best"]
        for entry in read_json(arguments.recipes)
    }
    worth = [
        frame
        for frame in frames(arguments)
        if (found := best[frame.audited, frame.base])
        and found["bit_exact_rate"] >= WORTH
    ]
    columns = (
        pd.read_parquet(arguments.plan, columns=["slice_id", "cols"])
        .drop_duplicates("slice_id")
        .set_index("slice_id")["cols"]
    )
    by_frame = {
        frame: fits[(fits["model"] == frame.audited) & (fits["base"] == frame.base)]
        for frame in worth
    }
    joiners = {frame: Joiner(frame, mine) for frame, mine in by_frame.items()}
    about = {
        frame: mine.set_index("slice_id")[ABOUT].to_dict("index")
        for frame, mine in by_frame.items()
    }
    measured = {
        frame: Remainder(
            frame, from_json(best[frame.audited, frame.base]), arguments.replay_width
        )
        for frame in worth
    }
    pairs = {
        frame: alike(mine, arguments.donors, arguments.max_inflation)
        for frame, mine in by_frame.items()
    }
    swaps = {
        frame: Swaps(remainder.recipe, pairs[frame], arguments.replay_width)
        for frame, remainder in measured.items()
    }
    for path in arguments.evidence if worth else []:
        blocks = read_blocks(path)
        for frame, remainder in measured.items():
            wanted = set(about[frame]) & set(blocks)
            for joined in joiners[frame].pieces(read_evidence(path), wanted):
                parts = [
                    Part(
                        start,
                        end,
                        blocks[slice_id],
                        int(columns[slice_id]),
                        about[frame][slice_id],
                    )
                    for slice_id, start, end in joined.parts
                ]
                remainder.add(joined.piece, parts)
                swaps[frame].add(joined.piece)
    results = [
        {
            "model": frame.audited,
            "base": frame.base,
            **remainder.result(),
            "swaps": swaps[frame].result(),
        }
        for frame, remainder in measured.items()
    ]
    write_json(arguments.output, results)
    for result in results:
        say(
            f"{result['model']} on {result['base']}: {result['changed']:,} of"
            f" {result['elements']:,} elements lie beyond rounding"
        )


if __name__ == "__main__":
    run(main)
