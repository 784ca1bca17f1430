"""Shares of several donors at once: least squares from the sums, then the weights that
the stored numbers' intervals allow.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mergetrace.fit.estimators import donor_sums, fit
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.simple import Interval
from mergetrace.search.trial import Trial

if TYPE_CHECKING:  # the verdict needs what is here without tables
    import pandas as pd


# the least share of elements that must agree before their weights are worth a range
AGREEING = 0.5
MOST_ROWS = 1_000  # elements the linear programme for the fit is made of
MOST_BOUNDS = (
    20_000  # elements that bound the weights: a programme in a few unknowns takes many
)
MOST_OF_SLICE = 500  # of them from one slice: the nearest bounds decide


def least_squares(fits: "pd.DataFrame", donors: Sequence[str]) -> tuple[Array, Array]:
    """Pooled least-squares shares of all donors and their jackknife errors over slices:
    float64 [k] each.
    """
    voting = fits[fits["votes"]]
    found = fit(voting["uu"].to_numpy(), *donor_sums(voting, donors))
    return found.alpha, found.alpha_se


def visible(alpha: Array, error: Array, smallest: float = 0.005) -> NDArray[np.bool_]:
    """Donors whose share is neither tiny nor within four standard errors of zero: bool
    [k]; unknown shares are not visible.
    """
    with np.errstate(invalid="ignore"):
        return (np.abs(alpha) > smallest) & ~(np.abs(alpha) < 4 * np.nan_to_num(error))


def intervals(
    trial: Trial, donors: Sequence[str], free_base: bool = False
) -> tuple[list[Interval], float]:
    """The range of each donor's weight that the pilot's stored numbers allow together,
    and the share of elements that agree.

    Minimises the summed distance to the intervals (a linear programme on a sample of elements), then finds the least and the greatest of each
    weight among those that satisfy the elements that agree. free_base: the base has a weight of its own, the first; else it takes what the
    donors leave to one.
    """
    rows, low, high = _constraints(trial, donors, free_base)
    if len(low) < 10 * (len(donors) + 1):
        return [], 0.0
    few = slice(None, None, max(1, len(low) // MOST_ROWS))
    center = _nearest(rows[few], low[few], high[few])
    if center is None:
        return [], 0.0
    room = 1e-3 + 1e-9 * np.abs(high)  # float32 sums stray a little over the midpoints
    blended = rows @ center
    agrees = (blended >= low - room) & (blended <= high + room)
    share = float(agrees.mean())
    if share < AGREEING:
        return [], share
    slack = np.minimum(blended - low, high - blended)[agrees]
    tight = np.argsort(slack)[:MOST_BOUNDS]
    inside = [part[agrees][tight] for part in (rows, low - room, high + room)]
    found = [_range(*inside, i, center) for i in range(rows.shape[1])]
    return found, share


def tightest(
    rows: Array, low: Array, high: Array, blended: Array
) -> tuple[Array, Array, Array]:
    """The bounds low <= rows . weights <= high that lie nearest to the weights which
    give `blended`, of those that hold there.

    rows: float64 [n, k]; low, high, blended: float64 [n]. Bounds that reach nowhere (a
    delta of zero) are left out.
    """
    size = np.sqrt((rows**2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.minimum(blended - low, high - blended) / size
        kept = np.flatnonzero(
            (size > 0)
            & np.isfinite(distance)
            & (distance >= 0)
            & np.isfinite(low)
            & np.isfinite(high)
        )
    kept = kept[np.argsort(distance[kept])[:MOST_OF_SLICE]]
    return rows[kept], low[kept], high[kept]


def extents(rows: Array, low: Array, high: Array, center: Array) -> list[Interval]:
    """The least and the greatest of each weight under low <= rows . weights <= high,
    the others moving freely within; `center` lies inside.

    Bounds that were left out could only narrow the result. Worked out around the center in units of the nearest bound, since the room may be
    a millionth. A weight without bounds gives infinities.
    """
    blended = rows @ center
    size = np.sqrt((rows**2).sum(1))
    above = np.maximum(high - blended, 0) / size
    below = np.maximum(blended - low, 0) / size
    if len(center) == 1:  # the nearest bound on either side
        down, up = (
            np.where(rows[:, 0] > 0, *ends).min(initial=np.inf)
            for ends in ((below, above), (above, below))
        )
        return [(float(center[0] - down), float(center[0] + up))]
    nearest = np.argsort(np.minimum(above, below))[:MOST_BOUNDS]
    rows = rows[nearest] / size[nearest, None]
    above = above[nearest]
    below = below[nearest]
    unit = float(np.median(np.minimum(above, below))) or 1.0
    sides = np.concatenate([rows, -rows])
    reach = np.concatenate([above, below]) / unit
    found = []
    for i, middle in enumerate(center.tolist()):
        cost = np.zeros(len(center))
        ends = []
        for sign in (1.0, -1.0):
            cost[i] = sign
            solved = _solved(cost, sides, reach, [(None, None)] * len(center))
            ends.append(
                middle + unit * float(solved.x[i]) if solved.success else -sign * np.inf
            )
        found.append((ends[0], ends[1]))
    return found


def _constraints(
    trial: Trial, donors: Sequence[str], free_base: bool
) -> tuple[Array, Array, Array]:
    """Rows r, low, high with low <= r . weights <= high, for the informative elements
    of the pilot, in units of each interval's width.
    """
    base = trial.frame.base
    parts = []
    for piece in trial.pieces:
        low, high = piece.audited.midpoints()
        origin = piece.values[base]
        columns = [
            piece.values[donor] - (0 if free_base else origin) for donor in donors
        ]
        if free_base:
            columns.insert(0, origin)
        else:
            low = low - origin
            high = high - origin
        spread = np.max(
            [np.abs(piece.values[donor] - origin) for donor in donors], axis=0
        )
        with np.errstate(invalid="ignore"):
            kept = (high - low) < trial.width * spread
        parts.append((np.stack(columns, axis=1)[kept], low[kept], high[kept]))
    rows, low, high = (np.concatenate(part) for part in zip(*parts, strict=True))
    finite = np.isfinite(rows).all(1) & np.isfinite(low) & np.isfinite(high)
    rows = rows[finite]
    low = low[finite]
    high = high[finite]
    # Stored zeros have intervals too narrow for a difference in float64.
    unit = np.maximum(high - low, 1e-6 * np.abs(rows).max(1))
    order = np.random.default_rng(0).permutation(len(unit))
    return (rows / unit[:, None])[order], (low / unit)[order], (high / unit)[order]


def _nearest(rows: Array, low: Array, high: Array) -> Array | None:
    """The weights of least summed violation of low <= rows . weights <= high."""
    from scipy.sparse import csr_array, eye_array, hstack, vstack

    count, weights = rows.shape
    violation = -eye_array(count, format="csr")
    above = hstack([csr_array(rows), violation])
    below = hstack([csr_array(-rows), violation])
    cost = np.concatenate([np.zeros(weights), np.ones(count)])
    bounds = [(-3, 3)] * weights + [(0, None)] * count
    solved = _solved(cost, vstack([above, below]), np.concatenate([high, -low]), bounds)
    return solved.x[:weights] if solved.success else None


def _range(rows: Array, low: Array, high: Array, index: int, center: Array) -> Interval:
    cost = np.zeros(rows.shape[1])
    ends = []
    for sign in (1.0, -1.0):
        cost[index] = sign
        solved = _solved(
            cost,
            np.concatenate([rows, -rows]),
            np.concatenate([high, -low]),
            [(-3, 3)] * len(cost),
        )
        ends.append(float(solved.x[index]) if solved.success else float(center[index]))
    return ends[0], ends[1]


def _solved(
    cost: Array,
    sides: Any,
    reach: Array,
    bounds: list[tuple[float | None, float | None]],
) -> Any:
    """The linear programme: least cost . x under sides . x <= reach and the bounds of
    each x.
    """
    from scipy.optimize import linprog

    return linprog(cost, A_ub=sides, b_ub=reach, bounds=bounds, method="highs")
