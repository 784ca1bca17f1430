"""The same tensor found in every model, whatever its writer called it and however it was packed.

Every tensor is cut into *views*: one per matrix, where fused expert tensors hold one (or, for gate and up, two) per expert.
A view is a contiguous run of elements in one file, under a canonical name; views of the same canonical name are the same slice.
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from mergetrace.errors import AuditError
from mergetrace.numerics.dtypes import FORMATS, is_decoded

# Writers differ in how they prefix one and the same tensor; the first match wins.
PREFIXES = (
    (re.compile(r"^(?:model\.language_model\.|language_model\.model\.|model\.model\.|transformer\.model\.)"), "model."),
    (re.compile(r"^language_model\.lm_head\."), "lm_head."),
    (re.compile(r"^(?:model\.visual\.|model\.vision_tower\.|vision_tower\.)"), "visual."),
    (re.compile(r"^(?=(?:layers|embed_tokens|norm)\.)"), "model."),
)
# Mixtral's names for the same things.
RENAMES = (
    (re.compile(r"\.block_sparse_moe\."), ".mlp."),
    (re.compile(r"(\.experts\.\d+)\.w1\."), r"\1.gate_proj."),
    (re.compile(r"(\.experts\.\d+)\.w2\."), r"\1.down_proj."),
    (re.compile(r"(\.experts\.\d+)\.w3\."), r"\1.up_proj."),
)
LAYER = re.compile(r"^model\.layers\.(\d{1,6})\.")
EXPERT = re.compile(r"^(.*\.experts)\.(\d{1,6})\.(\w+?)(?:\.weight)?$")
FUSED = re.compile(r"^(.*\.experts\.)(gate_up_proj|down_proj|gate_proj|up_proj)(?:\.weight)?$")
SCALE = re.compile(r"^(.*?)(?:_scale_inv|_scale)$")

# What a tensor is for; the first match wins. Norms come first: q_norm lies inside the attention.
COMPONENTS = (
    ("vision", re.compile(r"^visual\.")),
    ("mtp", re.compile(r"^mtp\.")),
    ("norm", re.compile(r"norm\d?\.|norm$")),
    ("embedding", re.compile(r"embed_tokens|^model\.embed|wte\.")),
    ("lm_head", re.compile(r"^lm_head")),
    ("shared_expert_gate", re.compile(r"\.shared_expert_gate\.")),
    ("shared_expert", re.compile(r"\.shared_experts?\.")),
    ("routed_experts", re.compile(r"\.experts\.")),
    ("router", re.compile(r"\.mlp\.(gate|router)\.")),
    ("linear_attention", re.compile(r"\.linear_attn\.")),
    ("attention", re.compile(r"\.(self_attn|attn|attention)\.")),
    ("mlp", re.compile(r"\.(mlp|feed_forward)\.")),
)


@dataclass(frozen=True)
class View:
    """A contiguous run of rows x cols elements of one model's file, row-major, with its FP8 block scales where it has them."""

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


def canonical_name(name: str) -> str:
    """The writer-independent name: one prefix for the language model, Mixtral's names in the common form."""
    for pattern, prefix in PREFIXES:
        if pattern.match(name):
            name = pattern.sub(prefix, name, count=1)
            break
    for pattern, replacement in RENAMES:
        name = pattern.sub(replacement, name)
    return name


def layer_of(name: str) -> str:
    """The layer's number as text, or `visual`, `mtp`, `outer` (embeddings, head, final norm)."""
    if match := LAYER.match(name):
        return str(int(match.group(1)))
    return next((place for place in ("visual", "mtp") if name.startswith(place + ".")), "outer")


def component_of(name: str) -> str:
    """What the tensor is for: attention, mlp, routed_experts, router, norm, embedding, lm_head, ..."""
    return next((component for component, pattern in COMPONENTS if pattern.search(name)), "other")


