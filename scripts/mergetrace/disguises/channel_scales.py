"""By what every column of a matrix was multiplied, to the last digit, where a blend of
the parents explains its numbers.

A merge W is rounded, multiplied by a number per column, and rounded again: s =
round(c_j round(W)). With a good guess of W every element confines c_j to a narrow
interval, and the elements of a column agree on one c_j or on none (see rounding, which
does the same for a blend's weight).
"""

from dataclasses import dataclass

import numpy as np

from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import FORMATS, decode, encode
from mergetrace.numerics.rounding import replay_intervals

ROUNDS = 12  # of fitting the blend and the columns' numbers in turn
MULTIPLIERS = "BF16"  # the format whose numbers are tried first
EDGE = 1e-12  # a number on the end of an interval is in it
# of the elements, that a number with few digits may explain less than the best
SLACK = 0.01


@dataclass(frozen=True)
class Scales:
    """columns: what each was multiplied by, float64 [d]. explained: the share of the elements that these numbers explain, found on the others;
    plain: the share that is explained where no column was multiplied. through: the format the blend was rounded to before, None if to none.
    """

    columns: Array
    explained: float
    plain: float
    through: str | None


def column_scales(
    low: Array, high: Array, parents: Array, through: str | None
) -> Scales:
    """By what the columns of a blend were multiplied.

    low, high: the interval that rounds to each stored number, float64 [n, d]. parents: float64 [k, n, d]. through: the format the blend was rounded
    to before it was multiplied, None where it was not.
    """
    blend, columns = _blend((low + high) / 2, parents)
    if through is not None:
        blend = decode(encode(blend.reshape(-1), through), through).reshape(blend.shape)
    flat = [values.reshape(-1) for values in (low, high, np.zeros_like(low), blend)]
    start, end = (ends.reshape(low.shape) for ends in replay_intervals(*flat))
    halves = [
        _covered(
            start[1 - i :: 2],
            end[1 - i :: 2],
            _likeliest(start[i::2], end[i::2], columns),
        ).mean()
        for i in (0, 1)
    ]
    plain = _covered(start, end, np.ones_like(columns)).mean()
    return Scales(
        _likeliest(start, end, columns), float(np.mean(halves)), float(plain), through
    )


def ratios(own: Array, parent: Array) -> tuple[Array, float]:
    """Each column's size beside the parent's, float64 [d], and how many times more
    these differ than columns of independent changes would.
    """
    size = (parent * parent).sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(size > 0, (own * parent).sum(0) / size, np.nan)
        left = own - np.nan_to_num(found) * parent
        chance = (left * left).sum(0) / (len(own) - 1) / size
        centre = np.nanmedian(found)
        beyond = np.nanmedian((found - centre) ** 2) / np.nanmedian(chance)
    return found, float(beyond) if np.isfinite(beyond) else 0.0


def _blend(own: Array, parents: Array) -> tuple[Array, Array]:
    """The blend of the parents, shares of a sum of one, that lies closest to `own`
    where every column is multiplied by a number of its own.
    """
    base = parents[0]
    moved = parents[1:] - parents[0]
    blend = base
    for _ in range(ROUNDS):
        size = (blend * blend).sum(0)
        columns = np.divide(
            (own * blend).sum(0), size, out=np.ones(len(size)), where=size > 0
        )
        if not len(moved):
            break
        usable = np.abs(columns) > 0
        wanted = (own[:, usable] / columns[usable] - base[:, usable]).reshape(-1)
        shares = np.linalg.lstsq(
            moved[:, :, usable].reshape(len(moved), -1).T, wanted, rcond=None
        )[0]
        blend = base + np.tensordot(shares, moved, 1)
    return blend, columns


def _shared(start: Array, end: Array) -> tuple[Array, Array]:
    """Per column the interval that most elements' intervals [start, end] share: its
    ends, float64 [d]. NaN where there is none.
    """
    n = len(start)
    ends = np.concatenate([start, end])
    order = np.argsort(
        np.where(np.isnan(ends), np.inf, ends), axis=0, kind="stable"
    )  # of equals a start comes first: intervals are closed
    holding = np.cumsum(
        np.where(
            np.isnan(np.take_along_axis(ends, order, 0)), 0, np.where(order < n, 1, -1)
        ),
        axis=0,
    )
    best = holding.argmax(0)
    ends = np.take_along_axis(ends, order, 0)
    columns = np.arange(ends.shape[1])
    return ends[best, columns], ends[np.minimum(best + 1, 2 * n - 1), columns]


def _covered(start: Array, end: Array, columns: Array) -> Array:
    """The share of each column's intervals that hold its number, float64 [d]."""
    room = EDGE * np.abs(columns)
    return ((start - room <= columns) & (columns <= end + room)).sum(0) / np.maximum(
        (~np.isnan(start)).sum(0), 1
    )


def _likeliest(start: Array, end: Array, fallback: Array) -> Array:
    """Per column the number that most intervals hold: of those that somebody would have multiplied by (bf16's, their reciprocals, one more
    than them, as norms that are stored less one), if these explain as much as any number does; else any. fallback: where there is no interval.
    """
    middle = np.mean(_shared(start, end), axis=0)
    middle = np.where(np.isfinite(middle), middle, fallback)
    most = _covered(start, end, middle).mean()
    for there, back in (
        (_same, _same),
        (_inverse, _inverse),
        (lambda values: values - 1, lambda values: values + 1),
    ):
        code = encode(there(middle), MULTIPLIERS).astype(np.int64)
        near = np.stack(
            [
                back(
                    decode(
                        (code + step).astype(FORMATS[MULTIPLIERS].codes), MULTIPLIERS
                    )
                )
                for step in (0, -1, 1)
            ]
        )
        covered = np.stack([_covered(start, end, values) for values in near])
        if covered.max(0).mean() >= most - SLACK:
            return np.take_along_axis(near, covered.argmax(0)[None], 0)[0]
    return middle


def _same(values: Array) -> Array:
    return values


def _inverse(values: Array) -> Array:
    return np.divide(1, values, out=np.zeros_like(values), where=values != 0)
