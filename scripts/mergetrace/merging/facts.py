"""What a merge formula must know of a whole tensor: inner products of the parents, and
thresholds on the size of their deltas.

`HeldFacts` hold the elements, all of them or a sample. `StreamedFacts` read a tensor
that is too large to hold, block by block.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mergetrace.numerics import tool_sums
from mergetrace.numerics.arithmetic import rounder
from mergetrace.numerics.arrays import Array, Integers
from mergetrace.tables.naming import of_donor, of_pair

Codes = NDArray[np.uint32]
Combination = Mapping[str, float]
"""A vector as a sum of models: {"donor": 1, "base": -1} is the donor's delta."""

HALF_CODES = 1 << 16
"""Values that the upper, or the lower, half of a float32's bits can take."""
SHARE_ERRORS = 8.0
"""Standard errors of a share that is read from a sample, were its elements drawn one by one."""
PARTS_OF_SAMPLE = 16
PARTS_ERRORS = 5.0
"""The same by how much parts of a sample differ, which is of blocks whose elements are alike:
shares lay up to 3.4 of these off in a trained family of four layers, and up to 14 of the
others.
"""


class Delta(NamedTuple):
    """A donor's change from a base, rounded to the dtype of the arithmetic."""

    base: str
    donor: str
    dtype: str


@dataclass(frozen=True, kw_only=True, eq=False)
class TensorFacts(ABC):
    """One tensor of the parents, as far as a formula needs to know all of it."""

    base: str
    """The model from which the deltas of the inner products are taken."""
    donors: tuple[str, ...]
    """The other models, in the order of the inner products."""
    elements: int
    """How many elements the tensor has."""
    columns: int = 0
    """Its last dimension; 0 where that is not known."""

    @property
    def whole(self) -> bool:
        """Whether every element of the tensor is held."""
        return False

    def share_error(self, delta: Delta, share: float) -> float:
        """How far the share of a donor's deltas that are as large as the smallest kept may
        be off that is read from those which are held.
        """
        return 0.0

    @abstractmethod
    def inner_products(self) -> Array:
        """Inner products of the base and the donors' deltas over the whole tensor:
        float64 [1+k, 1+k].
        """

    @abstractmethod
    def smallest_kept(self, delta: Delta, share: float) -> float:
        """The size of the smallest among the largest `share` of a donor's deltas;
        infinity where the share holds none.
        """

    @abstractmethod
    def rescale_factor(self, delta: Delta, density: float, top: float) -> float:
        """sum |delta| over the sum of those kept: the share `density` that follows the
        largest share `top`. Both sums and the quotient are rounded; 1 where the kept
        sum is zero.
        """

    def size_order(self, delta: Delta, descending: bool) -> Integers:
        """The positions of the deltas by size, in the tool's own order.

        Raises ValueError where not every element is held.
        """
        raise ValueError(f"the elements of {delta.donor} are not held")

    def inner(self, first: Combination, second: Combination) -> float:
        """The inner product of two combinations of parents over the tensor."""
        products = self.inner_products()
        return float(self._in_basis(first) @ products @ self._in_basis(second))

    def norm(self, vector: Combination) -> float:
        """The Euclidean norm of a combination of parents over the tensor."""
        return float(np.sqrt(max(self.inner(vector, vector), 0.0)))

    def _in_basis(self, combination: Combination) -> Array:
        """A combination in terms of the base and the donors' deltas: float64 [1+k]."""
        vector = np.zeros(1 + len(self.donors))
        for model, weight in combination.items():
            vector[0] += weight
            if model != self.base:
                vector[1 + self.donors.index(model)] += weight
        return vector


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldFacts(TensorFacts):
    """The facts of a tensor whose elements, or a sample of them, are in memory."""

    gram: Array
    """The inner products, read whole or estimated from a sample: float64 [1+k, 1+k]."""
    values: Mapping[str, Array]
    """Elements by model: all of the tensor, or those of the evidence sample."""
    _sorted_sizes: dict[Delta, Array] = field(
        default_factory=dict, init=False, repr=False
    )
    _orders: dict[tuple[Delta, bool], Integers] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def whole(self) -> bool:
        """Whether `values` holds every element of the tensor."""
        return len(self.values[self.base]) == self.elements

    def share_error(self, delta: Delta, share: float) -> float:
        """See TensorFacts.share_error: of a sample without replacement, by the greater of
        two estimates.
        """
        held = len(self.values[self.base])
        left = np.sqrt(max(1 - held / max(self.elements, 1), 0.0))
        inside = min(max(share, 0.0), 1.0)
        if not left or inside in (0.0, 1.0):
            return 0.0
        alone = float(np.sqrt(inside * (1 - inside) / max(held, 1)))
        together = 0.0
        if held >= PARTS_OF_SAMPLE:
            large = self._sizes(delta) >= self.smallest_kept(delta, share)
            shares = [part.mean() for part in np.array_split(large, PARTS_OF_SAMPLE)]
            together = float(np.std(shares, ddof=1) / np.sqrt(PARTS_OF_SAMPLE))
        return float(left * max(SHARE_ERRORS * alone, PARTS_ERRORS * together))

    def inner_products(self) -> Array:
        """See TensorFacts.inner_products."""
        return self.gram

    def smallest_kept(self, delta: Delta, share: float) -> float:
        """See TensorFacts.smallest_kept."""
        sizes = self._sizes_ascending(delta)
        count = min(int(share * sizes.size), sizes.size)
        return float(sizes[sizes.size - count]) if count else np.inf

    def rescale_factor(self, delta: Delta, density: float, top: float) -> float:
        """See TensorFacts.rescale_factor."""
        sizes = self._sizes_ascending(delta)
        end = sizes.size - int(top * sizes.size)
        start = max(end - int(density * sizes.size), 0)
        kept = sizes[start:end]
        if not kept.any():
            return 1.0
        to_dtype = rounder(delta.dtype)
        return float(to_dtype(to_dtype(sizes.sum()) / to_dtype(kept.sum())))

    def size_order(self, delta: Delta, descending: bool) -> Integers:
        """See TensorFacts.size_order."""
        key = (delta, descending)
        if key not in self._orders:
            self._orders[key] = tool_sums.order(self._sizes(delta), descending)
        return self._orders[key]

    def _sizes_ascending(self, delta: Delta) -> Array:
        if delta not in self._sorted_sizes:
            self._sorted_sizes[delta] = np.sort(self._sizes(delta))
        return self._sorted_sizes[delta]

    def _sizes(self, delta: Delta) -> Array:
        return _delta_sizes(self.values, delta)


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamedFacts(TensorFacts):
    """The facts of a tensor too large to hold: every number comes from passes over its
    blocks.
    """

    blocks: Callable[[], Iterator[Mapping[str, Array]]]
    """Starts a pass over the tensor; yields the elements of a block by model."""
    _smallest_kept: dict[tuple[Delta, float], float] = field(
        default_factory=dict, init=False, repr=False
    )

    def inner_products(self) -> Array:
        """See TensorFacts.inner_products."""
        return self._gram

    @cached_property
    def _gram(self) -> Array:
        names = (self.base, *self.donors)
        products = np.zeros((len(names), len(names)))
        for values in self.blocks():
            products = products + gram_of(values, names)
        return products

    def smallest_kept(self, delta: Delta, share: float) -> float:
        """See TensorFacts.smallest_kept."""
        key = (delta, share)
        if key not in self._smallest_kept:
            self._smallest_kept[key] = self._count_down(delta, share)
        return self._smallest_kept[key]

    def _count_down(self, delta: Delta, share: float) -> float:
        """The size of the smallest among the largest `share` of a donor's deltas.

        The codes of float32 numbers that are not negative ascend with the numbers, so
        their upper halves are counted first, and then the lower halves of the codes
        that share the upper half sought.
        """
        count = min(int(share * self.elements), self.elements)
        if not count:
            return np.inf
        upper = np.zeros(HALF_CODES, np.int64)
        for codes in self._codes(delta):
            upper += np.bincount(codes >> 16, minlength=HALF_CODES)
        at_least_upper = np.cumsum(upper[::-1])[::-1]
        bucket = int(np.flatnonzero(at_least_upper >= count)[-1])
        lower = np.zeros(HALF_CODES, np.int64)
        for codes in self._codes(delta):
            in_bucket = codes[codes >> 16 == bucket]
            lower += np.bincount(in_bucket & 0xFFFF, minlength=HALF_CODES)
        above_bucket = at_least_upper[bucket] - upper[bucket]
        at_least_lower = np.cumsum(lower[::-1])[::-1] + above_bucket
        rest = int(np.flatnonzero(at_least_lower >= count)[-1])
        return float(np.uint32(bucket << 16 | rest).view(np.float32))

    def rescale_factor(self, delta: Delta, density: float, top: float) -> float:
        """See TensorFacts.rescale_factor. All deltas as large as a threshold count as
        kept.
        """
        low = self.smallest_kept(delta, density + top)
        high = self.smallest_kept(delta, top)
        all_sizes = kept_sizes = 0.0
        for codes in self._codes(delta):
            sizes = codes.view(np.float32).astype(np.float64)
            all_sizes += float(sizes.sum())
            kept_sizes += float(sizes[(sizes >= low) & (sizes < high)].sum())
        if not kept_sizes:
            return 1.0
        to_dtype = rounder(delta.dtype)
        return float(to_dtype(to_dtype(all_sizes) / to_dtype(kept_sizes)))

    def _codes(self, delta: Delta) -> Iterator[Codes]:
        """The sizes of a donor's deltas as the bits of float32 numbers, block by
        block.
        """
        for values in self.blocks():
            yield _delta_sizes(values, delta).astype(np.float32).view(np.uint32)


