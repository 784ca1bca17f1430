"""Fit every slice of a batch of layers: alpha, its standard error, cos_fit, replay,
what a pure merge would have shown.
"""

import argparse
from pathlib import Path

import pandas as pd
from frontdoor import add_roles, frames, run, say

from mergetrace.fit.fits import fit_slice, replay_slice
from mergetrace.outputs import write_parquet
from mergetrace.planning.voting import votes
from mergetrace.sums.evidence import read_evidence

IDENTITY = ("tensor", "slice", "layer", "component", "elements", "cols", "weight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_roles(parser)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--deltas", type=Path, required=True)
    parser.add_argument("--evidence", type=Path, required=True)
    parser.add_argument("--min-vote-elements", type=int, required=True)
    parser.add_argument("--replay-width", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    blocks = dict(
        list(pd.read_parquet(arguments.deltas).groupby(["slice_id", "model", "base"]))
    )
    needed = sorted({slice_id for slice_id, _, _ in blocks})
    plan = pd.read_parquet(arguments.plan, filters=[("slice_id", "in", needed)])
    slices = (
        plan.drop_duplicates("slice_id")
        .set_index("slice_id")[[*IDENTITY, "dimensions"]]
        .to_dict("index")
    )
    own = plan.set_index(["slice_id", "model"])[["source", "start"]].to_dict("index")
    rows = []
    for slice_id, samples in read_evidence(arguments.evidence):
        about = slices[slice_id]
        identity = {"slice_id": slice_id, **{name: about[name] for name in IDENTITY}}
        voting = votes(
            about["component"],
            about["dimensions"],
            about["elements"],
            arguments.min_vote_elements,
        )
        for frame in frames(arguments):
            if (slice_id, frame.audited, frame.base) not in blocks:
                continue
            numbers = fit_slice(
                blocks[slice_id, frame.audited, frame.base], frame.donors
            )
            replayed = replay_slice(
                samples, frame, arguments.replay_width, arguments.seed
            )
            place = own[slice_id, frame.audited]
            rows.append(
                {
                    "model": frame.audited,
                    "base": frame.base,
                    **identity,
                    **place,
                    "votes": voting,
                    **numbers,
                    **replayed,
                }
            )
    write_parquet(arguments.output, pd.DataFrame(rows))
    say(f"{len(rows)} fits of {len(needed)} slices")


if __name__ == "__main__":
    run(main)
