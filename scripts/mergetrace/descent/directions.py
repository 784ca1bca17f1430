"""The directions of one model's change, from the largest to the smallest, and how far
another model moved along each of them.

With v = P diag(sigma) Q^T a donor's change and u an audited model's, c_i = p_i^T u q_i
is the latter's change along the i-th direction. A model that holds the donor's change
with one weight a has c_i = a sigma_i plus chance, whatever it learned besides. How large
chance is, the neighbours say: p_i^T u q_j of different directions.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import cache

import numpy as np

from mergetrace.numerics.arrays import Array

BINS = 6
"""Bins of directions, of equal count; the first holds the large ones, which training on
the same task shares.
"""
SMALLEST = 1e-6
"""Directions below this part of the largest one are rounding of the decomposition."""
FEWEST = 4
"""Directions in a bin: of fewer the neighbours do not say how large chance is."""


@dataclass(frozen=True)
class Look:
    """One model's change along the directions of a donor's, in one matrix."""

    energy: Array
    """float64 [BINS]: the donor's squared change."""
    product: Array
    """float64 [BINS]: the sum of sigma_i c_i."""
    variance: Array
    """float64 [BINS]: the variance of `product` by chance."""

    @property
    def alpha(self) -> Array:
        """float64 [BINS]: least squares within each bin."""
        return self.product / self.energy

    @property
    def error(self) -> Array:
        """float64 [BINS]: the standard error of `alpha`."""
        return np.sqrt(self.variance) / self.energy


class Directions:
    """The directions of one change of one matrix."""

    def __init__(self, change: Array) -> None:
        """change: float64 [rows, cols]."""
        tall = change.shape[0] > change.shape[1]
        wide = change.T if tall else change
        # Half the time of a decomposition of the matrix itself, and exact enough: what
        # lies below SMALLEST is left out.
        squares, left = np.linalg.eigh(wide @ wide.T)
        squares = np.maximum(squares[::-1], 0.0)
        sigma = np.sqrt(squares)
        kept = sigma > SMALLEST * sigma[0]
        self.sigma: Array = sigma[kept]
        left = left[:, ::-1][:, kept]
        right = (wide.T @ left) / self.sigma
        self._left: Array = right if tall else left
        self._right: Array = left if tall else right

    @property
    def usable(self) -> bool:
        """Whether there are enough directions for every bin."""
        return len(self.sigma) >= FEWEST * BINS

    @property
    def edges(self) -> list[int]:
        """Where the bins begin, and the end of the last."""
        cuts = np.linspace(0, len(self.sigma), BINS + 1)
        return [int(cut) for cut in cuts.round()]

    def look(self, change: Array) -> Look:
        """How another change of the matrix lies along these directions."""
        found = self._left.T @ change @ self._right
        along = found.diagonal()
        edges = self.edges
        energy, product, variance = np.zeros(BINS), np.zeros(BINS), np.zeros(BINS)
        for number in range(BINS):
            own = slice(edges[number], edges[number + 1])
            sigma = self.sigma[own]
            energy[number] = sigma @ sigma
            product[number] = sigma @ along[own]
            variance[number] = sigma**2 @ _by_chance(found[own, own])
        return Look(energy, product, variance)

    def behind(
        self, rows: Callable[[Array], Array], cols: Callable[[Array], Array]
    ) -> "Directions":
        """For `weights` of changes that did not yet go through symmetric linear maps of
        their columns (`rows`) and of their rows (`cols`) as what is decomposed here did.
        """
        found = copy(self)
        found._left = rows(self._left.T).T
        found._right = cols(self._right.T).T
        return found

    def small_over_noise(self, noise: float) -> float:
        """The energy of the smaller half of the directions, over what noise of the
        energy `noise` in all of them has there.
        """
        rows, cols = len(self._left), len(self._right)
        small = self.sigma[len(self.sigma) // 2 :]
        share = _small_share(min(rows, cols), max(rows, cols))
        return float(small @ small) / (noise * share)

    def weights(self, change: Array) -> Array:
        """alpha by bin of another change, without its chance: float64 [BINS]."""
        # Half the time, and a replayed merge needs no more than seven digits.
        single = change.astype(np.float32) @ self._right.astype(np.float32)
        along = np.einsum("ri,ri->i", self._left, single)
        edges = self.edges[:-1]
        product = np.add.reduceat(self.sigma * along, edges)
        found: Array = product / np.add.reduceat(self.sigma**2, edges)
        return found


@cache
def _small_share(short: int, long: int) -> float:
    """The share of its energy that noise of these dimensions has in the smaller half of
    its directions.
    """
    noise = np.random.default_rng(0).standard_normal((short, long))
    squares = np.linalg.eigvalsh(noise @ noise.T)
    return float(squares[: short - short // 2].sum() / squares.sum())


def _by_chance(found: Array) -> Array:
    """The variance of the diagonal of a square of products p_i^T u q_j, from its other
    elements.

    A row's and a column's elements may be larger than others' throughout: the product
    of the row's mean square and the column's, over that of all.
    """
    squares = found**2
    np.fill_diagonal(squares, 0.0)
    others = len(found) - 1
    of_rows = squares.sum(axis=1) / others
    of_cols = squares.sum(axis=0) / others
    of_all = of_rows.mean()
    if of_all == 0:
        return np.zeros(len(found))
    # An estimate of few neighbours makes the ratio to it as wide as Student's t.
    student = len(found) / (len(found) - 2)
    variance: Array = student * of_rows * of_cols / of_all
    return variance
