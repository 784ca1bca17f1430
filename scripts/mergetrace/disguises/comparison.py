"""One model beside one parent: which of its slices lies where in the parent, as far as
is known.
"""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.disguises.alignment import Match, Order
from mergetrace.disguises.glimpses import RUN_LENGTH, Glimpses
from mergetrace.disguises.likeness import Floats, cosine, fingerprint, likeness
from mergetrace.numerics.arrays import Singles
from mergetrace.tensors.naming import LAYER, component_of, layer_of
from mergetrace.tensors.view import Key

CLOSE_MIN_COSINE = 0.9
"""|cosine| at the same place below which it is looked whether a tensor lies elsewhere."""
MIN_MARGIN = 0.2
"""By which the agreement of the best place has to exceed that of every other."""
MAX_DISTANCE_RATIO = 0.25
"""Of a wrong place's distance, 1 - |cosine|, within which the right one lies where all
are alike.
"""
FINGERPRINT_ROWS = 48

WRITES_HIDDEN = re.compile(r"\.(o_proj|out_proj|down_proj)(\.weight)?$")
"""Matrices whose rows are the hidden dimensions."""


@dataclass(frozen=True)
class PlaceLimits:
    """The thresholds of the configuration that say what lies where a parent's does."""

    min_same_cos: float
    """|cosine|, or likeness of fingerprints, from which two tensors are one, changed."""
    max_chance_in_place: float
    """The share of matrices in place up to which nothing is."""
    max_octaves_apart: float
    """By which the size of a tensor may differ from its counterpart's."""


class Comparison:
    """A model, one parent that it is compared with, and the places found so far."""

    def __init__(
        self,
        own: Glimpses,
        parent: Glimpses,
        limits: PlaceLimits,
        parents: Sequence[Glimpses] = (),
    ) -> None:
        self.own = own
        self.parent = parent
        self.limits = limits
        self.parents = parents or (parent,)
        """All parents that are offered, this one too."""
        self.keys = own.judged()
        """The model's slices that show where they belong."""
        self.counterpart: dict[Key, Key] = {}
        """By own slice the parent's slice, where it is not that of the same name."""
        self.held_rows: dict[Key, Order] = {}
        """By own slice the parents' rows that it holds, in its order, where it lacks
        some.
        """
        self.aside: list[Key] = []
        """Own slices that say nothing any more once others are put back by them."""
        self._fingerprints: dict[tuple[str, Key, int], Floats] = {}

    def goal(self, key: Key) -> Key:
        """Where a slice of the model should lie in the parent."""
        return self.counterpart.get(key, key)

    def target(self, key: Key) -> Key | None:
        """The parent's slice that `key` corresponds to, or None if the parent has none
        of a compatible shape (embeddings and heads may differ in rows).
        """
        goal = self.goal(key)
        own = self.own.views[key]
        other = self.parent.views.get(goal)
        if other is None or own.cols != other.cols:
            return None
        is_vocabulary = component_of(key[0]) in ("embedding", "lm_head")
        return goal if own.rows == other.rows or is_vocabulary else None

    def same_shape(self, key: Key) -> Key | None:
        """Like `target`, but requires equal rows too."""
        target = self.target(key)
        if target is None:
            return None
        same = self.own.views[key].rows == self.parent.views[target].rows
        return target if same else None

    def comparable(self, keys: Sequence[Key]) -> list[tuple[Key, Key]]:
        """(slice, the parent's slice) of those that have one of the same shape."""
        pairs = [(key, self.same_shape(key)) for key in keys]
        return [(key, target) for key, target in pairs if target is not None]

    def holders(self, key: Key) -> list[Glimpses]:
        """The parents that hold a slice of the same rows at the slice's place."""
        goal = self.goal(key)
        rows = self.own.views[key].rows
        return [
            parent
            for parent in self.parents
            if goal in parent.views and parent.views[goal].rows == rows
        ]

    def close_keys(self) -> list[Key]:
        """The slices whose elements lie close to the parent's."""
        return [
            key
            for key, _ in self.comparable(self.keys)
            if self.cosine(key) >= CLOSE_MIN_COSINE
        ]

    def cosine(self, key: Key) -> float:
        """|cosine| of a few runs of a slice with the parent's at the same places, 0
        where the parent has none.
        """
        target = self.target(key)
        if target is None:
            return 0.0
        return abs(cosine(*self.runs(key, target)))

    def runs(self, key: Key, target: Key) -> tuple[Singles, Singles]:
        """The runs of a slice and of one of the parent's, at the places both were read
        at: of an expert there are fewer.
        """
        # Of a vocabulary the rows that both have.
        rows = min(self.own.views[key].rows, self.parent.views[target].rows)
        own = self.own.runs(key, rows)
        other = self.parent.runs(target, rows)
        fewer = min(len(own), len(other))
        return _thinned(own, fewer), _thinned(other, fewer)

    def share_in_place(self) -> float:
        """The share of the model's matrices that lie where the parent's do. A tower
        that the parent has none of hides nothing of it.
        """
        of_parent = {layer_of(tensor) for tensor, _ in self.parent.judged()}
        lacking = {"visual", "mtp"} - of_parent
        judged = [key for key in self.keys if layer_of(key[0]) not in lacking]
        if not judged:
            return 0.0
        return float(np.mean([self.is_in_place(key) for key in judged]))

    def is_in_place(self, key: Key) -> bool:
        """Whether a slice lies where the parent's does."""
        return self.is_same(self.cosine(key))

    def is_same(self, likeness: float) -> bool:
        """Whether tensors so alike, by |cosine| or by their fingerprints, are one."""
        return likeness >= self.limits.min_same_cos

    def stands_out(self, agreement: float, wrong: float) -> bool:
        """Whether a place agrees, and better than any other by far. wrong: the best
        agreement of another place.
        """
        return self.is_same(agreement) and agreement - wrong >= MIN_MARGIN

    def accepts(self, match: Match | None) -> bool:
        """Whether an assignment holds on the elements it did not see, and no other
        would.

        Rows that all resemble each other are told apart where the right ones lie much
        closer still.
        """
        if match is None or not self.is_same(match.agreement):
            return False
        if self.stands_out(match.agreement, match.wrong):
            return True
        nearest = MAX_DISTANCE_RATIO * (1 - match.wrong)
        return match.agreement >= CLOSE_MIN_COSINE and 1 - match.agreement <= nearest

    def fingerprint_likeness(
        self, key: Key, target: Key, rows: int = FINGERPRINT_ROWS
    ) -> float:
        """How alike two matrices are whatever the order of their columns."""
        own = self._fingerprint(self.own, key, rows)
        return likeness(own, self._fingerprint(self.parent, target, rows))

    def _fingerprint(self, model: Glimpses, key: Key, rows: int) -> Floats:
        place = (model.name, key, rows)
        if place not in self._fingerprints:
            self._fingerprints[place] = fingerprint(model.rows(key, rows))
        return self._fingerprints[place]


def by_layer(model: Glimpses) -> dict[int, dict[str, Key]]:
    """By layer number the judged matrices of a model, by name without the layer;
    experts are not among them.
    """
    layers: dict[int, dict[str, Key]] = defaultdict(dict)
    for key in model.judged():
        layer = layer_of(key[0])
        if layer.isdigit() and not key[1]:
            layers[int(layer)][LAYER.sub(".", key[0])] = key
    return layers


def _thinned(runs: Singles, length: int) -> Singles:
    """Evenly spread runs of these, `length` numbers in all."""
    if len(runs) == length:
        return runs
    step = len(runs) // length
    return runs.reshape(-1, RUN_LENGTH)[::step].reshape(-1)
