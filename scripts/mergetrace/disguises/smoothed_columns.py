"""Columns that were multiplied before a matrix was quantised, as AWQ (Lin and others 2023)
and SmoothQuant do it: the norm before is divided by the same numbers, or the rows of the
matrix before.

They are put back from the norm: what it is beside a blend of the parents' norms, at the
shares that the matrices show. So the numbers of a column's elements decide nothing about
its factor, but one share for a whole matrix. Such a norm says nothing itself any more,
and is left out. Where the rows of a matrix before were divided, row and column are put
back by what both show in the mean of all their elements. What rounding left open is
closed by the cells: the number is taken that those of a column make likeliest.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.special import expit

from mergetrace.disguises.channels import MAX_MISS
from mergetrace.disguises.column_factors import (
    blended,
    density_kept,
    fitted_blend,
    largest_kept,
)
from mergetrace.disguises.comparison import Comparison
from mergetrace.disguises.findings import ColumnsSmoothed, Finding, Tensors
from mergetrace.disguises.folded_norms import readers_of, replaced_norms, weights_of
from mergetrace.disguises.glimpses import Glimpses
from mergetrace.disguises.scaled_channels import PARTNERS, channel_pairs
from mergetrace.numerics.arrays import Array, some_of
from mergetrace.numerics.levels import LEVELS, MULTIPLIED_FIRST
from mergetrace.numerics.rounding import replay_intervals
from mergetrace.sums.cells import cell_ends
from mergetrace.sums.evidence import Sample
from mergetrace.tensors.view import Key

CHANNELS_LOOKED_AT = 1024  # rows or columns of a matrix that are looked at
MIN_SPREAD = 0.02
"""Of what channels of a pair were multiplied by, relative to 1: in the median."""
ERROR_OF_NORM = 0.0025
"""Relative: a norm in bf16 was rounded twice, as a blend and once it was divided."""
ERROR_OF_MEAN = 0.005
"""Relative: of the mean of some hundred elements in four bits."""
BLUR = 0.002
"""Relative: by what numbers in bf16 are off that were rounded two or three times."""
FACTOR_HALVINGS = 12
MATRICES_OF_DENSITY = 4
ROWS_OF_DENSITY = 256
"""What is looked at for the share of the parents' changes that a model holds."""


def find_smoothed_columns(comparison: Comparison) -> list[Finding]:
    """Divide the columns of quantised matrices that were multiplied, and multiply the rows
    before them.
    """
    norms: list[Key] = []
    divided: list[Key] = []
    numbers: list[Array] = []
    packed = [key for key in comparison.keys if _is_packed(comparison, key)]
    if not packed:
        return []
    density = _density(comparison, packed)
    for norm in list(replaced_norms(comparison)):
        readers = [
            key for key in readers_of(comparison, norm) if _is_packed(comparison, key)
        ]
        factors = _from_norm(comparison, norm, readers, density)
        if factors is None:
            continue
        for key in readers:
            _divide(comparison, key, factors)
        comparison.aside.append(norm)
        norms.append(norm)
        divided += readers
        numbers.append(factors)
    pairs = 0
    for key, partner in channel_pairs(comparison):
        factors = _from_pair(comparison, key, partner, density)
        if factors is None:
            continue
        _divide(comparison, key, factors)
        comparison.own.multiply_rows(partner, factors)
        _take_as_multiplied(comparison, partner)
        pairs += 1
        divided.append(key)
        numbers.append(factors)
    if not divided:
        return []
    every = np.concatenate(numbers)
    smallest, largest = float(every.min()), float(every.max())
    tensors = Tensors.of(divided)
    return [ColumnsSmoothed(len(norms), pairs, tensors, smallest, largest)]


def _divide(comparison: Comparison, key: Key, factors: Array) -> None:
    """Divide a matrix's columns; it was rounded before they were multiplied."""
    comparison.own.multiply_columns(key, 1 / factors)
    comparison.own.read_through(key, comparison.parent.dtype())
    _take_as_multiplied(comparison, key)


def _take_as_multiplied(comparison: Comparison, key: Key) -> None:
    """Take a matrix as one whose numbers were rounded once more before they were packed."""
    own = comparison.own
    dtype = MULTIPLIED_FIRST.get(own.views[key].dtype)
    own.adjust(key, replace(own.adjustment(key), dtype=dtype))


def _is_packed(comparison: Comparison, key: Key) -> bool:
    return comparison.own.views[key].dtype in LEVELS


def _density(comparison: Comparison, packed: Sequence[Key]) -> float:
    """The share of the parents' changes that the model holds, by a few matrices."""
    groups = []
    for key in some_of(packed, MATRICES_OF_DENSITY):
        parents = _shared(comparison, [key])
        if parents and comparison.is_in_place(key):
            lines = _lines(comparison, parents, key, 1.0, count=ROWS_OF_DENSITY)
            groups.append((lines.values, lines.parents))
    return density_kept(groups) if groups else 1.0


