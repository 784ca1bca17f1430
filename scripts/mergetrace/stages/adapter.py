"""Describe a model that is an adapter merged into its base, and prepare the adapter to be
added as the base is read. No weight of the base is read here.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Literal

import pandas as pd
import pyarrow.parquet as pq

from mergetrace.errors import ModelFileError
from mergetrace.files.adapter_files import (
    MAX_WEIGHTS_BYTES,
    SETTINGS_NAME,
    WEIGHTS_NAME,
    check_names,
    read_adapter,
)
from mergetrace.files.tensor_records import records_of
from mergetrace.formats.adapter_config import adapter_config
from mergetrace.outputs import read_json, whole, whole_folder, write_json
from mergetrace.planning.adapter_manifest import (
    adapted_table,
    describe_adapter,
    small_files,
    totals,
)
from mergetrace.planning.manifest import MAX_SMALL_FILE, SMALL_FILES
from mergetrace.records.manifest import Manifest
from mergetrace.running.log import say
from mergetrace.tensors.adapted import prepare
from mergetrace.tensors.adapter_tensors import changes_of

if TYPE_CHECKING:
    from mergetrace.hub.pinned import Pinned


@dataclass(frozen=True)
class Inputs:
    """Where the adapter is, a folder or a repository, and what its base holds."""

    base_manifest: Path
    """The base's manifest.json."""
    base_tensors: Path
    """The base's table of tensors."""
    base_files: Path
    """Copies of the base's small files."""
    folder: Path | None = None
    """A local folder with adapter_config.json and adapter_model.safetensors."""
    pinned: Path | None = None
    """What the stage `pin` found on the Hub."""


@dataclass(frozen=True)
class Params:
    """How the model is called and how its adapter was merged."""

    name: str
    """The model's name in the configuration."""
    rounding: Literal["once", "twice"] = "once"
    """Whether the sum alone was rounded, or the change before it, too."""
    connections: int = 8
    """Requests to the Hub at a time."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    manifest: Path
    """JSON: files, card, what the model declares, where it and its base came from."""
    tensors: Path
    """Parquet: one row per tensor of the merged model."""
    files: Path
    """A folder with copies of the small files."""
    adapter: Path
    """Safetensors: the adapter as it is added to its base's bytes."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError for an adapter that is none, or that is another model's."""
    if inputs.folder is not None:
        _describe(inputs.folder, str(inputs.folder), None, inputs, params, outputs)
        return
    assert inputs.pinned is not None, "give a folder or a pinned repository"
    own = outputs.adapter.parent
    own.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=own, prefix=".adapter.") as folder:
        pinned = _fetch(inputs.pinned, Path(folder), params.connections)
        _describe(Path(folder), pinned.place, pinned, inputs, params, outputs)


def _describe(
    folder: Path,
    place: str,
    pinned: "Pinned | None",
    inputs: Inputs,
    params: Params,
    outputs: Outputs,
) -> None:
    """Write all that is written. folder: where the adapter's files are. place: its name
    for messages.
    """
    adapter = read_adapter(folder, place)
    base: Manifest = read_json(inputs.base_manifest)
    records = records_of(pd.read_parquet(inputs.base_tensors))
    try:
        config = adapter_config(adapter.settings)
        if config.has_sizes and base["source"].get("repo"):
            raise ModelFileError(
                "DoRA needs whole rows of its base, of which only samples are read on"
                " the Hub; give a local copy of the base as `path`"
            )
        low_rank, anew = changes_of(adapter.header, config, records, base["model"])
        with whole(outputs.adapter) as partial:
            places = prepare(
                partial,
                adapter.weights,
                base["model"],
                low_rank,
                anew,
                twice=params.rounding == "twice",
            )
    except ModelFileError as error:
        raise ModelFileError(f"{place}: {error}") from None
    with whole_folder(outputs.files) as files:
        small_files(folder, inputs.base_files, files)
    table = adapted_table(records, anew, places)
    with whole(outputs.tensors) as partial:
        pq.write_table(table, partial)
    manifest = describe_adapter(
        params.name, adapter, config, base, outputs.files, params.rounding, pinned
    )
    write_json(outputs.manifest, {**manifest, **totals(table)})
    say(
        f"{params.name}: {base['model']} with an adapter that changes {len(low_rank)} of"
        f" {len(records)} tensors and holds {len(anew)} anew"
    )


def _fetch(pinned_path: Path, folder: Path, connections: int) -> "Pinned":
    """Fetch an adapter whole to a folder that is there, every hash checked."""
    # The client of the Hub is slow to load.
    from mergetrace.hub.pinned import fetch_small_files, from_json, open_reader
    from mergetrace.hub.ranges import Patience
    from mergetrace.hub.shards import fetch

    pinned = from_json(read_json(pinned_path))
    check_names(set(pinned.files), pinned.place)
    weights = pinned.files[WEIGHTS_NAME]
    if weights.size > MAX_WEIGHTS_BYTES:
        raise ModelFileError(
            f"{pinned.place}/{WEIGHTS_NAME}: {weights.size} bytes, more than an adapter"
            " needs; it is not read"
        )
    names = (SETTINGS_NAME, *SMALL_FILES)
    with open_reader(pinned.source, pinned.sizes, connections, Patience()) as reader:
        fetch_small_files(reader, pinned, names, MAX_SMALL_FILE, folder)
        target = folder / WEIGHTS_NAME
        partial = folder / f"{WEIGHTS_NAME}.partial"
        fetch(reader, WEIGHTS_NAME, weights, partial, target)
        megabytes = reader.bytes_read / 1e6
        say(f"{pinned.place}: {megabytes:.1f} MB in {reader.requests} requests")
    return pinned
