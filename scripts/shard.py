"""Fetch one whole weight file of a model on the Hub, its hash checked; an interrupted
one is taken up where it was cut off.
"""

import argparse
from pathlib import Path

from frontdoor import run, say

from mergetrace.hub.pinned import from_json, open_reader
from mergetrace.hub.ranges import Meter, Patience
from mergetrace.hub.shards import PIECE, fetch
from mergetrace.outputs import read_json, write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pinned", type=Path, required=True)
    parser.add_argument(
        "--plan",
        type=Path,
        required=True,
        help="plan.json, whose `stream` says which file has which number",
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--number", type=int, required=True)
    parser.add_argument("--piece", type=int, default=PIECE, help="bytes")
    parser.add_argument("--partial", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    arguments = parser.parse_args()

    pinned = from_json(read_json(arguments.pinned))
    name = next(
        file["name"]
        for file in read_json(arguments.plan)["stream"]["files"][arguments.model]
        if file["number"] == arguments.number
    )
    file = pinned.files[name]
    meter = Meter(file.size)

    def progress(count: int) -> None:
        if line := meter.add(count):
            say(f"{name}: {line}")

    with open_reader(pinned.source, pinned.sizes, 1, Patience()) as reader:
        fetch(
            reader,
            name,
            file,
            arguments.partial,
            arguments.output,
            arguments.piece,
            progress,
        )
        say(
            f"{pinned.place}/{name}: {reader.bytes_read / 1e6:.1f} of"
            f" {file.size / 1e6:.1f} MB fetched now, hash {file.listed or 'not listed'}"
        )
    write_json(
        arguments.record,
        {
            "model": arguments.model,
            "file": name,
            "size": file.size,
            "hash": file.listed,
        },
    )


if __name__ == "__main__":
    run(main)
