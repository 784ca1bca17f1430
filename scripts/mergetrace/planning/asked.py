"""Which models on the Hub are fetched whole to be asked, what that takes on the disk, and
what would do for those that are too large.
"""

import math
from collections.abc import Mapping
from typing import Any, TypedDict

from mergetrace.readable import size
from mergetrace.records.manifest import Manifest

GPU_BYTES = 80e9  # of the memory that one large GPU has
WEIGHTS_IN_MEMORY = 1.1  # memory that a model takes, as a multiple of its weights


class Asked(TypedDict):
    """A model on the Hub whose answers are wanted."""

    bytes: int
    """Of its weight files."""
    whole: bool
    """Whether they are fetched."""


def asked_of(manifests: Mapping[str, Manifest], whole_gb: float) -> dict[str, Asked]:
    """Of the models on the Hub which are fetched whole. whole_gb: the most of one; 0
    where nobody is asked here.
    """
    found: dict[str, Asked] = {}
    for model, manifest in manifests.items() if whole_gb else ():
        total = sum(
            file["size"]
            for file in manifest["files"]
            if file["name"].endswith(".safetensors")
        )
        if total:  # a model in another format is not loaded
            found[model] = {"bytes": total, "whole": total <= whole_gb * 1e9}
    return found


def disk_of(asked: Mapping[str, Asked]) -> int:
    """Bytes that the whole models may take on the disk at a time."""
    return sum(entry["bytes"] for entry in asked.values() if entry["whole"])


def lines_of(asked: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is asked here and what is not, in sentences for the preflight."""
    text = []
    whole = [model for model, entry in asked.items() if entry["whole"]]
    if whole:
        text.append(
            f"{', '.join(whole)} will be fetched whole, {size(disk_of(asked))}, and"
            " thrown away when they were asked"
        )
    for model, entry in asked.items():
        if not entry["whole"]:
            gpus = math.ceil(WEIGHTS_IN_MEMORY * entry["bytes"] / GPU_BYTES)
            text.append(
                f"{model} is too large to be asked here ({size(entry['bytes'])}, more"
                " than probe.whole_gb): have it served (probe.backend: endpoint), or"
                f" raise that where vLLM has {gpus} GPU(s) of 80 GB"
            )
    return [("probe", sentence) for sentence in text]
