"""What a merge formula must know of a whole tensor: inner products of the parents,
thresholds on the size of their deltas.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from mergetrace.numerics import tool_sums
from mergetrace.numerics.arithmetic import rounder
from mergetrace.numerics.arrays import Array

Combination = Mapping[str, float]
"""A vector as a sum of models: {"donor": 1, "base": -1} is the donor's delta."""


@dataclass(frozen=True)
class Facts:
    """One tensor of the parents. gram: float64 [1+k, 1+k], inner products of the base and the donors' deltas over the whole tensor
    (read whole, or estimated from a sample). values: elements of each parent, all of them (`whole`) or the evidence sample. elements: of the tensor.
    columns: its last dimension, 0 where nobody said.
    """

    base: str
    donors: tuple[str, ...]
    gram: Array
    values: Mapping[str, Array]
    elements: int
    columns: int = 0
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
        """The size of the smallest delta among the largest `share` of them; infinity
        for none. Deltas are rounded to dtype.
        """
        sizes = self._sizes(base, donor, dtype)
        count = min(int(share * sizes.size), sizes.size)
        return float(sizes[sizes.size - count]) if count else np.inf

    def in_order(
        self, base: str, donor: str, dtype: str, descending: bool
    ) -> NDArray[np.int64]:
        """The places of the deltas by size, in the tool's own order."""
        key = (base, donor, dtype, descending)
        if key not in self._kept:
            self._kept[key] = tool_sums.order(
                self._delta_sizes(base, donor, dtype), descending
            )
        return self._kept[key]

    def scale(
        self, base: str, donor: str, density: float, top: float, dtype: str
    ) -> float:
        """sum |delta| over that of the share `density` kept once the largest share
        `top` is left out: both rounded, as is the quotient.
        """
        sizes = self._sizes(base, donor, dtype)
        to_dtype = rounder(dtype)
        last = sizes.size - int(top * sizes.size)
        kept = sizes[max(last - int(density * sizes.size), 0) : last]
        return (
            float(to_dtype(to_dtype(sizes.sum()) / to_dtype(kept.sum())))
            if kept.any()
            else 1.0
        )

    def _sizes(self, base: str, donor: str, dtype: str) -> Array:
        key = (base, donor, dtype)
        if key not in self._kept:
            self._kept[key] = np.sort(self._delta_sizes(base, donor, dtype))
        return self._kept[key]

    def _delta_sizes(self, base: str, donor: str, dtype: str) -> Array:
        to_dtype = rounder(dtype)
        return np.abs(
            to_dtype(to_dtype(self.values[donor]) - to_dtype(self.values[base]))
        )

    def _in_basis(self, combination: Combination) -> Array:
        vector = np.zeros(1 + len(self.donors))
        for model, weight in combination.items():
            vector[0] += weight
            if model != self.base:
                vector[1 + self.donors.index(model)] += weight
        return vector


@dataclass(frozen=True, eq=False)
class Streamed:
    """The facts of a tensor too large to hold: every number from passes over its
    blocks. blocks() yields the parents' elements, float64 by name.
    """

    base: str
    donors: tuple[str, ...]
    elements: int
    blocks: Callable[[], Iterator[Mapping[str, Array]]]
    whole: bool = False
    columns: int = 0

    @cached_property
    def gram(self) -> Array:
        """Inner products of the base and the donors' deltas: float64 [1+k, 1+k]."""
        return sum(
            gram_of(values, (self.base, *self.donors)) for values in self.blocks()
        )

    inner = Facts.inner
    norm = Facts.norm
    _in_basis = Facts._in_basis

    @lru_cache
    def smallest_kept(self, base: str, donor: str, share: float, dtype: str) -> float:
        """As Facts.smallest_kept: float32 numbers that are not negative have ascending
        codes, so their upper and then lower halves are counted.
        """
        count = min(int(share * self.elements), self.elements)
        if not count:
            return np.inf
        upper = sum(
            np.bincount(codes >> 16, minlength=1 << 16)
            for codes in self._codes(base, donor, dtype)
        )
        above = np.cumsum(upper[::-1])[::-1]  # at least this large
        bucket = int(np.flatnonzero(above >= count)[-1])
        lower = sum(
            np.bincount(codes[codes >> 16 == bucket] & 0xFFFF, minlength=1 << 16)
            for codes in self._codes(base, donor, dtype)
        )
        at_least = np.cumsum(lower[::-1])[::-1] + above[bucket] - upper[bucket]
        return float(
            np.uint32(bucket << 16 | int(np.flatnonzero(at_least >= count)[-1])).view(
                np.float32
            )
        )

    def scale(
        self, base: str, donor: str, density: float, top: float, dtype: str
    ) -> float:
        """As Facts.scale, all deltas as large as a threshold counted in."""
        low, high = (
            self.smallest_kept(base, donor, share, dtype)
            for share in (density + top, top)
        )
        sums = np.zeros(2)
        to_dtype = rounder(dtype)
        for codes in self._codes(base, donor, dtype):
            sizes = codes.view(np.float32).astype(np.float64)
            sums += sizes.sum(), sizes[(sizes >= low) & (sizes < high)].sum()
        return (
            float(to_dtype(to_dtype(sums[0]) / to_dtype(sums[1]))) if sums[1] else 1.0
        )

    def _codes(self, base: str, donor: str, dtype: str) -> Iterator[NDArray[np.uint32]]:
        to_dtype = rounder(dtype)
        for values in self.blocks():
            yield (
                np.abs(to_dtype(to_dtype(values[donor]) - to_dtype(values[base])))
                .astype(np.float32)
                .view(np.uint32)
            )


def last_dimension(cols: int, elements: int) -> int:
    """The last dimension of a tensor of so many elements that is stored in rows of
    `cols`: a vector is paired as a single column.
    """
    return cols if cols > 1 else elements


def gram_of(values: Mapping[str, Array], names: Sequence[str]) -> Array:
    """Inner products of the first model and the others' deltas from it: float64 [1+k,
    1+k].
    """
    rows = np.stack(
        [values[names[0]], *(values[name] - values[names[0]] for name in names[1:])]
    )
    return rows @ rows.T


def gram_of_sums(sums: Mapping[str, float], donors: Sequence[str]) -> Array:
    """The Gram matrix of base and donor deltas from the sums of a fit (bb, bv.{donor},
    vv.{donor}.{donor}): float64 [1+k, 1+k].
    """
    gram = np.empty((1 + len(donors),) * 2)
    gram[0, 0] = sums["bb"]
    for i, first in enumerate(donors, start=1):
        gram[0, i] = gram[i, 0] = sums[f"bv.{first}"]
        for j, second in enumerate(donors[i - 1 :], start=i):
            gram[i, j] = gram[j, i] = sums[f"vv.{first}.{second}"]
    return gram
