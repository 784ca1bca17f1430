"""What a model holds twice: which of the two a loader takes, and what is said of the
other.

Loaders differ where a file holds more than their architecture asks for, so these are
rules and not facts; what is not compared is named.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mergetrace.tensors.naming import INNER_WRAPPERS
from mergetrace.tensors.weights import Weights

if TYPE_CHECKING:
    from mergetrace.tensors.views import View

BLOCK = 1 << 20  # elements compared at once
HELD_TWICE = "the model holds this twice"
# Model types whose loaders look for all experts of a layer in one tensor. Of any other
# type save_pretrained writes each expert by itself, in transformers 4 and 5 alike; a
# file with both forms is one that transformers 5.23 does not load and vLLM reads in the
# order it finds it.
FUSED_EXPERTS = (
    "llama4",
    "llama4_text",
    "gpt_oss",
    "qwen3_vl_moe",
    "qwen3_vl_moe_text",
    "dbrx",
)


@dataclass(frozen=True)
class Double:
    """kept: the view that is compared. other: the one of the same slice that is not;
    why: the reason, where it is none of the rules here.
    """

    kept: "View"
    other: "View"
    why: str = ""


def chosen_record(
    canonical: str, records: Sequence[Any], config: Mapping[str, Any]
) -> Any:
    """Of several tensors with one canonical name the one a loader takes. records: rows
    of the manifest's table.

    What an adapter's training replaced before what it replaced; of two prefixes the one the architecture has (`language_model` where it is
    multimodal, else `model`); of two shards the later one, which loaders read last.
    """

    def rank(record: Any) -> tuple[Any, ...]:
        kept = "original_module" not in record.name
        fitting = ("language_model" in record.name) == is_multimodal(config)
        plain = not INNER_WRAPPERS.search(record.name)
        return kept, fitting, plain, record.name == canonical, record.name, record.shard

    return records[0] if len(records) == 1 else max(records, key=rank)


def chosen_form(views: Sequence["View"], config: Mapping[str, Any]) -> "View":
    """Of one expert that stands both alone and in a fused tensor, the form that the
    architecture's loaders look for (see FUSED_EXPERTS).
    """
    if len(views) == 1:
        return views[0]
    fused = config.get("model_type") in FUSED_EXPERTS
    return max(views, key=lambda view: (is_fused(view) == fused, view.source))


def is_fused(view: "View") -> bool:
    """Whether an expert's view is part of a tensor that holds all experts."""
    return bool(view.slice) and f".experts.{view.slice}." not in view.source


def is_multimodal(config: Mapping[str, Any]) -> bool:
    """Whether the architecture wraps a language model."""
    return any(
        "ConditionalGeneration" in name for name in config.get("architectures") or []
    )


def unseen(doubles: Iterable[Double]) -> list[dict[str, str]]:
    """The other ones, as {tensor, reason, source}, where no byte was read."""
    return [
        _entry(pairs, "whether the two are equal was not looked at")
        for pairs in _by_tensor(doubles)
    ]


def looked_at(
    doubles: Iterable[Double], weights: Weights, model: str
) -> tuple[list[dict[str, str]], set[tuple[str, str]]]:
    """The other ones that differ from what is compared, as {tensor, reason, source}, and those of equal bytes, which are one with it, as
    (source, shard). Reads both.
    """
    entries = []
    equal = set()
    for pairs in _by_tensor(doubles):
        differing = sum(not _equal(double, weights, model) for double in pairs)
        if differing:
            what = (
                "the two differ"
                if differing == len(pairs)
                else f"{differing} of {len(pairs)} slices differ"
            )
            entries.append(_entry(pairs, what))
        else:
            equal.add((pairs[0].other.source, pairs[0].other.shard))
    return entries, equal


def _equal(double: Double, weights: Weights, model: str) -> bool:
    """Whether the two hold the same bytes, and the same scales."""
    kept, other = (
        {**vars(view), "model": model} for view in (double.kept, double.other)
    )
    if any(kept[what] != other[what] for what in ("dtype", "rows", "cols")):
        return False
    elements = kept["rows"] * kept["cols"]
    for first in range(0, elements, BLOCK):
        count = min(BLOCK, elements - first)
        if not np.array_equal(
            *(weights.raw(view, first, count) for view in (kept, other))
        ):
            return False
        scales = [weights.scales(view, first, count) for view in (kept, other)]
        if not np.array_equal(
            *(np.ones(count) if one is None else one for one in scales)
        ):
            return False
    return True


def _by_tensor(doubles: Iterable[Double]) -> list[list[Double]]:
    found: dict[tuple[str, str], list[Double]] = defaultdict(list)
    for double in doubles:
        found[double.other.source, double.other.shard].append(double)
    return list(found.values())


def _entry(doubles: Sequence[Double], what: str) -> dict[str, str]:
    kept = doubles[0].kept
    other = doubles[0].other
    if doubles[0].why:
        return {
            "tensor": other.source,
            "reason": doubles[0].why,
            "source": other.source,
        }
    if kept.source == other.source:
        where = (
            f"compared is what {kept.shard} holds, which loaders read last, not"
            f" {other.shard}"
        )
    elif is_fused(kept) != is_fused(other):
        where = (
            "compared"
            f" {'are the fused experts' if is_fused(kept) else 'is each expert by itself'},"
            " as its architecture's own files are"
        )
    else:
        where = f"compared is what it names {_apart(kept.source, other.source)}"
    return {
        "tensor": other.source,
        "reason": f"{HELD_TWICE}: {where}; {what}",
        "source": other.source,
    }


def _apart(kept: str, other: str) -> str:
    """How the first name begins where the two differ, without what many tensors have in
    common.
    """
    mine = kept.split(".")
    its = other.split(".")
    same = 0
    while same < min(len(mine), len(its)) - 1 and mine[-1 - same] == its[-1 - same]:
        same += 1
    mine, its = (".".join(parts[: len(parts) - same]) for parts in (mine, its))
    return f"`{mine or 'without a prefix'}`, not `{its or 'without a prefix'}`"
