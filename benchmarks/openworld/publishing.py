"""Folders written as publishers leave them: shards, indexes, configurations and
whatever else lies beside the weights.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from mergetrace.testing.planting import Tensors

INDEX = "model.safetensors.index.json"


@dataclass
class Folder:
    """What is published.

    tensors: the weights. config: what config.json says beside, or in place of, the
    world's own keys; a text is written as it is, None leaves the file out. shards: how
    many files; `parts`, tensors by file's name, is the way to say more. index: changes
    the index that several files get; `indexed` writes one for parts too. files:
    anything else, by path.
    """

    tensors: Tensors = field(default_factory=dict)
    config: dict[str, Any] | str | None = field(default_factory=dict)
    shards: int = 1
    parts: dict[str, Tensors] = field(default_factory=dict)
    index: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    indexed: bool = False
    files: dict[str, str | bytes] = field(default_factory=dict)


def publish(place: Path, folder: Folder, config: dict[str, Any]) -> Path:
    """Write the folder to `place`. config: the world's configuration."""
    place.mkdir(parents=True)
    parts = folder.parts or sharded(folder.tensors, folder.shards)
    for name, tensors in parts.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        save_file(
            {key: tensor.contiguous().clone() for key, tensor in tensors.items()},
            place / name,
            {"format": "pt"},
        )
    if folder.index or folder.indexed or (folder.shards > 1 and not folder.parts):
        index = index_of(parts)
        (place / INDEX).write_text(
            json.dumps(folder.index(index) if folder.index else index)
        )
    if folder.config is not None:
        text = (
            folder.config
            if isinstance(folder.config, str)
            else json.dumps({**config, **folder.config})
        )
        (place / "config.json").write_text(text)
    for name, content in folder.files.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    return place


def sharded(tensors: Tensors, shards: int) -> dict[str, Tensors]:
    """The tensors dealt out to files in the order they come in."""
    if not tensors:
        return {}
    if shards == 1:
        return {"model.safetensors": tensors}
    names = list(tensors)
    files = {}
    for number in range(shards):
        own = names[number * len(names) // shards : (number + 1) * len(names) // shards]
        files[f"model-{number + 1:05}-of-{shards:05}.safetensors"] = {
            name: tensors[name] for name in own
        }
    return files


def index_of(parts: dict[str, Tensors]) -> dict[str, Any]:
    """The index of these files."""
    size = sum(
        tensor.numel() * tensor.element_size()
        for tensors in parts.values()
        for tensor in tensors.values()
    )
    weight_map = {name: file for file, tensors in parts.items() for name in tensors}
    return {"metadata": {"total_size": size}, "weight_map": weight_map}
