"""Pair the models of an audit by the names of their tensors, and say what comparing them
will cost. No weight is read.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from mergetrace.errors import AuditError
from mergetrace.outputs import read_json, whole, write_json, write_parquet
from mergetrace.planning.asked import asked_of, disk_of
from mergetrace.planning.batches import layer_order, with_batches
from mergetrace.planning.costs import Settings, costs, differences, lines
from mergetrace.planning.coverage import coverages
from mergetrace.planning.holders import by_holder
from mergetrace.planning.plan import pair_models, with_blocks
from mergetrace.planning.streaming import schedule
from mergetrace.planning.submatrices import with_submatrices
from mergetrace.readable import size
from mergetrace.records.json_records import as_json
from mergetrace.records.manifest import Manifest, from_hub
from mergetrace.running.log import say
from mergetrace.sums.frames import Roles
from mergetrace.tables.schemas import PLAN, UNPAIRED

MOST_REASONS = 20
"""Reasons for not comparing a tensor that plan.json counts one by one."""


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    manifests: tuple[Path, ...]
    """manifest.json of every model of the audit."""
    tensors: tuple[Path, ...]
    """The tables of tensors, in the same order."""


@dataclass(frozen=True)
class Params:
    """What decides the plan."""

    roles: Roles
    audit: str
    """The audit's name in the configuration."""
    mode: Literal["full", "sample"]
    """Whether all weights are read, or a sample of blocks."""
    alpha_se: float
    """The standard error of alpha per layer and component that a sample aims at."""
    block_elements: int
    """Elements in a block."""
    spectrum_mb: float
    """Megabytes of whole rows that are decomposed of every model."""
    seed: int
    """Of the choice of blocks."""
    bandwidth_mbit: float
    """The network's bandwidth that the estimate supposes, in Mbit/s."""
    connections: int
    """Requests to the Hub at a time."""
    piece_mb: int
    """MiB of a whole weight file that one request asks for."""
    layers_on_disk: int
    """Layers whose fetched files may lie on the disk at a time."""
    whole_gb: float = 0.0
    """GB up to which a model on the Hub is fetched whole, to be asked; 0: none is."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    by_name: Path
    """Parquet: the slices paired by name."""
    by_name_unpaired: Path
    """CSV: what is not compared, with reasons."""
    plan: Path
    """plan.json: what will be read, how much of every model, what it costs."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError where nothing can be compared or the disk is too small."""
    manifests: dict[str, Manifest] = {
        entry["model"]: entry for entry in map(read_json, inputs.manifests)
    }
    tables = dict(zip(manifests, map(pd.read_parquet, inputs.tensors), strict=True))
    roles = params.roles
    pairs, not_compared = pair_models(
        tables, manifests, [*roles.parents], roles.suspect
    )
    remote = {
        model: manifest for model, manifest in manifests.items() if from_hub(manifest)
    }
    streamed = params.mode == "full" and bool(remote)
    drawn = with_blocks(
        pairs, params.mode, params.alpha_se, params.block_elements, params.seed
    )
    megabytes = params.spectrum_mb if params.roles.donors else 0.0
    drawn = with_submatrices(drawn, megabytes, params.seed)
    plan = with_batches(drawn, params.mode, params.block_elements, apart=streamed)
    slices = plan.drop_duplicates("slice_id")
    stream = schedule(*by_holder(plan, remote), params.layers_on_disk)
    settings = Settings(
        params.block_elements,
        params.seed,
        params.bandwidth_mbit,
        params.connections,
        params.piece_mb * 2**20,
    )
    reasons = not_compared["reason"].value_counts().head(MOST_REASONS)
    summary: dict[str, Any] = {
        "mode": params.mode,
        "layers": layer_order(slices["layer"].tolist()),
        "slices": len(slices),
        "sampled_slices": int((slices["blocks"] > 0).sum()),
        "elements": int(slices["elements"].sum()),
        "not_compared": len(not_compared),
        "not_compared_reasons": {
            str(reason): int(number) for reason, number in reasons.items()
        },
        "compared": as_json(coverages(tables, manifests, plan, not_compared)),
        "models": {model: _about(manifest) for model, manifest in manifests.items()},
        "differences": differences(plan, manifests),
        "bandwidth_mbit": params.bandwidth_mbit,
        "cost": costs(plan, manifests, stream["disk_bytes"], settings),
        "stream": stream if streamed else None,
        "asked": asked_of(remote, params.whole_gb),
    }
    for label, text in lines(params.audit, summary):
        say(f"{label}: {text}" if label else text)
    disk_bytes = summary["cost"][params.mode]["disk_bytes"] + disk_of(summary["asked"])
    _check_room(outputs.by_name.parent, disk_bytes, params.audit)
    PLAN.check(plan)
    UNPAIRED.check(not_compared)
    write_parquet(outputs.by_name, plan)
    with whole(outputs.by_name_unpaired) as partial:
        not_compared.to_csv(partial, index=False)
    write_json(outputs.plan, summary)


def _about(manifest: Manifest) -> dict[str, Any]:
    return {
        **manifest["source"],
        "bytes": manifest["tensor_bytes"],
        "tensors": manifest["tensors"],
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
