"""How much of every model is compared: in parameters and in bytes, and why the rest is
not.

A finding reaches as far as what was compared. Parameters are those that a file stores,
each counted once however often it is compared; codes packed into integers count as the
numbers they stand for. Buffers, which are computed and not trained, and a head that no
loader uses, count nothing. In a sample audit a tensor is compared where a sample of it
is.
"""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mergetrace.formats.packed import stands_for
from mergetrace.planning.voting import votes
from mergetrace.tensors.naming import canonical_name, component_of

if TYPE_CHECKING:
    import pandas as pd

Place = tuple[str, str]
"""A stored tensor: its name, and the file, since two files may hold the same name."""
Part = tuple[str, str, int]
"""A tensor's name, its component, its parameters."""
Coverage = dict[str, Any]
"""parameters, compared, share, bytes, compared_bytes, bytes_share, cannot_vote, dtypes
(parameters by dtype, of what is compared), buffers (tensors that are no weights),
not_compared (a list of reason, parameters, tensors, components: parameters by
component), beside (the same, and `names` of some tensors, of what is in the file and
not used: it counts nowhere), held_twice (parameters of what is held a second time with
other numbers, of which no one knows for every loader that it is not used), holds (by
other model, the share of its parameters that met one of this model's: a part of a
parent is no copy of it).
"""

BUFFER = re.compile(
    r"(?:rotary_(?:pos_)?emb\w*|rope)\.(?:original_)?(?:inv_freq|cos_cached|sin_cached|freqs_cis)$|(?:^|\.)(?:inv_freq|freqs_cis|position_ids|masked_bias)$"
)
MEASURED = re.compile(
    r"[._](?:input|output|act|activation|kv|kv_cache|k|v|q|prob|attn_output)_(?:scale|zero_point|amax)$"
)
BESIDE = re.compile(
    r"\bno weight$|^goes with weights|^the scale of a weight|\bscales of one weight$"
)
MASK = re.compile(r"\.(?:attn|attention|self_attn|self_attention)\.bias$")
COUNTERS = ("BOOL", "I64", "U64", "I16", "U16", "I32", "U32")
FEW = 64  # elements: integers that count something
MOST = (
    1 << 24
)  # elements: cosines of 131,072 positions; more is no buffer, whatever it is called
UNUSED = re.compile(r"\bunused\b")
TWICE = re.compile(r"\bholds this twice\b")
MOST_NAMES = 3
MOST_REASONS = 20

ROWS = "rows beyond those all models share"
NO_COUNTERPART = "no counterpart of its shape in every parent"


def coverages(
    tables: Mapping[str, "pd.DataFrame"],
    manifests: Mapping[str, Mapping[str, Any]],
    plan: "pd.DataFrame",
    not_compared: "pd.DataFrame",
    equal: Mapping[str, Collection[Place]] | None = None,
) -> dict[str, Coverage]:
    """The coverage of every model, in the order of `tables`.

    tables: each model's tensors; manifests: each model's manifest; plan: a row per slice and model; not_compared: model, tensor, reason, source.
    equal: by model the tensors that it holds a second time, byte for byte.
    """
    views = dict(list(plan.groupby("model")))
    reasons = dict(list(not_compared.groupby("model")))
    found = {
        model: coverage(
            table,
            manifests[model]["config"],
            views.get(model, plan.iloc[:0]),
            reasons.get(model, not_compared.iloc[:0]),
            (equal or {}).get(model, ()),
        )
        for model, table in tables.items()
    }
    for model, own in found.items():
        met = views.get(model, plan.iloc[:0])["slice_id"]
        own["holds"] = {
            other: _held(views[other], met, theirs["parameters"])
            for other, theirs in found.items()
            if other != model and other in views
        }
    return found


