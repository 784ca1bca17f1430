"""Pair the models of an audit and say what comparing them will cost. No weight is read."""

import argparse
from pathlib import Path

import pandas as pd

from frontdoor import add_roles, run, say
from mergetrace.files import read_json, whole, write_json, write_parquet
from mergetrace.plan import cost, layer_order, pair_models
from mergetrace.streaming import schedule


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_roles(parser)
    parser.add_argument("--manifests", type=Path, nargs="+", required=True)
    parser.add_argument("--tensors", type=Path, nargs="+", required=True)
    parser.add_argument("--mode", required=True)
    parser.add_argument("--blocks", type=int, required=True)
    parser.add_argument("--block-elements", type=int, required=True)
    parser.add_argument("--streamed", nargs="*", default=[], help="models whose weight files are fetched whole, layer by layer")
    parser.add_argument("--layers-on-disk", type=int, default=2)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--unpaired", type=Path, required=True)
    arguments = parser.parse_args()

    manifests = {manifest["model"]: manifest for manifest in map(read_json, arguments.manifests)}
    tables = dict(zip(manifests, map(pd.read_parquet, arguments.tensors), strict=True))
    plan, not_compared = pair_models(tables, manifests, [*arguments.bases, *arguments.donors], arguments.suspect)
    slices = plan.drop_duplicates("slice_id")
    costs = cost(plan, arguments.blocks, arguments.block_elements)
    write_parquet(arguments.plan, plan)
    with whole(arguments.unpaired) as partial:
        not_compared.to_csv(partial, index=False)
    summary = {
        "mode": arguments.mode,
        "layers": layer_order(slices["layer"].tolist()),
        "slices": len(slices),
        "elements": int(slices["elements"].sum()),
        "not_compared": len(not_compared),
        "not_compared_reasons": {str(reason): int(count) for reason, count in not_compared["reason"].value_counts().head(20).items()},
        "cost": costs,
        "stream": schedule(plan, {model: manifests[model] for model in arguments.streamed}, arguments.layers_on_disk) if arguments.streamed else None,
    }
    write_json(arguments.summary, summary)
    will_read = costs["full_bytes" if arguments.mode == "full" else "sample_bytes"]
    say(
        f"{len(slices)} slices in {len(summary['layers'])} layers will be compared, {len(not_compared)} tensors will not; "
        f"{will_read / 1e9:.3f} GB to read, {costs['evidence_bytes'] / 1e9:.3f} GB of evidence to keep"
    )


if __name__ == "__main__":
    run(main)
