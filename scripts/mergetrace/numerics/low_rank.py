"""The product of two narrow float32 matrices, as the library below torch sums it on most
processors (MKL): one fused multiply-add after the other, at most MOST_AT_ONCE in a row.

A number of the product depends on its row and its column alone, whatever else is
computed with it, on whatever machine.
"""

from typing import Any

import numpy as np
from numba import types
from numba.core.extending import intrinsic

from mergetrace.numerics.arrays import Singles
from mergetrace.numerics.compiling import compiled

MOST_AT_ONCE = 192
"""Terms of one sum; more are summed in parts, and the parts added."""


def product(left: Singles, right: Singles) -> Singles:
    """left @ right, float32. left: [n, r]; right: [r, m]."""
    rank = left.shape[1]
    step = min(rank, MOST_AT_ONCE)
    if MOST_AT_ONCE < rank <= 2 * MOST_AT_ONCE:
        step = rank // 2
    total = _sums(left[:, :step], right[:step])
    for first in range(step, rank, step):
        total += _sums(left[:, first : first + step], right[first : first + step])
    return total


def _sums(left: Singles, right: Singles) -> Singles:
    out = np.zeros((left.shape[0], right.shape[1]), np.float32)
    _add_product(np.ascontiguousarray(left), np.ascontiguousarray(right), out)
    return out


def _fused_operation(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once, as numba takes an operation."""

    def emit(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        return builder.fma(*values)

    return types.float32(types.float32, types.float32, types.float32), emit


_fused: Any = intrinsic(_fused_operation)


@compiled()
def _add_product(left: Singles, right: Singles, out: Singles) -> None:
    for row in range(left.shape[0]):
        for k in range(left.shape[1]):
            factor = left[row, k]
            for column in range(right.shape[1]):
                out[row, column] = _fused(factor, right[k, column], out[row, column])
