"""The column of every matrix that GPTQ rounded first.

GPTQ (Frantar and others 2022) rounds a matrix column after column, and moves the error of
each into those that are still to come. So only the column that comes first is rounded to
the nearest level of its own numbers; every other cell need not hold what its number was
made of, unless what was pushed there is known (see following_columns). Without an order
that column is the first of the matrix; with one (by the size of activations) it lies in the
first group, or anywhere, and is found by what it shows: in every row its cell holds a blend
of the parents.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mergetrace.disguises.column_factors import blended
from mergetrace.disguises.comparison import Comparison
from mergetrace.disguises.findings import Finding, FirstColumns, Tensors
from mergetrace.disguises.following_columns import FOLLOWING, Rounded, pushed_errors
from mergetrace.numerics.arrays import Array, Integers, Mask, evenly_spread
from mergetrace.sums.evidence import Sample
from mergetrace.tensors.view import Key

FORMATS = ("GPTQ4", "GPTQ8")
OF_FEW_LEVELS = ("GPTQ4",)  # those of which the first column may tell too little
ROWS_LOOKED_AT = 1024  # rows of a matrix that are looked at
SPARED = 4  # one of so many of these still decides where all rows are looked at
MOST_EQUAL = 4
"""Columns that are equal by the rows that choose, of which the others may choose one."""
MIN_FITTING = 0.99
"""Of the rows, in which the first column's cell meets the range of the parents."""
BEYOND = 0.1  # of the range that the parents span, on either side: blends may leave it
SHARE_ERROR = 0.05
"""Of that range: how far off a blend may be at the shares that a matrix shows."""
SAME_INPUTS = (
    re.compile(r"(?<=\.)[qkv]_proj(?=\.weight$)"),
    re.compile(r"(?<=\.)(?:gate|up)_proj(?=\.weight$|$)"),
)
"""Matrices that read the same numbers: GPTQ orders their columns alike."""


@dataclass(frozen=True)
class _Looked:
    """Some rows of a matrix."""

    key: Key
    rows: Integers
    """Their places."""
    low: Array
    high: Array
    """The ends of the cells: [rows, columns]."""
    own: Array
    """The numbers as they are decoded."""
    parents: Array
    """[parents, rows, columns]."""
    sample: Sample
    """The rows as they are stored."""

    def meets(self, middle: Array, room: Array) -> Mask:
        """Whether each cell meets a range around some numbers: [rows, columns]."""
        return np.asarray((self.low <= middle + room) & (self.high >= middle - room))

    def spread(self) -> Array:
        """How far the parents lie apart."""
        return np.asarray(np.ptp(self.parents, axis=0), np.float64)

    def in_range(self) -> Mask:
        """Whether each cell meets the range of the parents."""
        middle = (self.parents.max(0) + self.parents.min(0)) / 2
        return self.meets(middle, (0.5 + BEYOND) * self.spread())

    def rounded(self) -> Rounded:
        """Its first columns, of what was rounded."""

        def first(numbers: Array) -> Array:
            return numbers.reshape(self.own.shape)[:, : 1 + FOLLOWING]

        low, high = replace(self.sample, through=None).midpoints()
        scales = np.ones(low.size) if self.sample.scales is None else self.sample.scales
        steps = np.where(scales == 0, 1.0, scales)
        return Rounded(
            first(low),
            first(high),
            first(steps),
            self.own,
            self.parents,
            self.sample.through,
        )


def find_first_columns(comparison: Comparison) -> list[Finding]:
    """Leave the cells open of every column but the one that was rounded first. A matrix
    in which none shows keeps its cells, which then refute any recipe.
    """
    found: list[Key] = []
    searched = following = matrices = 0
    for keys in _together(comparison).values():
        matrices += len(keys)
        looked = [_looked(comparison, key) for key in keys]
        column, is_searched = 0, False
        if not _is_first(looked, 0):
            candidates = _candidates(comparison, keys[0])
            column, is_searched = _likeliest(looked, candidates), True
            if not _is_first(looked, column):
                continue
            searched += len(keys)
        found += keys
        if not is_searched and _next_are_known(comparison, looked):
            following += len(keys)
            _add_pushed(comparison, looked)
            continue
        for each in looked:
            _open_others(comparison, each, column, is_searched)
    if not found:
        return []
    return [FirstColumns(Tensors.of(found), matrices, searched, following)]


def _together(comparison: Comparison) -> Mapping[str, list[Key]]:
    """The matrices in GPTQ's formats, those together that read the same numbers."""
    groups: dict[str, list[Key]] = {}
    for key in comparison.keys:
        if comparison.own.views[key].dtype not in FORMATS:
            continue
        if not comparison.is_in_place(key) or comparison.same_shape(key) is None:
            continue
        name = key[0]
        for pattern in SAME_INPUTS:
            name = pattern.sub("*", name)
        groups.setdefault(f"{name}[{key[1]}]", []).append(key)
    return groups


