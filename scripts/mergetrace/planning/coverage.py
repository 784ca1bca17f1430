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
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import log2
from typing import TYPE_CHECKING, Any

import numpy as np

from mergetrace.files.tensor_records import TensorRecord, records_of
from mergetrace.formats.model_config import ModelConfig, config_from_json
from mergetrace.formats.packed import INTEGERS, stands_for
from mergetrace.numerics.arrays import Integers
from mergetrace.numerics.dtypes import BITS
from mergetrace.numerics.levels import LEVELS
from mergetrace.planning.voting import votes
from mergetrace.records.coverage import Beside, Coverage, NotCompared
from mergetrace.records.manifest import Manifests
from mergetrace.tensors.naming import canonical_name, component_of

if TYPE_CHECKING:
    import pandas as pd

Place = tuple[str, str]
"""A stored tensor: its name, and the file, since two files may hold the same name."""
BUFFER = re.compile(
    r"(?:rotary_(?:pos_)?emb\w*|rope)\.(?:original_)?"
    r"(?:inv_freq|cos_cached|sin_cached|freqs_cis)$"
    r"|(?:^|\.)(?:inv_freq|freqs_cis|position_ids|masked_bias)$"
    r"|^rope_(?:freqs|factors_long|factors_short)\.weight$"
)
MEASURED_SCALE = re.compile(
    r"[._](?:input|output|act|activation|kv|kv_cache|k|v|q|prob|attn_output)"
    r"_(?:scale|zero_point|amax)$"
)
CAUSAL_MASK = re.compile(r"\.(?:attn|attention|self_attn|self_attention)\.bias$")
COUNTER_DTYPES = ("BOOL", "I64", "U64", "I16", "U16", "I32", "U32")
MAX_COUNTERS = 64  # elements: integers that count something
# elements: cosines of 131,072 positions; more is no buffer, whatever it is called
MAX_BUFFER = 1 << 24
# Reasons for which a tensor is left out that make it no weight, unused, or a double.
NO_WEIGHT = re.compile(
    r"\bno weight$|^goes with weights|^the scale of a weight|\bscales of one weight$"
)
UNUSED = re.compile(r"\bunused\b")
HELD_TWICE = re.compile(r"\bholds this twice\b")
SHAPES_DIFFER = re.compile(r"shape .+ in \S+, .+ in (\S+)")
MAX_NAMES = 3  # of tensors that are listed with one reason
MAX_REASONS = 20

REGION_COLUMNS = [
    "source",
    "shard",
    "start",
    "elements",
    "component",
    "dimensions",
    "row_map",
]
EXCESS_ROWS = "rows beyond those all models share"
NO_COUNTERPART = "no counterpart of its shape in every parent"


def coverages(
    tables: Mapping[str, "pd.DataFrame"],
    manifests: Manifests,
    plan: "pd.DataFrame",
    not_compared: "pd.DataFrame",
    equal: Mapping[str, Collection[Place]] | None = None,
) -> dict[str, Coverage]:
    """The coverage of every model, in the order of `tables`.

    tables, manifests: of every model, by its name. plan: a row per slice and model.
    not_compared: model, tensor, reason, source. equal: by model the tensors that it
    holds a second time, byte for byte.
    """
    nothing = plan.iloc[:0]
    views = {str(model): rows for model, rows in plan.groupby("model")}
    reasons = {str(model): rows for model, rows in not_compared.groupby("model")}
    by_model = {
        model: coverage(
            table,
            config_from_json(manifests[model]["config"]),
            views.get(model, nothing),
            reasons.get(model, not_compared.iloc[:0]),
            (equal or {}).get(model, ()),
        )
        for model, table in tables.items()
    }
    complete = {}
    for model, of_model in by_model.items():
        met = views.get(model, nothing)["slice_id"]
        holds = {
            other: _held(views[other], met, of_other.parameters)
            for other, of_other in by_model.items()
            if other != model and other in views
        }
        complete[model] = replace(of_model, holds=holds)
    return complete


def _held(views: "pd.DataFrame", met: "pd.Series[int]", parameters: int) -> float:
    """The share of a model's parameters that lie in one of the slices `met`, each
    counted once; a tied head meets another's own head.
    """
    if not parameters:
        return 0.0
    met_views = views[views["slice_id"].isin(met)]
    once = met_views.drop_duplicates(["source", "shard", "start"])
    return min(1.0, float(once["elements"].sum()) / parameters)


