"""How the suspects of the zoo are made: mergekit itself, and a little training."""

import copy
from pathlib import Path
from typing import Any

import yaml
from case import Case
from realmerge import mergekit
from safetensors.torch import load_file
from trainer import Training, trained, write


def make(folder: Path, made: dict[str, Any], models: dict[str, Path], case: Case) -> Path:
    """Make one model as its case says (see cases.Case.made); returns its folder."""
    source = models[made["model"]] if "model" in made else mergekit(with_paths(made["merge"], models), folder.with_name(folder.name + "-merged"))
    if "then" not in made:
        return source
    how = Training(*made["then"])
    start = {name: tensor for path in sorted(source.glob("*.safetensors")) for name, tensor in load_file(path).items()}
    write(folder, case.arch, trained(case.arch, start, how, case.seed))
    return folder


def with_paths(config: dict[str, Any], models: dict[str, Path]) -> str:
    """The mergekit configuration as YAML, the models' names replaced by their folders."""

    def replaced(value: Any) -> Any:
        if isinstance(value, list):
            return [replaced(entry) for entry in value]
        if isinstance(value, dict):
            return {key: str(models[entry].resolve()) if key in ("model", "base_model") else replaced(entry) for key, entry in value.items()}
        return value

    return yaml.safe_dump(replaced(copy.deepcopy(config)))
