"""Which models a suspect is compared with: those that it names or once named, their
relatives on the Hub, models of its size, local folders. No weight is read.
"""

import glob
import math
import os
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mergetrace import readable
from mergetrace.errors import ConfigurationError
from mergetrace.files.gguf_file import is_gguf
from mergetrace.outputs import read_json, write_json
from mergetrace.records.json_records import as_json
from mergetrace.records.manifest import Manifest
from mergetrace.records.scan import Candidate
from mergetrace.running.log import say
from mergetrace.scan.gathering import Gathering, Settings, called_now, gather
from mergetrace.scan.names import Named, named_models


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    manifest: Path
    """The suspect's manifest.json."""
    tensors: Path
    """Its table of tensors."""
    files: Path
    """The folder of its small files."""
    pinned: Path | None = None
    """What the stage `pin` found, of a suspect on the Hub."""


@dataclass(frozen=True)
class Params:
    """Where candidates come from."""

    sources: tuple[str, ...] = ()
    """What the Hub is asked for: `card`, `tree`, `names`, `history`, `listing`."""
    filters: tuple[str, ...] = ()
    """Tags that a listed model must bear."""
    parameters: float = 0.03
    """By how much a listed model's number of parameters may differ, as a share."""
    before: str = "suspect"
    """No models younger than that: `suspect`, `any`, or a day."""
    most: int = 2000
    """Models that are compared."""
    megabytes: float = 1000.0
    """That may be read for all of them."""
    watches: bool = False
    """Whether it is asked who carries the model: younger models and its declared
    children count then."""
    published: str | None = None
    """When its weights were published, where the configuration states it."""
    patterns: tuple[str, ...] = ()
    """Local folders, or patterns of them."""
    folders: tuple[Path, ...] = ()
    """Those of the models that an audit of the suspect offers."""
    repositories: tuple[str, ...] = ()
    """The same on the Hub."""
    file: str | None = None
    """The suspect's GGUF file, of a repository."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    candidates: Path
    """JSON (see records.scan.Candidates)."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError where the Hub cannot be asked."""
    manifest: Manifest = read_json(inputs.manifest)
    source = manifest["source"]
    published = manifest.get("published") or {}
    suspect = Candidate(
        place=source["repo"] or source["path"] or "",
        on_hub=source["repo"] is not None,
        reasons=(),
        revision=source["commit"] or "",
        file=params.file or "",
    )
    settings = Settings(
        params.sources,
        params.filters,
        params.parameters,
        params.before,
        params.most,
        params.megabytes,
        params.watches,
    )
    last = published.get("last") or params.published
    size = _parameters(inputs.tensors)
    first = published.get("first")
    gathering = Gathering(
        suspect,
        settings,
        str(last) if last else None,
        size,
        str(first) if first else None,
    )
    if suspect.on_hub and params.sources:
        gathering.names.add(called_now(suspect.place))
    for folder in params.folders:
        if _holds_a_model(folder):
            gathering.take_folder(folder, "audit")
    for pattern in params.patterns:
        _take_places(gathering, pattern)
    if params.patterns and not params.sources and not gathering.found:
        places = readable.listing([readable.visible(each) for each in params.patterns])
        raise ConfigurationError(
            f"scan.candidates.paths: there is no other model at {places}; a model is a"
            " folder with *.safetensors or a GGUF file, and `/data/models/*` stands for"
            " all in a folder"
        )
    if params.sources or params.repositories:
        offered = [Named(repo, "audit", "") for repo in params.repositories]
        named = [*offered, *named_models(inputs.files), *_once_named(inputs, params)]
        gather(gathering, named, manifest["config"]["model_type"])
    found = gathering.result()
    write_json(outputs.candidates, as_json(found))
    asked = ", ".join(f"{count} by {name}" for name, count in found.asked.items())
    say(
        f"{suspect.place}: {len(found.candidates)} candidates ({asked or 'nobody'}),"
        f" {len(found.left_out)} left out"
    )


def _take_places(gathering: Gathering, pattern: str) -> None:
    """Take the models at a place as it is written, of a folder that is none those in
    it; else what fits it as a pattern. What is nowhere is left out by its pattern.
    """
    whole = Path(pattern).expanduser()
    places = [whole] if whole.exists() else list(map(Path, glob.glob(str(whole))))
    if places == [whole] and whole.is_dir() and not _holds_a_model(whole):
        places = list(whole.iterdir())
    models = [place for place in sorted(places) if _holds_a_model(place)]
    for place in models:
        name = os.fsencode(place).decode(errors="backslashreplace")
        if name == str(place):
            gathering.take_folder(place)
        else:  # no text, which neither JSON nor YAML can hold
            gathering.leave_out(name, "unreadable")
    if not models:
        gathering.leave_out(pattern, "no_model")


def _holds_a_model(place: Path) -> bool:
    """Whether a place looks like a model: a folder as Hugging Face's, or GGUF."""
    if not place.is_dir():
        return is_gguf(place)
    names = os.listdir(place)
    return "config.json" in names or any(map(_is_safetensors, names)) or is_gguf(place)


def _is_safetensors(name: str) -> bool:
    """Whether a file is called like one of weights."""
    return name.endswith(".safetensors")


def _once_named(inputs: Inputs, params: Params) -> list[Named]:
    """The models that older commits of a suspect on the Hub named."""
    if inputs.pinned is None or "history" not in params.sources:
        return []
    # The client of the Hub is slow to load.
    from mergetrace.hub.pinned import from_json
    from mergetrace.scan.old_cards import once_named

    return once_named(from_json(read_json(inputs.pinned)))


def _parameters(tensors: Path) -> int:
    """The numbers that a model holds."""
    shapes = pd.read_parquet(tensors, columns=["shape"])["shape"]
    return sum(math.prod(int(size) for size in shape) for shape in shapes)