def coverage(
    tensors: "pd.DataFrame",
    config: ModelConfig,
    plan: "pd.DataFrame",
    not_compared: "pd.DataFrame",
    equal: Collection[Place] = (),
) -> Coverage:
    """The coverage of one model.

    tensors: the table of its tensors. plan, not_compared: the rows of this model alone.
    equal: what it holds a second time, byte for byte. `cannot_vote` counts norms, biases
    and other vectors; which matrices are too small to vote is known to the fits only.
    """
    compared, silent = _compared(plan)
    scales = _scales(plan)
    packed = _packed_as(plan)
    reasons = dict(zip(not_compared["source"], not_compared["reason"], strict=True))
    tally = _Tally()
    for record in records_of(tensors):
        place = (record.name, record.shard)
        reason = str(reasons.get(record.name, ""))
        parameters = _stands_for(record, packed.get(place), config)
        is_no_weight = (
            is_buffer(record.name, record.dtype, record.shape)
            or NO_WEIGHT.search(reason)
            or _any_within(scales.get(record.shard), record)
        )
        if is_no_weight:
            tally.buffers += 1
        elif place in compared:
            stored = replace(record, dtype=packed.get(place, record.dtype))
            tally.weight(stored, parameters, compared[place], silent[place], reason)
        elif place in equal:
            continue
        elif UNUSED.search(reason) or HELD_TWICE.search(reason):
            tally.aside(record, parameters, reason)
        else:
            tally.weight(record, parameters, 0, 0, reason)
    return tally.result()


@dataclass(frozen=True)
class _Share:
    """Some parameters of one tensor."""

    name: str
    component: str
    parameters: int

    @classmethod
    def of(cls, name: str, parameters: int) -> "_Share":
        return cls(name, component_of(canonical_name(name)), parameters)


Shares = Mapping[str, list[_Share]]
"""By reason the parameters that are not compared for it."""


class _Tally:
    """What was counted so far of one model: the numbers of its coverage."""

    def __init__(self) -> None:
        self.parameters = 0
        self.compared = 0
        self.cannot_vote = 0
        self.bytes = 0
        self.compared_bytes = 0
        self.buffers = 0
        self.held_twice = 0
        self.dtypes: dict[str, int] = defaultdict(int)
        self.not_compared: dict[str, list[_Share]] = defaultdict(list)
        self.beside: dict[str, list[_Share]] = defaultdict(list)

    def weight(
        self,
        record: TensorRecord,
        parameters: int,
        compared: int,
        silent: int,
        reason: str,
    ) -> None:
        """Count a stored tensor. compared: elements that were compared; silent: those
        of them that can never vote.
        """
        if not parameters:
            return
        compared = min(parameters, compared)
        self.parameters += parameters
        self.compared += compared
        self.cannot_vote += min(compared, silent)
        self.bytes += record.bytes
        self.compared_bytes += record.bytes * compared // parameters
        if compared:
            self.dtypes[record.dtype] += compared
        if compared < parameters:
            why = EXCESS_ROWS if compared and not reason else _kind(reason)
            left = _Share.of(record.name, parameters - compared)
            self.not_compared[why].append(left)

    def aside(self, record: TensorRecord, parameters: int, reason: str) -> None:
        """Count a stored tensor that is not used, or of which another form is."""
        self.beside[reason].append(_Share.of(record.name, parameters))
        if not UNUSED.search(reason):
            self.held_twice += parameters

    def result(self) -> Coverage:
        """The coverage, all tensors having been counted."""
        beside = []
        for entry in _by_reason(self.beside, len(self.beside)):
            some = self.beside[entry.reason][:MAX_NAMES]
            names = tuple(share.name for share in some)
            beside.append(
                Beside(
                    entry.reason,
                    entry.parameters,
                    entry.tensors,
                    entry.components,
                    names,
                )
            )
        return Coverage(
            parameters=self.parameters,
            compared=self.compared,
            share=self.compared / self.parameters if self.parameters else 0.0,
            bytes=self.bytes,
            compared_bytes=self.compared_bytes,
            bytes_share=self.compared_bytes / self.bytes if self.bytes else 0.0,
            cannot_vote=self.cannot_vote,
            dtypes=_largest_first(self.dtypes),
            buffers=self.buffers,
            not_compared=_by_reason(self.not_compared),
            beside=tuple(beside),
            held_twice=self.held_twice,
        )


def _stands_for(record: TensorRecord, packed: str | None, config: ModelConfig) -> int:
    """How many weights a tensor stands for: of codes in integers that were read as a
    packed format as many as fit.
    """
    if packed is not None and record.dtype in INTEGERS:
        return int(record.elements * BITS[record.dtype] / log2(len(LEVELS[packed])))
    return stands_for(record.name, record.dtype, record.shape, config)