def _held(views: "pd.DataFrame", met: "pd.Series", parameters: int) -> float:
    """The share of a model's parameters that lie in one of the slices `met`, each
    counted once; a tied head meets another's own head.
    """
    there = views[views["slice_id"].isin(met)].drop_duplicates(
        ["source", "shard", "start"]
    )
    return min(1.0, float(there["elements"].sum()) / parameters) if parameters else 0.0


def coverage(
    tensors: "pd.DataFrame",
    config: Mapping[str, Any],
    plan: "pd.DataFrame",
    not_compared: "pd.DataFrame",
    equal: Collection[Place] = (),
) -> Coverage:
    """The coverage of one model. plan, not_compared: the rows of this model alone;
    equal: what it holds a second time, byte for byte.

    `cannot_vote` counts what is a norm, a bias or another vector; which matrices are
    too small is for the fits to say.
    """
    compared, silent = _compared(plan)
    scales = _scales(plan)
    reasons = dict(zip(not_compared["source"], not_compared["reason"], strict=True))
    tally = _Tally()
    for record in tensors.itertuples(index=False):
        place = (record.name, record.shard)
        shape = [int(length) for length in record.shape]
        reason = str(reasons.get(record.name, ""))
        parameters = stands_for(record.name, record.dtype, shape, config)
        if (
            is_buffer(record.name, record.dtype, shape)
            or BESIDE.search(reason)
            or _any_within(scales.get(record.shard), record)
        ):
            tally.buffers += 1
        elif place in compared:
            tally.weight(record, parameters, compared[place], silent[place], reason)
        elif place in equal:
            continue
        elif UNUSED.search(reason) or TWICE.search(reason):
            tally.aside(record, parameters, reason)
        else:
            tally.weight(record, parameters, 0, 0, reason)
    return tally.result()


class _Tally:
    """What was counted so far of one model."""

    def __init__(self) -> None:
        self.parameters = self.compared = self.silent = self.bytes = (
            self.compared_bytes
        ) = self.buffers = self.twice = 0
        self.dtypes: dict[str, int] = defaultdict(int)
        self.left: dict[str, list[Part]] = defaultdict(list)
        self.beside: dict[str, list[Part]] = defaultdict(list)

    def weight(
        self, record: Any, parameters: int, compared: int, silent: int, reason: str
    ) -> None:
        """Count a stored tensor of which so many elements were compared, and so many of
        these can never vote.
        """
        if not parameters:
            return
        compared = min(parameters, compared)
        stored = int(record.end) - int(record.start)
        self.parameters += parameters
        self.compared += compared
        self.silent += min(compared, silent)
        self.bytes += stored
        self.compared_bytes += stored * compared // parameters
        if compared:
            self.dtypes[record.dtype] += compared
        if compared < parameters:
            why = _kind(reason) if reason or not compared else ROWS
            self.left[why].append(_part(record.name, parameters - compared))

    def aside(self, record: Any, parameters: int, reason: str) -> None:
        """Count a stored tensor that is not used, or of which another form is."""
        self.beside[reason].append(_part(record.name, parameters))
        self.twice += 0 if UNUSED.search(reason) else parameters

    def result(self) -> Coverage:
        """All of it."""
        beside = _by_reason(self.beside, len(self.beside))
        return {
            "parameters": self.parameters,
            "compared": self.compared,
            "share": self.compared / self.parameters if self.parameters else 0.0,
            "bytes": self.bytes,
            "compared_bytes": self.compared_bytes,
            "bytes_share": self.compared_bytes / self.bytes if self.bytes else 0.0,
            "cannot_vote": self.silent,
            "dtypes": dict(sorted(self.dtypes.items(), key=lambda item: -item[1])),
            "buffers": self.buffers,
            "not_compared": _by_reason(self.left),
            "beside": [
                entry
                | {
                    "names": [
                        name for name, _, _ in self.beside[entry["reason"]][:MOST_NAMES]
                    ]
                }
                for entry in beside
            ],
            "held_twice": self.twice,
        }


def _part(name: str, parameters: int) -> Part:
    return name, component_of(canonical_name(name)), parameters