def _from_norm(
    comparison: Comparison, norm: Key, readers: Sequence[Key], density: float
) -> Array | None:
    """What the columns of the matrices that read a norm were multiplied by, as the norm
    says; None where the matrices do not say the same.
    """
    # rows of these may have been divided for the matrix after them
    plain = [
        key for key in readers if not any(name in key[0] for name in PARTNERS.values())
    ]
    parents = _shared(comparison, [norm, *plain])
    if not plain or not parents:
        return None
    lines = [_lines(comparison, parents, key, density) for key in plain]
    own = np.concatenate([each.values for each in lines])
    of_parents = np.concatenate([each.parents for each in lines], axis=1)
    shares, columns = fitted_blend(own, of_parents)
    goal = comparison.goal(norm)
    vectors = np.stack([parent.vector(goal).astype(float) for parent in parents])
    stored, _ = weights_of(comparison, norm)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = blended(largest_kept(vectors, density), shares) / stored
        miss = np.median(np.abs(columns / factors - 1))
    sound = np.isfinite(factors).all() and (factors > 0).all()
    if not sound or miss > MAX_MISS:
        return None
    intervals = [each.intervals(shares) for each in lines]
    return _refined(intervals, factors, ERROR_OF_NORM)


def _from_pair(
    comparison: Comparison, key: Key, partner: Key, density: float
) -> Array | None:
    """What the columns of a matrix were multiplied by and the rows of its partner divided;
    None where these do not make up for each other, or none were.
    """
    if not (_is_packed(comparison, key) and _is_packed(comparison, partner)):
        return None
    views = comparison.own.views
    parents = _shared(comparison, [key, partner])
    if views[key].cols != views[partner].rows or not parents:
        return None
    after = _lines(comparison, parents, key, density)
    before = _lines(comparison, parents, partner, density, of_rows=True)
    shares, of_columns = fitted_blend(after.values, after.parents)
    shares_before, of_rows = fitted_blend(before.values, before.parents)
    if not ((of_columns > 0).all() and (of_rows > 0).all()):
        return None
    factors = np.sqrt(of_columns / of_rows)
    if np.median(np.abs(of_columns * of_rows - 1)) > MAX_MISS:
        return None
    if np.median(np.abs(factors - 1)) < MIN_SPREAD:
        return None
    start, end = before.intervals(shares_before)
    with np.errstate(divide="ignore"):
        inverse = 1 / end, 1 / start
    return _refined([after.intervals(shares), inverse], factors, ERROR_OF_MEAN)


@dataclass(frozen=True)
class _Lines:
    """Some rows of a matrix, or some columns as rows."""

    low: Array
    high: Array
    """The ends of the cells: [n, d]."""
    values: Array
    """The numbers as they are decoded: [n, d]."""
    parents: Array
    """Those of the parents, where they kept their largest changes only: [k, n, d]."""

    def intervals(self, shares: Array) -> tuple[Array, Array]:
        """What each element of a blend may have been multiplied by."""
        blend = blended(self.parents, shares).reshape(-1)
        ends = replay_intervals(
            self.low.reshape(-1), self.high.reshape(-1), np.zeros(blend.size), blend
        )
        start, end = (each.reshape(self.low.shape) for each in ends)
        # Nothing was multiplied by a number below 0.
        return np.maximum(start, 0.0), end


def _lines(
    comparison: Comparison,
    parents: Sequence[Glimpses],
    key: Key,
    density: float,
    of_rows: bool = False,
    count: int = CHANNELS_LOOKED_AT,
) -> _Lines:
    length = (
        comparison.own.views[key].rows if of_rows else comparison.own.views[key].cols
    )

    def read(model: Glimpses, name: Key) -> Sample:
        if of_rows:
            return model.sample_columns(name, count)
        return model.sample_rows(name, count)

    own = read(comparison.own, key)
    low, high = cell_ends(own, widened=False)
    goal = comparison.goal(key)
    values = [read(parent, goal).values().reshape(-1, length) for parent in parents]
    return _Lines(
        low.reshape(-1, length),
        high.reshape(-1, length),
        own.values().reshape(-1, length),
        largest_kept(np.stack(values), density),
    )


def _refined(
    intervals: Sequence[tuple[Array, Array]], factors: Array, error: float
) -> Array:
    """Each column's factor that is likeliest where the cells of its elements allow some
    intervals, whose ends are blurred by rounding.

    factors: what it is without them, with a normal error. The likelihood falls on both
    sides of its greatest value, which is found by halving.
    """
    start = np.concatenate([each[0] for each in intervals]) / factors
    end = np.concatenate([each[1] for each in intervals]) / factors
    start, end = np.nan_to_num(start, nan=0.0), np.nan_to_num(end, nan=np.inf)
    low = np.full(factors.size, 1 - 4 * error)
    high = np.full(factors.size, 1 + 4 * error)
    for _ in range(FACTOR_HALVINGS):
        middle = (low + high) / 2
        upwards = expit((start - middle) / BLUR).sum(0)
        downwards = expit((middle - end) / BLUR).sum(0)
        slope = upwards - downwards - (middle - 1) * BLUR / error**2
        low = np.where(slope > 0, middle, low)
        high = np.where(slope > 0, high, middle)
    return np.asarray(factors * (low + high) / 2, np.float64)


def _shared(comparison: Comparison, keys: Sequence[Key]) -> list[Glimpses]:
    """The parents that hold all of these slices."""
    every = [comparison.holders(key) for key in keys]
    return [parent for parent in every[0] if all(parent in each for each in every)]
