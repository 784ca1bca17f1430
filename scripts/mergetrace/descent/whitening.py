"""One model's change along another's directions, weighed by what else it holds: least
squares that knows the noise.

What was trained since is no even noise: it is large in some combinations of rows and of
columns, and small in most others. With T = u - a v the rest that a first weight leaves,
changes are therefore looked at as (T T')^-1/2 v (T'T)^-1/2, where the rest is even, and
errors fall to a third or a quarter. The rest's shape is always taken from other rows and
other columns than those it weighs (cross-fitting): from the same ones it would make every
number speak for the weight that it was estimated with.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np

from mergetrace.descent.directions import Directions, Look
from mergetrace.descent.pooling import LINEAR
from mergetrace.numerics.arrays import Array

RIDGE = 0.1
"""Of the mean, added to every size of the rest: what was estimated in a quarter of a
matrix is not known better. On the tuning family dense-1 .1 left the smallest errors of
.1, .5 and 2, and honest ones (squares over expected squares .7 to 1.4 after training).
"""
NOTHING = 1e-24
"""A rest below this part of the change is arithmetic's."""
HALVES = (slice(0, None, 2), slice(1, None, 2))
"""Every second row or column, and the others."""


class _Evening:
    """What makes a rest even from one side: the inverse root of its second moments."""

    def __init__(self, rest: Array) -> None:
        """rest: float64 [samples, n]."""
        samples, size = rest.shape
        if samples >= size:
            squares, axes = np.linalg.eigh(rest.T @ rest)
        else:
            squares, left = np.linalg.eigh(rest @ rest.T)
            there = squares > NOTHING * squares[-1]
            squares = squares[there]
            axes = (rest.T @ left[:, there]) / np.sqrt(squares)
        squares = np.maximum(squares, 0.0)
        mean = squares.sum() / size
        floor = RIDGE * mean
        self._axes = axes
        self._elsewhere = float((mean / floor) ** 0.5)
        self._along = np.sqrt(mean / (squares + floor)) - self._elsewhere

    def of(self, values: Array) -> Array:
        """float64 [any, n], evened in the last dimension."""
        along: Array = ((values @ self._axes) * self._along) @ self._axes.T
        return along + self._elsewhere * values


@dataclass(frozen=True)
class _Block:
    """A quarter of a matrix."""

    rows: slice
    cols: slice
    row_evening: _Evening
    col_evening: _Evening

    def of(self, change: Array) -> Array:
        """A change of the whole matrix, evened in this quarter."""
        evened = self.col_evening.of(change[self.rows, self.cols])
        return self.row_evening.of(evened.T).T


class Whitened:
    """One model's change along a change's directions, quarter by quarter."""

    def __init__(
        self,
        blocks: Sequence[tuple[_Block, Directions]],
        looks: Sequence[Look],
    ) -> None:
        self._behind = [
            (block, found.behind(block.row_evening.of, block.col_evening.of))
            for block, found in blocks
        ]
        errors = np.maximum([look.error for look in looks], LINEAR)
        self._precision: Array = errors**-2.0
        total = self._precision.sum(axis=0)
        alphas = np.array([look.alpha for look in looks])
        pooled = (self._precision * alphas).sum(axis=0)
        self.look = Look(total, pooled, total)
        """Of all quarters."""

    @classmethod
    def of(cls, change: Array, other: Array, first: Look) -> Self | None:
        """change: whose directions are taken. other: what is looked at, float64 [rows,
        cols]. first: a look without weighing. None where nothing is left to weigh by, or
        too few directions.
        """
        rest = other - weight_of(first) * change
        if np.sum(rest**2) <= NOTHING * np.sum(other**2):
            return None
        pairs = [
            (block, directions)
            for block in _quarters(rest)
            if (directions := Directions(block.of(change))).usable
        ]
        if not pairs:
            return None
        return cls(pairs, [found.look(block.of(other)) for block, found in pairs])

    def weights(self, change: Array) -> Array:
        """alpha by bin of another change, weighed alike: float64 [BINS]."""
        found = np.array(
            [
                directions.weights(change[block.rows, block.cols])
                for block, directions in self._behind
            ]
        )
        weighed = (self._precision * found).sum(axis=0)
        pooled: Array = weighed / self._precision.sum(axis=0)
        return pooled


def weight_of(look: Look) -> float:
    """The weight of all bins beyond the first."""
    precision = np.maximum(look.error[1:], LINEAR) ** -2.0
    return float(precision @ look.alpha[1:] / precision.sum())


def _quarters(rest: Array) -> list[_Block]:
    """The quarters of a matrix, each with what evens it, from its neighbours."""
    return [
        _Block(
            HALVES[row],
            HALVES[col],
            _Evening(rest[HALVES[row], HALVES[1 - col]].T),
            _Evening(rest[HALVES[1 - row], HALVES[col]]),
        )
        for row, col in product((0, 1), repeat=2)
    ]
