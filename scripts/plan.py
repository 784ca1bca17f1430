"""Pair the models of an audit and say what comparing them will cost. No weight is read."""

import argparse
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from frontdoor import add_roles, run, say

from mergetrace.errors import AuditError
from mergetrace.outputs import read_json, whole, write_json, write_parquet
from mergetrace.planning.batches import layer_order, with_batches
from mergetrace.planning.costs import Settings, costs, differences, lines, size
from mergetrace.planning.coverage import coverages
from mergetrace.planning.plan import pair_models, with_blocks
from mergetrace.planning.streaming import schedule


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_roles(parser)
    parser.add_argument("--audit", required=True)
    parser.add_argument("--manifests", type=Path, nargs="+", required=True)
    parser.add_argument("--tensors", type=Path, nargs="+", required=True)
    parser.add_argument("--mode", choices=("full", "sample"), required=True)
    parser.add_argument("--alpha-se", type=float, required=True)
    parser.add_argument("--block-elements", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--bandwidth-mbit", type=float, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--piece-mb", type=int, required=True)
    parser.add_argument("--layers-on-disk", type=int, required=True)
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--summary", type=Path, required=True)
    parser.add_argument("--unpaired", type=Path, required=True)
    arguments = parser.parse_args()

    manifests = {
        manifest["model"]: manifest for manifest in map(read_json, arguments.manifests)
    }
    tables = dict(zip(manifests, map(pd.read_parquet, arguments.tensors), strict=True))
    pairs, not_compared = pair_models(
        tables, manifests, [*arguments.bases, *arguments.donors], arguments.suspect
    )
    remote = {
        model: manifest
        for model, manifest in manifests.items()
        if manifest["source"]["repo"]
    }
    drawn = with_blocks(
        pairs,
        arguments.mode,
        arguments.alpha_se,
        arguments.block_elements,
        arguments.seed,
    )
    plan = with_batches(
        drawn,
        arguments.mode,
        arguments.block_elements,
        apart=arguments.mode == "full" and bool(remote),
    )
    slices = plan.drop_duplicates("slice_id")
    stream = schedule(plan, remote, arguments.layers_on_disk)
    piece = arguments.piece_mb * 2**20
    settings = Settings(
        arguments.block_elements,
        arguments.seed,
        arguments.bandwidth_mbit,
        arguments.connections,
        piece,
    )
    summary = {
        "mode": arguments.mode,
        "layers": layer_order(slices["layer"].tolist()),
        "slices": len(slices),
        "sampled_slices": int((slices["blocks"] > 0).sum()),
        "elements": int(slices["elements"].sum()),
        "not_compared": len(not_compared),
        "not_compared_reasons": {
            str(reason): int(number)
            for reason, number in not_compared["reason"].value_counts().head(20).items()
        },
        "compared": coverages(tables, manifests, plan, not_compared),
        "models": {model: _about(manifest) for model, manifest in manifests.items()},
        "differences": differences(plan, manifests),
        "bandwidth_mbit": arguments.bandwidth_mbit,
        "cost": costs(plan, manifests, stream["disk_bytes"], settings),
        "stream": stream if arguments.mode == "full" and remote else None,
    }
    for label, text in lines(arguments.audit, summary):
        say(f"{label}: {text}" if label else text)
    _check_room(
        arguments.plan.parent,
        summary["cost"][arguments.mode]["disk_bytes"],
        arguments.audit,
    )
    write_parquet(arguments.plan, plan)
    with whole(arguments.unpaired) as partial:
        not_compared.to_csv(partial, index=False)
    write_json(arguments.summary, summary)


def _about(manifest: dict[str, Any]) -> dict[str, Any]:
    held = {"bytes": manifest["tensor_bytes"], "tensors": manifest["tensors"]}
    return {
        **manifest["source"],
        **held,
        "declared": manifest["declared"],
        "published": manifest.get("published"),
    }


def _check_room(folder: Path, needed: int, audit: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise AuditError(
            f"audit {audit}: not enough disk: it will need {size(needed)} under"
            f" {folder}, {size(free)} are free; make room, run again"
        )


if __name__ == "__main__":
    run(main)
