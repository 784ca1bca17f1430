"""How the suspects of the zoo are made: mergekit itself, a little training, and a
disguise.
"""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from safetensors.torch import load_file

from benchmarks.zoo.case import Case
from benchmarks.zoo.forging import forge
from benchmarks.zoo.scripts import merge_by_script
from benchmarks.zoo.trainer import Tensors, Training, trained, write
from mergetrace.testing import disguises
from mergetrace.testing.realmerge import mergekit, mergekit_experts


def make(
    folder: Path, made: dict[str, Any], models: dict[str, Path], case: Case
) -> Path:
    """Make one model as its case says (see case.Case.made); returns its folder."""
    if "forged" in made or "lines" in made:
        return _by_script(folder, made, models, case)
    source = _source(folder.with_name(folder.name + "-merged"), made, models)
    if "then" not in made and "hide" not in made:
        return source
    tensors = loaded(source)
    if "then" in made:
        how = Training(*made["then"])
        tensors = trained(case.arch, tensors, how, case.seed)
    write(folder, case.arch, hidden(tensors, made.get("hide", ())))
    return folder


def _by_script(
    folder: Path, made: dict[str, Any], models: dict[str, Path], case: Case
) -> Path:
    if "lines" in made:
        names = (*made["of"], *filter(None, [made.get("base")]))
        tensors = merge_by_script(made, {name: loaded(models[name]) for name in names})
    else:
        tensors = forge(
            made["forged"],
            {role: loaded(models[name]) for role, name in made["of"].items()},
            made["with"],
        )
    if "then" in made:
        tensors = trained(case.arch, tensors, Training(*made["then"]), case.seed)
    write(
        folder,
        case.arch,
        {name: tensor.contiguous() for name, tensor in tensors.items()},
    )
    return folder


def loaded(folder: Path) -> Tensors:
    """All tensors of a model."""
    return {
        name: tensor
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def hidden(tensors: Tensors, hide: Sequence[Sequence[Any]]) -> Tensors:
    """The model under disguises, one after the other: (function of disguises.py, its
    arguments).
    """
    for name, *arguments in hide:
        tensors = getattr(disguises, name)(tensors, *arguments)
    return tensors


def _source(folder: Path, made: dict[str, Any], models: dict[str, Path]) -> Path:
    if "model" in made:
        return models[made["model"]]
    if "merge" in made:
        return mergekit(with_paths(made["merge"], models), folder)
    return mergekit_experts([models[name] for name in made["experts"]], folder)


def with_paths(config: dict[str, Any], models: dict[str, Path]) -> str:
    """The mergekit configuration as YAML, the models' names replaced by their
    folders.
    """

    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(entry) for entry in value]
        if isinstance(value, dict):
            return {
                key: (
                    str(models[entry].resolve())
                    if key in ("model", "base_model")
                    else replaced(entry)
                )
                for key, entry in value.items()
            }
        return value

    return yaml.safe_dump(replaced(copy.deepcopy(config)))
