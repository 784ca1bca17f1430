"""Whether a model's numbers follow from its parents' numbers, by whatever arithmetic.

A merge computes every element from the parents' elements at the same place. Two places
of one tensor where all parents hold the same numbers, up to a common power of two and a
sign, therefore hold the same merged number, whoever wrote the arithmetic. Training and
random drops know nothing of that: there the numbers of such places differ.

Turned round it tells which came first. A parent that somebody computed from the audited
model and the other parents follows from those. A true one does not: several of its
numbers are merged into the same one, and the rest of it is forgotten there.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mergetrace.merging.applying import Piece
from mergetrace.numerics.arrays import Array, Mask
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.records.recipe_search import Dependence

MIXERS = np.random.default_rng(0).integers(1, 1 << 63, 16, np.uint64) | np.uint64(1)
"""Odd numbers with which the numbers at one place are mixed into a single key."""
PLAIN_PLACES = 10_000
"""So many like places are enough to see that most hold other numbers than their like."""
MIN_LIKE = 1_000
"""So few like places say nothing of a parent that is sought in the audited model, or of
more parents than the nearest blend has.
"""
PLAIN_DISSENT = 0.1
"""Of them: a finetune's are .64 and more, those of a merge trained by a gentle step less
than .01; and as much as `max_dissent` may be loosened to.
"""
Keys = NDArray[np.uint64]


def measure_dependence(
    pieces: Sequence[Piece], parents: Sequence[str], one_blend: bool = False
) -> Dependence | None:
    """How far the audited numbers follow from those of two or more parents; None where
    no place is like another.

    Only places where the parents differ are looked at, and of those only the ones that
    have a like one in the same tensor. Pieces are read until it is plain that numbers do
    not follow, which saves an innocent's search most of them. one_blend: whether the
    weights are the same for all tensors; then the like may lie in another one, where that
    brings no more dissent.
    """
    read: list[Piece] = []
    repeated = others = 0
    for piece in pieces:
        read.append(piece)
        counts = _disagreement([piece], parents, parents, False)
        repeated += counts[0]
        others += counts[1]
        if repeated >= PLAIN_PLACES and others > PLAIN_DISSENT * repeated:
            break
    else:
        of_all = _pooled(pieces, parents) if one_blend else None
        if of_all and (not repeated or of_all.dissent <= others / repeated):
            return of_all
    if not repeated:
        return None
    return _told(read, parents, (repeated, others), False)


def measure_dependence_of_most(
    pieces: Sequence[Piece],
    parents: Sequence[str],
    others: Sequence[str],
    one_blend: bool = False,
) -> Dependence | None:
    """The same; where numbers do not follow from those of `parents`, of as many of
    `others`, from the first on and with these among them, as leave enough places alike.
    """
    found = measure_dependence(pieces, parents, one_blend)
    if found is not None and found.dissent <= PLAIN_DISSENT:
        return found
    for count in range(len(others), len(parents), -1):
        if not set(parents) <= set(others[:count]):
            break
        of_more = measure_dependence(pieces, others[:count])
        if of_more is not None and of_more.repeated >= MIN_LIKE:
            return of_more
    return found


def _pooled(pieces: Sequence[Piece], parents: Sequence[str]) -> Dependence | None:
    """The same where a place's like may lie in another tensor."""
    counts = _disagreement(pieces, parents, parents, True)
    return _told(pieces, parents, counts, True) if counts[0] else None


def _told(
    pieces: Sequence[Piece],
    parents: Sequence[str],
    counts: tuple[int, int],
    pooled: bool,
) -> Dependence:
    """What places with a like one tell. counts: how many there are, and how many of them
    do not hold what most of their like hold.
    """
    repeated, others = counts
    dissent = others / repeated
    return Dependence(
        parents=tuple(parents),
        repeated=repeated,
        dissent=dissent,
        without=_without_each(pieces, parents, pooled),
        pooled=pooled,
        turned=_turned_each(pieces, parents) if dissent <= PLAIN_DISSENT else None,
    )


def _turned_each(pieces: Sequence[Piece], parents: Sequence[str]) -> dict[str, float]:
    """By parent, of all places that have a like one in the numbers of the audited model
    and of the other parents, the share at which the parent does not hold what it holds
    at most of their like.
    """
    turned: dict[str, float] = {}
    for parent in parents:
        repeated = others = 0
        for piece in pieces:
            counts = _minorities(*_places_turned(piece, parents, parent))
            repeated += counts[0]
            others += counts[1]
        if repeated >= MIN_LIKE:
            turned[parent] = others / repeated
    return turned


