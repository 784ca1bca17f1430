"""The sums of gram.py compiled: one pass over the stored numbers, decoded in registers, faster than files are read.

A model's numbers arrive as an array whose type says how they are stored (`LANES`): no decoded copy of them is ever made. Products and
sums are float64; counts compare the stored codes where all three formats agree. Nothing here depends on the number of threads.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload
from numpy.typing import NDArray

from mergetrace.models.weights import scaled
from mergetrace.numerics.dtypes import decode
from mergetrace.sums.gram_arrays import buffer  # noqa: F401 - part of what a kernel offers

LANES = {"BF16": "<u2", "F16": "<i2", "F32": "<f4", "F64": "<f8", "F8_E4M3": "u1", "F8_E5M2": "i1"}
"""The array type that stands for each dtype: numba compiles one kernel per combination, when it is first met, and keeps it on disk."""

TILE = 8192  # elements: the stored numbers of a tile stay in the cache between the sums and the counts; a 16-bit count cannot overflow
# Sums may be reordered (they are vectorised that way), but NaN and infinity stay what they are: callers look for them.
FLAGS = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}


def load(raw: NDArray[np.uint8], dtype: str, scales: NDArray[np.float64] | None) -> NDArray:
    """Stored bytes as the array that stands for them, without a copy; FP8 with block scales becomes float64."""
    return raw.view(LANES[dtype]) if scales is None else scaled(decode(raw, dtype), scales)


def _compiled(function: Any) -> Any:
    """`function` compiled on first use; kept beside the source or in the user's cache, and nowhere where neither can be written."""
    try:
        return njit(cache=True, **FLAGS)(function)
    except RuntimeError:  # numba found no folder to write to
        return njit(**FLAGS)(function)


def _value(code):
    """The number behind a code, float64; see `_decoder` for its compiled form."""
    raise NotImplementedError


@overload(_value)
def _decoder(code):
    if code == types.uint16:
        return lambda code: np.float64(np.uint32(np.uint32(code) << np.uint32(16)).view(np.float32))
    if code == types.int16:
        return lambda code: _narrow(code & 0x7FFF, 10, 15, 0x7BFF, code < 0)
    if code == types.uint8:
        return lambda code: _narrow(code & 0x7F, 3, 7, 0x7E, code > 0x7F)
    if code == types.int8:
        return lambda code: _narrow(code & 0x7F, 2, 15, 0x7B, code < 0)
    return lambda code: np.float64(code)  # noqa: PLW0108 - numba asks for a function


@njit(**FLAGS)
def _narrow(code: Any, fraction_bits: int, bias: int, largest: int, negative: bool) -> float:
    """A float narrower than float32, from its code without the sign: moved to float32's places, or counted where it is subnormal.

    Infinity and NaN both become NaN: either is left out of every sum.
    """
    wide = np.uint32((np.uint32(code) << np.uint32(23 - fraction_bits)) + np.uint32((127 - bias) << 23))
    magnitude = np.float64(np.uint32(wide).view(np.float32)) if code >= 1 << fraction_bits else code * 2.0 ** (1 - bias - fraction_bits)
    magnitude = np.nan if code > largest else magnitude
    return -magnitude if negative else magnitude


def _rank(code, first, second):
    """A number that orders like the one behind `code`, and is as narrow where `first` and `second` are stored alike."""
    raise NotImplementedError


@overload(_rank)
def _ranker(code, first, second):
    if code == first == second and code in (types.uint16, types.int16):

        def sixteen(code, first, second):
            signed = np.int16(code)  # sign and magnitude, made two's complement: both zeros become 0
            return np.int16(np.int16(-32768) - signed) if signed < 0 else signed

        return sixteen
    return lambda code, first, second: _value(code)


@_compiled
def _sums(s: Any, d: Any, b: Any, smallest: float) -> Any:
    uu = ub = bb = uv = bv = vv = energy = 0.0
    for i in range(s.size):
        audited, x = _value(s[i]), _value(b[i])
        u, v = audited - x, _value(d[i]) - x
        uu += u * u
        ub += u * x
        bb += x * x
        uv += u * v
        bv += x * v
        vv += v * v
        binade = np.int64(np.float64(audited).view(np.int64) & 0x7FF0_0000_0000_0000).view(np.float64)
        binade = binade if binade > smallest else smallest
        energy += binade * binade
    return uu, ub, bb, uv, bv, vv, energy


@_compiled
def _counts(s: Any, d: Any, b: Any) -> Any:
    base = parents = all_three = donor = sign = np.int16(0)
    for i in range(s.size):
        x, y, z = _rank(b[i], s[i], d[i]), _rank(s[i], d[i], b[i]), _rank(d[i], b[i], s[i])
        base = np.int16(base + np.int16(y == x))
        parents = np.int16(parents + np.int16(z == x))
        all_three = np.int16(all_three + np.int16((y == x) & (z == x)))
        donor = np.int16(donor + np.int16(y == z))
        sign = np.int16(sign + np.int16((y != x) & (z != x) & ((y > x) == (z > x))))
    return base, parents, all_three, donor, sign


@_compiled
def trio_sums(s: Any, d: Any, b: Any, edges: NDArray[np.int64], smallest: float) -> NDArray[np.float64]:
    """gram_arrays.trio_sums, of stored numbers."""
    out = np.zeros((edges.size - 1, 12))
    for piece in range(edges.size - 1):
        for first in range(edges[piece], edges[piece + 1], TILE):
            end = min(first + TILE, edges[piece + 1])
            ss, dd, bb = s[first:end], d[first:end], b[first:end]  # slices: the loops over them are free of index checks
            for i, value in enumerate(_sums(ss, dd, bb, smallest)):
                out[piece, i] += value
            for i, count in enumerate(_counts(ss, dd, bb)):
                out[piece, 7 + i] += count
    return out


@_compiled
def _cross(d: Any, e: Any, b: Any) -> float:
    total = 0.0
    for i in range(d.size):
        x = _value(b[i])
        total += (_value(d[i]) - x) * (_value(e[i]) - x)
    return total


@_compiled
def cross_sums(d: Any, e: Any, b: Any, edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """gram_arrays.cross_sums, of stored numbers."""
    out = np.zeros(edges.size - 1)
    for piece in range(edges.size - 1):
        for first in range(edges[piece], edges[piece + 1], TILE):
            end = min(first + TILE, edges[piece + 1])
            out[piece] += _cross(d[first:end], e[first:end], b[first:end])
    return out
