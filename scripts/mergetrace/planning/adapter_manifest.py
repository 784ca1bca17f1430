"""What a model holds that is an adapter merged into its base: the base's tensors but for
those that the adapter holds, and where both came from.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pyarrow as pa

from mergetrace.files.adapter_files import (
    ADAPTER_FILE,
    WEIGHTS_NAME,
    AdapterFiles,
    sha256_of,
)
from mergetrace.files.tensor_records import TensorRecord
from mergetrace.formats.adapter_config import AdapterConfig
from mergetrace.planning.manifest import (
    MAX_SMALL_FILE,
    SMALL_FILES,
    TENSORS,
    read_card,
)
from mergetrace.records.manifest import Manifest, ModelFile, Source
from mergetrace.records.verdict import HubDates
from mergetrace.tensors.adapter_tensors import Anew

if TYPE_CHECKING:
    from mergetrace.hub.pinned import Pinned

NOT_THE_BASES = ("README.md", "LICENSE")
"""Small files of a base that say nothing of a model made of it."""


def small_files(own: Path, of_base: Path, target: Path) -> None:
    """Copy the small files of the merged model to `target`, a folder that is there: those
    of the adapter, and the base's where it has none.
    """
    for name in SMALL_FILES:
        if name == "config.json":
            places = [of_base / name]
        elif name in NOT_THE_BASES:
            places = [own / name]
        else:
            places = [own / name, of_base / name]
        for place in places:
            if place.is_file() and place.stat().st_size <= MAX_SMALL_FILE:
                shutil.copyfile(place, target / name)
                break


def adapted_table(
    records: Sequence[TensorRecord],
    anew: Sequence[Anew],
    places: Sequence[tuple[int, int]],
) -> pa.Table:
    """The table of the merged model's tensors. places: where each of `anew` lies in the
    prepared file.
    """
    held = {each.target.name: each for each in anew}
    where = dict(zip(held, places, strict=True))
    rows = []
    for record in records:
        shard, start, end = record.shard, record.start, record.end
        shape = record.shape
        if record.name in held:
            shard, (start, end) = ADAPTER_FILE, where[record.name]
            shape = held[record.name].held.shape
        rows.append(
            {
                "name": record.name,
                "shard": shard,
                "dtype": record.dtype,
                "shape": list(shape),
                "start": start,
                "end": end,
            }
        )
    return pa.Table.from_pylist(rows, schema=TENSORS)


def describe_adapter(
    name: str,
    adapter: AdapterFiles,
    config: AdapterConfig,
    base: Manifest,
    files: Path,
    rounding: str,
    pinned: "Pinned | None",
) -> Manifest:
    """The manifest of the merged model, with its base's `totals`. base: its base's.
    files: its small files. pinned: the adapter's repository, None of a local one.
    """
    source: Source = {"path": str(adapter.folder), "repo": None, "commit": None}
    if pinned is not None:
        source = cast(Source, pinned.source)
    below = base["source"]
    source["base"] = {
        "model": base["model"],
        "repo": below["repo"],
        "commit": below["commit"],
        "rounding": rounding,
    }
    weights: ModelFile = {
        "name": WEIGHTS_NAME,
        "size": adapter.weights.stat().st_size,
        "sha256": sha256_of(adapter.weights),
    }
    claims = read_card(files / "README.md")
    claims["base_model"] = claims["base_model"] or (
        [config.base] if config.base else None
    )
    claims["relation"] = claims["relation"] or "adapter"
    manifest: Manifest = {
        "model": name,
        "source": source,
        "published": None,
        "files": [*_small(files), weights, *_shards(base)],
        "tensors": base["tensors"],
        "tensor_bytes": base["tensor_bytes"],
        "config": base["config"],
        "declared": claims,
        "notes": _notes(name, config, base, rounding),
    }
    if pinned is not None:
        manifest["published"] = cast(HubDates | None, pinned.published)
        manifest["notes"] += pinned.remarks
    return manifest


def totals(table: pa.Table) -> dict[str, int]:
    """What a manifest says of all tensors together. table: of `adapted_table`."""
    sizes = table["end"].to_numpy() - table["start"].to_numpy()
    return {"tensors": len(table), "tensor_bytes": int(sizes.sum())}


def _small(files: Path) -> list[ModelFile]:
    small = [files / name for name in SMALL_FILES if (files / name).is_file()]
    return [
        {"name": path.name, "size": path.stat().st_size, "sha256": sha256_of(path)}
        for path in small
    ]


def _shards(base: Manifest) -> list[ModelFile]:
    """The base's weight files, which are read."""
    small = set(SMALL_FILES)
    return [file for file in base["files"] if file["name"] not in small]


def _notes(
    name: str, config: AdapterConfig, base: Manifest, rounding: str
) -> list[str]:
    """How the model was made, and what is odd about the pair, a sentence each."""
    how = (
        "the change rounded, then the sum" if rounding == "twice" else "the sum rounded"
    )
    notes = [f"{name} is {base['model']} with an adapter merged into it, {how}."]
    named = config.base
    repo = base["source"]["repo"]
    if named and repo and named.casefold() != repo.casefold():
        notes.append(
            f"{name}: its adapter_config.json names {named} as its base; it was merged"
            f" into {repo}, which is {base['model']} here."
        )
    return notes