def views(tensors: pd.DataFrame, config: dict[str, Any]) -> tuple[dict[tuple[str, str], View], list[dict[str, str]]]:
    """Cut a model's tensors into views.

    tensors: the manifest's table. config: the manifest's configuration facts.
    Returns the views by (tensor, slice) and the tensors left out as {tensor, reason}.
    """
    records = {canonical_name(row.name): row for row in tensors.itertuples(index=False)}
    scales = {match.group(1) for name in records if (match := SCALE.match(name)) and match.group(1) in records}
    found: dict[tuple[str, str], View] = {}
    left_out = []
    for name, record in records.items():
        if (match := SCALE.match(name)) and match.group(1) in scales:
            continue
        if not is_decoded(record.dtype):
            left_out.append({"tensor": record.name, "reason": f"dtype {record.dtype} holds no weights this program decodes"})
            continue
        whole = _whole_view(name, record)
        scale = next((records[name + suffix] for suffix in ("_scale_inv", "_scale") if name + suffix in records), None)
        try:
            for view in _cut(whole, record, records):
                found[view.tensor, view.slice] = _with_scale(view, record, scale, config) if scale is not None else view
        except AuditError as error:
            left_out.append({"tensor": record.name, "reason": str(error)})
    if config.get("tie_word_embeddings") and ("lm_head.weight", "") not in found and ("model.embed_tokens.weight", "") in found:
        found["lm_head.weight", ""] = replace(found["model.embed_tokens.weight", ""], tensor="lm_head.weight")
    return found, left_out


def pair(models: dict[str, dict[tuple[str, str], View]], required: list[str]) -> tuple[pd.DataFrame, list[dict[str, str]]]:
    """Pair the views of all models.

    models: views by model. required: the models without which a slice cannot be fitted (a base, every donor).
    Returns one row per slice and model (slice_id, tensor, slice, layer, component, elements, model, and the view's fields; `elements`
    is what all models share) and what is not paired as {model, tensor, reason}.
    """
    rows: list[dict[str, Any]] = []
    unpaired: list[dict[str, str]] = []
    holders: dict[tuple[str, str], list[str]] = defaultdict(list)
    for model, held in models.items():
        for key in held:
            holders[key].append(model)
    optional = [model for model in models if model not in required]
    slice_id = 0
    for key in sorted(holders, key=_natural):
        members = {model: models[model][key] for model in holders[key]}
        if _only_tied(members):
            continue
        missing = [model for model in required if model not in members]
        if missing or not any(model in members for model in optional):
            lacking = ", ".join(missing or optional)
            unpaired += [{"model": model, "tensor": _label(view), "reason": f"not in {lacking}"} for model, view in members.items()]
            continue
        rows_compared, refused = _common_rows(members, required[0])
        unpaired += refused
        if not rows_compared * members[required[0]].cols:
            unpaired += [{"model": model, "tensor": _label(view), "reason": "holds no element"} for model, view in members.items()]
            continue
        members = {model: view for model, view in members.items() if model not in {entry["model"] for entry in refused}}
        if any(model not in members for model in required) or not any(model in members for model in optional):
            continue
        unpaired += [
            {"model": model, "tensor": _label(models[required[0]][key]), "reason": f"{model} has no such tensor"}
            for model in optional
            if model not in holders[key]
        ]
        common = {
            "slice_id": slice_id,
            "tensor": key[0],
            "slice": key[1],
            "layer": layer_of(key[0]),
            "component": component_of(key[0]),
            "elements": rows_compared * members[required[0]].cols,
        }
        rows += [{**common, "model": model, **vars(view)} for model, view in members.items()]
        slice_id += 1
    return pd.DataFrame(rows), unpaired


def _whole_view(name: str, record: Any) -> View:
    shape = [int(size) for size in record.shape]
    rows = shape[0] if shape else 1
    cols = math.prod(shape[1:]) if shape else 1
    tensor, number = name, ""
    if match := EXPERT.match(name):
        tensor, number = f"{match.group(1)}.{match.group(3)}", str(int(match.group(2)))
    return View(tensor, number, record.name, record.shard, record.dtype, int(record.start), rows, cols, sum(size > 1 for size in shape))


