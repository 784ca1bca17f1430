"""Read the weights of one layer, once: sums of every slice and block, and the evidence sample."""

import argparse
import time
from functools import partial
from pathlib import Path

import pandas as pd

from frontdoor import add_roles, frames, key_value, run, say
from mergetrace.deltas import keep_samples, sum_slice
from mergetrace.evidence import write_evidence
from mergetrace.files import whole, write_parquet
from mergetrace.sampling import evidence_blocks, tiles
from mergetrace.weights import Weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_roles(parser)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--layer", required=True)
    parser.add_argument("--folders", type=key_value, nargs="+", required=True, help="NAME=FOLDER of every model")
    parser.add_argument("--mode", choices=("full", "sample"), required=True)
    parser.add_argument("--blocks", type=int, required=True)
    parser.add_argument("--block-elements", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--deltas", type=Path, required=True)
    parser.add_argument("--evidence", type=Path, required=True)
    arguments = parser.parse_args()

    plan = pd.read_parquet(arguments.plan, filters=[("layer", "==", arguments.layer)])
    choose = partial(evidence_blocks, blocks=arguments.blocks, block_elements=arguments.block_elements, seed=arguments.seed)
    slices = [(slice_id, rows.to_dict("records")) for slice_id, rows in plan.groupby("slice_id")]
    rows, samples = [], {}
    began = reported = time.monotonic()
    with Weights(dict(arguments.folders)) as weights:
        for done, (slice_id, views) in enumerate(slices, start=1):
            members = {view["model"]: view for view in views}
            kept = choose(f"{views[0]['tensor']}[{views[0]['slice']}]", views[0]["elements"])
            blocks = tiles(views[0]["elements"]) if arguments.mode == "full" else kept
            rows += [{"slice_id": slice_id, **row} for row in sum_slice(weights, members, frames(arguments), blocks)]
            samples[slice_id] = (kept, keep_samples(weights, members, kept))
            if time.monotonic() - reported > 10:
                reported = time.monotonic()
                rate = weights.bytes_read / (reported - began)
                say(f"layer {arguments.layer}: {done} of {len(slices)} slices, {weights.bytes_read / 1e9:.2f} GB, {rate / 1e9:.2f} GB/s")
        read = weights.bytes_read
    write_parquet(arguments.deltas, pd.DataFrame(rows))
    with whole(arguments.evidence) as partial_file:
        write_evidence(partial_file, samples, {"layer": arguments.layer, "seed": str(arguments.seed)})
    say(f"layer {arguments.layer}: {len(slices)} slices, {read / 1e6:.1f} MB read in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    run(main)
