"""Columns of one matrix and rows of the one before, multiplied by numbers that make up
for each other.
"""

import re
from collections.abc import Iterator, Sequence

import numpy as np

from mergetrace.disguises.channels import (
    LINES,
    MAX_MISS,
    MIN_REPLACED_SPREAD,
    exact_factors,
    spread,
)
from mergetrace.disguises.column_factors import ColumnFactors, column_ratios
from mergetrace.disguises.comparison import Comparison
from mergetrace.disguises.findings import (
    ChannelsScaled,
    ColumnsApart,
    Finding,
    Tensors,
)
from mergetrace.numerics.arrays import Array, some_of
from mergetrace.tensors.view import Key

MAX_PAIRS = 64  # pairs of matrices looked at before all are
MAX_PAIRS_IN_VAIN = 8  # of these, that are tried in vain
MIN_BEYOND_CHANCE = 4.0
"""Times more than by chance: columns that differ in size by so much were multiplied, or
trained to differ.
"""

PARTNERS = {
    re.compile(r"down_proj(?=\.weight$|$)"): "up_proj",
    re.compile(r"o_proj(?=\.weight$)"): "v_proj",
}
"""The matrix whose rows make up for the columns of another."""


def find_scaled_channels(comparison: Comparison) -> list[Finding]:
    """Divide columns of one matrix and rows of the one before that were multiplied by
    numbers that make up for each other.
    """
    pairs = list(channel_pairs(comparison))
    apart = {}
    for key, _ in some_of(pairs, MAX_PAIRS):
        ratios, beyond_chance = _column_ratios(comparison, key)
        if beyond_chance > MIN_BEYOND_CHANCE:
            apart[key] = ratios
    tried = list(apart)[:MAX_PAIRS_IN_VAIN]
    if not any(exact_factors(comparison, [key]) for key in tried):
        wide = [
            key for key, ratios in apart.items() if spread(ratios) > MIN_REPLACED_SPREAD
        ]
        return [ColumnsApart(Tensors.of(wide))] if wide else []
    scaled: list[Key] = []
    factors: list[ColumnFactors] = []
    for key, partner in pairs:
        of_columns = exact_factors(comparison, [key])
        of_rows = exact_factors(comparison, [partner], of_rows=True)
        if of_columns is None or of_rows is None:
            continue
        if _miss(of_columns.columns, of_rows.columns) > MAX_MISS:
            continue
        comparison.own.multiply_columns(key, 1 / of_columns.columns)
        comparison.own.read_through(key, of_columns.through)
        comparison.own.multiply_rows(partner, 1 / of_rows.columns)
        comparison.own.read_through(partner, of_rows.through)
        scaled += [key, partner]
        factors.append(of_columns)
    return [_finding(scaled, factors)] if factors else []


def _finding(scaled: Sequence[Key], factors: Sequence[ColumnFactors]) -> ChannelsScaled:
    numbers = np.concatenate([each.columns for each in factors])
    return ChannelsScaled(
        tensors=Tensors.of(scaled),
        smallest=float(numbers.min()),
        largest=float(numbers.max()),
        explained=float(np.median([each.explained for each in factors])),
        rounded_between=factors[0].through is not None,
    )


def channel_pairs(comparison: Comparison) -> Iterator[tuple[Key, Key]]:
    """(a matrix, the one whose rows make up for its columns) of all pairs that lie
    where the parent's do.
    """
    for key in comparison.keys:
        for pattern, name in PARTNERS.items():
            if not pattern.search(key[0]):
                continue
            partner = (pattern.sub(name, key[0]), key[1])
            if partner not in comparison.own.views:
                continue
            if comparison.is_in_place(key) and comparison.is_in_place(partner):
                yield key, partner


def _column_ratios(comparison: Comparison, key: Key) -> tuple[Array, float]:
    """The columns' sizes beside the parent's, and how much they differ (see
    column_ratios).
    """
    own = comparison.own.rows(key, LINES).astype(float)
    other = comparison.parent.rows(comparison.goal(key), LINES).astype(float)
    return column_ratios(own, other)


def _miss(columns: Array, rows: Array) -> float:
    """How far numbers of columns and of the rows before them are from making up for
    each other, in the median.

    A key and value head's rows belong to several query heads' columns: as many as there
    are times more of these.
    """
    shared = len(columns) // len(rows)
    if shared * len(rows) != len(columns):
        return float("inf")
    misses = []
    for heads in _divisors(len(rows)) if shared > 1 else [1]:
        repeated = np.repeat(rows.reshape(heads, 1, -1), shared, axis=1).reshape(-1)
        misses.append(float(np.median(np.abs(columns * repeated - 1))))
    return min(misses)


def _divisors(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]
