"""Layers that lie elsewhere in the parents: moved, repeated, left out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mergetrace.disguises.comparison import (
    WRITES_HIDDEN,
    Comparison,
    by_layer,
)
from mergetrace.disguises.findings import Finding, LayersMoved
from mergetrace.disguises.likeness import cosine
from mergetrace.tensors.naming import LAYER
from mergetrace.tensors.view import Key

Layer = Mapping[str, Key]
"""A layer's matrices by their name without the layer."""
LayerLikeness = Callable[[Comparison, Layer, Layer], float]
"""How alike a layer of the model and one of the parent are."""

MIN_SHARE_IN_PLACE = 0.5
"""Of a layer's matrices, from which the layer lies where its number says."""


class Place(NamedTuple):
    """Where a layer lies in the parent."""

    layer: int
    """The parent's layer."""
    agreement: float
    """How alike the two are."""
    wrong: float
    """How alike the best other layer is."""


def find_moved_layers(comparison: Comparison) -> list[Finding]:
    """Give every layer that does not lie where its number says the parent's layer it is
    like, first element by element, then whatever the order of neurons and heads.
    """
    own = by_layer(comparison.own)
    others = by_layer(comparison.parent)
    astray = [
        number for number, layer in own.items() if not _in_place(comparison, layer)
    ]
    places: dict[int, Place] = {}
    for alike in (_by_element, _by_fingerprint):
        for number in astray:
            if number in places:
                continue
            place = _best_place(comparison, own[number], others, number, alike)
            if place is not None:
                places[number] = place
    moved = {number: place for number, place in places.items() if place.layer != number}
    if not moved:
        return []
    _pair_moved(comparison, moved)
    held = [
        places[number].layer if number in places else number
        for number in sorted(own)
        if number in places or number not in astray
    ]
    return [_finding(moved, held, len(own), set(others))]


def _in_place(comparison: Comparison, layer: Layer) -> bool:
    same = [comparison.is_in_place(key) for key in layer.values()]
    return bool(np.mean(same) >= MIN_SHARE_IN_PLACE)


def _pair_moved(comparison: Comparison, moved: Mapping[int, Place]) -> None:
    """Let the parent's layer be the counterpart of everything in a moved layer."""
    for tensor, expert in comparison.own.views:
        match = LAYER.match(tensor)
        if match is None or int(match[1]) not in moved:
            continue
        place = moved[int(match[1])].layer
        name = f"model.layers.{place}.{tensor[match.end() :]}"
        comparison.counterpart[tensor, expert] = (name, expert)


def _finding(
    moved: Mapping[int, Place], held: Sequence[int], layers: int, of_parent: set[int]
) -> LayersMoved:
    """held: the parent's layer that each found layer of the model is."""
    numbers = sorted(moved)
    repeated = [place for place in set(held) if held.count(place) > 1]
    return LayersMoved(
        layers=layers,
        moved=tuple(numbers),
        places=tuple(moved[number].layer for number in numbers),
        repeated=tuple(sorted(repeated)),
        dropped=tuple(sorted(of_parent - set(held))),
        agreement=_median([place.agreement for place in moved.values()]),
        wrong=_median([place.wrong for place in moved.values()]),
    )


def _best_place(
    comparison: Comparison,
    layer: Layer,
    others: Mapping[int, Layer],
    number: int,
    alike: LayerLikeness,
) -> Place | None:
    """The parent's layer that a layer is, None where none stands out. Of equals the
    layer's own number wins.
    """
    if not others:
        return None
    likeness = {
        other: alike(comparison, layer, of_parent)
        for other, of_parent in others.items()
    }
    best = max(likeness, key=lambda other: (likeness[other], other == number))
    rest = [value for other, value in likeness.items() if other != best]
    wrong = max(rest, default=0.0)
    if not comparison.stands_out(likeness[best], wrong):
        return None
    return Place(best, likeness[best], wrong)


def _by_element(comparison: Comparison, own: Layer, other: Layer) -> float:
    values = [
        abs(cosine(*comparison.runs(key, target)))
        for _, key, target in _of_both(comparison, own, other)
    ]
    return _median(values)


def _by_fingerprint(comparison: Comparison, own: Layer, other: Layer) -> float:
    values = [
        comparison.fingerprint_likeness(key, target)
        for name, key, target in _of_both(comparison, own, other)
        if WRITES_HIDDEN.search(name)
    ]
    return _median(values)


def _of_both(
    comparison: Comparison, own: Layer, other: Layer
) -> Iterator[tuple[str, Key, Key]]:
    """(name, slice, the parent's slice) of the matrices that both layers have in one
    shape.
    """
    for name, key in own.items():
        if name not in other:
            continue
        view = comparison.own.views[key]
        of_parent = comparison.parent.views[other[name]]
        if (view.rows, view.cols) == (of_parent.rows, of_parent.cols):
            yield name, key, other[name]


def _median(values: Sequence[float]) -> float:
    return float(np.median(values)) if values else 0.0
