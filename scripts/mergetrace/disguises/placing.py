"""One model beside one parent: which of its slices lies where in the parent, as far as
is known.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from mergetrace.disguises.alignment import Match, Order, cosine, likeness, print_of
from mergetrace.disguises.glimpses import LENGTH, Array, Glimpses, Key
from mergetrace.tensors.naming import LAYER, component_of, layer_of

CLOSE = 0.9  # |cosine| at the same place below which a tensor is looked at closely
# |cosine|, or likeness of fingerprints, from which two tensors are one, changed
SAME = 0.5
MARGIN = 0.2  # by which the best place has to beat every other
# of a wrong place's distance, 1 - |cosine|, within which the right one lies where all
# are alike
CLOSER = 0.25

WRITES_HIDDEN = re.compile(r"\.(o_proj|out_proj|down_proj)(\.weight)?$")
PRINT_ROWS = 48


class Placing:
    """counterpart: by own slice the parent's slice, where it is not that of the same name. parents: all that are offered, this one too.
    kept: the parents' rows that a slice holds, in its order, where it lacks some. seen: disguises that are visible and not undone, in words.
    """

    def __init__(
        self, own: Glimpses, parent: Glimpses, parents: Sequence[Glimpses] = ()
    ) -> None:
        self.own, self.parent, self.parents = own, parent, parents or (parent,)
        self.counterpart: dict[Key, Key] = {}
        self.kept: dict[Key, Order] = {}
        self.seen: list[str] = []
        self.keys = own.judged()
        self._prints: dict[tuple[str, Key, int], Array] = {}

    def goal(self, key: Key) -> Key:
        """Where a slice of the model should lie in the parent."""
        return self.counterpart.get(key, key)

    def target(self, key: Key) -> Key | None:
        """The same, None where the parent has no such slice of that shape; a vocabulary
        may differ in length.
        """
        goal = self.goal(key)
        mine = self.own.views[key]
        its = self.parent.views.get(goal)
        if its is None or mine.cols != its.cols:
            return None
        return (
            goal
            if mine.rows == its.rows or component_of(key[0]) in ("embedding", "lm_head")
            else None
        )

    def same_shape(self, key: Key) -> Key | None:
        """The same, None also where the vocabulary differs in length."""
        target = self.target(key)
        return (
            target
            if target is not None
            and self.own.views[key].rows == self.parent.views[target].rows
            else None
        )

    def cosine(self, key: Key) -> float:
        """|cosine| of a few runs of a slice with the parent's at the same places, 0
        where the parent has none.
        """
        target = self.target(key)
        return 0.0 if target is None else abs(cosine(*self.runs(key, target)))

    def runs(self, key: Key, target: Key) -> tuple[Array, Array]:
        """The runs of a slice and of one of the parent's, at the places both were read
        at: of an expert there are fewer.
        """
        rows = min(
            self.own.views[key].rows, self.parent.views[target].rows
        )  # a vocabulary's common ones
        mine = self.own.runs(key, rows)
        its = self.parent.runs(target, rows)
        fewer = min(len(mine), len(its))
        thin = [
            (
                runs
                if len(runs) == fewer
                else runs.reshape(-1, LENGTH)[:: len(runs) // fewer].reshape(-1)
            )
            for runs in (mine, its)
        ]
        return thin[0], thin[1]

    def in_place(self) -> float:
        """The share of the model's matrices that lie where the parent's do. A tower
        that the parent has none of hides nothing of it.
        """
        lacking = {"visual", "mtp"} - {
            layer_of(tensor) for tensor, _ in self.parent.judged()
        }
        judged = [key for key in self.keys if layer_of(key[0]) not in lacking]
        return (
            float(np.mean([self.cosine(key) >= SAME for key in judged]))
            if judged
            else 0.0
        )

    def print_likeness(self, key: Key, target: Key, rows: int = PRINT_ROWS) -> float:
        """How alike two matrices are whatever the order of their columns."""
        return likeness(
            self._print(self.own, key, rows), self._print(self.parent, target, rows)
        )

    def by_layer(self, model: Glimpses) -> dict[int, dict[str, Key]]:
        """By layer number the judged matrices of the model or the parent, by name
        without the layer; experts are not among them.
        """
        found: dict[int, dict[str, Key]] = defaultdict(dict)
        for key in model.judged():
            if (layer := layer_of(key[0])).isdigit() and not key[1]:
                found[int(layer)][LAYER.sub(".", key[0])] = key
        return found

    def _print(self, model: Glimpses, key: Key, rows: int) -> Array:
        if (model.name, key, rows) not in self._prints:
            self._prints[model.name, key, rows] = print_of(model.rows(key, rows))
        return self._prints[model.name, key, rows]


def accepted(match: Match | None) -> bool:
    """Whether an assignment holds on the elements it did not see, and no other would. Rows that all resemble each other are told apart where the
    right ones lie much closer still.
    """
    if match is None or match.agreement < SAME:
        return False
    return match.agreement - match.wrong >= MARGIN or (
        match.agreement >= CLOSE and 1 - match.agreement <= CLOSER * (1 - match.wrong)
    )


def components(keys: Iterable[Key]) -> str:
    """The components some slices belong to, as text."""
    return ", ".join(sorted({component_of(key[0]) for key in keys}))


def ranges(numbers: Sequence[int]) -> str:
    """Numbers in their order, runs as 3-7."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(
        f"{first}" if first == last else f"{first}-{last}" for first, last in parts
    )
