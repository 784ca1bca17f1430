"""Arithmetic as tensor libraries do it: every operation is carried out in float32 and rounded to the dtype of the tensors.

Numbers are held in float64. There the sum, product or quotient of two float32 numbers rounds to float32 as if it had been rounded
once (float64 has more than twice the bits and two: Figueroa, ACM SIGNUM 1995), and the same holds from float32 down to bf16 and f16.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mergetrace.numerics.dtypes import decode, encode

Array = NDArray[np.float64]
Round = Callable[[ArrayLike], Array]

NARROW = {"bfloat16": "BF16", "float16": "F16"}


def rounder(dtype: str) -> Round:
    """The function that rounds float64 numbers to float32, bfloat16 or float16 (by way of float32, as the libraries do)."""
    if dtype == "float32":
        return to_float32
    narrow = NARROW[dtype]
    return lambda values: decode(encode(np.asarray(values, np.float32), narrow), narrow).reshape(np.shape(values))


def to_float32(values: ArrayLike) -> Array:
    """The nearest float32 numbers, as float64."""
    return np.asarray(values, np.float32).astype(np.float64)


def total(terms: Sequence[ArrayLike], to_dtype: Round) -> Array:
    """A sum over a few tensors: accumulated one by one in float32, rounded to the dtype once."""
    result = np.asarray(terms[0], np.float64)
    for term in terms[1:]:
        result = to_float32(result + term)
    return to_dtype(result)
