"""What an audit will cost, and what is already seen to differ between its models, from
headers alone.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.files.sampled import Range
from mergetrace.formats.block_layouts import bytes_each, kept_each
from mergetrace.formats.companions import ranges_beside
from mergetrace.formats.model_config import config_from_json
from mergetrace.planning import unread
from mergetrace.planning.asked import lines_of
from mergetrace.planning.holders import by_holder
from mergetrace.planning.sampling import ranges_of, ranges_of_rows
from mergetrace.planning.submatrices import ROWS
from mergetrace.readable import count, duration, listing, size
from mergetrace.records.coverage import read_coverages
from mergetrace.records.manifest import Manifest, Manifests, from_hub
from mergetrace.timestamps import describe_dates

# seconds from a request to its first byte, as assumed for the time; the rest is
# bandwidth
LATENCY_S = 0.1
# the Hub's quota for those without a token; with one it is 5,000 and more
QUOTA_CALLS = 3000
QUOTA_MINUTES = 5
# bytes of memory of a job that reads weights, its buffers included
PROGRAM_BYTES = 300_000_000
SCALE_BYTES = 8  # kept beside every element whose number has a scale
MAX_REASONS_SHOWN = 3


@dataclass(frozen=True)
class Settings:
    """How much is sampled, and what the network is taken to be."""

    block_elements: int  # of an evidence block
    seed: int  # of the sample
    bandwidth_mbit: float  # megabits per second
    connections: int  # requests at a time
    piece: int  # bytes of a whole file in one request


@dataclass(frozen=True)
class Transfer:
    """What one model on the Hub costs to fetch."""

    bytes: int
    requests: int  # those of the resolver among them
    resolver_calls: int  # requests that ask where a file is, which the Hub limits

    def beside(self, other: "Transfer") -> "Transfer":
        """Both of them."""
        return Transfer(
            self.bytes + other.bytes,
            self.requests + other.requests,
            self.resolver_calls + other.resolver_calls,
        )


@dataclass(frozen=True)
class Cost:
    """What reading costs in one mode."""

    read_bytes: int  # of weights, from disk or network
    hub_bytes: int  # that the Hub sends
    hub_requests: int
    resolver_calls: int
    quota_minutes: float  # in which the Hub's quota hands out the resolver's calls
    evidence_bytes: int
    disk_bytes: int  # evidence included
    memory_bytes: int  # of one job
    seconds: float  # of transfer, or of waiting for replies where that takes longer
    models: dict[str, Transfer]  # those on the Hub


def costs(
    plan: pd.DataFrame,
    manifests: Manifests,
    files_on_disk: int,
    settings: Settings,
) -> dict[str, dict[str, Any]]:
    """What reading costs in sample and in full mode (see Cost), as JSON by mode.

    files_on_disk: the bytes that whole files of models on the Hub take at most (see
    streaming).
    """
    width = plan["dtype"].map(bytes_each)
    kept = plan["dtype"].map(kept_each)
    sampled = np.minimum(plan["elements"], plan["blocks"] * settings.block_elements)
    evidence = sampled * (kept + SCALE_BYTES * (plan["scale_shard"] != ""))
    evidence_bytes = int(evidence.sum())
    of_largest_job = int(evidence.groupby(plan["batch"]).sum().max())
    held, manifests = by_holder(plan, manifests)
    views = {
        model: held[held["model"] == model]
        for model, manifest in manifests.items()
        if from_hub(manifest)
    }
    ranges = {model: _of_ranges(rows, settings) for model, rows in views.items()}
    files = {
        model: _of_files(manifests[model], rows, settings.piece)
        for model, rows in views.items()
    }
    ranges_on_disk = 2 * sum(transfer.bytes for transfer in ranges.values())
    rows = {model: _transfer(ranges_of_rows(own)) for model, own in views.items()}
    rows_on_disk = 2 * sum(transfer.bytes for transfer in rows.values())
    decomposed = (plan.get(ROWS, 0) * plan["cols"] * width).sum()
    files = {model: files[model].beside(rows[model]) for model in files}

    def cost(
        models: dict[str, Transfer], read_bytes: int, fetched: int, connections: int
    ) -> dict[str, Any]:
        hub_bytes = sum(transfer.bytes for transfer in models.values())
        requests = sum(transfer.requests for transfer in models.values())
        calls = sum(transfer.resolver_calls for transfer in models.values())
        transfer_seconds = hub_bytes * 8 / (settings.bandwidth_mbit * 1e6)
        return asdict(
            Cost(
                read_bytes=read_bytes,
                hub_bytes=hub_bytes,
                hub_requests=requests,
                resolver_calls=calls,
                quota_minutes=QUOTA_MINUTES * calls / QUOTA_CALLS,
                evidence_bytes=evidence_bytes,
                disk_bytes=evidence_bytes + fetched,
                memory_bytes=PROGRAM_BYTES + 2 * of_largest_job,
                seconds=max(transfer_seconds, requests * LATENCY_S / connections),
                models=models,
            )
        )

    sampled_bytes = int((sampled * width).sum() + decomposed)
    all_bytes = int((plan["elements"] * width).sum() + decomposed)
    return {
        "sample": cost(ranges, sampled_bytes, ranges_on_disk, settings.connections),
        "full": cost(files, all_bytes, files_on_disk + rows_on_disk, connections=1),
    }


def differences(plan: pd.DataFrame, manifests: Manifests) -> list[str]:
    """How the models' files differ in what is compared, in sentences; empty where they
    do not.
    """
    views = {str(model): rows for model, rows in plan.groupby("model", sort=False)}
    properties = {
        "architecture": {
            model: config_from_json(manifest["config"]).kind or ""
            for model, manifest in manifests.items()
        },
        "stored as": {
            model: listing(sorted(rows["dtype"].unique()))
            for model, rows in views.items()
        },
        "tensors that hold the same slices": {
            model: str(rows["source"].nunique()) for model, rows in views.items()
        },
    }
    sentences = []
    for what, values in properties.items():
        if len(set(values.values())) > 1:
            listed = ", ".join(f"{model} {value}" for model, value in values.items())
            sentences.append(f"{what}: {listed}")
    return sentences


def lines(
    audit: str, summary: Mapping[str, Any], stated: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """The plan in a few lines for people, as (label, text); "" goes on with the label
    above.

    summary: plan.json. stated: dates of publication, by model.
    """
    scope = (
        f"{count(summary['slices'])} slices in {len(summary['layers'])} layers will be"
        f" compared, {count(summary['not_compared'])} tensors will not"
    )
    text = [(audit, scope)]
    reasons = list(summary["not_compared_reasons"].items())
    for reason, number in reasons[:MAX_REASONS_SHOWN]:
        text.append(("", f"{number} x {reason}"))
    label = "compared"
    for model, coverage in read_coverages(summary.get("compared")).items():
        text.append((label, unread.said(model, coverage, "pair by name")))
        label = ""
    for model, entry in summary["models"].items():
        about = _about_model(entry, (stated or {}).get(model))
        text.append(("models", f"{model}: {about}"))
    text += [("differ", difference) for difference in summary["differences"]]
    for mode in ("sample", "full"):
        cost = _in_words(summary["cost"][mode], summary["bandwidth_mbit"])
        text.append((mode, f"chosen: {cost}" if mode == summary["mode"] else cost))
    return text + lines_of(summary.get("asked") or {})


def _of_ranges(views: pd.DataFrame, settings: Settings) -> Transfer:
    """What a model's sampled ranges cost. views: its rows of the plan."""
    return _transfer(ranges_of(views, settings.block_elements, settings.seed))


