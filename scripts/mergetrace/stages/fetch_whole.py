"""Fetch a whole model from the Hub, so that it can be asked here: its weight files, each
hash checked, beside its small files. What was fetched is kept while it goes on.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePath

from mergetrace.errors import ModelFileError
from mergetrace.files.weight_files import NOT_FETCHED
from mergetrace.hub.meter import Meter
from mergetrace.hub.pinned import Pinned, from_json, open_reader
from mergetrace.hub.ranges import Patience
from mergetrace.hub.shards import fetch
from mergetrace.outputs import read_json, whole_folder, write_json
from mergetrace.records.manifest import Manifest
from mergetrace.running.log import say


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    pinned: Path
    """What the stage `pin` found on the Hub."""
    manifest: Path
    """manifest.json, which lists the weight files."""
    files: Path
    """The folder of the small files."""


@dataclass(frozen=True)
class Params:
    """What is fetched, and how it is asked for."""

    model: str
    """The model's name in the configuration."""
    whole_gb: float
    """A model of more GB is not fetched."""
    piece_mb: int
    """MiB that one request asks for."""
    partial: Path
    """The folder of what was fetched so far; kept when the download is interrupted."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    folder: Path
    """The model's folder; of one that is too large the small files, and why."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError where the Hub does not answer, a hash is another, or the disk is
    too small.
    """
    pinned = from_json(read_json(inputs.pinned))
    manifest: Manifest = read_json(inputs.manifest)
    names = [
        file["name"]
        for file in manifest["files"]
        if file["name"].endswith(".safetensors")
    ]
    odd = [name for name in names if PurePath(name).name != name]
    if odd:
        raise ModelFileError(
            f"{pinned.place}: {odd[0]!r} lies in a folder of its own, which no loader"
            " looks into; disable the probe, or serve the model"
        )
    total = sum(pinned.files[name].size for name in names)
    with whole_folder(outputs.folder) as folder:
        shutil.copytree(inputs.files, folder, dirs_exist_ok=True)
        if total > params.whole_gb * 1e9:
            limits = {"bytes": total, "whole_gb": params.whole_gb}
            write_json(folder / NOT_FETCHED, limits)
        else:
            _fetch(pinned, names, params, folder)
    shutil.rmtree(params.partial, ignore_errors=True)
    fetched = "nothing" if total > params.whole_gb * 1e9 else f"{len(names)} files"
    say(f"{params.model}: {total / 1e9:.2f} GB of weights, {fetched} fetched")


def _fetch(pinned: Pinned, names: list[str], params: Params, folder: Path) -> None:
    meter = Meter(sum(pinned.files[name].size for name in names))

    def progress(count: int) -> None:
        line = meter.add(count)
        if line:
            say(f"{params.model}: {line}")

    # of one commit every copy is as old, so that answers are kept over an interruption
    moment = int(pinned.commit[:7], 16)
    with open_reader(pinned.source, pinned.sizes, 1, Patience()) as reader:
        for number, name in enumerate(names):
            partial = params.partial / f"{number:05}.partial"
            piece = params.piece_mb * 2**20
            target = folder / name
            fetch(reader, name, pinned.files[name], partial, target, piece, progress)
    for path in folder.iterdir():
        if path.is_file():
            os.utime(path, (moment, moment))
