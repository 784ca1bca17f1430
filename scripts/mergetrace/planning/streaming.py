"""Whole weight files of models on the Hub, fetched layer by layer and thrown away: in
which order, and how much disk that takes at most.

Layers are read in an order that keeps few files waiting. A file may be fetched once
every layer is done that comes `ahead` or more layers before the first layer that needs
it; it is thrown away once the last layer that needs it is done. So while the earliest
unfinished layer is number i, only files are there that some layer from i on needs and
that are first needed before layer i + ahead: what these take at most is the bound.
"""

from collections import defaultdict
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any, TypedDict

from mergetrace.errors import ConfigurationError
from mergetrace.formats.companions import moved, ranges_beside
from mergetrace.records.manifest import Manifest, Manifests

if TYPE_CHECKING:
    import pandas as pd

Needs = tuple[frozenset[str], int]
"""The layers that need a file, and its bytes."""


class StreamedFile(TypedDict):
    """A weight file that some layer needs."""

    number: int
    """Its place among the model's weight files, from 1 on: names are a stranger's text
    and become no path."""
    name: str
    """Its name in the repository."""
    size: int
    """Its bytes."""
    sha256: str | None
    """Its hash, as the Hub lists it."""
    layers: list[str]
    """The layers that need it."""


class Stream(TypedDict):
    """How whole files are fetched, as plan.json holds it."""

    order: list[str]
    """The layers, in the order in which they are read."""
    ahead: int
    """How many layers may have their files on the disk at a time."""
    disk_bytes: int
    """What the files on the disk take at most."""
    files: dict[str, list[StreamedFile]]
    """By model the files that are needed."""


def schedule(plan: "pd.DataFrame", manifests: Manifests, ahead: int) -> Stream:
    """The order of the layers and the files they need.

    manifests: of the models whose files are fetched. ahead: how many layers may have
    their files on the disk at a time.
    """
    files = {
        model: _files(plan[plan["model"] == model], manifest)
        for model, manifest in manifests.items()
    }
    all_files = chain.from_iterable(files.values())
    needs = [(frozenset(file["layers"]), file["size"]) for file in all_files]
    order = _order(dict.fromkeys(plan["layer"]), needs)
    return {
        "order": order,
        "ahead": ahead,
        "disk_bytes": _bound(order, needs, ahead),
        "files": files,
    }


def check_batches(groups: Any, streamed: Iterable[str]) -> None:
    """Refuse several layers in a job where files are streamed: the files of a layer
    wait for earlier layers, so that such a job would wait for itself.

    groups: Snakemake's settings (`overwrite_groups`: by rule, `group_components`: by
    group); streamed: the audits whose files are streamed.
    """
    batched = [
        rule
        for rule in ("shard", "deltas")
        if groups.group_components.get(groups.overwrite_groups.get(rule), 1) > 1
    ]
    audit = next(iter(streamed), None)
    if batched and audit:
        group = groups.overwrite_groups[batched[0]]
        raise ConfigurationError(
            f"audit {audit} fetches whole files layer by layer, and each waits for"
            " earlier layers: several cannot share a job; set `group-components:"
            f" {group}: 1` in the profile (it is {groups.group_components[group]})"
        )


def needed(stream: Stream, layer: str) -> dict[str, list[int]]:
    """The numbers of the files that a layer needs, by model."""
    return {
        model: [file["number"] for file in files if layer in file["layers"]]
        for model, files in stream["files"].items()
    }


def awaited(stream: Stream, model: str, number: int) -> list[str]:
    """The layers that must be done before a file is fetched: every one of them, for
    were it the last alone, an earlier one could lag behind.
    """
    file = next(file for file in stream["files"][model] if file["number"] == number)
    first = min(map(stream["order"].index, file["layers"]))
    return stream["order"][: max(0, first - stream["ahead"] + 1)]


def fetched_name(number: int) -> str:
    """What a file is called on disk."""
    return f"{number:05}.safetensors"


def as_fetched(plan: "pd.DataFrame", stream: Stream) -> "pd.DataFrame":
    """The plan with the names that the fetched files have on disk."""
    fetched = {}
    for model, files in stream["files"].items():
        for file in files:
            fetched[model, file["name"]] = fetched_name(file["number"])
    columns = {}
    for column in ("shard", "scale_shard"):
        places = zip(plan["model"], plan[column], strict=True)
        columns[column] = [fetched.get(place, place[1]) for place in places]
    if "beside" in plan:
        names: dict[str, dict[str, str]] = defaultdict(dict)
        for (model, old), new in fetched.items():
            names[model][old] = new
        columns["beside"] = [
            moved(text, names[model])
            for model, text in zip(plan["model"], plan["beside"], strict=True)
        ]
    return plan.assign(**columns)


def _files(plan: "pd.DataFrame", manifest: Manifest) -> list[StreamedFile]:
    """A model's needed files. plan: its rows."""
    layers: dict[str, set[str]] = defaultdict(set)
    for column in ("shard", "scale_shard"):
        for layer, name in zip(plan["layer"], plan[column], strict=True):
            layers[name].add(layer)
    for layer, text in zip(plan["layer"], plan.get("beside", ()), strict=False):
        for name, _, _ in ranges_beside(text):
            layers[name].add(layer)
    weights = [
        file
        for file in manifest["files"]
        if file["name"].endswith((".safetensors", ".gguf"))
    ]
    weights.sort(key=lambda file: file["name"])
    needed_files: list[StreamedFile] = []
    for number, file in enumerate(weights, start=1):
        if file["name"] in layers:
            needed_files.append(
                {
                    "number": number,
                    "name": file["name"],
                    "size": file["size"],
                    "sha256": file["sha256"],
                    "layers": sorted(layers[file["name"]]),
                }
            )
    return needed_files


def _order(layers: Iterable[str], files: list[Needs]) -> list[str]:
    """The layers in a greedy order: the next one is always that which adds the fewest
    bytes, less those it lets go; among equals the one that comes first in the plan.
    """
    left = dict.fromkeys(layers)
    order = []
    fetched: set[int] = set()
    used_by = {
        layer: [index for index, (users, _) in enumerate(files) if layer in users]
        for layer in left
    }

    def growth(layer: str) -> int:
        change = 0
        for index in used_by[layer]:
            users, size = files[index]
            if index not in fetched:
                change += size
            if len(users & left.keys()) == 1:
                change -= size
        return change

    while left:
        layer = min(left, key=growth)
        order.append(layer)
        fetched.update(used_by[layer])
        del left[layer]
    return order


def _bound(order: list[str], files: list[Needs], ahead: int) -> int:
    """The most bytes that are on the disk at a time."""
    place = {layer: number for number, layer in enumerate(order)}
    largest = 0
    for now in range(len(order)):
        size_now = 0
        for users, size in files:
            places = [place[layer] for layer in users]
            if min(places) < now + ahead and max(places) >= now:
                size_now += size
        largest = max(largest, size_now)
    return largest
