"""Read the weights of a batch of layers, once: sums of every slice and block, and the
evidence sample.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from mergetrace.hub.shards import settle
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.outputs import read_json, whole, write_parquet
from mergetrace.planning.sampling import evidence_of, tiles, with_deciding
from mergetrace.planning.slices import planned_slices
from mergetrace.planning.streaming import as_fetched, needed
from mergetrace.running.log import REPORT_EVERY, say
from mergetrace.sums.deltas import Reader, Slice
from mergetrace.sums.evidence import write_evidence
from mergetrace.sums.frames import Roles
from mergetrace.sums.gram import kernel_for
from mergetrace.tables.schemas import DELTAS
from mergetrace.tensors.weights import Weights


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    plan: Path
    """plan.parquet."""
    folders: Mapping[str, Path]
    """The folder of every model, or the file of its sampled ranges."""
    stream: Path | None = None
    """plan.json, where whole weight files were fetched for this batch, which is one
    layer then."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    roles: Roles
    batch: str
    """The batch of layers, as layout.json names it."""
    mode: Literal["full", "sample"]
    """Whether all weights are read, or a sample of blocks."""
    block_elements: int
    """Elements in a block."""
    seed: int
    """Of the choice of the evidence."""
    threads: int = 1
    """Threads that sum; one more waits for the disk."""
    device: Literal["auto", "cpu", "cuda"] = "cpu"
    """What sums: the processor, unless cuda is asked for."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    deltas: Path
    """Parquet: the sums, one row per block and frame."""
    evidence: Path
    """Safetensors: the kept elements of every model."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError for weights that cannot be read."""
    slices = _slices(_planned(inputs, params), params)
    kernel = kernel_for(_bytes_to_read(slices), params.device)
    several = "-" in params.batch
    label = f"layers {params.batch}" if several else f"layer {params.batch}"
    rows: list[dict[str, Any]] = []
    samples = {}
    began = reported = time.monotonic()
    in_order = params.mode == "full"
    with Weights(dict(inputs.folders), in_order=in_order) as weights:
        reader = Reader(weights, params.roles.frames(), kernel, params.threads)
        results = zip(slices, reader.read(slices), strict=True)
        for done, (planned, result) in enumerate(results, start=1):
            rows += [{"slice_id": planned.slice_id, **row} for row in result.records]
            samples[planned.slice_id] = (planned.kept, result.samples)
            now = time.monotonic()
            if now - reported > REPORT_EVERY:
                reported = now
                rate = weights.bytes_read / (now - began)
                say(
                    f"{label}: {done} of {len(slices)} slices,"
                    f" {weights.bytes_read / 1e9:.2f} GB, {rate / 1e9:.2f} GB/s"
                )
        bytes_read = weights.bytes_read
    table = pd.DataFrame(rows)
    DELTAS.check(table)
    write_parquet(outputs.deltas, table)
    about = {"batch": params.batch, "seed": str(params.seed)}
    with whole(outputs.evidence) as partial:
        write_evidence(partial, samples, about)
    seconds = time.monotonic() - began
    say(
        f"{label}: {len(slices)} slices, {bytes_read / 1e6:.1f} MB read in {seconds:.1f} s"
    )


def _planned(inputs: Inputs, params: Params) -> pd.DataFrame:
    """The batch's rows of the plan, their files settled where they were fetched."""
    plan = pd.read_parquet(inputs.plan, filters=[("batch", "==", params.batch)])
    if inputs.stream:
        stream = read_json(inputs.stream)["stream"]
        plan = as_fetched(plan, stream)
        for model, numbers in needed(stream, params.batch).items():
            settle(inputs.folders[model], numbers)
    return plan if params.mode == "full" else plan[plan["blocks"] > 0]


def _slices(plan: pd.DataFrame, params: Params) -> list[Slice]:
    slices = []
    for planned in planned_slices(plan):
        kept = evidence_of(planned, params.block_elements, params.seed)
        blocks = kept
        if params.mode == "full":
            blocks = tiles(planned.elements)
            kept = with_deciding(kept, planned)
        slices.append(Slice(planned.slice_id, planned.members, blocks, kept))
    return slices


def _bytes_to_read(slices: list[Slice]) -> int:
    return sum(
        int(planned.blocks[:, 1].sum()) * FORMATS[view.dtype].width
        for planned in slices
        for view in planned.members.values()
    )
