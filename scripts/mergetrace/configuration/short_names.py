"""Names for models that have none in a configuration yet."""

import re
from collections.abc import Iterable

from mergetrace.configuration.shared import MAX_NAME_LENGTH, RESERVED_NAMES


def short_names(model: str, parents: Iterable[str]) -> list[str]:
    """A name for each model, made of the last part of where it lies."""
    names: list[str] = []
    for text in (model, *parents):
        last = text.rstrip("/").rpartition("/")[2].partition("@")[0].lower()
        stem = re.sub(r"[^a-z0-9]+", "-", last).strip("-")[: MAX_NAME_LENGTH - 10]
        stem = stem.strip("-") or "model"
        name, number = stem, 1
        while name in names or name in RESERVED_NAMES:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names
