"""A model's tensors cut into views: one per matrix, where fused expert tensors hold one
(or, for gate and up, two) per expert.

Views of the same canonical name are the same slice.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mergetrace.errors import ModelFileError
from mergetrace.files.tensor_records import TensorRecord, records_of
from mergetrace.formats.block_layouts import stored_size
from mergetrace.formats.companions import of_one
from mergetrace.formats.model_config import ModelConfig
from mergetrace.formats.packed import Sorted, sort_out, weight_of
from mergetrace.formats.scales import with_scale
from mergetrace.numerics.levels import STACKED
from mergetrace.tensors.doubles import Double, chosen_form, chosen_record, unseen
from mergetrace.tensors.gguf_names import GGUF_NORM, PLUS_ONE
from mergetrace.tensors.naming import canonical_names, is_adapter
from mergetrace.tensors.tied import UNUSED_HEAD, why_tied
from mergetrace.tensors.view import Key, View

if TYPE_CHECKING:
    import pandas as pd

Records = Mapping[str, list[TensorRecord]]
"""Stored tensors by name; a name that two files hold has two."""
FindRecord = Callable[[str], TensorRecord | None]
"""Gives the record of a canonical name that goes with the one at hand, None where there
is none.
"""
FindScale = Callable[[TensorRecord], TensorRecord | None]
"""Gives the scale of a stored tensor, None where it has none."""

EXPERT = re.compile(r"^(.*\.experts)\.(\d{1,6})\.(\w+?)(?:\.weight)?$")
FUSED_EXPERTS = re.compile(
    r"^(.*\.experts\.)(gate_up_proj|down_proj|gate_proj|up_proj)(?:\.weight)?$"
)

EMBEDDING: Key = ("model.embed_tokens.weight", "")
HEAD: Key = ("lm_head.weight", "")
ADAPTER = (
    "an adapter's weights, not applied: the layers below it were compared as they are"
)


@dataclass(frozen=True)
class Cut:
    """A model's tensors cut into views."""

    views: dict[Key, View]  # those that are compared
    left_out: list[dict[str, str]]  # the others: {tensor, reason, source}
    doubles: list[Double]  # what the model holds a second time


def views(
    tensors: "pd.DataFrame", config: ModelConfig | None = None
) -> tuple[dict[Key, View], list[dict[str, str]]]:
    """The views of one model, and what is left out as {tensor, reason, source} (see
    `cut`). config: None where nothing is known of it.
    """
    parts = cut(tensors, config or ModelConfig())
    return parts.views, not_read(parts)


def cut(
    tensors: "pd.DataFrame",
    config: ModelConfig,
    names: Mapping[str, str] | None = None,
    unclear: Mapping[str, str] | None = None,
) -> Cut:
    """Cut a model's tensors into views.

    tensors: the table of its tensors, which may hold one name twice, from two shards.
    names: the canonical names by the model's own, if more is known than the names by
    themselves say. unclear: own names that are left out for what is known of their
    names, with the reason.
    """
    records = records_of(tensors)
    if names is None:
        names = canonical_names(record.name for record in records)
    by_own_name: dict[str, list[TensorRecord]] = defaultdict(list)
    for record in records:
        by_own_name[record.name].append(record)
    kinds = sort_out({name: held[-1] for name, held in by_own_name.items()}, config)
    reasons = kinds.aside | dict(unclear or {})
    scales = set(kinds.scale_of.values())
    left_out = []
    weights: dict[str, list[TensorRecord]] = defaultdict(list)
    for record in records:
        if record.name in scales:
            continue
        if is_adapter(record.name):
            left_out.append(_left_out(record.name, ADAPTER))
        elif record.name in reasons:
            left_out.append(_left_out(record.name, reasons[record.name]))
        elif record.name in kinds.opened:
            opened = kinds.opened[record.name].record
            weights[weight_of(names[record.name])].append(opened)
        else:
            weights[names[record.name]].append(record)
    forms, repeated = _all_views(
        weights, _scale_finder(by_own_name, kinds), config, left_out
    )
    for key, held in forms.items():
        forms[key] = [_with_companions(view, kinds) for view in held]
    chosen = {key: chosen_form(held, config) for key, held in forms.items()}
    for key, held in forms.items():
        repeated += [view for view in held if view is not chosen[key]]
    doubles = [
        Double(chosen[view.key], view) for view in repeated if view.key in chosen
    ]
    doubles += _tie_head(chosen, config)
    return Cut(chosen, left_out, doubles)


def not_read(parts: Cut) -> list[dict[str, str]]:
    """What is left out of a model as {tensor, reason, source}, with what it holds a
    second time, of which no byte was read.
    """
    return parts.left_out + unseen(parts.doubles)


def _all_views(
    weights: Records,
    find_scale: FindScale,
    config: ModelConfig,
    left_out: list[dict[str, str]],
) -> tuple[dict[Key, list[View]], list[View]]:
    """The views of the tensors that a loader takes, by key (an expert may stand alone
    and in a fused tensor), and those of tensors that are held again.

    weights: by canonical name. What cannot be read is added to `left_out` with the
    reason.
    """
    chosen = {
        name: chosen_record(name, records, config) for name, records in weights.items()
    }
    forms: dict[Key, list[View]] = defaultdict(list)
    repeated: list[View] = []
    for name, records in weights.items():
        for record in records:
            find_record = _neighbour_finder(record, chosen, weights)
            scale = find_scale(record)
            try:
                cut_views = list(_views_of(name, record, find_record, scale, config))
            except ModelFileError as error:
                left_out.append(_left_out(record.name, str(error)))
                continue
            if record is not chosen[name]:
                repeated += cut_views
                continue
            for view in cut_views:
                forms[view.key].append(view)
    return forms, repeated


