"""What an audit will cost, and what is already seen to differ between its models, from
headers alone.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mergetrace.numerics.dtypes import FORMATS
from mergetrace.planning import unread
from mergetrace.planning.sampling import ranges_of
from mergetrace.readable import count, listing
from mergetrace.timestamps import told

# seconds from a request to its first byte, as assumed for the time; the rest is
# bandwidth
LATENCY = 0.1
# the Hub's quota per 5 minutes for those without a token; with one it is 5,000 and more
RESOLVER_CALLS = 3000
PROGRAM = (
    300_000_000  # bytes of memory of a job that reads weights, its buffers included
)
SCALED = 8  # bytes kept beside every element whose number has a scale


@dataclass(frozen=True)
class Settings:
    """How much is sampled, and what the network is taken to be: megabits per second,
    requests at a time, bytes of a whole file in one request.
    """

    block_elements: int
    seed: int
    bandwidth_mbit: float
    connections: int
    piece: int


def costs(
    plan: pd.DataFrame,
    manifests: Mapping[str, Mapping[str, Any]],
    files_on_disk: int,
    settings: Settings,
) -> dict[str, dict[str, Any]]:
    """What reading costs in sample and in full mode: {mode: {...}}.

    files_on_disk: the bytes that whole files of models on the Hub take at most (see streaming).
    read_bytes: of weights, from disk or network. hub_bytes, hub_requests (resolver_calls among them): what the Hub sends and is asked, also by
    model in `models`. quota_minutes: how much of the time that a quota of RESOLVER_CALLS per 5 minutes takes to hand them out.
    evidence_bytes, disk_bytes (evidence included), memory_bytes (of one job). seconds: of transfer at `bandwidth_mbit`, or of waiting for
    replies where that takes longer.
    """
    remote = [
        model for model, manifest in manifests.items() if manifest["source"]["repo"]
    ]
    sampled = {
        model: ranges_of(
            plan[plan["model"] == model], settings.block_elements, settings.seed
        )
        for model in remote
    }
    sample = {
        model: _transfer(
            sum(length for _, _, length in ranges),
            len(ranges),
            len({shard for shard, _, _ in ranges}),
        )
        for model, ranges in sampled.items()
    }
    full = {
        model: _whole(manifests[model], plan[plan["model"] == model], settings.piece)
        for model in remote
    }
    width = plan["dtype"].map(lambda dtype: FORMATS[dtype].width)
    kept = (
        plan[["elements"]]
        .assign(sampled=plan["blocks"] * settings.block_elements)
        .min(axis=1)
    )
    evidence = kept * (width + SCALED * (plan["scale_shard"] != ""))
    memory = PROGRAM + 2 * int(evidence.groupby(plan["batch"]).sum().max())
    evidence_bytes = int(evidence.sum())
    return {
        mode: {
            "read_bytes": int((elements * width).sum()),
            "hub_bytes": (
                hub_bytes := sum(model["bytes"] for model in models.values())
            ),
            "hub_requests": (
                requests := sum(model["requests"] for model in models.values())
            ),
            "resolver_calls": (
                calls := sum(model["resolver_calls"] for model in models.values())
            ),
            "quota_minutes": 5 * calls / RESOLVER_CALLS,
            "evidence_bytes": evidence_bytes,
            "disk_bytes": (
                evidence_bytes + (2 * hub_bytes if mode == "sample" else files_on_disk)
            ),
            "memory_bytes": memory,
            "seconds": max(
                hub_bytes * 8 / (settings.bandwidth_mbit * 1e6),
                requests * LATENCY / at_a_time,
            ),
            "models": models,
        }
        for mode, models, elements, at_a_time in (
            ("sample", sample, kept, settings.connections),
            ("full", full, plan["elements"], 1),
        )
    }


def differences(
    plan: pd.DataFrame, manifests: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """How the models' files differ in what is compared, in sentences; empty where they
    do not.
    """
    said = []
    kinds = {
        model: (
            ", ".join(manifest["config"]["architectures"])
            or manifest["config"]["model_type"]
            or ""
        )
        for model, manifest in manifests.items()
    }
    dtypes = {
        model: listing(sorted(members["dtype"].unique()))
        for model, members in plan.groupby("model", sort=False)
    }
    sources = plan.groupby("model", sort=False)["source"].nunique().to_dict()
    for what, values in (
        ("architecture", kinds),
        ("stored as", dtypes),
        ("tensors that hold the same slices", sources),
    ):
        if len(set(values.values())) > 1:
            said.append(
                f"{what}:"
                f" {', '.join(f'{model} {value}' for model, value in values.items())}"
            )
    return said


def lines(
    audit: str, summary: Mapping[str, Any], stated: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """(label, text): the plan in a few lines for people. summary: plan.json. stated:
    dates of publication, by model.
    """
    compared = count(summary["slices"])
    left = count(summary["not_compared"])
    text = [
        (
            audit,
            (
                f"{compared} slices in {len(summary['layers'])} layers will be"
                f" compared, {left} tensors will not"
            ),
        )
    ]
    text += [
        ("", f"{number} x {reason}")
        for reason, number in list(summary["not_compared_reasons"].items())[:3]
    ]
    for number, (model, coverage) in enumerate(summary.get("compared", {}).items()):
        text.append(
            ("" if number else "compared", unread.said(model, coverage, "pair by name"))
        )
    text += [
        ("models", f"{model}: {_model(entry, (stated or {}).get(model))}")
        for model, entry in summary["models"].items()
    ]
    text += [("differ", difference) for difference in summary["differences"]]
    for mode in ("sample", "full"):
        text.append(
            (
                mode,
                "chosen: " * (mode == summary["mode"])
                + _cost(summary["cost"][mode], summary["bandwidth_mbit"]),
            )
        )
    return text


def _transfer(size: int, ranges: int, shards: int) -> dict[str, int]:
    return {"bytes": size, "requests": ranges + shards, "resolver_calls": shards}


def _whole(
    manifest: Mapping[str, Any], views: pd.DataFrame, piece: int
) -> dict[str, int]:
    used = {*views["shard"], *views["scale_shard"]}
    sizes = [file["size"] for file in manifest["files"] if file["name"] in used]
    return _transfer(
        sum(sizes), sum(math.ceil(size / piece) for size in sizes), len(sizes)
    )


def _model(entry: Mapping[str, Any], stated: str | None) -> str:
    where = (
        f"{entry['repo']} at {entry['commit'][:12]}" if entry["repo"] else entry["path"]
    )
    declared = entry["declared"]
    claims = (
        [f"base model {listing(declared['base_model'])}"]
        if declared["base_model"]
        else []
    )
    claims += [
        f"{name} {declared[name]}" for name in ("relation", "license") if declared[name]
    ]
    access = "".join(f", {word}" for word in ("private", "gated") if entry.get(word))
    dates = told(stated, entry.get("published"))
    since = f", published {dates}" if dates else ""
    return (
        f"{where}, {size(entry['bytes'])}{access}{since}; its card claims"
        f" {', '.join(claims) or 'nothing of its origin'}"
    )


def _cost(cost: Mapping[str, Any], bandwidth: float) -> str:
    here = (
        f"{size(cost['read_bytes'])} to read, {size(cost['disk_bytes'])} of disk,"
        f" {size(cost['memory_bytes'])} of memory"
    )
    if not cost["hub_requests"]:
        return here
    return (
        f"{here}; from the Hub {size(cost['hub_bytes'])} in"
        f" {count(cost['hub_requests'])} requests ({count(cost['resolver_calls'])} of"
        f" the resolver, {cost['quota_minutes']:.1f} minutes of its quota),"
        f" {duration(cost['seconds'])} at {bandwidth:g} Mbit/s"
    )


def size(value: float) -> str:
    """Bytes in the unit that suits them."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e3:.3g} kB"


def duration(seconds: float) -> str:
    """Seconds in the unit that suits them."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 60:.0f} minutes" if seconds >= 90 else f"{seconds:.0f} seconds"
