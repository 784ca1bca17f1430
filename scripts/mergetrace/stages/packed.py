"""Compare the bytes of what is not decoded, of the suspect and every control with every
parent. Nothing is read where everything is decoded.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd

from mergetrace.files.tensor_records import records_of
from mergetrace.outputs import read_json, write_json
from mergetrace.planning.packed_bytes import WeightFiles, compared, undecoded
from mergetrace.planning.plan import common_names, configs_of
from mergetrace.records.manifest import Manifest, Manifests
from mergetrace.running.log import say
from mergetrace.sums.frames import Roles


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    manifests: tuple[Path, ...]
    """manifest.json of every model of the audit."""
    tensors: tuple[Path, ...]
    """The tables of tensors, in the same order."""
    folders: Mapping[str, Path] = field(default_factory=dict)
    """The folder of every local model."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    roles: Roles
    mode: Literal["full", "sample"]
    """Whether all bytes are compared, or some of every tensor."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    packed: Path
    """JSON: per audited model and parent, how many undecoded tensors are equal."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError for files that cannot be read."""
    roles = params.roles
    manifests: dict[str, Manifest] = {
        entry["model"]: entry for entry in map(read_json, inputs.manifests)
    }
    tables = dict(zip(manifests, map(pd.read_parquet, inputs.tensors), strict=True))
    names, _ = common_names(tables)
    held = {
        model: undecoded(records_of(tables[model]), config, names[model])
        for model, config in configs_of(tables, manifests).items()
    }
    entries = []
    for model in roles.audited:
        for parent in dict.fromkeys(roles.parents):
            if parent == model or not held[model]:
                continue
            counts = compared(
                held[model],
                held[parent],
                _files(model, manifests, inputs.folders),
                _files(parent, manifests, inputs.folders),
                params.mode == "full",
            )
            entries.append({"model": model, "parent": parent, **counts})
            say(
                f"{model}, {parent}: of {counts['tensors']} undecoded tensors"
                f" {counts['equal']} are the same bytes, {counts['different']} are not"
            )
    write_json(outputs.packed, entries)


def _files(
    model: str, manifests: Manifests, folders: Mapping[str, Path]
) -> WeightFiles:
    """Where a model's bytes are, or the hashes of its files."""
    if model in folders:
        return WeightFiles(folder=folders[model])
    files = manifests[model]["files"]
    return WeightFiles(sha256={file["name"]: file["sha256"] for file in files})