def last_dimension(cols: int, elements: int) -> int:
    """The last dimension of a tensor of so many elements that is stored in rows of
    `cols`: a vector is paired as a single column.
    """
    return cols if cols > 1 else elements


def gram_of(values: Mapping[str, Array], names: Sequence[str]) -> Array:
    """Inner products of the first model and the others' deltas from it: float64 [1+k,
    1+k].
    """
    base = values[names[0]]
    rows = np.stack([base, *(values[name] - base for name in names[1:])])
    return rows @ rows.T


def gram_of_sums(sums: Mapping[str, float], donors: Sequence[str]) -> Array:
    """The Gram matrix of base and donor deltas from the sums of a fit (bb, bv.{donor},
    vv.{donor}.{donor}): float64 [1+k, 1+k].
    """
    size = 1 + len(donors)
    gram = np.empty((size, size))
    gram[0, 0] = sums["bb"]
    for i, first in enumerate(donors, start=1):
        gram[0, i] = gram[i, 0] = sums[of_donor("bv", first)]
        for j, second in enumerate(donors[i - 1 :], start=i):
            gram[i, j] = gram[j, i] = sums[of_pair("vv", first, second)]
    return gram


def _delta_sizes(values: Mapping[str, Array], delta: Delta) -> Array:
    """|donor - base|, every operation rounded: float64 [n]."""
    to_dtype = rounder(delta.dtype)
    change = to_dtype(values[delta.donor]) - to_dtype(values[delta.base])
    return np.abs(to_dtype(change))
