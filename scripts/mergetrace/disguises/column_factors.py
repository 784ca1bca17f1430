"""By what every column of a matrix was multiplied, to the last digit, where a blend of
the parents explains its numbers.

A merge W is rounded, multiplied by a number per column, and rounded again: s =
round(c_j round(W)). With a good guess of W every element confines c_j to a narrow
interval, and the elements of a column agree on one c_j or on none (see rounding, which
does the same for a blend's weight).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import FORMATS, decode, encode
from mergetrace.numerics.rounding import column_coverage, replay_intervals

ROUNDS = 12  # of fitting the blend and the columns' numbers in turn
ROUNDS_OF_DENSITY = 4  # where densities are compared
DENSITIES = tuple(tenths / 10 for tenths in range(10, 0, -1))
MIN_NEARER = 30.0
"""By how many mean squares of what is left of an element a blend of the largest changes has
to lie nearer than one of all: chance gives a few, TIES of half of the changes gave 110 and
more in trained families of a layer.
"""
MULTIPLIER_DTYPE = "BF16"  # the format whose numbers are tried first
END_TOLERANCE = 1e-12  # relative: a number on the end of an interval is in it
MAX_LESS_EXPLAINED = 0.01
"""Of the elements, that a number with few digits may explain less than the best."""


@dataclass(frozen=True)
class ColumnFactors:
    """What the columns of a blend were multiplied by."""

    columns: Array
    """What each was multiplied by, float64 [d]."""
    explained: float
    """The share of the elements that these numbers explain, found on the others."""
    plain: float
    """The share that is explained where no column was multiplied."""
    through: str | None
    """The format the blend was rounded to before, None if to none."""


def column_factors(
    low: Array, high: Array, parents: Array, through: str | None
) -> ColumnFactors:
    """By what the columns of a blend were multiplied.

    low, high: the interval that rounds to each stored number, float64 [n, d]. parents:
    float64 [k, n, d]. through: the format the blend was rounded to before it was
    multiplied, None where it was not.
    """
    shares, columns = fitted_blend((low + high) / 2, parents)
    blend = blended(parents, shares)
    if through is not None:
        codes = encode(blend.reshape(-1), through)
        blend = decode(codes, through).reshape(blend.shape)
    zero = np.zeros(low.size)
    starts, ends = replay_intervals(
        low.reshape(-1), high.reshape(-1), zero, blend.reshape(-1)
    )
    start = starts.reshape(low.shape)
    end = ends.reshape(low.shape)
    explained = []
    for half, other in ((0, 1), (1, 0)):
        likeliest = _likeliest(start[half::2], end[half::2], columns)
        covered = _coverage(start[other::2], end[other::2], likeliest)
        explained.append(covered.mean())
    plain = _coverage(start, end, np.ones_like(columns)).mean()
    return ColumnFactors(
        _likeliest(start, end, columns),
        float(np.mean(explained)),
        float(plain),
        through,
    )


def column_ratios(own: Array, parent: Array) -> tuple[Array, float]:
    """Each column's size beside the parent's, float64 [d], and how many times more
    these differ than columns of independent changes would. own, parent: float64 [n, d].
    """
    size = (parent * parent).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        slopes = (own * parent).sum(0) / size
        ratios = np.where(size > 0, slopes, np.nan)
        left = own - np.nan_to_num(ratios) * parent
        chance = (left * left).sum(0) / (len(own) - 1) / size
        spread = (ratios - np.nanmedian(ratios)) ** 2
        beyond = np.nanmedian(spread) / np.nanmedian(chance)
    if not np.isfinite(beyond):
        return ratios, 0.0
    return ratios, float(beyond)


def fitted_blend(
    own: Array, parents: Array, rounds: int = ROUNDS
) -> tuple[Array, Array]:
    """The blend of the parents that lies closest to `own` where every column is
    multiplied by a number of its own: the shares of all parents but the first, of a sum
    of one; and these numbers. own: float64 [n, d]. parents: float64 [k, n, d].
    """
    deltas = parents[1:] - parents[0]
    shares = np.zeros(len(deltas))
    columns = np.ones(own.shape[1])
    for _ in range(rounds):
        blend = blended(parents, shares)
        size = (blend * blend).sum(0)
        products = (own * blend).sum(0)
        columns = np.divide(products, size, out=np.ones(len(size)), where=size > 0)
        if not len(deltas):
            break
        usable = np.abs(columns) > 0
        unscaled = own[:, usable] / columns[usable]
        wanted = (unscaled - parents[0][:, usable]).reshape(-1)
        directions = deltas[:, :, usable].reshape(len(deltas), -1).T
        shares, *_ = np.linalg.lstsq(directions, wanted, rcond=None)
    return shares, columns


def blended(parents: Array, shares: Array) -> Array:
    """The parents' numbers in a blend: of the first what the shares leave of one."""
    mixed = parents[0] + np.tensordot(shares, parents[1:] - parents[0], 1)
    return np.asarray(mixed, np.float64)