def _looked(comparison: Comparison, key: Key) -> _Looked:
    view = comparison.own.views[key]
    count = min(ROWS_LOOKED_AT, view.rows)
    goal = comparison.goal(key)

    def in_rows(numbers: Array) -> Array:
        return numbers.reshape(-1, view.cols)

    sample = comparison.own.sample_rows(key, count)
    low, high = sample.midpoints()
    parents = [
        in_rows(parent.sample_rows(goal, count).values())
        for parent in comparison.holders(key)
    ]
    return _Looked(
        key,
        evenly_spread(view.rows, count),
        in_rows(low),
        in_rows(high),
        in_rows(sample.values()),
        np.stack(parents),
        sample,
    )


def _is_first(looked: Sequence[_Looked], column: int) -> bool:
    """Whether a column's cells meet the range of the parents."""
    fits = np.concatenate([each.in_range()[:, column] for each in looked])
    return bool(fits.mean() >= MIN_FITTING)


def _next_are_known(comparison: Comparison, looked: Sequence[_Looked]) -> bool:
    """Whether the columns that were rounded next lie behind the first, and every row was
    looked at: where rows are more, or levels, the first column tells enough.
    """
    own = comparison.own
    views = [own.views[each.key] for each in looked]
    if any(view.rows > ROWS_LOOKED_AT for view in views):
        return False
    if not all(view.dtype in OF_FEW_LEVELS for view in views):
        return False
    if len({len(each.parents) for each in looked}) > 1:
        return False
    groups = own.weights.groups(replace(views[0], model=own.name))
    return groups.size > FOLLOWING and not np.diff(groups[: 1 + FOLLOWING]).any()


def _add_pushed(comparison: Comparison, looked: Sequence[_Looked]) -> None:
    """Leave all cells open but those of the first columns, to which is added what was
    pushed there.
    """
    pushed = pushed_errors([each.rounded() for each in looked])
    for each, of_each in zip(looked, pushed, strict=True):
        columns = np.zeros(comparison.own.views[each.key].cols)
        columns[: of_each.shape[1]] = 1.0
        held = comparison.own.adjustment(each.key)
        adjusted = replace(held, col_decides=columns, pushed=of_each.reshape(-1))
        comparison.own.adjust(each.key, adjusted)


def _candidates(comparison: Comparison, key: Key) -> Integers:
    """The columns that may have come first: those of the first group where groups take
    turns, else any.
    """
    view = replace(comparison.own.views[key], model=comparison.own.name)
    groups = comparison.own.weights.groups(view)
    in_turn = (np.diff(groups) < 0).any()
    return np.flatnonzero(groups == 0) if in_turn else np.arange(groups.size)


def _likeliest(looked: Sequence[_Looked], candidates: Integers) -> int:
    """Of some columns the one in which most cells hold the blend that all numbers of the
    matrices are nearest to, by the rows that decide nothing then.

    Of a few that are equal there the other rows take one: what comes second is hardly
    moved, and one cell beyond would refute the blend. Chance gains no more by it than it
    has such columns to choose from.
    """
    shares = _shares(looked)
    choosing = np.zeros(candidates.size)
    others = np.zeros(candidates.size)
    for each in looked:
        blend = blended(each.parents, shares)
        fits = each.meets(blend, SHARE_ERROR * each.spread())[:, candidates]
        chooses = _choosing(each.rows)
        choosing += fits[chooses].sum(0)
        others += fits[~chooses].sum(0)
    equal = np.flatnonzero(choosing == choosing.max())[:MOST_EQUAL]
    return int(candidates[equal[others[equal].argmax()]])


def _choosing(rows: Integers) -> Mask:
    """Which of the rows that are looked at choose a column: all but some."""
    return np.asarray(np.arange(rows.size) % SPARED != 0)


def _shares(looked: Sequence[_Looked]) -> Array:
    """The shares of all parents but the first in the nearest blend."""
    products, wanted = 0.0, 0.0
    for each in looked:
        deltas = (each.parents[1:] - each.parents[0]).reshape(len(each.parents) - 1, -1)
        products = products + deltas @ deltas.T
        wanted = wanted + deltas @ (each.own - each.parents[0]).reshape(-1)
    shares, *_ = np.linalg.lstsq(np.asarray(products), np.asarray(wanted), rcond=None)
    return np.asarray(shares, np.float64)


def _open_others(
    comparison: Comparison, looked: _Looked, column: int, is_searched: bool
) -> None:
    """Leave the cells of other columns open, and of the rows by which it was chosen."""
    view = comparison.own.views[looked.key]
    columns = np.zeros(view.cols)
    columns[column] = 1.0
    rows = None
    if is_searched:
        rows = np.ones(view.rows)
        rows[looked.rows[_choosing(looked.rows)]] = 0.0
    held = comparison.own.adjustment(looked.key)
    adjusted = replace(held, col_decides=columns, row_decides=rows)
    comparison.own.adjust(looked.key, adjusted)