def _scales(plan: "pd.DataFrame") -> dict[str, NDArray[np.int64]]:
    """Where the scales lie that were read with what was compared: by file their first
    bytes, ascending.
    """
    if "scale_shard" not in plan:
        return {}
    used = plan.loc[plan["scale_shard"] != "", ["scale_shard", "scale_start"]]
    return {
        shard: np.unique(starts.to_numpy(np.int64))
        for shard, starts in used.groupby("scale_shard")["scale_start"]
    }


def _any_within(starts: NDArray[np.int64] | None, record: Any) -> bool:
    """Whether one of these bytes lies in a stored tensor."""
    if starts is None:
        return False
    first, end = np.searchsorted(starts, [int(record.start), int(record.end)])
    return bool(end > first)


def is_buffer(name: str, dtype: str, shape: list[int]) -> bool:
    """Whether a tensor is computed or counts something: inverse frequencies, positions, causal masks, measured scales of
    activations, counters. By its name and its shape.
    """
    size = math.prod(shape)
    if (
        dtype == "BOOL"
        or (BUFFER.search(name) and size <= MOST)
        or (MEASURED.search(name) and size <= FEW)
    ):
        return True
    if MASK.search(name):
        return dtype == "U8" or (
            len(shape) == 4 and shape[:2] == [1, 1] and shape[2] == shape[3]
        )
    return dtype in COUNTERS and size <= FEW


def _compared(plan: "pd.DataFrame") -> tuple[dict[Place, int], dict[Place, int]]:
    """By stored tensor and its file, how many of its elements are compared, and how
    many of these can never vote.

    A slice that is compared twice (a tied head beside its embedding, a repeated layer)
    counts once.
    """
    parts: dict[tuple[Place, Any], tuple[int, bool]] = {}
    maps = plan["row_map"] if "row_map" in plan else [None] * len(plan)
    columns = (
        plan[name]
        for name in ("source", "shard", "start", "elements", "component", "dimensions")
    )
    for source, shard, start, elements, component, dimensions, rows in zip(
        *columns, maps, strict=True
    ):
        order = (
            None
            if rows is None or isinstance(rows, float)
            else np.asarray(rows).tobytes()
        )
        part = (source, shard), (start, order)
        before, voting = parts.get(part, (0, False))
        parts[part] = (
            max(before, int(elements)),
            voting or votes(component, dimensions, elements, 1),
        )
    done: dict[Place, int] = defaultdict(int)
    silent: dict[Place, int] = defaultdict(int)
    for (place, _), (elements, voting) in parts.items():
        done[place] += elements
        silent[place] += 0 if voting else elements
    return dict(done), dict(silent)


def _kind(reason: str) -> str:
    """The reason without the numbers of one tensor, so that tensors left out for the
    same cause stand together.
    """
    if found := re.fullmatch(r"shape .+ in \S+, .+ in (\S+)", reason):
        return f"another shape than in {found[1]}"
    return reason or NO_COUNTERPART


def _by_reason(
    left: Mapping[str, list[Part]], most: int = MOST_REASONS
) -> list[dict[str, Any]]:
    """The entries of not_compared, the largest first; where there are more than `most`
    reasons the last stand together.
    """
    entries = []
    for reason, parts in left.items():
        components: dict[str, int] = defaultdict(int)
        for _, component, parameters in parts:
            components[component] += parameters
        ordered = dict(sorted(components.items(), key=lambda item: -item[1]))
        entries.append(
            {
                "reason": reason,
                "parameters": sum(ordered.values()),
                "tensors": len(parts),
                "components": ordered,
            }
        )
    entries.sort(key=lambda entry: -entry["parameters"])
    if len(entries) <= most:
        return entries
    last = entries[most - 1 :]
    together = {
        "other reasons": [part for entry in last for part in left[entry["reason"]]]
    }
    return [*entries[: most - 1], *_by_reason(together)]
