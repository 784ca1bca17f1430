"""Describe a local model folder: manifest, table of tensors, copies of the small files."""

import argparse
from pathlib import Path

from frontdoor import run, say
from mergetrace.files import write_json, write_parquet
from mergetrace.manifest import copy_small_files, describe, tensor_table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--tensors", type=Path, required=True)
    parser.add_argument("--files", type=Path, required=True)
    arguments = parser.parse_args()
    tensors = tensor_table(arguments.folder)
    manifest = describe(arguments.name, arguments.folder, tensors)
    copy_small_files(arguments.folder, arguments.files)
    write_parquet(arguments.tensors, tensors)
    write_json(arguments.manifest, manifest)
    say(f"{arguments.name}: {len(tensors)} tensors, {manifest['tensor_bytes'] / 1e9:.3f} GB in {tensors['shard'].nunique()} file(s)")


if __name__ == "__main__":
    run(main)
