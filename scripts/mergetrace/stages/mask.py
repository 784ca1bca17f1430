"""Write down whom the models' small files name: injected texts, settings and tokens, and
how each template differs from the parents'.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mergetrace.outputs import read_json, write_json
from mergetrace.probe.masks import mask
from mergetrace.running.log import say


@dataclass(frozen=True)
class Inputs:
    """What is read, each in a folder with the name of its model."""

    templates: tuple[Path, ...]
    """What the stage `template` found."""
    files: tuple[Path, ...]
    """The folders with copies of the small files."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    parents: tuple[str, ...]
    """The models to compare templates with: bases and donors."""
    identities: Mapping[str, tuple[str, ...]]
    """The names to look for, with their spellings."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    mask: Path
    """JSON: what was found, per model."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Nothing of the models is run."""
    templates = {path.parent.name: read_json(path) for path in inputs.templates}
    identities = {name: list(each) for name, each in params.identities.items()}
    found = {}
    for folder in inputs.files:
        model = folder.parent.name
        parents = {name: templates[name] for name in params.parents if name != model}
        found[model] = mask(templates[model], folder, parents, identities)
        for item in found[model]["injected"]:
            names = ", ".join(item["names"]) or "none of the names"
            say(f"{model}, {item['condition']}: states {names}")
    write_json(outputs.mask, found)
