"""Parents whose vocabularies are in different orders and not of the same tokens: merge
tools merge them token by token, so that they are compared on the tokens that all of them
hold.

The tokenizers would say which those are, but rows are trusted before words.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mergetrace.disguises.alignment import Order
from mergetrace.disguises.comparison import Comparison, PlaceLimits
from mergetrace.disguises.findings import VocabularyShared
from mergetrace.disguises.glimpses import Glimpses
from mergetrace.disguises.vocabulary import in_place, matched
from mergetrace.tensors.view import Key, View
from mergetrace.tensors.views import EMBEDDING, HEAD


@dataclass(frozen=True)
class CommonVocabulary:
    """What was found of the parents' vocabularies."""

    findings: Mapping[str, tuple[VocabularyShared, ...]] = field(default_factory=dict)
    """By parent whose rows are others than those of the first."""
    left_out: Mapping[str, list[dict[str, str]]] = field(default_factory=dict)
    """By parent what is not compared, as {tensor, reason, source}: an embedding or a head
    of which it does not show what its rows are.
    """

    @property
    def changed(self) -> bool:
        """Whether any parent is read otherwise than its files say."""
        return bool(self.findings or self.left_out)


def share_vocabulary(
    parents: Sequence[Glimpses], limits: PlaceLimits
) -> CommonVocabulary:
    """Cut the embeddings and heads of parents down to the rows that all hold, in the
    first one's order, where some parent lies in another order and lacks some of them.
    Only the parents' views change.

    Parents that lie in place, or are the first one in another order, stay as they are.
    """
    findings: dict[str, list[VocabularyShared]] = {}
    left_out: dict[str, list[dict[str, str]]] = {}
    for key in (EMBEDDING, HEAD):
        orders, unclear = _orders(parents, key, limits)
        for parent in unclear:
            entries = _taken_out(parent, key, parents[0].name)
            left_out[parent.name] = left_out.get(parent.name, []) + entries
        for name, finding in _cut_to_common(parents, key, orders):
            findings.setdefault(name, []).append(finding)
    return CommonVocabulary(
        {name: tuple(found) for name, found in findings.items()}, left_out
    )


def _orders(
    parents: Sequence[Glimpses], key: Key, limits: PlaceLimits
) -> tuple[dict[str, Order], list[Glimpses]]:
    """By parent its row that is each row of the first, -1 where it has none; and the
    relatives of which that does not show.
    """
    orders: dict[str, Order] = {}
    unclear = []
    first = parents[0]
    for parent in parents[1:]:
        comparison = Comparison(parent, first, limits)
        target = comparison.target(key) if key in comparison.keys else None
        if target is None or in_place(comparison, key, target):
            continue
        match = matched(comparison, key, target)
        if match is not None:
            orders[parent.name] = match.order
        elif parent.runs(key).any() and _is_other(comparison, key):
            unclear.append(parent)  # rows of NaN are no tokens, and read as zeros here
    return orders, unclear


def _is_other(comparison: Comparison, key: Key) -> bool:
    """Whether the rows of a relative have nothing to do with those of the first."""
    is_kin = comparison.share_in_place() >= comparison.limits.max_chance_in_place
    return is_kin and not comparison.is_in_place(key)


def _cut_to_common(
    parents: Sequence[Glimpses], key: Key, orders: Mapping[str, Order]
) -> list[tuple[str, VocabularyShared]]:
    """Read the common rows alone, and say so of the parents that have other ones."""
    if all((order >= 0).all() for order in orders.values()):
        return []
    holders = [parent for parent in parents if key in parent.views]
    held = np.ones(parents[0].views[key].rows, bool)
    for parent in holders:
        held &= _rows(parent, key, orders, len(held)) >= 0
    common = np.flatnonzero(held)
    if not len(common):
        return []
    of_first = parents[0].views[key].rows
    found = [
        (
            parent.name,
            VocabularyShared(
                key[0], len(common), of_first, parent.views[key].rows, parents[0].name
            ),
        )
        for parent in holders
        if parent.name in orders
    ]
    for parent in holders:
        rows = _rows(parent, key, orders, len(held))[common]
        for each in _same_place(parent.views, key):
            parent.replace_view(each, _some_rows(parent.views[each], rows))
    return found


def _rows(
    parent: Glimpses, key: Key, orders: Mapping[str, Order], of_first: int
) -> Order:
    """The parent's row that is each row of the first, -1 where it has none."""
    if parent.name in orders:
        return orders[parent.name]
    rows = np.arange(of_first)
    return np.where(rows < parent.views[key].rows, rows, -1)


def _some_rows(view: View, rows: Order) -> View:
    """The view with these of its rows alone, in this order."""
    of_file = rows if view.row_map is None else view.row_map[rows]
    is_plain = np.array_equal(of_file, np.arange(len(rows)))
    return replace(view, rows=len(rows), row_map=None if is_plain else of_file)


def _taken_out(parent: Glimpses, key: Key, first: str) -> list[dict[str, str]]:
    """Leave a vocabulary out of a parent, and say why."""
    reason = f"its rows are other tokens than {first}'s, and which does not show"
    entries = []
    for each in _same_place(parent.views, key):
        view = parent.views.pop(each)
        if not view.borrowed:
            entry = {"tensor": view.label, "reason": reason, "source": view.source}
            entries.append(entry)
    return entries


def _same_place(views: Mapping[Key, View], key: Key) -> list[Key]:
    """The slice itself, and the head where it is the embedding."""
    place = (views[key].shard, views[key].start)
    return [
        other
        for other, view in views.items()
        if other == key or (view.borrowed and (view.shard, view.start) == place)
    ]
