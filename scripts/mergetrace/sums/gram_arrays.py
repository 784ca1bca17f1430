"""The sums of gram.py as array formulas: for little data, where loading the compiled kernel costs more than it saves, and as its yardstick."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mergetrace.models.weights import scaled
from mergetrace.numerics.dtypes import decode

Array = NDArray[np.float64]

CHUNK = 1 << 13  # elements: a few float64 rows of this length stay in the cache, and are too short for BLAS to start threads over


def buffer(size: int) -> NDArray[np.uint8]:
    """Memory to read `size` bytes into."""
    return np.empty(size, np.uint8)


def load(raw: NDArray[np.uint8], dtype: str, scales: Array | None) -> Array:
    """Stored bytes as numbers, float64 [n]."""
    return scaled(decode(raw, dtype), scales)


def trio_sums(s: Array, d: Array, b: Array, edges: NDArray[np.int64], smallest: float) -> Array:
    """The sums of gram.TRIO over each piece edges[i]..edges[i+1] of an audited model's, a donor's and a base's numbers: float64 [pieces, 12].

    smallest: the smallest normal number 2^e_min of the audited model's format; the energy sums max(2^floor(log2 |s|), 2^e_min)^2.
    """
    out = np.zeros((edges.size - 1, 12))
    for piece, first, end in _chunks(edges):
        audited, x = s[first:end], b[first:end]
        rows = np.stack([audited - x, x, d[first:end] - x])
        gram = rows @ rows.T
        u, _, v = rows
        binade = np.maximum((audited.view(np.int64) & 0x7FF0_0000_0000_0000).view(np.float64), smallest)
        still, parents_agree = u == 0, v == 0
        counts = [still, parents_agree, still & parents_agree, audited == d[first:end], ~still & ~parents_agree & ((u > 0) == (v > 0))]
        sums = [gram[0, 0], gram[0, 1], gram[1, 1], gram[0, 2], gram[1, 2], gram[2, 2], binade @ binade]
        out[piece] += [*sums, *map(np.count_nonzero, counts)]
    return out


def cross_sums(d: Array, e: Array, b: Array, edges: NDArray[np.int64]) -> Array:
    """<d - b, e - b> over each piece, for two donors: float64 [pieces]."""
    out = np.zeros(edges.size - 1)
    for piece, first, end in _chunks(edges):
        x = b[first:end]
        out[piece] += (d[first:end] - x) @ (e[first:end] - x)
    return out


def _chunks(edges: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
    for piece, (start, stop) in enumerate(pairwise(edges.tolist())):
        for first in range(start, stop, CHUNK):
            yield piece, first, min(first + CHUNK, stop)
