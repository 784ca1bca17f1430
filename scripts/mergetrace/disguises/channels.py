"""Numbers that differ from row to row or from column to column, found to the last digit
in matrices of a model.

They are undone only where one side of a pair makes up for the other: a finetune that
multiplied its channels (DoRA, IA3) is not put back, and what training changed
afterwards is not.
"""

from collections.abc import Sequence

import numpy as np

from mergetrace.disguises.column_factors import ColumnFactors, column_factors
from mergetrace.disguises.comparison import Comparison
from mergetrace.disguises.glimpses import Glimpses
from mergetrace.numerics.arrays import Array
from mergetrace.sums.evidence import Sample
from mergetrace.tensors.view import Key

LINES = 64  # rows, or columns, of a matrix that are looked at
MIN_EXPLAINED_BY_CHANNELS = 0.9
"""Of the elements, that the numbers have to explain: blends explain .94 and more,
finetunes .06 at most, in trained small models.
"""
MAX_PLAIN = 0.5
"""Of the elements, that may be explained with no number at all before one is looked
for.
"""
MAX_MISS = 0.1
"""By how much a norm and its matrices, or two matrices, may miss making up for each
other.
"""
MIN_REPLACED_SPREAD = 0.05
"""Spread of a norm's weights beside the parent's, from which it was replaced: finetunes
change them by less.
"""


def exact_factors(
    comparison: Comparison, keys: Sequence[Key], of_rows: bool = False
) -> ColumnFactors | None:
    """By what the columns, or else the rows, of all these matrices were multiplied;
    None where nothing explains them exactly.
    """
    holders = [
        parent
        for parent in comparison.parents
        if all(_same_shape(comparison, key, parent) for key in keys)
    ]
    low: list[Array] = []
    high: list[Array] = []
    parents: list[Array] = []
    for key in keys:
        view = comparison.own.views[key]
        length = view.rows if of_rows else view.cols
        below, above = _lines(comparison.own, key, of_rows).midpoints()
        low.append(below.reshape(-1, length))
        high.append(above.reshape(-1, length))
        goal = comparison.goal(key)
        of_parents = [
            _lines(parent, goal, of_rows).values().reshape(-1, length)
            for parent in holders
        ]
        parents.append(np.stack(of_parents))
    solutions = [
        column_factors(
            np.concatenate(low),
            np.concatenate(high),
            np.concatenate(parents, axis=1),
            through,
        )
        for through in (comparison.parent.dtype(), None)
    ]
    best = max(solutions, key=lambda factors: factors.explained)
    exact = best.explained >= MIN_EXPLAINED_BY_CHANNELS and best.plain < MAX_PLAIN
    return best if exact else None


def spread(ratios: Array) -> float:
    """How far ratios lie from their median, relative to it, in the median."""
    ratios = np.where(np.isfinite(ratios), ratios, np.nan)
    middle = np.nanmedian(ratios) or 1.0
    return float(np.nanmedian(np.abs(ratios / middle - 1)))


def _lines(model: Glimpses, key: Key, of_rows: bool) -> Sample:
    """Some lines of a matrix, one after another: rows, in which every column has a
    number; or else columns, in which every row has one.
    """
    if of_rows:
        return model.sample_columns(key, LINES)
    return model.sample_rows(key, LINES)


def _same_shape(comparison: Comparison, key: Key, parent: Glimpses) -> bool:
    own = comparison.own.views[key]
    other = parent.views.get(comparison.goal(key))
    if other is None:
        return False
    return (own.rows, own.cols) == (other.rows, other.cols)