def _cut(whole: View, record: Any, records: dict[str, Any]) -> Iterator[View]:
    """The views of one tensor: itself, or one per expert of a fused tensor [E, rows, cols]."""
    shape = [int(size) for size in record.shape]
    fused = FUSED.match(whole.tensor)
    if whole.slice or not fused or len(shape) != 3:
        yield whole
        return
    experts, rows, cols = shape
    parts = [fused.group(2)]
    # gate_up_proj [E, 2I, H] holds gate above up where down_proj is [E, H, I]; any other layout stays one slice per expert.
    if parts == ["gate_up_proj"]:
        down = next((records[name] for name in (f"{fused.group(1)}down_proj", f"{fused.group(1)}down_proj.weight") if name in records), None)
        if down is not None and [int(size) for size in down.shape] == [experts, cols, rows // 2] and rows % 2 == 0:
            parts = ["gate_proj", "up_proj"]
    rows //= len(parts)
    width = FORMATS[whole.dtype].width
    for expert in range(experts):
        for index, part in enumerate(parts):
            start = whole.start + (expert * len(parts) + index) * rows * cols * width
            yield replace(whole, tensor=fused.group(1) + part, slice=str(expert), start=start, rows=rows, cols=cols, dimensions=2)


def _with_scale(view: View, record: Any, scale: Any, config: dict[str, Any]) -> View:
    """Attach the block scales of an FP8 view (W = q * scale). Raises AuditError where the scale's shape does not fit."""
    shape = [int(size) for size in scale.shape]
    parts = 1
    if view.slice and len(shape) == 3:  # fused experts: one scale matrix per expert, gate above up
        parts = int(record.shape[1]) // view.rows
        _, scale_rows, scale_cols = shape
        if scale_rows % parts:
            raise AuditError(f"its scale {shape} cannot be divided between gate and up")
        scale_rows //= parts
    else:
        scale_rows, scale_cols = [*shape, 1, 1][:2] if math.prod(shape) > 1 else (1, 1)
    block = config.get("weight_block_size") or [128, 128]
    block_rows = _block(view.rows, scale_rows, block[0])
    block_cols = _block(view.cols, scale_cols, block[1])
    if not is_decoded(scale.dtype) or not block_rows or not block_cols:
        raise AuditError(f"its scale {shape} of dtype {scale.dtype} does not fit {view.rows} x {view.cols}")
    index = 0
    if view.slice and len(shape) == 3:
        offset = view.start - int(record.start)
        index = offset // (view.rows * view.cols * FORMATS[view.dtype].width) * scale_rows * scale_cols
    start = int(scale.start) + index * FORMATS[scale.dtype].width
    return replace(
        view,
        scale_shard=scale.shard,
        scale_dtype=scale.dtype,
        scale_start=start,
        scale_rows=scale_rows,
        scale_cols=scale_cols,
        block_rows=block_rows,
        block_cols=block_cols,
    )


def _block(size: int, blocks: int, preferred: int) -> int:
    """The block length under which `size` has `blocks` blocks: the configured one, else an even division, else 0 (does not fit)."""
    if -(-size // preferred) == blocks:
        return preferred
    return size // blocks if blocks and size % blocks == 0 else 0


def _common_rows(members: dict[str, View], base: str) -> tuple[int, list[dict[str, str]]]:
    """How many leading rows all members share; members whose shape cannot be compared with the base's are refused with the reason.

    Only the vocabulary may differ in length: its common rows are compared.
    """
    reference = members[base]
    vocabulary = component_of(reference.tensor) in ("embedding", "lm_head")
    refused = []
    rows = reference.rows
    for model, view in members.items():
        if view.cols == reference.cols and (view.rows == reference.rows or vocabulary):
            rows = min(rows, view.rows)
        else:
            reason = f"shape {view.rows} x {view.cols} in {model}, {reference.rows} x {reference.cols} in {base}"
            refused.append({"model": model, "tensor": _label(view), "reason": reason})
    return rows, refused


def _only_tied(members: dict[str, View]) -> bool:
    """True for a head that every model borrows from its embedding: it is compared there."""
    return all(view.tensor == "lm_head.weight" and canonical_name(view.source) != "lm_head.weight" for view in members.values())


def _label(view: View) -> str:
    return f"{view.source}[{view.slice}]" if view.slice else view.source


def _natural(key: tuple[str, str]) -> list[Any]:
    """Sort key that puts layer 10 after layer 9."""
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in re.split(r"(\d+)", ".".join(key)) if part]
