"""Describe a model, in a local folder or on the Hub: manifest, table of tensors, the
small files. No weight is read.
"""

import argparse
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from frontdoor import run, say

from mergetrace.files.safetensors_file import read_model
from mergetrace.outputs import read_json, whole, write_json
from mergetrace.planning.manifest import (
    MAX_SMALL_FILE,
    SMALL_FILES,
    copy_small_files,
    describe,
    describe_pinned,
    table_of,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--folder", type=Path)
    source.add_argument("--pinned", type=Path, help="what pin.py found")
    parser.add_argument(
        "--connections", type=int, default=8, help="requests to the Hub at a time"
    )
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--tensors", type=Path, required=True)
    parser.add_argument("--files", type=Path, required=True)
    arguments = parser.parse_args()
    tensors, manifest = (
        _local(arguments) if arguments.folder else _on_the_hub(arguments)
    )
    with whole(arguments.tensors) as partial:
        pq.write_table(tensors, partial)
    write_json(arguments.manifest, manifest)
    files = sum(file["name"].endswith(".safetensors") for file in manifest["files"])
    say(
        f"{arguments.name}: {len(tensors)} tensors,"
        f" {manifest['tensor_bytes'] / 1e9:.3f} GB in {files} file(s)"
    )


def _local(arguments: argparse.Namespace) -> tuple[pa.Table, dict[str, Any]]:
    model = read_model(arguments.folder)
    tensors = table_of(model, arguments.folder)
    copy_small_files(arguments.folder, arguments.files)
    return tensors, describe(arguments.name, arguments.folder, model)


def _on_the_hub(arguments: argparse.Namespace) -> tuple[pa.Table, dict[str, Any]]:
    from mergetrace.hub.pinned import (
        fetch_small_files,
        from_json,
        open_reader,
        read_remote_model,
    )
    from mergetrace.hub.ranges import Patience

    pinned = from_json(read_json(arguments.pinned))
    with open_reader(
        pinned.source, pinned.sizes, arguments.connections, Patience()
    ) as reader:
        fetch_small_files(reader, pinned, SMALL_FILES, MAX_SMALL_FILE, arguments.files)
        model = read_remote_model(reader, pinned, arguments.files)
        tensors = table_of(model, pinned.place)
        say(
            f"{pinned.place}: {reader.bytes_read / 1e6:.1f} MB in {reader.requests}"
            " requests"
        )
    return tensors, describe_pinned(arguments.name, pinned, arguments.files, model)


if __name__ == "__main__":
    run(main)
