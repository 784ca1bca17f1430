"""Fetch the sampled bytes of one model on the Hub: what an earlier run fetched is kept,
only what is missing is asked for.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from mergetrace.files.adapter_files import ADAPTER_FILE
from mergetrace.files.sampled import write_sampled
from mergetrace.hub.fetched import Fetched
from mergetrace.hub.meter import Meter
from mergetrace.hub.pinned import open_reader
from mergetrace.hub.ranges import Patience
from mergetrace.outputs import read_json, whole
from mergetrace.planning.sampling import ranges_of, ranges_of_rows
from mergetrace.running.log import say


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    plan: Path
    """plan.parquet."""
    manifest: Path
    """The model's manifest.json."""


@dataclass(frozen=True)
class Params:
    """Which bytes, and how they are asked for."""

    model: str
    """The model's name in the configuration."""
    adapters: tuple[str, ...] = field(default=(), kw_only=True)
    """Models that are adapters of this one: their elements lie in its files."""
    block_elements: int
    """Elements in a block."""
    seed: int
    """Of the choice of blocks."""
    connections: int
    """Requests at a time."""
    mode: Literal["full", "sample"] = "sample"
    """Where whole files are read, only the rows that are decomposed are fetched here."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    fetched: Path
    """The folder of what was fetched of this model so far, over all runs and audits."""
    sample: Path
    """The sampled ranges of this audit, in one safetensors file."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError where the Hub does not answer, or answers with other bytes."""
    manifest = read_json(inputs.manifest)
    source = manifest["source"]
    sizes = {file["name"]: file["size"] for file in manifest["files"]}
    models = [params.model, *params.adapters]
    plan = pd.read_parquet(inputs.plan, filters=[("model", "in", models)])
    plan = plan[plan["shard"] != ADAPTER_FILE]
    if params.mode == "full":
        wanted = ranges_of_rows(plan)
    else:
        wanted = ranges_of(plan, params.block_elements, params.seed)
    with Fetched(outputs.fetched, source["commit"]) as fetched:
        missing = [
            part for byte_range in wanted for part in fetched.missing(byte_range)
        ]
        meter = Meter(sum(length for _, _, length in missing))
        say(
            f"{params.model}: {len(wanted)} ranges, {len(missing)} of them to fetch,"
            f" {meter.total / 1e6:.1f} MB"
        )
        if missing:
            with open_reader(source, sizes, params.connections, Patience()) as reader:
                for byte_range, data in reader.read_many(missing):
                    fetched.add(byte_range, data)
                    line = meter.add(len(data))
                    if line:
                        say(f"{params.model}: {line}")
                say(
                    f"{params.model}: {reader.bytes_read / 1e6:.1f} MB in"
                    f" {reader.requests} requests, {reader.resolved} of them of the"
                    " resolver"
                )
        with whole(outputs.sample) as partial:
            write_sampled(partial, wanted, map(fetched.read, wanted), source)
