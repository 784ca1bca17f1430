"""Arithmetic as tensor libraries do it: every operation is carried out in float32 and
rounded to the dtype of the tensors.

Numbers are held in float64. There the sum, product or quotient of two float32 numbers
rounds to float32 as if it had been rounded once (float64 has more than twice the bits
and two: Figueroa, ACM SIGNUM 1995), and the same holds from float32 down to bf16 and
f16.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from mergetrace.numerics.arrays import Array

Round = Callable[[ArrayLike], Array]


def rounder(dtype: str) -> Round:
    """The function that rounds float64 numbers to float32, bfloat16 or float16 (by way
    of float32, as the libraries do), or leaves them. KeyError for any other dtype.
    """
    rounders = {
        "float64": lambda values: np.asarray(values, np.float64),
        "float32": to_float32,
        "bfloat16": to_bfloat16,
        "float16": to_float16,
    }
    return rounders[dtype]


def to_float32(values: ArrayLike) -> Array:
    """The nearest float32 numbers, as float64."""
    return np.asarray(values, np.float32).astype(np.float64)


def to_bfloat16(values: ArrayLike) -> Array:
    """The nearest bfloat16 numbers to the nearest float32 numbers, ties to even, as
    float64. Equal to `decode` of `encode`, and faster.

    The upper half of a float32's bits is a bfloat16, and a carry out of the lower half
    leads to the next bfloat16 number.
    """
    near = np.array(values, np.float32)
    nan = np.isnan(near)
    bits = near.view(np.uint32)
    bits += 0x7FFF + (bits >> 16 & 1)
    bits &= 0xFFFF_0000
    near[nan] = np.nan
    return near.astype(np.float64)


def to_float16(values: ArrayLike) -> Array:
    """The nearest float16 numbers to the nearest float32 numbers, as float64; infinity
    beyond the largest.
    """
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32).astype(np.float16).astype(np.float64)


def total(terms: Sequence[ArrayLike], to_dtype: Round) -> Array:
    """The sum over a few tensors: accumulated one by one in float32, and rounded to the
    dtype once at the end.
    """
    result = np.asarray(terms[0], np.float64)
    for term in terms[1:]:
        result = to_float32(result + np.asarray(term))
    return to_dtype(result)
