"""Ways in which neighbouring numbers of a matrix share a scale, as quantisers group them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np

from mergetrace.numerics.arrays import Array, Integers, Mask, some_of
from mergetrace.tensors.view import View

FIRST_GROUPS = 4
"""Groups that are looked at first."""
WIDTHS = (256, 128, 64, 32, 16)
"""Of groups along a row, or along the whole matrix as it is stored."""


@dataclass(frozen=True)
class Numbers:
    """What is known of some elements of a matrix."""

    values: Array
    """float64 [n]."""
    low: Array
    high: Array
    """What was rounded to them lay between these."""

    def chosen(self, which: Integers | Mask) -> "Numbers":
        """Some of them."""
        return Numbers(self.values[which], self.low[which], self.high[which])


@dataclass(frozen=True)
class Grouping:
    """One way in which elements share a scale."""

    of: Integers
    """The number of each one's group: int64 [n]."""
    order: Integers
    """The elements, group after group."""
    edges: Integers
    """Where in `order` each group begins, and where the last one ends."""

    @classmethod
    def of_groups(cls, groups: Integers) -> Self:
        """The elements of every group."""
        order = np.argsort(groups, kind="stable")
        edges = np.searchsorted(groups[order], np.arange(groups.max() + 2))
        return cls(groups, order, edges)

    @property
    def count(self) -> int:
        """How many groups there are."""
        return self.edges.size - 1

    @property
    def first(self) -> list[int]:
        """The groups that are looked at first."""
        return some_of(list(range(self.count)), FIRST_GROUPS)

    def members(self, group: int) -> Integers:
        """The elements of a group."""
        return self.order[self.edges[group] : self.edges[group + 1]]


def groupings_of(places: Integers, view: View) -> Iterator[Grouping]:
    """The ways in which elements may share a scale, coarsest first.

    places: int64 [n], where each lies in the matrix as it is stored.
    """
    rows, cols = np.divmod(places, view.cols)
    yield Grouping.of_groups(renumbered(np.zeros_like(places)))
    yield Grouping.of_groups(renumbered(rows))
    tiles = -(-view.cols // 128)
    yield Grouping.of_groups(renumbered(rows // 128 * tiles + cols // 128))
    for width in WIDTHS:
        if width < view.cols:
            yield Grouping.of_groups(
                renumbered(rows * -(-view.cols // width) + cols // width)
            )
        if view.cols % width:
            yield Grouping.of_groups(renumbered(places // width))


def renumbered(groups: Integers) -> Integers:
    """Numbers of groups without gaps: int64 [n]."""
    return np.unique(groups, return_inverse=True)[1].astype(np.int64)
