"""Fused rows cut into the matrices they hold, and rows put into the common order, where
models of one audit differ in that.

q, k and v lie in one tensor in two ways: plain (all of q, then k, then v) and grouped
(for every head of k the heads of q that share it, then that head of k and of v;
GPT-NeoX, Falcon, BLOOM, InternLM2). gate and up lie one above the other. Mistral's own
files hold the rows of q and k with the two halves of each head in turns: transformers'
conversion is w.view(heads, size / 2, 2, columns).transpose(1, 2).
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergetrace.errors import AuditError
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.tensors.doubles import Double
from mergetrace.tensors.naming import GROUPED_QKV, PLAIN_QKV, unwrapped
from mergetrace.tensors.views import Cut, Key, View

Rows = NDArray[np.int64]

QKV = ("q_proj", "k_proj", "v_proj")
GATE_UP = ("gate_proj", "up_proj")
FUSED = re.compile(
    rf"^(model\.layers\.\d+\.)({re.escape(PLAIN_QKV)}|{re.escape(GROUPED_QKV)}|mlp\.(?:shared_experts?\.)?gate_up_proj)(\.weight|\.bias)$"
)
NATIVE = re.compile(r"^layers\.\d+\.attention\.w[qk]\.(?:weight|bias)$")


def with_common_rows(
    cuts: Mapping[str, Cut], configs: Mapping[str, Mapping[str, Any]]
) -> None:
    """Cut what is fused in some models and apart in others, and give rows that some
    models hold in Mistral's order the common one, in place.

    cuts and configs (the manifests' facts): by model. What cannot be cut is left out of
    its model with the reason.
    """
    for key, parts in _needed(cuts):
        for model, own in cuts.items():
            view = own.views.get(key)
            if view is not None:
                del own.views[key]
                _cut_one(model, key, view, parts, cuts, configs)
    _put_native_rows_back(cuts, configs)


def _needed(cuts: Mapping[str, Cut]) -> Iterator[tuple[Key, tuple[str, ...]]]:
    """The fused slices that not all models hold in one and the same form, with the
    names of their parts.
    """
    forms: dict[tuple[str, ...], set[str]] = defaultdict(set)
    fused: dict[tuple[str, ...], list[Key]] = defaultdict(list)
    for own in cuts.values():
        for key in own.views:
            match = FUSED.match(key[0])
            if match is None or key[1]:
                continue
            layer, form, ending = match.groups()
            place = (
                layer,
                form.rpartition(".")[0],
                "gate" if form.endswith("gate_up_proj") else "q",
                ending,
            )
            forms[place].add(form)
            if key not in fused[place]:
                fused[place].append(key)
    for place, keys in fused.items():
        layer, at, first, ending = place
        apart = f"{layer}{at}.{first}_proj{ending}", ""
        if len(forms[place]) > 1 or any(apart in own.views for own in cuts.values()):
            yield from ((key, GATE_UP if first == "gate" else QKV) for key in keys)


def _cut_one(
    model: str,
    key: Key,
    view: View,
    parts: tuple[str, ...],
    cuts: Mapping[str, Cut],
    configs: Mapping[str, Mapping[str, Any]],
) -> None:
    """Put a fused view's parts in its place, or leave it out with the reason."""
    layer, form, ending = FUSED.match(key[0]).groups()
    names = [f"{layer}{form.rpartition('.')[0]}.{part}{ending}" for part in parts]
    try:
        if parts == GATE_UP:
            rows = _halves(view)
        else:
            sizes = _sizes(model, view, names, cuts, configs)
            rows = _grouped(sizes, configs) if form == GROUPED_QKV else _plain(sizes)
    except AuditError as error:
        label = {"tensor": view.source, "reason": str(error), "source": view.source}
        cuts[model].left_out.append(label)
        return
    for name, own in zip(names, rows, strict=True):
        piece = replace(_part(view, own), tensor=name)
        held = cuts[model].views.setdefault((name, ""), piece)
        if held is not piece:
            cuts[model].doubles.append(Double(held, piece))


def _halves(view: View) -> list[Rows]:
    if view.rows % 2:
        raise AuditError(
            f"fused rows: {view.rows} cannot be divided between gate and up"
        )
    return np.split(np.arange(view.rows), 2)


def _plain(sizes: tuple[int, int, int, int]) -> list[Rows]:
    """The rows of q, k and v where all of each lie together."""
    q, k, v, _ = sizes
    return np.split(np.arange(q + k + v), [q, q + k])


def _grouped(
    sizes: tuple[int, int, int, int], configs: Mapping[str, Mapping[str, Any]]
) -> list[Rows]:
    """The rows of q, k and v where each head of k and v follows the heads of q that
    share it.
    """
    q, k, v, head = sizes
    if head and head != _any_head(configs):
        raise AuditError(
            "fused rows of q, k and v take turns head by head, and the models'"
            " configurations say heads of different lengths"
        )
    if not head:
        raise AuditError(
            "fused rows of q, k and v take turns head by head, and the configurations"
            " do not say how long a head is"
        )
    if k != v or k % head or q % k:
        raise AuditError(
            f"fused rows: {q}, {k} and {v} rows of q, k and v are no heads of {head}"
        )
    turns = np.arange(q + k + v).reshape(k // head, q // k + 2, head)
    return [
        turns[:, :-2].reshape(-1),
        turns[:, -2].reshape(-1),
        turns[:, -1].reshape(-1),
    ]


def _sizes(
    model: str,
    view: View,
    names: list[str],
    cuts: Mapping[str, Cut],
    configs: Mapping[str, Mapping[str, Any]],
) -> tuple[int, int, int, int]:
    """The rows of q, k and v in a fused tensor, and of a head (0: not known): by the
    model's configuration, else as another model holds them.
    """
    head, heads, shared = _heads(configs[model])
    if head and (heads + 2 * shared) * head == view.rows:
        return heads * head, shared * head, shared * head, head
    for own in cuts.values():
        apart = [own.views.get((name, "")) for name in names]
        if None in apart or any(part.source == view.source for part in apart):
            continue
        q, k, v = (part.rows for part in apart)
        if q + k + v == view.rows:
            return q, k, v, head or _any_head(configs)
    said = (
        f"its configuration says {heads} and {shared} heads of {head}"
        if head
        else "its configuration does not say how many heads it has"
    )
    raise AuditError(
        f"fused rows of q, k and v: {view.rows} rows cannot be divided between them,"
        f" {said}, and no other model's shapes fit"
    )


def _part(view: View, rows: Rows) -> View:
    """Some rows of a view; contiguous ones without a map, where no block of scales lies
    across them.
    """
    first = int(rows[0])
    count = len(rows)
    if (
        view.row_map is None
        and view.scale_rows <= 1
        and int(rows[-1]) - first + 1 == count
    ):
        return replace(
            view,
            start=view.start + first * view.cols * FORMATS[view.dtype].width,
            rows=count,
        )
    return replace(
        view, rows=count, row_map=rows if view.row_map is None else view.row_map[rows]
    )


def _put_native_rows_back(
    cuts: Mapping[str, Cut], configs: Mapping[str, Mapping[str, Any]]
) -> None:
    """Give q and k of Mistral's own files the order of rows that others have, where an
    other holds them so.

    Where no length of a head is known, or several, the rows stay as they are: the
    layout looks for their order in the data.
    """
    head = _any_head(configs)
    if not head or head % 2:
        return
    for own in cuts.values():
        for key, view in own.views.items():
            if not _is_native(view) or view.rows % head:
                continue
            if all(
                _is_native(other.views[key])
                for other in cuts.values()
                if key in other.views
            ):
                continue
            order = (
                np.arange(view.rows)
                .reshape(-1, head // 2, 2)
                .transpose(0, 2, 1)
                .reshape(-1)
            )
            own.views[key] = replace(view, row_map=order)


def _is_native(view: View) -> bool:
    """Whether these are q's or k's rows in a file of Mistral's own."""
    return bool(NATIVE.match(unwrapped(view.source)))


def _heads(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """The length of a head, how many of q there are and how many of k; zeros where the
    configuration does not say.
    """
    heads = config.get("num_attention_heads") or 0
    width = config.get("hidden_size") or 0
    head = config.get("head_dim") or (
        width // heads if heads and width % heads == 0 else 0
    )
    return (
        (head, heads, config.get("num_key_value_heads") or heads)
        if head and heads
        else (head, 0, 0)
    )


def _any_head(configs: Mapping[str, Mapping[str, Any]]) -> int:
    """The length of a head that some model's configuration says, where no other says
    another.
    """
    said = {_heads(config)[0] for config in configs.values()} - {0}
    return said.pop() if len(said) == 1 else 0