def _packed_as(plan: "pd.DataFrame") -> dict[Place, str]:
    """The packed format of what is stored as codes in integers, by name and file."""
    if "dtype" not in plan:
        return {}
    rows = plan[plan["dtype"].isin(LEVELS)]
    places = zip(rows["source"], rows["shard"], strict=True)
    return dict(zip(places, rows["dtype"], strict=True))


def _scales(plan: "pd.DataFrame") -> dict[str, Integers]:
    """Where the scales lie that were read with what was compared: by file their first
    bytes, ascending.
    """
    if "scale_shard" not in plan:
        return {}
    used = plan.loc[plan["scale_shard"] != "", ["scale_shard", "scale_start"]]
    return {
        str(shard): np.unique(starts.to_numpy(np.int64))
        for shard, starts in used.groupby("scale_shard")["scale_start"]
    }


def _any_within(starts: Integers | None, record: TensorRecord) -> bool:
    """Whether one of these bytes lies in a stored tensor."""
    if starts is None:
        return False
    first, end = np.searchsorted(starts, [record.start, record.end])
    return bool(end > first)


def is_buffer(name: str, dtype: str, shape: Sequence[int]) -> bool:
    """Whether a tensor is computed or counts something, by its name and its shape:
    inverse frequencies, positions, causal masks, measured scales of activations,
    counters.
    """
    size = math.prod(shape)
    if dtype == "BOOL" or (BUFFER.search(name) and size <= MAX_BUFFER):
        return True
    if MEASURED_SCALE.search(name) and size <= MAX_COUNTERS:
        return True
    if CAUSAL_MASK.search(name):
        is_square = len(shape) == 4 and shape[2] == shape[3]
        return dtype == "U8" or (is_square and shape[0] == shape[1] == 1)
    return dtype in COUNTER_DTYPES and size <= MAX_COUNTERS


def _compared(plan: "pd.DataFrame") -> tuple[dict[Place, int], dict[Place, int]]:
    """By stored tensor and its file, how many of its elements are compared, and how
    many of these can never vote.

    A slice that is compared twice (a tied head beside its embedding, a repeated layer)
    counts once.
    """
    regions: dict[tuple[Place, int, bytes | None], tuple[int, bool]] = {}
    columns = plan.columns.intersection(REGION_COLUMNS)
    for row in plan[columns].to_dict("records"):
        place = row["source"], row["shard"]
        region = place, row["start"], _order_of_rows(row)
        elements, voting = regions.get(region, (0, False))
        voting = voting or votes(
            row["component"], row["dimensions"], row["elements"], 1
        )
        regions[region] = max(elements, row["elements"]), voting
    compared: dict[Place, int] = defaultdict(int)
    silent: dict[Place, int] = defaultdict(int)
    for (place, _, _), (elements, voting) in regions.items():
        compared[place] += elements
        silent[place] += 0 if voting else elements
    return dict(compared), dict(silent)


def _order_of_rows(row: Mapping[Hashable, Any]) -> bytes | None:
    """What tells views of the same bytes apart that hold other rows of them."""
    row_map = row.get("row_map")
    if row_map is None or isinstance(row_map, float):
        return None
    return np.asarray(row_map).tobytes()


def _kind(reason: str) -> str:
    """The reason without the numbers of one tensor, so that tensors left out for the
    same cause stand together.
    """
    shapes = SHAPES_DIFFER.fullmatch(reason)
    if shapes:
        return f"another shape than in {shapes[1]}"
    return reason or NO_COUNTERPART


def _by_reason(shares: Shares, most: int = MAX_REASONS) -> tuple[NotCompared, ...]:
    """What was not compared, by reason, the largest first; where there are more than
    `most` reasons the last stand together.
    """
    entries = []
    for reason, of_reason in shares.items():
        components: dict[str, int] = defaultdict(int)
        for share in of_reason:
            components[share.component] += share.parameters
        total = sum(components.values())
        by_component = _largest_first(components)
        entries.append(NotCompared(reason, total, len(of_reason), by_component))
    entries.sort(key=lambda entry: -entry.parameters)
    if len(entries) <= most:
        return tuple(entries)
    last = [share for entry in entries[most - 1 :] for share in shares[entry.reason]]
    return (*entries[: most - 1], *_by_reason({"other reasons": last}))


def _largest_first(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: -item[1]))
