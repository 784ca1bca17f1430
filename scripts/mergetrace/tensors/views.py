"""A model's tensors cut into views: one per matrix, where fused expert tensors hold one
(or, for gate and up, two) per expert.

A view is a run of elements in one file, under a canonical name; views of the same
canonical name are the same slice.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mergetrace.errors import AuditError
from mergetrace.formats.packed import Sorted, sort_out
from mergetrace.formats.scales import with_scale
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.tensors.doubles import Double, chosen_form, chosen_record, unseen
from mergetrace.tensors.naming import canonical_names, is_adapter
from mergetrace.tensors.tied import UNUSED_HEAD, why_tied

Key = tuple[str, str]
"""A slice by its canonical name: tensor, expert."""
Look = Callable[[str], Any | None]
"""Gives the record of a canonical name that goes with the one at hand, None where there
is none.
"""

EXPERT = re.compile(r"^(.*\.experts)\.(\d{1,6})\.(\w+?)(?:\.weight)?$")
FUSED = re.compile(
    r"^(.*\.experts\.)(gate_up_proj|down_proj|gate_proj|up_proj)(?:\.weight)?$"
)

EMBEDDING: Key = ("model.embed_tokens.weight", "")
HEAD: Key = ("lm_head.weight", "")
ADAPTER = (
    "an adapter's weights, not applied: the layers below it were compared as they are"
)


@dataclass(frozen=True)
class View:
    """rows x cols elements of one model's file, row-major, with their FP8 block scales
    where they have them.

    Contiguous from `start`, unless `row_map` says which rows from there on they are: where rows of several matrices take turns, or heads
    have their rows in another order.
    """

    tensor: str  # canonical name of the tensor (without the expert's number)
    slice: str  # the expert's number, or ""
    source: str  # the tensor's own name in the model: untrusted text
    shard: str
    dtype: str
    start: int  # absolute byte offset
    rows: int
    cols: int
    dimensions: int  # dimensions longer than 1, as stored
    scale_shard: str = ""
    scale_dtype: str = ""
    scale_start: int = 0
    scale_rows: int = 0
    scale_cols: int = 0
    block_rows: int = 0
    block_cols: int = 0
    scale_skip: int = 0  # rows of the first blocks that lie above the view
    borrowed: bool = (
        False  # a head that is the embedding: its elements are compared there
    )
    row_map: NDArray[np.int64] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Cut:
    """views: by (tensor, slice). left_out: {tensor, reason, source}. doubles: what the
    model holds a second time, beside what is compared.
    """

    views: dict[Key, View]
    left_out: list[dict[str, str]]
    doubles: list[Double]


def views(
    tensors: pd.DataFrame, config: Mapping[str, Any]
) -> tuple[dict[Key, View], list[dict[str, str]]]:
    """The views of one model by (tensor, slice), and what is left out as {tensor,
    reason, source}; see `cut`.
    """
    found = cut(tensors, config)
    return found.views, not_read(found)


def cut(
    tensors: pd.DataFrame,
    config: Mapping[str, Any],
    names: Mapping[str, str] | None = None,
    unclear: Mapping[str, str] | None = None,
) -> Cut:
    """Cut a model's tensors into views.

    tensors: the manifest's table, which may hold one name twice, from two shards. config: the manifest's configuration facts.
    names: the canonical names by the model's own, if more is known than the names by themselves say. unclear: own names that are left out
    for what is known of their names, with the reason.
    """
    names = canonical_names(tensors["name"]) if names is None else names
    left_out = []
    stored: dict[str, list[Any]] = defaultdict(list)
    for record in tensors.itertuples(index=False):
        stored[record.name].append(record)
    kinds = sort_out({name: records[-1] for name, records in stored.items()}, config)
    scales = set(kinds.scale_of.values())
    bearers: dict[str, list[Any]] = defaultdict(list)
    for record in tensors.itertuples(index=False):
        if record.name in scales:
            continue
        reason = (
            ADAPTER
            if is_adapter(record.name)
            else (unclear or {}).get(record.name) or kinds.aside.get(record.name)
        )
        if reason is None:
            bearers[names[record.name]].append(record)
        else:
            left_out.append(_left_out(record.name, reason))
    found, repeated = _all_views(bearers, _scale_of(stored, kinds), config, left_out)
    single: dict[Key, View] = {}
    for key, held in found.items():
        single[key] = chosen_form(held, config)
        repeated += [(key, view) for view in held if view is not single[key]]
    doubles = [Double(single[key], view) for key, view in repeated if key in single]
    doubles += _tie_head(single, config)
    return Cut(single, left_out, doubles)


def not_read(own: Cut) -> list[dict[str, str]]:
    """What is left out of a model, as {tensor, reason, source}: what it holds a second
    time too, of which no byte was read.
    """
    return own.left_out + unseen(own.doubles)


def label(view: View) -> str:
    """The view's name for people: the tensor's own, with the expert."""
    return f"{view.source}[{view.slice}]" if view.slice else view.source


def _all_views(
    bearers: Mapping[str, list[Any]],
    scale_of: Callable[[Any], Any | None],
    config: Mapping[str, Any],
    left_out: list[dict[str, str]],
) -> tuple[dict[Key, list[View]], list[tuple[Key, View]]]:
    """The views of the tensors that are taken, by key: an expert may stand alone and in
    a fused tensor; and those of tensors held again.

    bearers: the records by canonical name. scale_of: gives a record's scale, None where it has none. What cannot
    be read is added to `left_out` with the reason.
    """
    chosen = {
        name: chosen_record(name, records, config) for name, records in bearers.items()
    }
    found: dict[Key, list[View]] = defaultdict(list)
    repeated: list[tuple[Key, View]] = []
    for name, records in bearers.items():
        for record in records:
            try:
                own = list(
                    _views_of(
                        name,
                        record,
                        _beside(record, chosen, bearers),
                        scale_of(record),
                        config,
                    )
                )
            except AuditError as error:
                left_out.append(_left_out(record.name, str(error)))
                continue
            for view in own:
                if record is chosen[name]:
                    found[view.tensor, view.slice].append(view)
                else:
                    repeated.append(((view.tensor, view.slice), view))
    return found, repeated


def _left_out(source: str, reason: str) -> dict[str, str]:
    return {"tensor": source, "reason": reason, "source": source}


def _beside(
    record: Any, chosen: Mapping[str, Any], bearers: Mapping[str, list[Any]]
) -> Look:
    """Looks up what goes with a record by canonical name: where that is held twice,
    what is in the record's shard and under its own prefix.
    """

    def look(name: str) -> Any | None:
        records = bearers.get(name, [])
        if len(records) < 2:
            return records[0] if records else None
        start = record.name.split(".")[:2]
        return max(
            records,
            key=lambda other: (
                other.name.split(".")[:2] == start,
                other.shard == record.shard,
                other is chosen[name],
            ),
        )

    return look


def _scale_of(
    stored: Mapping[str, list[Any]], kinds: Sorted
) -> Callable[[Any], Any | None]:
    """Looks up the record of a weight's scale: where that is held twice, the one in the
    weight's shard.
    """

    def look(record: Any) -> Any | None:
        held = (
            stored[kinds.scale_of[record.name]] if record.name in kinds.scale_of else []
        )
        return max(held, key=lambda scale: scale.shard == record.shard, default=None)

    return look


def _views_of(
    name: str, record: Any, look: Look, scale: Any | None, config: Mapping[str, Any]
) -> Iterator[View]:
    """The views of one tensor with their scales. AuditError where these do not fit."""
    for view in _cut(_whole_view(name, record), record, look):
        yield view if scale is None else with_scale(view, record, scale, config)


def _tie_head(found: dict[Key, View], config: Mapping[str, Any]) -> list[Double]:
    """Where the configuration ties the head to the embedding, let the embedding be the
    head, beside one that the file may hold.
    """
    why = why_tied(config)
    if why is None or (EMBEDDING not in found and HEAD not in found):
        return []
    own = found.pop(HEAD, None)
    if EMBEDDING not in found:
        found[EMBEDDING] = replace(own, tensor=EMBEDDING[0])
        own = None
    found[HEAD] = replace(found[EMBEDDING], tensor=HEAD[0], borrowed=True)
    return (
        [] if own is None else [Double(found[EMBEDDING], own, f"{UNUSED_HEAD} ({why})")]
    )


def _whole_view(name: str, record: Any) -> View:
    shape = [int(size) for size in record.shape]
    rows = shape[0] if shape else 1
    cols = math.prod(shape[1:]) if shape else 1
    tensor = name
    number = ""
    if match := EXPERT.match(name):
        tensor = f"{match.group(1)}.{match.group(3)}"
        number = str(int(match.group(2)))
    return View(
        tensor,
        number,
        record.name,
        record.shard,
        record.dtype,
        int(record.start),
        rows,
        cols,
        sum(size > 1 for size in shape),
    )


def _cut(whole: View, record: Any, look: Look) -> Iterator[View]:
    """The views of one tensor: itself, or one per expert of a fused tensor [E, rows,
    cols].
    """
    shape = [int(size) for size in record.shape]
    fused = FUSED.match(whole.tensor)
    if whole.slice or not fused or len(shape) != 3:
        yield whole
        return
    experts, rows, cols = shape
    parts = [fused.group(2)]
    # gate_up_proj [E, 2I, H] holds gate above up where down_proj is [E, H, I]; any
    # other layout stays one slice per expert.
    if parts == ["gate_up_proj"]:
        down = look(f"{fused.group(1)}down_proj") or look(
            f"{fused.group(1)}down_proj.weight"
        )
        if (
            down is not None
            and [int(size) for size in down.shape] == [experts, cols, rows // 2]
            and rows % 2 == 0
        ):
            parts = ["gate_proj", "up_proj"]
    rows //= len(parts)
    width = FORMATS[whole.dtype].width
    for expert in range(experts):
        for index, part in enumerate(parts):
            start = whole.start + (expert * len(parts) + index) * rows * cols * width
            yield replace(
                whole,
                tensor=fused.group(1) + part,
                slice=str(expert),
                start=start,
                rows=rows,
                cols=cols,
                dimensions=2,
            )
