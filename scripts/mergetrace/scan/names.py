"""Models that a suspect's small files name: its card, what a merge tool left, its
configuration. Claims and traces, not findings.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mergetrace.configuration.source import REPOSITORY
from mergetrace.files.declared_merges import CARD, MAX_CARD, declared_merges
from mergetrace.formats.model_config import parse_config
from mergetrace.planning.manifest import read_card

CONFIG = "config.json"
NAME_KEYS = ("_name_or_path", "base_model_name_or_path", "base_model")
MAX_NAMED_MODELS = 50
_LINK = re.compile(
    r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/"
    r"([A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}?)(?=[/)\]\s\"'>#?,]|\.\s|\.?$)"
)
_PAGES = (
    "datasets/",
    "spaces/",
    "docs/",
    "blog/",
    "papers/",
    "collections/",
    "models/",
)
"""Addresses on the Hub that are no models'."""


@dataclass(frozen=True)
class Named:
    """A model that a file names."""

    repo: str
    source: str  # `card` for the bases that the card lists, else `names`
    file: str


def named_models(folder: Path) -> list[Named]:
    """The repositories that a folder's small files name, each once, those that are
    named as parents first.
    """
    found: dict[str, Named] = {}
    for named in _all(folder):
        plausible = re.fullmatch(REPOSITORY, named.repo)
        if plausible and named.repo not in found and len(found) < MAX_NAMED_MODELS:
            found[named.repo] = named
    return list(found.values())


def _all(folder: Path) -> Iterator[Named]:
    for name in read_card(folder / CARD)["base_model"] or ():
        yield Named(name, "card", CARD)
    for merge in declared_merges(folder):
        for name in merge.models:
            yield Named(name, "names", merge.file)
    config, _ = parse_config(folder / CONFIG)
    for key in NAME_KEYS:
        if isinstance(config.get(key), str):
            yield Named(config[key], "names", CONFIG)
    card = folder / CARD
    if card.is_file():
        with open(card, encoding="utf-8", errors="replace") as handle:
            text = handle.read(MAX_CARD)
        for match in _LINK.finditer(text):
            if not match[1].startswith(_PAGES):
                yield Named(match[1], "names", CARD)
