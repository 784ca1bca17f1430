"""Fused rows cut into the matrices they hold, and rows put into the common order, where
models of one audit differ in that.

q, k and v lie in one tensor in two ways: plain (all of q, then k, then v) and grouped
(for every head of k the heads of q that share it, then that head of k and of v;
GPT-NeoX, Falcon, BLOOM, InternLM2). gate and up lie one above the other. Mistral's own
files hold the rows of q and k with the two halves of each head interleaved:
transformers' conversion is w.view(heads, size / 2, 2, columns).transpose(1, 2).
"""

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mergetrace.errors import ModelFileError
from mergetrace.formats.block_layouts import stored_size
from mergetrace.formats.model_config import ModelConfig
from mergetrace.numerics.arrays import Integers
from mergetrace.tensors.doubles import Double
from mergetrace.tensors.gguf_names import GGUF_QK, INTERLEAVED
from mergetrace.tensors.naming import GROUPED_QKV, PLAIN_QKV, unwrapped
from mergetrace.tensors.view import Key, View
from mergetrace.tensors.views import Cut

QKV = ("q_proj", "k_proj", "v_proj")
GATE_UP = ("gate_proj", "up_proj")
FUSED_ROWS = re.compile(
    r"^(?P<layer>model\.layers\.\d+\.)"
    rf"(?P<form>{re.escape(PLAIN_QKV)}|{re.escape(GROUPED_QKV)}"
    r"|mlp\.(?:shared_experts?\.)?gate_up_proj)"
    r"(?P<ending>\.weight|\.bias)$"
)
NATIVE_QK = re.compile(r"^layers\.\d+\.attention\.w[qk]\.(?:weight|bias)$")

Configs = Mapping[str, ModelConfig]
"""The configurations by model."""


@dataclass(frozen=True)
class Fused:
    """A fused slice by its canonical name, and the matrices in it."""

    key: Key
    form: str  # which fused tensor of the layer it is: `self_attn.qkv_proj`
    names: tuple[str, ...]  # the canonical names of the matrices in it


@dataclass(frozen=True)
class HeadRows:
    """How many rows of q, k and v lie in a fused tensor."""

    q: int
    k: int
    v: int
    head: int  # rows of one head; 0: not known


def with_common_rows(cuts: Mapping[str, Cut], configs: Configs) -> None:
    """Change the models' cuts so that their rows can be compared, in place.

    What is fused in some models and apart in others is cut, and rows that some models
    hold in Mistral's order get the common one. What cannot be cut is left out of its
    model with the reason. cuts: by model.
    """
    for fused in _to_be_cut(cuts):
        for model, cut in cuts.items():
            view = cut.views.pop(fused.key, None)
            if view is not None:
                _cut_one(model, fused, view, cuts, configs)
    _put_native_rows_back(cuts, configs)


def _to_be_cut(cuts: Mapping[str, Cut]) -> list[Fused]:
    """The fused slices that not all models hold in one and the same form."""
    forms: dict[tuple[str, ...], dict[Key, Fused]] = defaultdict(dict)
    for cut in cuts.values():
        for key in cut.views:
            fused = _fused(key)
            if fused is not None:
                forms[fused.names][key] = fused
    needed: list[Fused] = []
    for names, fused_slices in forms.items():
        is_apart = any((names[0], "") in cut.views for cut in cuts.values())
        if is_apart or len({fused.form for fused in fused_slices.values()}) > 1:
            needed += fused_slices.values()
    return needed


def _fused(key: Key) -> Fused | None:
    """What a slice holds, None where it is not fused."""
    tensor, expert = key
    match = FUSED_ROWS.match(tensor)
    if match is None or expert:
        return None
    place, _, _ = match["form"].rpartition(".")
    parts = GATE_UP if match["form"].endswith("gate_up_proj") else QKV
    names = [f"{match['layer']}{place}.{part}{match['ending']}" for part in parts]
    return Fused(key, match["form"], tuple(names))


def _cut_one(
    model: str, fused: Fused, view: View, cuts: Mapping[str, Cut], configs: Configs
) -> None:
    """Put the matrices of a fused view in its place, or leave it out with the reason."""
    try:
        rows = _rows_of_parts(model, fused, view, cuts, configs)
    except ModelFileError as error:
        entry = {"tensor": view.source, "reason": str(error), "source": view.source}
        cuts[model].left_out.append(entry)
        return
    for name, rows_of_part in zip(fused.names, rows, strict=True):
        part = replace(_some_rows(view, rows_of_part), tensor=name)
        used = cuts[model].views.setdefault((name, ""), part)
        if used is not part:
            cuts[model].doubles.append(Double(used, part))


def _rows_of_parts(
    model: str, fused: Fused, view: View, cuts: Mapping[str, Cut], configs: Configs
) -> list[Integers]:
    """The rows of each matrix in a fused view. ModelFileError where nothing says how
    they are divided.
    """
    if len(fused.names) == len(GATE_UP):
        return _halves(view)
    sizes = _sizes(model, view, fused.names, cuts, configs)
    return _grouped(sizes, configs) if fused.form == GROUPED_QKV else _plain(sizes)


