"""Merge formulas with an angle for each row or column of a matrix. They need the whole
tensor: elsewhere they are NaN.
"""

import numpy as np

from mergetrace.merging.merge import Merge
from mergetrace.numerics import tool_sums
from mergetrace.numerics.arithmetic import to_float32, total
from mergetrace.numerics.arrays import Array

NUSLERP_LINE_SMALLEST_NORM = 1e-7  # the tool's own limits, this one and the three below
NUSLERP_LINE_SMALLEST_SQUARED_SINE = 1e-16
STOCK_LINE_SMALLEST_NORM_PRODUCT = 1e-6
STOCK_LINE_SMALLEST_DIVISOR = 1e-6


def nuslerp_of_lines(
    merge: Merge, shares: tuple[float, float], first: Array, second: Array
) -> Array:
    """SLERP of the rows of two matrices or, with `row_wise`, of what the tool calls
    rows: the lines along the first dimension. shares: the first's and the second's.
    """
    a = _rows(merge, first)
    b = _rows(merge, second)
    if a is None or b is None:
        return np.full(first.shape, np.nan)
    axis = 0 if merge.settings["row_wise"] and a.shape[0] > 1 else 1
    to_dtype = merge.round
    units = [_units(merge, matrix, axis) for matrix in (a, b)]
    products = to_dtype(units[0] * units[1])
    sums = tool_sums.totals_of_lines(products, merge.dtype, axis)
    cosine = np.expand_dims(np.clip(sums, -1, 1), axis)
    parallel = (
        to_dtype(1 - to_dtype(cosine * cosine)) <= NUSLERP_LINE_SMALLEST_SQUARED_SINE
    )
    angle = tool_sums.arccos(np.where(parallel, 0.0, cosine), merge.dtype)
    first_share, second_share = (
        tool_sums.sine(to_dtype(to_float32(share * angle)), merge.dtype)
        for share in shares
    )
    mixed = to_dtype(to_dtype(first_share * a) + to_dtype(second_share * b))
    on_arc = to_dtype(mixed / tool_sums.sine(angle, merge.dtype))
    first_part, second_part = (
        to_dtype(to_float32(share * matrix))
        for share, matrix in zip(shares, (a, b), strict=True)
    )
    on_line = to_dtype(first_part + second_part)
    return merge.added_back(np.where(parallel, on_line, on_arc).ravel())


def model_stock_of_lines(merge: Merge) -> Array:
    """Model stock with a t for each row; the base's row where it has no finite one."""
    to_dtype = merge.round
    rows = [_rows(merge, delta) for delta in merge.deltas()]
    base = _rows(merge, merge.base)
    if base is None:
        return np.full(merge.base.shape, np.nan)
    deltas = [matrix for matrix in rows if matrix is not None]
    count = len(deltas)
    norms = [tool_sums.norms_of_lines(delta, merge.dtype, 1) for delta in deltas]
    cosines = []
    for i in range(count):
        for j in range(i + 1, count):
            inner = tool_sums.totals_of_lines(
                to_dtype(deltas[i] * deltas[j]), merge.dtype, 1
            )
            sizes = np.maximum(
                to_dtype(norms[i] * norms[j]),
                merge.scalar(STOCK_LINE_SMALLEST_NORM_PRODUCT),
            )
            cosines.append(np.clip(to_dtype(inner / sizes), -1, 1))
    cosine = to_dtype(total(cosines, to_float32) / len(cosines))[:, None]
    divisor = to_dtype(1 + to_dtype((count - 1) * cosine))
    singular = np.abs(divisor) < STOCK_LINE_SMALLEST_DIVISOR
    t = to_dtype(to_dtype(count * cosine) / np.where(singular, 1.0, divisor))
    t = np.where(singular, 0.0, t)
    average = merge.models[0]
    for model in merge.models[1:]:
        average = to_dtype(average + model)
    mean = to_dtype(average / count).reshape(base.shape)
    return to_dtype(to_dtype(t * mean) + to_dtype(to_dtype(1 - t) * base)).ravel()


def _rows(merge: Merge, vector: Array) -> Array | None:
    """A tensor as rows; None where it is not all there."""
    if not merge.facts.whole or not merge.facts.columns:
        return None
    return vector.reshape(-1, merge.facts.columns)


def _units(merge: Merge, matrix: Array, axis: int) -> Array:
    norms = tool_sums.norms_of_lines(matrix, merge.dtype, axis)
    return merge.round(
        matrix / np.expand_dims(np.maximum(norms, NUSLERP_LINE_SMALLEST_NORM), axis)
    )
