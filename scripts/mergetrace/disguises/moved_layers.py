"""Layers that lie elsewhere in the parents: moved, repeated, left out."""

from collections.abc import Mapping

import numpy as np

from mergetrace.disguises.alignment import cosine
from mergetrace.disguises.glimpses import Key
from mergetrace.disguises.placing import MARGIN, SAME, WRITES_HIDDEN, Placing, ranges
from mergetrace.tensors.naming import LAYER

Stems = Mapping[str, Key]


def find_layers(placing: Placing) -> list[str]:
    """Give every layer that does not lie where its number says the parent's layer it is like, first element by element, then whatever the order
    of neurons and heads. Returns what was found, in words.
    """
    mine = placing.by_layer(placing.own)
    its = placing.by_layer(placing.parent)
    out = [
        layer
        for layer, stems in mine.items()
        if np.mean([placing.cosine(key) >= SAME for key in stems.values()]) < 0.5
    ]
    found: dict[int, tuple[int, float, float]] = {}
    for alike in (_by_element, _by_print):
        for layer in out:
            if (
                layer not in found
                and (place := _best(placing, mine[layer], its, layer, alike))
                is not None
            ):
                found[layer] = place
    moved = {layer: place for layer, place in found.items() if place[0] != layer}
    for key in placing.own.views:
        if (match := LAYER.match(key[0])) and int(match[1]) in moved:
            placing.counterpart[key] = (
                f"model.layers.{moved[int(match[1])][0]}.{key[0][match.end() :]}",
                key[1],
            )
    return [_in_words(mine, its, out, found, moved)] if moved else []


def _best(
    placing: Placing, stems: Stems, its: Mapping[int, Stems], own: int, alike
) -> tuple[int, float, float] | None:
    """The parent's layer, its likeness, and that of the best other one; None where no
    layer stands out. Of equals the layer's own number wins.
    """
    row = {other: alike(placing, stems, others) for other, others in its.items()}
    if not row:
        return None
    best = max(row, key=lambda other: (row[other], other == own))
    second = max((value for other, value in row.items() if other != best), default=0.0)
    return (
        (best, row[best], second)
        if row[best] >= SAME and row[best] - second >= MARGIN
        else None
    )


def _by_element(placing: Placing, mine: Stems, its: Stems) -> float:
    return _median(
        [
            abs(cosine(*placing.runs(mine[stem], its[stem])))
            for stem in _both(placing, mine, its)
        ]
    )


def _by_print(placing: Placing, mine: Stems, its: Stems) -> float:
    return _median(
        [
            placing.print_likeness(mine[stem], its[stem])
            for stem in _both(placing, mine, its)
            if WRITES_HIDDEN.search(stem)
        ]
    )


def _both(placing: Placing, mine: Stems, its: Stems) -> list[str]:
    own = placing.own.views
    parent = placing.parent.views
    return [
        s
        for s in mine
        if s in its
        and (own[mine[s]].rows, own[mine[s]].cols)
        == (parent[its[s]].rows, parent[its[s]].cols)
    ]


def _median(values: list[float]) -> float:
    return float(np.median(values)) if values else 0.0


def _in_words(
    mine: Mapping[int, Stems],
    its: Mapping[int, Stems],
    out: list[int],
    found: Mapping,
    moved: Mapping,
) -> str:
    places = [
        found[layer][0] if layer in found else layer
        for layer in sorted(mine)
        if layer in found or layer not in out
    ]
    repeated = sorted(place for place in set(places) if places.count(place) > 1)
    dropped = sorted(set(its) - set(places))
    agreement, wrong = (
        float(np.median([place[i] for place in moved.values()])) for i in (1, 2)
    )
    layers = sorted(moved)
    text = (
        f"{len(moved)} of {len(mine)} layers lie elsewhere in the parents: layers"
        f" {ranges(layers)} are the parents'"
        f" {ranges([moved[layer][0] for layer in layers])} (likeness {agreement:.2f},"
        f" best other layer {wrong:.2f})."
    )
    text += f" Repeated: {ranges(repeated)}." if repeated else ""
    return text + (f" Left out: {ranges(dropped)}." if dropped else "")
