"""Describe a model, in a local folder or on the Hub: its manifest, its table of tensors,
its small files. No weight is read.
"""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mergetrace.files.safetensors_file import Model
from mergetrace.outputs import read_json, whole, write_json
from mergetrace.planning.manifest import (
    MAX_SMALL_FILE,
    OF_A_REPOSITORY,
    SMALL_FILES,
    describe,
    describe_pinned,
    keep_template,
    read_local,
    small_files_of,
    table_of,
)
from mergetrace.records.manifest import Manifest
from mergetrace.running.log import say
from mergetrace.tables.schemas import MODEL_TENSORS


@dataclass(frozen=True)
class Inputs:
    """Where the model is: one of the two."""

    folder: Path | None = None
    """A local folder with config.json and *.safetensors, or a GGUF file."""
    pinned: Path | None = None
    """What the stage `pin` found on the Hub."""


@dataclass(frozen=True)
class Params:
    """How the model is called and asked for."""

    name: str
    """The model's name in the configuration."""
    connections: int = 8
    """Requests to the Hub at a time."""
    file: str | None = None
    """The GGUF file of a repository that is read."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    manifest: Path
    """JSON: files, dtypes, card, what the model declares."""
    tensors: Path
    """Parquet: one row per tensor."""
    files: Path
    """A folder with copies of the small files."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Read headers and small files. Raises AuditError for a model that is none."""
    if inputs.folder is not None:
        tensors, manifest = _local(inputs.folder, params, outputs)
    else:
        assert inputs.pinned is not None, "give a folder or a pinned repository"
        tensors, manifest = _on_the_hub(inputs.pinned, params, outputs)
    assert not MODEL_TENSORS.unknown(tensors.column_names)
    with whole(outputs.tensors) as partial:
        pq.write_table(tensors, partial)
    write_json(outputs.manifest, manifest)
    weights = [
        file
        for file in manifest["files"]
        if file["name"].endswith((".safetensors", ".gguf"))
    ]
    gigabytes = manifest["tensor_bytes"] / 1e9
    say(
        f"{params.name}: {len(tensors)} tensors, {gigabytes:.3f} GB"
        f" in {len(weights)} file(s)"
    )


def _local(folder: Path, params: Params, outputs: Outputs) -> tuple[pa.Table, Manifest]:
    model = read_local(folder)
    tensors = table_of(model, folder)
    small_files_of(folder, model, outputs.files)
    return tensors, describe(params.name, folder, model)


def _on_the_hub(
    pinned_path: Path, params: Params, outputs: Outputs
) -> tuple[pa.Table, Manifest]:
    # The client of the Hub is slow to load.
    from mergetrace.hub.gguf import read_remote_gguf
    from mergetrace.hub.pinned import (
        fetch_small_files,
        from_json,
        open_reader,
        read_remote_model,
    )
    from mergetrace.hub.ranges import Patience

    pinned = from_json(read_json(pinned_path))
    connections = params.connections
    with open_reader(pinned.source, pinned.sizes, connections, Patience()) as reader:
        wanted = OF_A_REPOSITORY if params.file else SMALL_FILES
        fetch_small_files(reader, pinned, wanted, MAX_SMALL_FILE, outputs.files)
        if params.file:
            model: Model = read_remote_gguf(reader, pinned, params.file)
            keep_template(model, outputs.files)
        else:
            model = read_remote_model(reader, pinned, outputs.files)
        tensors = table_of(model, pinned.place)
        megabytes = reader.bytes_read / 1e6
        say(f"{pinned.place}: {megabytes:.1f} MB in {reader.requests} requests")
    return tensors, describe_pinned(params.name, pinned, outputs.files, model)
