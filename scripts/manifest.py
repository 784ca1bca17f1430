"""Describe a model, in a local folder or on the Hub: manifest, table of tensors, the small files. No weight is read."""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd

from frontdoor import run, say
from mergetrace.files import read_json, write_json, write_parquet
from mergetrace.models.manifest import MAX_SMALL_FILE, SMALL_FILES, copy_small_files, describe, describe_pinned, table_of, tensor_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--folder", type=Path)
    source.add_argument("--pinned", type=Path, help="what pin.py found")
    parser.add_argument("--connections", type=int, default=8, help="requests to the Hub at a time")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--tensors", type=Path, required=True)
    parser.add_argument("--files", type=Path, required=True)
    arguments = parser.parse_args()
    tensors, manifest = _local(arguments) if arguments.folder else _on_the_hub(arguments)
    write_parquet(arguments.tensors, tensors)
    write_json(arguments.manifest, manifest)
    say(f"{arguments.name}: {len(tensors)} tensors, {manifest['tensor_bytes'] / 1e9:.3f} GB in {tensors['shard'].nunique()} file(s)")


def _local(arguments: argparse.Namespace) -> tuple[pd.DataFrame, dict[str, Any]]:
    tensors = tensor_table(arguments.folder)
    copy_small_files(arguments.folder, arguments.files)
    return tensors, describe(arguments.name, arguments.folder, tensors)


def _on_the_hub(arguments: argparse.Namespace) -> tuple[pd.DataFrame, dict[str, Any]]:
    from mergetrace.models.hub import fetch_small_files, from_json, open_reader, read_remote_model  # noqa: PLC0415 - its client is slow to load
    from mergetrace.models.ranges import Patience  # noqa: PLC0415

    pinned = from_json(read_json(arguments.pinned))
    with open_reader(pinned.source, pinned.sizes, arguments.connections, Patience()) as reader:
        fetch_small_files(reader, pinned, SMALL_FILES, MAX_SMALL_FILE, arguments.files)
        tensors = table_of(read_remote_model(reader, pinned, arguments.files), pinned.place)
        say(f"{pinned.place}: {reader.bytes_read / 1e6:.1f} MB in {reader.requests} requests")
    return tensors, describe_pinned(arguments.name, pinned, arguments.files, tensors)


if __name__ == "__main__":
    run(main)
