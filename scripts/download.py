"""Fetch the sampled bytes of one model on the Hub: what an earlier run fetched is kept,
only what is missing is asked for.
"""

import argparse
from pathlib import Path

import pandas as pd
from frontdoor import run, say

from mergetrace.files.sampled import write_sampled
from mergetrace.hub.fetched import Fetched
from mergetrace.hub.pinned import open_reader
from mergetrace.hub.ranges import Meter, Patience
from mergetrace.outputs import read_json, whole
from mergetrace.planning.sampling import ranges_of


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--block-elements", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument(
        "--connections", type=int, required=True, help="requests at a time"
    )
    parser.add_argument(
        "--fetched",
        type=Path,
        required=True,
        help="folder of what was fetched of this model so far",
    )
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    manifest = read_json(arguments.manifest)
    source = manifest["source"]
    sizes = {file["name"]: file["size"] for file in manifest["files"]}
    wanted = ranges_of(
        pd.read_parquet(arguments.plan, filters=[("model", "==", arguments.model)]),
        arguments.block_elements,
        arguments.seed,
    )
    with Fetched(arguments.fetched, source["commit"]) as fetched:
        missing = [piece for piece in wanted for piece in fetched.missing(piece)]
        meter = Meter(sum(length for _, _, length in missing))
        say(
            f"{arguments.model}: {len(wanted)} ranges, {len(missing)} of them to fetch,"
            f" {meter.total / 1e6:.1f} MB"
        )
        if missing:
            with open_reader(
                source, sizes, arguments.connections, Patience()
            ) as reader:
                for got, data in reader.read_many(missing):
                    fetched.add(got, data)
                    if progress := meter.add(len(data)):
                        say(f"{arguments.model}: {progress}")
                say(
                    f"{arguments.model}: {reader.bytes_read / 1e6:.1f} MB in"
                    f" {reader.requests} requests, {reader.resolved} of them of the"
                    " resolver"
                )
        with whole(arguments.output) as partial:
            write_sampled(partial, wanted, map(fetched.read, wanted), source)


if __name__ == "__main__":
    run(main)
