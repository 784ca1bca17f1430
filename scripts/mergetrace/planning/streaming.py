"""Whole weight files of models on the Hub, fetched layer by layer and thrown away: in
which order, and how much disk that takes at most.

Layers are read in an order that keeps few files waiting. A file may be fetched once
every layer is done that comes `ahead` or more layers before the first layer that needs
it; it is thrown away once the last layer that needs it is done. So while the earliest
unfinished layer is number i, only files are there that some layer from i on needs and
that are first needed before layer i + ahead: what these take at most is the bound.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mergetrace.errors import AuditError
from mergetrace.records.manifest import Manifest, Manifests

if TYPE_CHECKING:
    import pandas as pd

Stream = Mapping[str, Any]
"""`order`: layers; `ahead`: layers; `disk_bytes`: the bound; `files`: by model a list
of {number, name, size, sha256, layers} of the needed files.

A file's number is its place among the model's weight files: names are a stranger's text
and become no path.
"""


def schedule(plan: "pd.DataFrame", manifests: Manifests, ahead: int) -> Stream:
    """The order of the layers and the files they need. manifests: of the models whose
    files are fetched.
    """
    files = {
        model: _files(plan[plan["model"] == model], manifest)
        for model, manifest in manifests.items()
    }
    flat = [
        (frozenset(file["layers"]), file["size"])
        for listed in files.values()
        for file in listed
    ]
    order = _order(dict.fromkeys(plan["layer"]), flat)
    return {
        "order": order,
        "ahead": ahead,
        "disk_bytes": _bound(order, flat, ahead),
        "files": files,
    }


def check_batches(groups: Any, streamed: Iterable[str]) -> None:
    """Refuse several layers in a job where files are streamed: the files of a layer
    wait for earlier layers, so that such a job waited for itself.

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
        raise AuditError(
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
    order: list[str] = stream["order"]
    return order[: max(0, first - stream["ahead"] + 1)]


def fetched_name(number: int) -> str:
    """What a file is called on disk."""
    return f"{number:05}.safetensors"


def as_fetched(plan: "pd.DataFrame", stream: Stream) -> "pd.DataFrame":
    """The plan with the names that the fetched files have on disk."""
    names = {
        (model, file["name"]): fetched_name(file["number"])
        for model, files in stream["files"].items()
        for file in files
    }
    columns = {
        column: [
            names.get(key, key[1])
            for key in zip(plan["model"], plan[column], strict=True)
        ]
        for column in ("shard", "scale_shard")
    }
    return plan.assign(**columns)


def _files(plan: "pd.DataFrame", manifest: Manifest) -> list[dict[str, Any]]:
    weights = [
        file for file in manifest["files"] if file["name"].endswith(".safetensors")
    ]
    import pandas as pd

    uses = pd.concat(
        [
            plan[["layer", column]].set_axis(["layer", "name"], axis=1)
            for column in ("shard", "scale_shard")
        ]
    )
    layers = uses.drop_duplicates().groupby("name")["layer"].agg(list)
    return [
        {
            "number": number,
            "name": file["name"],
            "size": file["size"],
            "sha256": file["sha256"],
            "layers": sorted(layers[file["name"]]),
        }
        for number, file in enumerate(
            sorted(weights, key=lambda file: file["name"]), start=1
        )
        if file["name"] in layers.index
    ]


def _order(layers: Iterable[str], files: list[tuple[frozenset[str], int]]) -> list[str]:
    """Always the layer next that adds the fewest bytes, less those it lets go; among
    equals the one that comes first in the plan.
    """
    left = dict.fromkeys(layers)
    order = []
    there = set()
    using = {
        layer: [index for index, (uses, _) in enumerate(files) if layer in uses]
        for layer in left
    }

    def growth(layer: str) -> int:
        added = sum(files[index][1] for index in using[layer] if index not in there)
        return added - sum(
            files[index][1]
            for index in using[layer]
            if len(files[index][0] & left.keys()) == 1
        )

    while left:
        order.append(min(left, key=growth))
        there.update(using[order[-1]])
        del left[order[-1]]
    return order


def _bound(
    order: list[str], files: list[tuple[frozenset[str], int]], ahead: int
) -> int:
    place = {layer: number for number, layer in enumerate(order)}
    spans = [
        (min(map(place.__getitem__, uses)), max(map(place.__getitem__, uses)), size)
        for uses, size in files
    ]
    return max(
        (
            sum(
                size
                for first, last, size in spans
                if first < now + ahead and last >= now
            )
            for now in range(len(order))
        ),
        default=0,
    )
