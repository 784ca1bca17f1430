"""Compare the bytes of what is not decoded, of the suspect and every control with every
parent. Reads nothing where all is decoded.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from frontdoor import add_roles, key_value, run, say

from mergetrace.outputs import read_json, write_json
from mergetrace.planning.packed_bytes import compared, undecoded
from mergetrace.planning.plan import common_names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_roles(parser)
    parser.add_argument("--manifests", type=Path, nargs="+", required=True)
    parser.add_argument("--tensors", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--folders",
        type=key_value,
        nargs="*",
        default=[],
        help="NAME=FOLDER of every local model",
    )
    parser.add_argument("--mode", choices=("full", "sample"), required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    manifests = {
        manifest["model"]: manifest for manifest in map(read_json, arguments.manifests)
    }
    tables = dict(zip(manifests, map(pd.read_parquet, arguments.tensors), strict=True))
    names, _ = common_names(tables)
    folders = dict(arguments.folders)
    held = {
        model: undecoded(
            [*tables[model].itertuples(index=False)],
            manifests[model]["config"],
            names[model],
        )
        for model in manifests
    }
    entries = []
    for model in (arguments.suspect, *arguments.controls):
        for parent in dict.fromkeys((*arguments.bases, *arguments.donors)):
            if parent == model or not held[model]:
                continue
            files = [_files(name, manifests, folders) for name in (model, parent)]
            found = compared(held[model], held[parent], files, arguments.mode == "full")
            entries.append({"model": model, "parent": parent, **found})
            say(
                f"{model}, {parent}: of {found['tensors']} undecoded tensors"
                f" {found['equal']} are the same bytes, {found['different']} are not"
            )
    write_json(arguments.output, entries)


def _files(
    model: str, manifests: dict[str, dict[str, Any]], folders: dict[str, str]
) -> dict[str, Any]:
    """Where a model's bytes are, or the hashes of its files."""
    if model in folders:
        return {"folder": Path(folders[model])}
    return {
        "sha256": {file["name"]: file["sha256"] for file in manifests[model]["files"]}
    }


if __name__ == "__main__":
    run(main)
