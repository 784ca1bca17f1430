"""Members of a family on disk: made when they are asked for, taken from there after."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from benchmarks.descent.evasions import EVASIONS
from benchmarks.descent.framed import framed_members
from benchmarks.descent.members import MEMBERS, Made, keeper
from benchmarks.descent.shapes import SHAPES, Family
from benchmarks.descent.training import Run, build, run
from benchmarks.zoo.forging import forge
from benchmarks.zoo.making import loaded, with_paths
from benchmarks.zoo.trainer import Tensors
from mergetrace.outputs import whole_folder
from mergetrace.testing import disguises
from mergetrace.testing.realmerge import mergekit


class Household:
    """One family under `root`."""

    def __init__(self, root: Path, family: Family) -> None:
        self.family = family
        self.folder = root / family.name
        self.made: dict[str, Made] = MEMBERS | framed_members()

    def member(self, name: str) -> Path:
        """The folder of a member, made now if it is missing."""
        if not (self.folder / name).exists():
            self._make(keeper(name))
        return self.folder / name

    def members(self, names: Iterable[str]) -> dict[str, Path]:
        """Folders by name."""
        return {name: self.member(name) for name in names}

    def _make(self, name: str) -> None:
        how = self.made[name]
        if isinstance(how, Run):
            self._train(name, how)
        elif "merge" in how:
            merged = mergekit(
                with_paths(how["merge"], self.members(_models(how["merge"]))),
                self.folder / f"{name}-merged",
            )
            merged.rename(self.folder / name)
        else:
            self._write(name, self._computed(how))

    def _computed(self, how: Mapping[str, Any]) -> Tensors:
        if "forged" in how:
            models = {role: self._tensors(name) for role, name in how["of"].items()}
            return forge(how["forged"], models, how["with"])
        if "same" in how:
            return self._tensors(how["same"])
        own = self._tensors(how["of"])
        if "hidden" in how:
            found: Tensors = getattr(disguises, how["hidden"])(own)
            return found
        arguments = dict(how["with"])
        if "base" in arguments:
            arguments["base"] = self._tensors(arguments["base"])
        return EVASIONS[how["evaded"]](own, **arguments)

    def _train(self, name: str, how: Run) -> None:
        start = self._tensors(how.start) if how.start else None
        teacher = self._tensors(how.teacher) if how.teacher else None
        ends = f"{name}-end" if name in dict(how.stops).values() else name
        for step, found in run(self.family, how, start, teacher):
            kept = dict(how.stops).get(step, ends)
            self._write(kept, {key: each.bfloat16() for key, each in found.items()})
            if how.float32 and kept == name:
                self._write(f"{name}-f32", found)

    def _tensors(self, name: str) -> Tensors:
        return loaded(self.member(name))

    def _write(self, name: str, tensors: Tensors) -> None:
        folder = self.folder / name
        if folder.exists():
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        whole = {key: tensor.contiguous() for key, tensor in tensors.items()}
        with whole_folder(folder) as partial:
            save_file(whole, partial / "model.safetensors", {"format": "pt"})
            (partial / "config.json").write_text(json.dumps(configuration(self.family)))


def configuration(family: Family) -> dict[str, Any]:
    """config.json of a family's models."""
    found: dict[str, Any] = build(family).config.to_dict()
    if "MoE" not in SHAPES[family.shape].architecture:
        found.pop("layer_types", None)
    return found


def _models(config: Mapping[str, Any]) -> list[str]:
    named = [entry["model"] for entry in config["models"]]
    return [*named, *([config["base_model"]] if "base_model" in config else [])]


def one_thread() -> None:
    """The same seed gives the same bits."""
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