def _halves(view: View) -> list[Integers]:
    """The rows of gate and of up."""
    if view.rows % 2:
        raise ModelFileError(
            f"fused rows: {view.rows} cannot be divided between gate and up"
        )
    return np.split(np.arange(view.rows), 2)


def _plain(sizes: HeadRows) -> list[Integers]:
    """The rows of q, k and v where all of each lie together."""
    rows = np.arange(sizes.q + sizes.k + sizes.v)
    return np.split(rows, [sizes.q, sizes.q + sizes.k])


def _grouped(sizes: HeadRows, configs: Configs) -> list[Integers]:
    """The rows of q, k and v where each head of k and v follows the heads of q that
    share it.
    """
    q, k, v, head = sizes.q, sizes.k, sizes.v, sizes.head
    if head and head != _common_head(configs):
        raise ModelFileError(
            "fused rows of q, k and v take turns head by head, and the models'"
            " configurations say heads of different lengths"
        )
    if not head:
        raise ModelFileError(
            "fused rows of q, k and v take turns head by head, and the configurations"
            " do not say how long a head is"
        )
    if k != v or k % head or q % k:
        raise ModelFileError(
            f"fused rows: {q}, {k} and {v} rows of q, k and v are no heads of {head}"
        )
    groups = np.arange(q + k + v).reshape(k // head, q // k + 2, head)
    return [
        groups[:, :-2].reshape(-1),
        groups[:, -2].reshape(-1),
        groups[:, -1].reshape(-1),
    ]


def _sizes(
    model: str,
    view: View,
    names: tuple[str, ...],
    cuts: Mapping[str, Cut],
    configs: Configs,
) -> HeadRows:
    """The rows of q, k and v in a fused view: by the model's configuration, else as
    another model holds them. names: of q, k and v.
    """
    head, heads, shared = _heads(configs[model])
    if head and (heads + 2 * shared) * head == view.rows:
        return HeadRows(heads * head, shared * head, shared * head, head)
    for cut in cuts.values():
        parts = [cut.views[name, ""] for name in names if (name, "") in cut.views]
        is_cut_from_view = any(part.source == view.source for part in parts)
        if len(parts) < len(names) or is_cut_from_view:
            continue
        q, k, v = (part.rows for part in parts)
        if q + k + v == view.rows:
            return HeadRows(q, k, v, head or _common_head(configs))
    claim = "its configuration does not say how many heads it has"
    if head:
        claim = f"its configuration says {heads} and {shared} heads of {head}"
    raise ModelFileError(
        f"fused rows of q, k and v: {view.rows} rows cannot be divided between them,"
        f" {claim}, and no other model's shapes fit"
    )


def _some_rows(view: View, rows: Integers) -> View:
    """Some rows of a view, ascending: contiguous ones without a map, where no block of
    scales lies across them.
    """
    first = int(rows[0])
    count = len(rows)
    is_contiguous = int(rows[-1]) - first + 1 == count
    is_plain = view.row_map is None and view.scale_rows <= 1 and not view.beside
    if is_contiguous and is_plain:
        row_bytes = stored_size(view.dtype, view.cols)
        return replace(view, start=view.start + first * row_bytes, rows=count)
    row_map = rows if view.row_map is None else view.row_map[rows]
    return replace(view, rows=count, row_map=row_map)


def _put_native_rows_back(cuts: Mapping[str, Cut], configs: Configs) -> None:
    """Give q and k of Mistral's own files, and of GGUF files made like them, the order
    of rows that they have in another model, where there is such a model.

    Where no length of a head is known, or several, the rows stay as they are: their
    order is looked for in the data (see disguises).
    """
    head = _common_head(configs)
    if not head or head % 2:
        return
    for model, cut in cuts.items():
        for key, view in cut.views.items():
            if not _is_native(view, configs[model]) or view.rows % head:
                continue
            held = [
                (other.views[key], configs[name])
                for name, other in cuts.items()
                if key in other.views
            ]
            if not all(_is_native(*other) for other in held):
                halves = np.arange(view.rows).reshape(-1, head // 2, 2)
                row_map = halves.transpose(0, 2, 1).reshape(-1)
                cut.views[key] = replace(view, row_map=row_map)


def _is_native(view: View, config: ModelConfig) -> bool:
    """Whether these are rows of q or k in a file of Mistral's own, or in a GGUF file
    that was made in the same way.
    """
    if GGUF_QK.match(view.source):
        return config.model_type in INTERLEAVED
    return bool(NATIVE_QK.match(unwrapped(view.source)))


def _heads(config: ModelConfig) -> tuple[int, int, int]:
    """The length of a head, how many there are of q and how many of k; zeros where the
    configuration does not say.
    """
    heads = config.heads.num_attention_heads or 0
    width = config.heads.hidden_size or 0
    head = config.heads.head_dim or 0
    if not head and heads and width % heads == 0:
        head = width // heads
    if not head or not heads:
        return head, 0, 0
    return head, heads, config.heads.num_key_value_heads or heads


def _common_head(configs: Configs) -> int:
    """The length of a head that the models' configurations say; 0 where they say none,
    or different ones.
    """
    lengths = {_heads(config)[0] for config in configs.values()} - {0}
    return lengths.pop() if len(lengths) == 1 else 0