def _transfer(ranges: Sequence[Range]) -> Transfer:
    """What ranges cost to fetch."""
    shards = {shard for shard, _, _ in ranges}
    size = sum(length for _, _, length in ranges)
    return Transfer(size, len(ranges) + len(shards), len(shards))


def _of_files(manifest: Manifest, views: pd.DataFrame, piece: int) -> Transfer:
    """What a model's whole files cost. views: its rows of the plan."""
    used = {*views["shard"], *views["scale_shard"]}
    for text in views.get("beside", ()):
        used.update(name for name, _, _ in ranges_beside(text))
    sizes = [file["size"] for file in manifest["files"] if file["name"] in used]
    pieces = sum(math.ceil(size / piece) for size in sizes)
    return Transfer(sum(sizes), pieces + len(sizes), len(sizes))


def _about_model(entry: Mapping[str, Any], stated: str | None) -> str:
    """Where a model comes from, how large it is and what its card claims. entry: of
    plan.json. stated: its date of publication.
    """
    where = entry["path"]
    if entry["repo"]:
        where = f"{entry['repo']} at {entry['commit'][:12]}"
    if entry.get("base"):
        where = f"the adapter {where} merged into {entry['base']['model']}"
    about = [where, size(entry["bytes"])]
    about += [word for word in ("private", "gated") if entry.get(word)]
    dates = describe_dates(stated, entry.get("published"))
    if dates:
        about.append(f"published {dates}")
    declared = entry["declared"]
    claims = []
    if declared["base_model"]:
        claims.append(f"base model {listing(declared['base_model'])}")
    for name in ("relation", "license"):
        if declared[name]:
            claims.append(f"{name} {declared[name]}")
    claimed = ", ".join(claims) or "nothing of its origin"
    files = dict.fromkeys(merge["file"] for merge in declared.get("merges", ()))
    merges = f"; {listing(files)} declares a merge" if files else ""
    return f"{', '.join(about)}; its card claims {claimed}{merges}"


def _in_words(cost: Mapping[str, Any], bandwidth_mbit: float) -> str:
    """What one mode costs. cost: of plan.json (see Cost)."""
    local = (
        f"{size(cost['read_bytes'])} to read, {size(cost['disk_bytes'])} of disk,"
        f" {size(cost['memory_bytes'])} of memory"
    )
    if not cost["hub_requests"]:
        return local
    return (
        f"{local}; from the Hub {size(cost['hub_bytes'])} in"
        f" {count(cost['hub_requests'])} requests ({count(cost['resolver_calls'])} of"
        f" the resolver, {cost['quota_minutes']:.1f} minutes of its quota),"
        f" {duration(cost['seconds'])} at {bandwidth_mbit:g} Mbit/s"
    )
