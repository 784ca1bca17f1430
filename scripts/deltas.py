"""Read the weights of a batch of layers, once: sums of every slice and block, and the
evidence sample.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from frontdoor import add_roles, frames, key_value, run, say
from numpy.typing import NDArray

from mergetrace.hub.shards import settle
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.outputs import read_json, whole, write_parquet
from mergetrace.planning.sampling import evidence_of, tiles
from mergetrace.planning.streaming import as_fetched, needed
from mergetrace.sums.deltas import Reader, Slice
from mergetrace.sums.evidence import write_evidence
from mergetrace.sums.gram import kernel_for
from mergetrace.tensors.weights import Weights


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_roles(parser)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument(
        "--stream",
        type=Path,
        help=(
            "plan.json, where weight files were fetched for this batch, which is one"
            " layer then"
        ),
    )
    parser.add_argument("--batch", required=True)
    parser.add_argument(
        "--folders",
        type=key_value,
        nargs="+",
        required=True,
        help="NAME=FOLDER of every model, or NAME=FILE of its sampled ranges",
    )
    parser.add_argument("--mode", choices=("full", "sample"), required=True)
    parser.add_argument("--block-elements", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument(
        "--threads",
        type=int,
        default=1,
        help="threads that sum; one more waits for the disk",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="cpu",
        help="what sums: the processor, unless cuda is asked for",
    )
    parser.add_argument("--deltas", type=Path, required=True)
    parser.add_argument("--evidence", type=Path, required=True)
    arguments = parser.parse_args()

    plan = pd.read_parquet(arguments.plan, filters=[("batch", "==", arguments.batch)])
    if arguments.stream:
        stream = read_json(arguments.stream)["stream"]
        plan = as_fetched(plan, stream)
        for model, numbers in needed(stream, arguments.batch).items():
            settle(Path(dict(arguments.folders)[model]), numbers)
    if arguments.mode == "sample":
        plan = plan[plan["blocks"] > 0]
    choose = partial(
        evidence_of, block_elements=arguments.block_elements, seed=arguments.seed
    )
    slices = [
        _slice(slice_id, views.to_dict("records"), choose, arguments.mode)
        for slice_id, views in plan.groupby("slice_id")
    ]
    size = sum(
        int(part.blocks[:, 1].sum()) * FORMATS[view["dtype"]].width
        for part in slices
        for view in part.members.values()
    )
    kernel = kernel_for(size, arguments.device)
    said = (
        f"layers {arguments.batch}"
        if "-" in arguments.batch
        else f"layer {arguments.batch}"
    )
    rows = []
    samples = {}
    began = reported = time.monotonic()
    with Weights(dict(arguments.folders), in_order=arguments.mode == "full") as weights:
        reader = Reader(weights, frames(arguments), kernel, arguments.threads)
        for done, (part, result) in enumerate(
            zip(slices, reader.read(slices), strict=True), start=1
        ):
            rows += [{"slice_id": part.slice_id, **row} for row in result.records]
            samples[part.slice_id] = (part.kept, result.samples)
            if time.monotonic() - reported > 10:
                reported = time.monotonic()
                rate = weights.bytes_read / (reported - began)
                say(
                    f"{said}: {done} of {len(slices)} slices,"
                    f" {weights.bytes_read / 1e9:.2f} GB, {rate / 1e9:.2f} GB/s"
                )
        read = weights.bytes_read
    write_parquet(arguments.deltas, pd.DataFrame(rows))
    with whole(arguments.evidence) as partial_file:
        write_evidence(
            partial_file,
            samples,
            {"batch": arguments.batch, "seed": str(arguments.seed)},
        )
    say(
        f"{said}: {len(slices)} slices, {read / 1e6:.1f} MB read in"
        f" {time.monotonic() - began:.1f} s"
    )


def _slice(
    slice_id: int,
    views: list[dict[str, Any]],
    choose: Callable[[dict[str, Any]], NDArray[np.int64]],
    mode: str,
) -> Slice:
    kept = choose(views[0])
    return Slice(
        slice_id,
        {view["model"]: view for view in views},
        tiles(views[0]["elements"]) if mode == "full" else kept,
        kept,
    )


if __name__ == "__main__":
    run(main)
