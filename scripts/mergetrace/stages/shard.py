"""Fetch one whole weight file of a model on the Hub, its hash checked; an interrupted
download is taken up where it was cut off.
"""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from mergetrace.hub.meter import Meter
from mergetrace.hub.pinned import from_json, open_reader
from mergetrace.hub.ranges import Patience
from mergetrace.hub.shards import fetch
from mergetrace.outputs import read_json, write_json
from mergetrace.running.log import say


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    pinned: Path
    """What the stage `pin` found on the Hub."""
    plan: Path
    """plan.json, whose `stream` says which file has which number."""
    fetched_whole: Path | None = None
    """The folder of the whole model, where it was fetched to be asked."""


@dataclass(frozen=True)
class Params:
    """Which file, and how it is asked for."""

    model: str
    """The model's name in the configuration."""
    number: int
    """The file's number in the plan."""
    piece_mb: int
    """MiB that one request asks for."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    partial: Path
    """What was fetched so far; kept when the download is interrupted."""
    shard: Path
    """The whole file."""
    record: Path
    """JSON: which file it is, its size, its hash."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError where the Hub does not answer or the hash is another."""
    pinned = from_json(read_json(inputs.pinned))
    files = read_json(inputs.plan)["stream"]["files"][params.model]
    name = next(file["name"] for file in files if file["number"] == params.number)
    file = pinned.files[name]
    record = {
        "model": params.model,
        "file": name,
        "size": file.size,
        "hash": file.listed,
    }
    if inputs.fetched_whole and (inputs.fetched_whole / name).is_file():
        _take_over(inputs.fetched_whole / name, outputs.shard)
        say(f"{pinned.place}/{name}: taken from the files that it is asked with")
        write_json(outputs.record, record)
        return
    meter = Meter(file.size)

    def progress(count: int) -> None:
        line = meter.add(count)
        if line:
            say(f"{name}: {line}")

    with open_reader(pinned.source, pinned.sizes, 1, Patience()) as reader:
        piece = params.piece_mb * 2**20
        fetch(reader, name, file, outputs.partial, outputs.shard, piece, progress)
        say(
            f"{pinned.place}/{name}: {reader.bytes_read / 1e6:.1f} of"
            f" {file.size / 1e6:.1f} MB fetched now, hash {file.listed or 'not listed'}"
        )
    write_json(outputs.record, record)


def _take_over(source: Path, target: Path) -> None:
    """Give a file, whose hash was checked when it came, a second name."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