def largest_kept(parents: Array, density: float) -> Array:
    """The parents with a share of each one's changes from the first, the largest, and
    the first's numbers elsewhere, as TIES leaves them before they are weighted.
    """
    if density >= 1:
        return parents
    deltas = parents[1:] - parents[0]
    sizes = np.abs(deltas).reshape(len(deltas), -1)
    least = np.quantile(sizes, 1 - density, axis=1)
    kept = (sizes >= least[:, None]).reshape(deltas.shape)
    return np.concatenate([parents[:1], parents[0] + deltas * kept])


def density_kept(groups: Sequence[tuple[Array, Array]]) -> float:
    """The share of the parents' changes that matrices hold, if only the largest: that of
    which a blend lies nearest, one of tenths. 1 where no other lies much nearer.

    groups: of each matrix its own numbers [n, d] and the parents' [k, n, d].
    """
    errors = {density: 0.0 for density in DENSITIES}
    for own, parents in groups:
        for density in DENSITIES:
            kept = largest_kept(parents, density)
            shares, columns = fitted_blend(own, kept, ROUNDS_OF_DENSITY)
            left = own - columns * blended(kept, shares)
            errors[density] += float(np.sum(left * left))
    best = min(errors, key=lambda density: errors[density])
    elements = sum(own.size for own, _ in groups)
    nearer = errors[1.0] - errors[best]
    return best if nearer * elements > MIN_NEARER * errors[best] else 1.0


def _shared_intervals(start: Array, end: Array) -> tuple[Array, Array]:
    """Per column the interval that most elements' intervals [start, end] share: its
    ends, float64 [d]. NaN where there is none.
    """
    n = len(start)
    ends = np.concatenate([start, end])
    # Of equal ends a start comes first: intervals are closed.
    nan_last = np.where(np.isnan(ends), np.inf, ends)
    order = np.argsort(nan_last, axis=0, kind="stable")
    ends = np.take_along_axis(ends, order, 0)
    steps = np.where(order < n, 1, -1)
    steps[np.isnan(ends)] = 0
    holding = np.cumsum(steps, axis=0)
    best = holding.argmax(0)
    following = np.minimum(best + 1, 2 * n - 1)
    columns = np.arange(ends.shape[1])
    return ends[best, columns], ends[following, columns]


def _coverage(start: Array, end: Array, columns: Array) -> Array:
    return column_coverage(start, end, columns, END_TOLERANCE)


def _likeliest(start: Array, end: Array, fallback: Array) -> Array:
    """Per column the number that most intervals hold: of those that somebody would have
    multiplied by, if these explain as much as any number does; else any. fallback:
    where there is no interval.
    """
    middle = np.mean(_shared_intervals(start, end), axis=0)
    middle = np.where(np.isfinite(middle), middle, fallback)
    most = _coverage(start, end, middle).mean()
    for candidates in _written_candidates(middle):
        covered = np.stack([_coverage(start, end, values) for values in candidates])
        if covered.max(0).mean() >= most - MAX_LESS_EXPLAINED:
            best = covered.argmax(0)
            likeliest: Array = candidates[best, np.arange(len(best))]
            return likeliest
    return middle


def _written_candidates(values: Array) -> Iterator[Array]:
    """Numbers near some values that somebody would have multiplied by, float64 [3, d]:
    bf16 numbers, their reciprocals, numbers one more than a bf16 number, as norms that
    are stored less one.
    """
    yield _near_numbers(values)
    yield _inverse(_near_numbers(_inverse(values)))
    yield _near_numbers(values - 1) + 1


def _near_numbers(values: Array) -> Array:
    """The nearest number of MULTIPLIER_DTYPE, the one before it and the one after."""
    codes = encode(values, MULTIPLIER_DTYPE).astype(np.int64)
    unsigned = FORMATS[MULTIPLIER_DTYPE].codes
    near = []
    for step in (0, -1, 1):
        neighbours = (codes + step).astype(unsigned)
        near.append(decode(neighbours, MULTIPLIER_DTYPE))
    return np.stack(near)


def _inverse(values: Array) -> Array:
    """1 / values, 0 where a value is 0."""
    return np.divide(1, values, out=np.zeros_like(values), where=values != 0)
