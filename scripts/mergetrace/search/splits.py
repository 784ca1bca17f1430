"""How a model's tensors divide into parts that have weights of their own: by layer, by
kind of tensor, by both, or tensor by tensor.

Least squares says every tensor's weights and how sure they are. The coarsest division
under which the tensors of each part agree is the one that somebody wrote down.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.merging.settings import Setting
from mergetrace.search.gradients import number_of_layers
from mergetrace.search.patterns import FILTERS, MAX_KINDS, in_layer, kind_of
from mergetrace.search.tensor_weights import TensorWeights

AGREEING_ERRORS = 5  # standard errors, in which weights of one part lie
AGREEING_SLACK = 0.002  # weights that were rounded to bf16 shift by so much

Key = tuple[str, float]
"""A part: the filter that its tensors' names hold, and its place along the layers."""


@dataclass(frozen=True)
class Split:
    """A division of a model into parts."""

    patterns: tuple[str, ...]
    """Filters of tensor names, the first that a name contains counts; "" is the last."""
    along: bool
    """Whether every layer is a part of its own under each filter."""

    def key(self, piece: Piece) -> Key:
        """The part that a tensor belongs to."""
        pattern = next(one for one in self.patterns if one in piece.tensor)
        is_along = self.along and in_layer(piece.tensor)
        return pattern, piece.position if is_along else 0.0

    def parts(self, pieces: Sequence[Piece]) -> dict[Key, list[Piece]]:
        """The tensors by part, in the order in which they come."""
        parts: dict[Key, list[Piece]] = {}
        for piece in pieces:
            parts.setdefault(self.key(piece), []).append(piece)
        return parts

    def settings(
        self, by_model: Mapping[str, Mapping[Key, float]], layers: int
    ) -> dict[str, Setting]:
        """Of every model one number for each part, as a setting; of layers that were not
        seen what lies between their neighbours. What most filters have is what tensors
        under no filter have, and needs no filter.
        """
        rows = {
            pattern: tuple(
                _along(known, layers)
                for known in (_under(pattern, own) for own in by_model.values())
            )
            for pattern in self.patterns
            if any(_under(pattern, own) for own in by_model.values())
        }
        rest = rows.pop("", None) or Counter(rows.values()).most_common(1)[0][0]
        own = [pattern for pattern, row in rows.items() if row != rest]
        kept = [pattern for pattern in rows if _is_needed(pattern, own)]
        return {
            model: (*((one, rows[one][place]) for one in kept), ("", rest[place]))
            for place, model in enumerate(by_model)
        }

    def agrees(self, tensors: Sequence[TensorWeights]) -> bool:
        """Whether the tensors of every part may have the same weights."""
        parts: dict[Key, list[TensorWeights]] = {}
        for tensor in tensors:
            parts.setdefault(self.key(tensor.piece), []).append(tensor)
        return all(map(_agree, parts.values()))


def split_of(pieces: Sequence[Piece], tensors: Sequence[TensorWeights]) -> Split | None:
    """The coarsest division under which the tensors of each part agree; None where all
    tensors have the same weights.
    """
    if Split(("",), False).agrees(tensors):
        return None
    return next(split for split in _splits(pieces) if split.agrees(tensors))


def layers_of(pieces: Sequence[Piece]) -> int | None:
    """The number of layers of the model that the tensors are of."""
    places = {piece.position for piece in pieces if in_layer(piece.tensor)}
    return number_of_layers(sorted(places)) if len(places) > 1 else 1


def _splits(pieces: Sequence[Piece]) -> Iterator[Split]:
    """Divisions, the coarsest first; tensors outside the layers have their own filters.
    The last divides every tensor from the others.
    """
    names = [piece.tensor for piece in pieces]
    outer = tuple(dict.fromkeys(kind_of(name) for name in names if not in_layer(name)))
    inside = dict.fromkeys(kind_of(name) for name in names if in_layer(name))
    kinds = tuple(sorted(inside, key=len, reverse=True))
    blocks = FILTERS[1]
    yield Split((*outer, ""), False)
    yield Split((*outer, *blocks), False)
    yield Split((*outer, ""), True)
    if len(kinds) <= MAX_KINDS:
        yield Split((*outer, *kinds, ""), False)
    yield Split((*outer, *blocks), True)
    yield Split((*dict.fromkeys(names), ""), False)


def _under(pattern: str, values: Mapping[Key, float]) -> dict[float, float]:
    """The numbers under a filter, by place along the layers."""
    return {place: value for (own, place), value in values.items() if own == pattern}


def _is_needed(pattern: str, own: Sequence[str]) -> bool:
    """Whether a filter has numbers of its own, or shields its tensors from one that
    has.
    """
    return pattern in own or any(other in pattern or pattern in other for other in own)


def _along(known: Mapping[float, float], layers: int) -> tuple[float, ...]:
    """The numbers of the layers, of which those at some places are known."""
    places = sorted(known)
    numbers = [known[place] for place in places]
    if len(set(numbers)) == 1:
        return (numbers[0],)
    along = np.interp(np.linspace(0, 1, layers), places, numbers).tolist()
    for place, number in known.items():
        along[round(place * (layers - 1))] = number
    return tuple(along)


def _agree(tensors: Sequence[TensorWeights]) -> bool:
    """Whether tensors may have the same weights."""
    weights = np.array([tensor.weights for tensor in tensors])
    errors = np.array([tensor.errors for tensor in tensors])
    surest = 1 / np.maximum(errors, AGREEING_SLACK) ** 2
    pooled = (weights * surest).sum(0) / surest.sum(0)
    apart = np.abs(weights - pooled)
    return bool((apart <= AGREEING_ERRORS * errors + AGREEING_SLACK).all())