def _without_each(
    pieces: Sequence[Piece], parents: Sequence[str], pooled: bool
) -> dict[str, float]:
    """By parent, of all places that have a like one in the others' numbers, the share
    that does not hold what most of their like hold; 0 where there are none.
    """
    without: dict[str, float] = {}
    for parent in parents:
        rest = [name for name in parents if name != parent]
        repeated, others = _disagreement(pieces, parents, rest, pooled)
        without[parent] = others / repeated if repeated else 0.0
    return without


def _disagreement(
    pieces: Sequence[Piece], parents: Sequence[str], known: Sequence[str], pooled: bool
) -> tuple[int, int]:
    """The number of places that have a like one, and of those that do not hold what most
    of their like hold. known: the parents whose numbers make places alike. pooled:
    whether the like may lie in another piece.
    """
    places = [_places(piece, parents, known) for piece in pieces]
    if pooled:
        keys = np.concatenate([keys for keys, _ in places])
        return _minorities(keys, np.concatenate([answers for _, answers in places]))
    counts = [_minorities(*of_piece) for of_piece in places]
    return sum(count for count, _ in counts), sum(other for _, other in counts)


def _places(
    piece: Piece, parents: Sequence[str], known: Sequence[str]
) -> tuple[Keys, Array]:
    """By place where the parents differ the key of their numbers there, and the audited
    number in the same unit.
    """
    values, differ = _told_apart(piece, parents)
    by_name = {name: piece.values[name][differ] for name in parents}
    unit = _units(by_name[known[0]] if len(known) == 1 else values[:, differ])
    keys = _keys([by_name[name] / unit for name in known])
    answers: Array = piece.audited_values[differ] / unit
    return keys, answers


def _places_turned(
    piece: Piece, parents: Sequence[str], parent: str
) -> tuple[Keys, Array]:
    """The same of the numbers of the audited model and all parents but one, and that
    one's number.
    """
    _, differ = _told_apart(piece, parents)
    known = [piece.values[name][differ] for name in parents if name != parent]
    known.append(piece.audited_values[differ])
    unit = _units(np.stack(known))
    answers: Array = piece.values[parent][differ] / unit
    return _keys([numbers / unit for numbers in known]), answers


def _told_apart(piece: Piece, parents: Sequence[str]) -> tuple[Array, Mask]:
    """All parents' numbers, float64 [k, n], and at which places they say something: where
    they differ, and rounding depends on nothing but their size.
    """
    values = np.stack([piece.values[name] for name in parents])
    finite = np.isfinite(values).all(0) & np.isfinite(piece.audited_values)
    differ: Mask = finite & (values.max(0) > values.min(0)) & _is_scaled(piece, values)
    return values, differ


def _is_scaled(piece: Piece, values: Array) -> Mask:
    """Where numbers are rounded relative to their size: not next to the smallest that
    their format holds, where a power of two changes the rounding.
    """
    form = FORMATS[piece.audited.dtype]
    least = 2.0 ** (form.min_exponent + form.fraction_bits)
    scaled: Mask = np.abs(values).min(0) >= least
    return scaled


def _units(values: Array) -> Array:
    """The power of two of the greatest number at each place, with the sign of the first
    that is not zero: float64 [n].
    """
    rows = np.atleast_2d(values)
    _, exponent = np.frexp(np.abs(rows).max(0))
    sign = np.ones(rows.shape[1])
    for row in rows[::-1]:
        sign = np.where(row == 0, sign, np.sign(row))
    units: Array = sign * np.exp2(exponent)
    return units


def _keys(columns: Sequence[Array]) -> Keys:
    """One key of the numbers at each place: equal where all are equal, and otherwise
    hardly ever.
    """
    keys: Keys = np.zeros(len(columns[0]), np.uint64)
    for column, mixer in zip(columns, MIXERS, strict=False):
        bits = (column + 0.0).view(np.uint64)  # +0 and -0 are the same number
        keys = (keys ^ (bits >> np.uint64(29)) ^ bits) * mixer
        keys ^= keys >> np.uint64(32)
    return keys


def _minorities(keys: Keys, answers: Array) -> tuple[int, int]:
    """The number of places whose key occurs more than once, and of those whose answer is
    not the most frequent one of their key.
    """
    if not len(keys):
        return 0, 0
    order = np.lexsort((answers, keys))
    keys = keys[order]
    answers = answers[order]
    new_key = np.concatenate([[True], keys[1:] != keys[:-1]])
    new_answer = new_key | np.concatenate([[True], answers[1:] != answers[:-1]])
    starts = np.flatnonzero(new_answer)
    sizes = np.diff([*starts, len(keys)])
    key_of_answer = np.cumsum(new_key)[starts] - 1
    places = np.bincount(key_of_answer, sizes).astype(np.int64)
    most = np.zeros(len(places), np.int64)
    np.maximum.at(most, key_of_answer, sizes)
    repeated = places > 1
    return int(places[repeated].sum()), int((places - most)[repeated].sum())
