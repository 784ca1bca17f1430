"""What a model holds twice: which of the two a loader uses, and how the other differs.

Loaders differ where a file holds more than their architecture asks for, so these are
rules and not facts; what is not compared is named in the finding.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mergetrace.files.tensor_records import TensorRecord
from mergetrace.formats.model_config import ModelConfig
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.tensors.naming import INNER_WRAPPERS
from mergetrace.tensors.view import View
from mergetrace.tensors.weights import Weights

COMPARED_AT_ONCE = 1 << 20  # elements
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
    """A slice that a model holds twice."""

    used: View  # the one that is compared
    unused: View  # the one that is not
    why: str = ""  # the reason, where it is none of the rules here


def chosen_record(
    canonical: str, records: Sequence[TensorRecord], config: ModelConfig
) -> TensorRecord:
    """The one a loader takes of several tensors with one canonical name.

    A module that an adapter's training put in the place of another comes before that
    one; of two prefixes the one the architecture has (`language_model` where it is
    multimodal, else `model`); of two shards the later one, which loaders read last.
    """

    def rank(record: TensorRecord) -> tuple[bool, bool, bool, bool, str, str]:
        is_current = "original_module" not in record.name
        fits = ("language_model" in record.name) == is_multimodal(config)
        is_plain = not INNER_WRAPPERS.search(record.name)
        is_canonical = record.name == canonical
        return is_current, fits, is_plain, is_canonical, record.name, record.shard

    return records[0] if len(records) == 1 else max(records, key=rank)


def chosen_form(views: Sequence[View], config: ModelConfig) -> View:
    """The form of one expert, which stands both alone and in a fused tensor, that the
    architecture's loaders look for (see FUSED_EXPERTS).
    """
    if len(views) == 1:
        return views[0]
    fused = config.model_type in FUSED_EXPERTS
    return max(views, key=lambda view: (is_fused(view) == fused, view.source))


def is_fused(view: View) -> bool:
    """Whether an expert's view is part of a tensor that holds all experts."""
    return bool(view.slice) and f".experts.{view.slice}." not in view.source


def is_multimodal(config: ModelConfig) -> bool:
    """Whether the architecture wraps a language model."""
    return any("ConditionalGeneration" in name for name in config.architectures)


def unseen(doubles: Iterable[Double]) -> list[dict[str, str]]:
    """The unused ones as {tensor, reason, source}, where no byte of them was read."""
    return [
        _entry(pairs, "whether the two are equal was not looked at")
        for pairs in _by_tensor(doubles)
    ]


def looked_at(
    doubles: Iterable[Double], weights: Weights, model: str
) -> tuple[list[dict[str, str]], set[tuple[str, str]]]:
    """Read both of every double: which tensors differ from what is compared, and which
    are the same.

    Returns the unused tensors that differ as {tensor, reason, source}, and those of
    equal bytes, which need not be mentioned, as (source, shard).
    """
    entries = []
    equal = set()
    for pairs in _by_tensor(doubles):
        differing = sum(not _are_equal(double, weights, model) for double in pairs)
        if not differing:
            equal.add((pairs[0].unused.source, pairs[0].unused.shard))
        elif differing == len(pairs):
            entries.append(_entry(pairs, "the two differ"))
        else:
            what = f"{differing} of {len(pairs)} slices differ"
            entries.append(_entry(pairs, what))
    return entries, equal


def _are_equal(double: Double, weights: Weights, model: str) -> bool:
    """Whether the two hold the same bytes, and the same scales."""
    used = replace(double.used, model=model)
    unused = replace(double.unused, model=model)
    if used.dtype != unused.dtype or used.rows != unused.rows:
        return False
    if used.cols != unused.cols:
        return False
    elements = used.rows * used.cols
    for first in range(0, elements, COMPARED_AT_ONCE):
        count = min(COMPARED_AT_ONCE, elements - first)
        stored = weights.raw(used, first, count)
        if not np.array_equal(stored, weights.raw(unused, first, count)):
            return False
        scales = _scales(weights, used, first, count)
        if not np.array_equal(scales, _scales(weights, unused, first, count)):
            return False
        if not _same_numbers(weights, used, unused, first, count):
            return False
    return True


def _same_numbers(
    weights: Weights, used: View, unused: View, first: int, count: int
) -> bool:
    """Whether shifts, which packed formats have beside scales, are the same too."""
    if not FORMATS[used.dtype].levels:
        return True
    values = weights.values(used, first, count)
    return np.array_equal(values, weights.values(unused, first, count))


def _scales(weights: Weights, view: View, first: int, count: int) -> Array:
    """What each element is multiplied by, ones where it is by nothing."""
    scales = weights.scales(view, first, count)
    return np.ones(count) if scales is None else scales


def _by_tensor(doubles: Iterable[Double]) -> list[list[Double]]:
    """The doubles in groups of one unused tensor."""
    groups: dict[tuple[str, str], list[Double]] = defaultdict(list)
    for double in doubles:
        groups[double.unused.source, double.unused.shard].append(double)
    return list(groups.values())


def _entry(doubles: Sequence[Double], what: str) -> dict[str, str]:
    """The entry of one unused tensor: what is compared in its place, and `what` is known
    of the difference.
    """
    used = doubles[0].used
    unused = doubles[0].unused
    reason = doubles[0].why
    if not reason:
        reason = f"{HELD_TWICE}: {_preference(used, unused)}; {what}"
    return {"tensor": unused.source, "reason": reason, "source": unused.source}


def _preference(used: View, unused: View) -> str:
    """Which of the two is compared, and why."""
    if used.source == unused.source:
        return (
            f"compared is what {used.shard} holds, which loaders read last, not"
            f" {unused.shard}"
        )
    if is_fused(used) != is_fused(unused):
        form = "are the fused experts" if is_fused(used) else "is each expert by itself"
        return f"compared {form}, as its architecture's own files are"
    return f"compared is what it names {_difference(used.source, unused.source)}"


def _difference(used: str, unused: str) -> str:
    """How the first name begins where the two differ, without the end that both have in
    common.
    """
    used_parts = used.split(".")
    unused_parts = unused.split(".")
    shared = 0
    while (
        shared < min(len(used_parts), len(unused_parts)) - 1
        and used_parts[-1 - shared] == unused_parts[-1 - shared]
    ):
        shared += 1
    used_start = ".".join(used_parts[: len(used_parts) - shared])
    unused_start = ".".join(unused_parts[: len(unused_parts) - shared])
    nothing = "without a prefix"
    return f"`{used_start or nothing}`, not `{unused_start or nothing}`"