def _left_out(source: str, reason: str) -> dict[str, str]:
    return {"tensor": source, "reason": reason, "source": source}


def _neighbour_finder(
    record: TensorRecord, chosen: Mapping[str, TensorRecord], weights: Records
) -> FindRecord:
    """A function that looks up what goes with a record by canonical name: where that is
    held twice, what is in the record's shard and under its own prefix.
    """

    def find(name: str) -> TensorRecord | None:
        records = weights.get(name, [])
        if len(records) < 2:
            return records[0] if records else None
        prefix = record.name.split(".")[:2]

        def rank(other: TensorRecord) -> tuple[bool, bool, bool]:
            has_prefix = other.name.split(".")[:2] == prefix
            return has_prefix, other.shard == record.shard, other is chosen[name]

        return max(records, key=rank)

    return find


def _scale_finder(stored: Records, kinds: Sorted) -> FindScale:
    """A function that looks up the scale of a weight: where that is held twice, the one
    in the weight's shard.
    """

    def find(record: TensorRecord) -> TensorRecord | None:
        if record.name in kinds.opened:
            return kinds.opened[record.name].scale
        if record.name not in kinds.scale_of:
            return None
        scales = stored[kinds.scale_of[record.name]]
        return max(scales, key=lambda scale: scale.shard == record.shard, default=None)

    return find


def _with_companions(view: View, kinds: Sorted) -> View:
    """The view with what else its numbers depend on, where it is packed."""
    opened = kinds.opened.get(view.source)
    if opened is None:
        return view
    beside = opened.companions
    if view.dtype == STACKED and view.slice:
        beside = of_one(beside, int(view.slice))
    return replace(view, beside=beside)


def _views_of(
    name: str,
    record: TensorRecord,
    find_record: FindRecord,
    scale: TensorRecord | None,
    config: ModelConfig,
) -> Iterator[View]:
    """The views of one tensor with their scales. ModelFileError where these do not fit."""
    whole = _whole_view(name, record)
    if GGUF_NORM.match(record.name) and config.model_type in PLUS_ONE:
        whole = replace(whole, shift=-1.0)
    for view in _cut_experts(whole, record, find_record):
        yield view if scale is None else with_scale(view, record, scale, config)


def _tie_head(held: dict[Key, View], config: ModelConfig) -> list[Double]:
    """Where the configuration ties the head to the embedding, let the embedding be the
    head, and return the head that the file may hold beside it.
    """
    why = why_tied(config)
    if why is None or (EMBEDDING not in held and HEAD not in held):
        return []
    head = held.pop(HEAD, None)
    doubles = []
    if EMBEDDING not in held and head is not None:
        held[EMBEDDING] = replace(head, tensor=EMBEDDING[0])
    elif head is not None:
        doubles.append(Double(held[EMBEDDING], head, f"{UNUSED_HEAD} ({why})"))
    held[HEAD] = replace(held[EMBEDDING], tensor=HEAD[0], borrowed=True)
    return doubles


def _whole_view(name: str, record: TensorRecord) -> View:
    """A stored tensor as one matrix. name: its canonical name."""
    tensor = name
    expert = ""
    match = EXPERT.match(name)
    if match:
        tensor = f"{match[1]}.{match[3]}"
        expert = str(int(match[2]))
    shape = record.shape
    return View(
        tensor=tensor,
        slice=expert,
        source=record.name,
        shard=record.shard,
        dtype=record.dtype,
        start=record.start,
        rows=shape[0] if shape else 1,
        cols=math.prod(shape[1:]),
        dimensions=sum(size > 1 for size in shape),
    )


def _cut_experts(
    whole: View, record: TensorRecord, find_record: FindRecord
) -> Iterator[View]:
    """The views of one tensor: itself, or one per expert of a fused tensor [E, rows,
    cols].
    """
    fused = FUSED_EXPERTS.match(whole.tensor)
    if whole.slice or not fused or len(record.shape) != 3:
        yield whole
        return
    experts, rows, cols = record.shape
    module = fused[1]
    parts = [fused[2]]
    # gate_up_proj [E, 2I, H] holds gate above up where down_proj is [E, H, I]; any
    # other layout stays one slice per expert.
    if parts == ["gate_up_proj"] and rows % 2 == 0:
        name = f"{module}down_proj"
        down = find_record(name) or find_record(f"{name}.weight")
        if down is not None and down.shape == (experts, cols, rows // 2):
            parts = ["gate_proj", "up_proj"]
    rows //= len(parts)
    matrix_bytes = stored_size(whole.dtype, rows * cols)
    start = whole.start
    for expert in range(experts):
        for part in parts:
            yield replace(
                whole,
                tensor=module + part,
                slice=str(expert),
                start=start,
                rows=rows,
                cols=cols,
                dimensions=2,
            )
            start += matrix_bytes
