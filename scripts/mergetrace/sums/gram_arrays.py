"""The sums of kernels.py as array formulas: for little data, where loading the compiled
kernel costs more than it saves, and as its yardstick.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from mergetrace.numerics.arrays import Array, Bytes, Integers, Singles
from mergetrace.numerics.dtypes import FORMATS, decode
from mergetrace.sums.kernels import (
    GROUP,
    LANES,
    ROWS,
    TRIO,
    Kernel,
    narrow,
)
from mergetrace.tensors.weights import scaled

Numbers = Singles | Array
"""Float32 where products are made in float32 (see kernels), else float64."""

FLOAT32_EXPONENT = 0x7F80_0000  # its bits in a code
FLOAT64_EXPONENT = 0x7FF0_0000_0000_0000
ARRAY_CHUNK = 16 * GROUP  # elements: a few rows of this length stay in the cache


class ArrayKernel(Kernel):
    """The sums as numpy formulas."""

    def load(self, raw: Bytes, dtype: str, scales: Array | None) -> Numbers:
        """Stored bytes as numbers [n]."""
        if narrow(dtype, scales):
            singles = np.empty(raw.size // FORMATS[dtype].width, np.float32)
            return decode(raw, dtype, singles)
        return scaled(decode(raw, dtype), scales)

    def trio_sums(
        self, s: Numbers, d: Numbers, b: Numbers, edges: Integers, smallest: float
    ) -> Array:
        """See Kernel.trio_sums."""
        pieces = edges.size - 1
        out = np.zeros((pieces, len(TRIO)))
        for piece, (audited, donor, x) in _chunks(edges, s, d, b):
            u = audited - x
            v = donor - x
            e = _binade(audited, smallest)
            squares = [
                _inner(u, u),
                _inner(u, x),
                _inner(x, x),
                _inner(u, v),
                _inner(x, v),
                _inner(v, v),
                _inner(e, e),
            ]
            moved = u != 0
            parents_differ = v != 0
            up_and_down = (u > 0) & (v < 0)
            down_and_up = (u < 0) & (v > 0)
            counts = [
                np.count_nonzero(moved),
                np.count_nonzero(parents_differ),
                np.count_nonzero(moved | parents_differ),
                np.count_nonzero(audited != donor),
                np.count_nonzero(up_and_down | down_and_up),
            ]
            out[piece] += [*squares, *counts]
        return out

    def cross_sums(self, d: Numbers, e: Numbers, b: Numbers, edges: Integers) -> Array:
        """See Kernel.cross_sums."""
        out = np.zeros(edges.size - 1)
        for piece, (one, other, x) in _chunks(edges, d, e, b):
            out[piece] += _inner(one - x, other - x)
        return out


def _chunks(edges: Integers, *models: Numbers) -> Iterator[tuple[int, list[Numbers]]]:
    """(piece, a chunk of each model's numbers), all of one dtype: whole groups in
    float32 where all models' are, what is left in float64.
    """
    all_narrow = np.result_type(*models) == np.float32
    for piece, (start, stop) in enumerate(pairwise(edges.tolist())):
        left_over = stop - start
        if all_narrow:
            left_over %= GROUP
        end_of_groups = stop - left_over
        for chunk in _cut(start, end_of_groups):
            yield piece, [numbers[chunk] for numbers in models]
        for chunk in _cut(end_of_groups, stop):
            yield piece, [_as_doubles(numbers[chunk]) for numbers in models]


def _cut(start: int, stop: int) -> Iterator[slice]:
    """Slices of at most ARRAY_CHUNK elements."""
    for first in range(start, stop, ARRAY_CHUNK):
        yield slice(first, min(first + ARRAY_CHUNK, stop))


def _as_doubles(numbers: Numbers) -> Array:
    return numbers.astype(np.float64, copy=False)


def _inner(x: Numbers, y: Numbers) -> float:
    """<x, y>, float32 numbers in the order that kernels.py states."""
    if x.dtype == np.float64:
        return float(x @ y)
    products = x * y
    groups = products.reshape(-1, ROWS, LANES)
    columns = np.add.reduce(groups, axis=1)
    return float(columns.sum(dtype=np.float64))


def _binade(x: Numbers, smallest: float) -> Numbers:
    """max(2^floor(log2 |x|), smallest): the exponent bits of a number alone are the
    power of two below it.
    """
    powers: Numbers
    if x.dtype == np.float32:
        bits = x.view(np.int32)
        exponents = bits & np.int32(FLOAT32_EXPONENT)
        powers = exponents.view(np.float32)
        return np.maximum(powers, np.float32(smallest))
    wide_bits = x.view(np.int64)
    wide_exponents = wide_bits & np.int64(FLOAT64_EXPONENT)
    powers = wide_exponents.view(np.float64)
    return np.maximum(powers, np.float64(smallest))
