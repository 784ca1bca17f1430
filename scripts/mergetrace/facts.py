"""What a merge formula must know of a whole tensor: inner products of the parents, thresholds on the size of their deltas."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mergetrace.arithmetic import rounder

Array = NDArray[np.float64]
Combination = Mapping[str, float]
"""A vector as a sum of models: {"donor": 1, "base": -1} is the donor's delta."""


@dataclass(frozen=True)
class Facts:
    """One tensor of the parents. gram: float64 [1+k, 1+k], inner products of the base and the donors' deltas over the whole tensor
    (read whole, or estimated from a sample). values: elements of each parent, all of them (`whole`) or the evidence sample. elements: of the tensor.
    """

    base: str
    donors: tuple[str, ...]
    gram: Array
    values: Mapping[str, Array]
    elements: int
    _kept: dict = field(default_factory=dict, repr=False)

    @property
    def whole(self) -> bool:
        """Whether `values` holds every element."""
        return len(self.values[self.base]) == self.elements

    def inner(self, one: Combination, other: Combination) -> float:
        """The inner product of two combinations of parents over the tensor."""
        return float(self._in_basis(one) @ self.gram @ self._in_basis(other))

    def norm(self, one: Combination) -> float:
        """The Euclidean norm of a combination of parents over the tensor."""
        return float(np.sqrt(max(self.inner(one, one), 0.0)))

    def smallest_kept(self, base: str, donor: str, share: float, dtype: str) -> float:
        """The size of the smallest delta among the largest `share` of them; infinity for none. Deltas are rounded to dtype."""
        sizes = self._sizes(base, donor, dtype)
        count = min(int(share * sizes.size), sizes.size)
        return float(sizes[sizes.size - count]) if count else np.inf

    def scale(self, base: str, donor: str, density: float, top: float, dtype: str) -> float:
        """sum |delta| over that of the share `density` kept once the largest share `top` is left out: both rounded, as is the quotient."""
        sizes, to_dtype = self._sizes(base, donor, dtype), rounder(dtype)
        last = sizes.size - int(top * sizes.size)
        kept = sizes[max(last - int(density * sizes.size), 0) : last]
        return float(to_dtype(to_dtype(sizes.sum()) / to_dtype(kept.sum()))) if kept.any() else 1.0

    def _sizes(self, base: str, donor: str, dtype: str) -> Array:
        key = (base, donor, dtype)
        if key not in self._kept:
            to_dtype = rounder(dtype)
            self._kept[key] = np.sort(np.abs(to_dtype(to_dtype(self.values[donor]) - to_dtype(self.values[base]))))
        return self._kept[key]

    def _in_basis(self, combination: Combination) -> Array:
        vector = np.zeros(1 + len(self.donors))
        for model, weight in combination.items():
            vector[0] += weight
            if model != self.base:
                vector[1 + self.donors.index(model)] += weight
        return vector


def gram_of_sums(sums: Mapping[str, float], donors: Sequence[str]) -> Array:
    """The Gram matrix of base and donor deltas from the sums of a fit (bb, bv.{donor}, vv.{donor}.{donor}): float64 [1+k, 1+k]."""
    gram = np.empty((1 + len(donors),) * 2)
    gram[0, 0] = sums["bb"]
    for i, first in enumerate(donors, start=1):
        gram[0, i] = gram[i, 0] = sums[f"bv.{first}"]
        for j, second in enumerate(donors[i - 1 :], start=i):
            gram[i, j] = gram[j, i] = sums[f"vv.{first}.{second}"]
    return gram
