"""The sums of gram.py as array formulas: for little data, where loading the compiled
kernel costs more than it saves, and as its yardstick.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import FORMATS, decode
from mergetrace.tensors.weights import scaled

Numbers = NDArray[np.float32] | Array
"""Float32 where products are made in float32, see gram.py."""

ROWS = 16
LANES = 32
GROUP = ROWS * LANES
CHUNK = 16 * GROUP  # elements: a few rows of this length stay in the cache


def narrow(dtype: str, scales: Array | None = None) -> bool:
    """Whether products of such numbers are made in float32: those of 16 bits and fewer,
    unless they are scaled.
    """
    return FORMATS[dtype].width <= 2 and scales is None


def buffer(size: int) -> NDArray[np.uint8]:
    """Memory to read `size` bytes into."""
    return np.empty(size, np.uint8)


def load(raw: NDArray[np.uint8], dtype: str, scales: Array | None) -> Numbers:
    """Stored bytes as numbers [n]: float32 where products are made in it, else float64."""
    if narrow(dtype, scales):
        return decode(
            raw, dtype, np.empty(raw.size // FORMATS[dtype].width, np.float32)
        )
    return scaled(decode(raw, dtype), scales)


def trio_sums(
    s: Numbers, d: Numbers, b: Numbers, edges: NDArray[np.int64], smallest: float
) -> Array:
    """The sums of gram.TRIO over each piece edges[i]..edges[i+1] of an audited model's,
    a donor's and a base's numbers: float64 [pieces, 12].

    smallest: the smallest normal number 2^e_min of the audited model's format; the
    energy sums max(2^floor(log2 |s|), 2^e_min)^2.
    """
    out = np.zeros((edges.size - 1, 12))
    for piece, audited, donor, x in _chunks(edges, s, d, b):
        u = audited - x
        v = donor - x
        binade = _binade(audited, smallest)
        moved = u != 0
        parents_differ = v != 0
        counts = [
            moved,
            parents_differ,
            moved | parents_differ,
            audited != donor,
            (u > 0) & (v < 0) | (u < 0) & (v > 0),
        ]
        factors = [(u, u), (u, x), (x, x), (u, v), (x, v), (v, v), (binade, binade)]
        out[piece] += [
            *(_inner(x, y) for x, y in factors),
            *map(np.count_nonzero, counts),
        ]
    return out


def cross_sums(d: Numbers, e: Numbers, b: Numbers, edges: NDArray[np.int64]) -> Array:
    """<d - b, e - b> over each piece, for two donors: float64 [pieces]."""
    out = np.zeros(edges.size - 1)
    for piece, one, other, x in _chunks(edges, d, e, b):
        out[piece] += _inner(one - x, other - x)
    return out


def _chunks(edges: NDArray[np.int64], *models: Numbers) -> Iterator[tuple]:
    """(piece, a chunk of each model's numbers), all of one dtype: whole groups in
    float32 where all models' are, what is left in float64.
    """
    wide = np.result_type(*models)
    for piece, (start, stop) in enumerate(pairwise(edges.tolist())):
        whole = stop - (stop - start) % GROUP if wide == np.float32 else start
        for first, end, dtype in (
            (start, whole, np.float32),
            (whole, stop, np.float64),
        ):
            for at in range(first, end, CHUNK):
                yield (
                    piece,
                    *(
                        numbers[at : min(at + CHUNK, end)].astype(dtype, copy=False)
                        for numbers in models
                    ),
                )


def _inner(x: Numbers, y: Numbers) -> float:
    """<x, y>, float32 numbers in the order that gram.py states."""
    if x.dtype == np.float64:
        return float(x @ y)
    return float(
        np.add.reduce((x * y).reshape(-1, ROWS, LANES), axis=1).sum(dtype=np.float64)
    )


def _binade(x: Numbers, smallest: float) -> Numbers:
    """The exponent bits of a number alone are the power of two below it."""
    bits, exponent = (
        (np.int32, 0x7F80_0000)
        if x.dtype == np.float32
        else (np.int64, 0x7FF0_0000_0000_0000)
    )
    return np.maximum(
        (x.view(bits) & bits(exponent)).view(x.dtype), x.dtype.type(smallest)
    )
