"""The recipe given back, and run: by mergekit, and by torch."""

import hashlib
import runpy
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from mergetrace.testing.audits import prepared
from mergetrace.testing.planting import Tensors
from mergetrace.testing.realmerge import mergekit

SPARED = {"probe": {"enabled": False}, "rebuild": {"enabled": "always"}}


@dataclass(frozen=True)
class Rerun:
    """A file that was given back, and what it made."""

    file: str
    same: int
    """The tensors that have the suspect's sha256."""
    tensors: int
    """The suspect's tensors."""


def give_back(
    folder: Path, models: Mapping[str, Path], spec: Mapping[str, Any], **settings: Any
) -> Path:
    """Audit and rebuild the suspect, and give the recipe back; returns its folder."""
    audit = prepared(folder, models, spec, **SPARED, **settings)
    audit.weigh()
    audit.rebuild()
    return audit.give_back()


def rerun(recipe: Path, suspect: Path) -> list[Rerun]:
    """Run what was given back, and compare the sha256 of every tensor."""
    theirs = digests(suspect)
    found = []
    for file, run in (("mergekit.yml", _by_mergekit), ("merge.py", _by_torch)):
        if (recipe / file).is_file():
            ours = digests(run(recipe / file, recipe.with_name(f"again-{file}")))
            same = sum(ours.get(name) == digest for name, digest in theirs.items())
            found.append(Rerun(file, same, len(theirs)))
    return found


def digests(folder: Path) -> dict[str, str]:
    """The sha256 of every tensor of a model."""
    return {
        name: hashlib.sha256(_raw(tensor)).hexdigest()
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def tensors_of(folder: Path) -> Tensors:
    """All tensors of a model."""
    return {
        name: tensor
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def _raw(tensor: Any) -> bytes:
    import torch

    raw: bytes = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    return str(tensor.dtype).encode() + raw


def _by_mergekit(file: Path, output: Path) -> Path:
    return mergekit(file.read_text(encoding="utf-8"), output)


def _by_torch(file: Path, output: Path) -> Path:
    """The programme, as a stranger starts it, in this process."""
    before = sys.argv
    sys.argv = [str(file), str(output)]
    try:
        runpy.run_path(str(file), run_name="__main__")
    finally:
        sys.argv = before
    return output
