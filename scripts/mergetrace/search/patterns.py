"""One number per tensor explained: the same everywhere, by tensor name, along the
layers, layer by layer, or (where nothing simple does) tensor by tensor.
"""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import combinations

import numpy as np

from mergetrace.merging.settings import Setting
from mergetrace.search.gradients import (
    Allowed,
    Choose,
    Explain,
    Values,
    gradient,
    layer_by_layer,
    well_inside,
)

FILTERS = (
    ("",),
    ("self_attn", "mlp", ""),
    ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", ""),
)
"""Which parts of a tensor's name are taken to have a number of their own, the simplest
first; "" stands for all other tensors.
"""
MAX_KINDS = 24
"""Kinds of tensor that are joined by the numbers they allow."""
MAX_NUMBERS = 0.5
"""Of the tensors, the greatest share that numbers of kinds of tensor may number."""
IN_LAYER = re.compile(r"(?:^|\.)\d+\.(.+)$")
ENDING = re.compile(r"\.(weight|bias)$")


def explain(allowed: Sequence[Allowed]) -> Setting | None:
    """The simplest setting that every tensor allows: a few filters, each with a number
    or a gradient over the layers; None where there is none.
    """
    for filters in _filters(allowed):
        setting = _filtered(allowed, filters, gradient)
        if setting is not None:
            return setting
    return _by_kind(allowed)


def explain_layers(
    allowed: Sequence[Allowed], choose: Choose = well_inside
) -> Setting | None:
    """A number for each layer that its tensors allow, or for each layer's attention and
    MLP; None where their tensors differ.
    """
    for filters in _filters(allowed):
        setting = _filtered(allowed, filters, partial(layer_by_layer, choose=choose))
        if setting is not None:
            return setting
    return None


def tensor_by_tensor(
    allowed: Sequence[Allowed], choose: Choose = well_inside
) -> Setting:
    """The number chosen of what each tensor allows, under its own name. Tensors that
    were not seen get what the others of their layer have in the middle, or all others.
    """
    by_name = [(entry.tensor, choose(entry.low, entry.high)) for entry in allowed]
    by_layer: dict[str, list[float]] = {}
    for name, value in by_name:
        layer = _layer_filter(name)
        if layer is not None:
            by_layer.setdefault(layer, []).append(value)
    layers = [
        (layer, (float(np.median(values)),)) for layer, values in by_layer.items()
    ]
    median = float(np.median([value for _, value in by_name]))
    return (*((name, (value,)) for name, value in by_name), *layers, ("", (median,)))


def _filters(allowed: Sequence[Allowed]) -> Iterator[tuple[str, ...]]:
    """Filters to try, the fewest first: those of FILTERS, also beside a number of their
    own for one or all of the tensors that are in no layer.
    """
    outer = dict.fromkeys(
        kind_of(entry.tensor) for entry in allowed if not in_layer(entry.tensor)
    )
    apart: list[tuple[str, ...]] = [()]
    for count in dict.fromkeys((1, len(outer))):
        apart += combinations(outer, count)
    for filters in FILTERS:
        for own in dict.fromkeys(apart):
            yield (*own, *filters)


def _filtered(
    allowed: Sequence[Allowed], filters: Sequence[str], values_of: Explain
) -> Setting | None:
    setting: list[tuple[str, Values]] = []
    parts = _split(allowed, filters)
    for pattern, members in parts.items():
        values = values_of(members)
        if values is None and len(members) == 1:
            values = gradient(members)
        if values is None:
            return None
        setting.append((pattern, values))
    if "" not in parts:  # tensors of other names go with most
        most = max(parts, key=lambda pattern: len(parts[pattern]))
        setting.append(("", dict(setting)[most]))
    return tuple(setting)


def _split(
    allowed: Sequence[Allowed], filters: Sequence[str]
) -> dict[str, list[Allowed]]:
    """The tensors by the first filter that their name contains, in the filters' order;
    filters that no tensor meets are left out.
    """
    parts: dict[str, list[Allowed]] = {pattern: [] for pattern in filters}
    for entry in allowed:
        first = next(pattern for pattern in filters if pattern in entry.tensor)
        parts[first].append(entry)
    return {pattern: members for pattern, members in parts.items() if members}


def _by_kind(allowed: Sequence[Allowed]) -> Setting | None:
    """A number or a gradient for each kind of tensor, kinds joined that allow the same;
    the largest group is all other tensors.
    """
    kinds: dict[str, list[Allowed]] = {}
    for entry in allowed:
        kinds.setdefault(kind_of(entry.tensor), []).append(entry)
    if not 1 < len(kinds) <= MAX_KINDS:
        return None
    groups: list[tuple[list[str], list[Allowed], Values]] = []
    for kind, members in sorted(kinds.items(), key=lambda item: -len(item[1])):
        values = gradient(members)
        if values is None:
            return None
        for place, (names, others, known) in enumerate(groups):
            joined = gradient([*others, *members])
            if joined is not None and len(joined) <= max(len(known), len(values)):
                groups[place] = ([*names, kind], [*others, *members], joined)
                break
        else:
            groups.append(([kind], members, values))
    if sum(len(values) for _, _, values in groups) > MAX_NUMBERS * len(allowed):
        return None
    (_, _, rest), *named = sorted(groups, key=lambda group: -len(group[1]))
    setting: list[tuple[str, Values]] = []
    for names, _, values in named:
        setting += [(pattern, values) for pattern in _short_names(names, list(kinds))]
    return (*setting, ("", rest))


def _short_names(names: Sequence[str], kinds: Sequence[str]) -> list[str]:
    """The kinds of a group as filters; a common first part in place of all the kinds
    that have it.
    """
    filters = []
    for name in names:
        first = name.partition(".")[0]
        alike = [kind for kind in kinds if kind.partition(".")[0] == first]
        filters.append(first if set(alike) <= set(names) else name)
    return list(dict.fromkeys(filters))


def kind_of(tensor: str) -> str:
    """What a tensor is, wherever it lies: `self_attn.q_proj` of any layer."""
    inside = IN_LAYER.search(tensor)
    if inside is None:
        last = ENDING.sub("", tensor)
        return last if last.endswith("norm") else last.rpartition(".")[2]
    kind = ENDING.sub("", inside[1])
    return kind


def in_layer(tensor: str) -> bool:
    """Whether a tensor lies in a numbered layer."""
    return IN_LAYER.search(tensor) is not None


def _layer_filter(tensor: str) -> str | None:
    """What all tensors of a layer have in their names: `layers.3.`."""
    found = re.search(r"(?:^|\.)([A-Za-z_]+\.\d+\.)", tensor)
    return found[1] if found else None
