"""The sums of kernels.py as array formulas: for little data, where loading the compiled
kernel costs more than it saves, and as its yardstick.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mergetrace.numerics.arrays import Array, Bytes, Integers, Singles
from mergetrace.numerics.dtypes import FORMATS, decode
from mergetrace.sums.kernels import (
    COUNTED,
    GROUP,
    LANES,
    ROWS,
    SQUARES,
    TRIO,
    Kernel,
    narrow,
)
from mergetrace.tensors.weights import scaled

Numbers = Singles | Array
"""Float32 where products are made in float32 (see kernels), else float64."""

CHUNK = 16 * GROUP  # elements: a few rows of this length stay in the cache


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
        out = np.zeros((edges.size - 1, len(TRIO)))
        for piece, (audited, donor, x) in _chunks(edges, s, d, b):
            u = audited - x
            v = donor - x
            binade = _binade(audited, smallest)
            factors = [(u, u), (u, x), (x, x), (u, v), (x, v), (v, v), (binade, binade)]
            moved = u != 0
            parents_differ = v != 0
            counted = [
                moved,
                parents_differ,
                moved | parents_differ,
                audited != donor,
                (u > 0) & (v < 0) | (u < 0) & (v > 0),
            ]
            out[piece, : len(SQUARES)] += [_inner(x, y) for x, y in factors]
            out[piece, -len(COUNTED) :] += [np.count_nonzero(each) for each in counted]
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
        whole = stop - (stop - start) % GROUP if all_narrow else start
        for first in range(start, whole, CHUNK):
            end = min(first + CHUNK, whole)
            yield piece, [numbers[first:end] for numbers in models]
        for first in range(whole, stop, CHUNK):
            end = min(first + CHUNK, stop)
            yield piece, [numbers[first:end].astype(np.float64) for numbers in models]


def _inner(x: Numbers, y: Numbers) -> float:
    """<x, y>, float32 numbers in the order that kernels.py states."""
    if x.dtype == np.float64:
        return float(x @ y)
    columns = np.add.reduce((x * y).reshape(-1, ROWS, LANES), axis=1)
    return float(columns.sum(dtype=np.float64))


def _binade(x: Numbers, smallest: float) -> Numbers:
    """max(2^floor(log2 |x|), smallest): the exponent bits of a number alone are the
    power of two below it.
    """
    powers: NDArray[np.floating]
    if x.dtype == np.float32:
        powers = (x.view(np.int32) & np.int32(0x7F80_0000)).view(np.float32)
    else:
        powers = (x.view(np.int64) & np.int64(0x7FF0_0000_0000_0000)).view(np.float64)
    return np.asarray(np.maximum(powers, powers.dtype.type(smallest)))
