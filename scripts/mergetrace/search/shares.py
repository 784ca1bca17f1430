"""Shares of several donors at once: least squares from the sums, then the weights that
the stored numbers' intervals allow together.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mergetrace.fit.estimators import donor_sums, fit
from mergetrace.merging.applying import Piece
from mergetrace.numerics.arrays import Array, Mask
from mergetrace.numerics.simple import Interval
from mergetrace.search import programmes
from mergetrace.search.programmes import Bounds
from mergetrace.search.trial import Trial

if TYPE_CHECKING:  # the verdict needs what is here without tables
    import pandas as pd

MIN_AGREEING_SHARE = 0.5
"""The least share of elements that must agree before their weights are worth a range."""
VISIBLE_SHARE = 0.005
"""Recipes are first looked for with donors of a greater share by least squares."""
VISIBLE_ERRORS = 4
"""Standard errors that such a share must lie from zero."""
MIN_ELEMENTS_PER_WEIGHT = 10
MAX_FITTED_ELEMENTS = 1_000  # the linear programme for the fit is made of
MAX_NEAREST_OF_SLICE = 500  # bounds kept of one slice: the nearest decide
MIDPOINT_SLACK = 1e-3
"""Of an element's interval: float32 sums stray a little over the midpoints."""
RELATIVE_SLACK = 1e-9


def least_squares(fits: "pd.DataFrame", donors: Sequence[str]) -> tuple[Array, Array]:
    """Pooled least-squares shares of all donors and their jackknife errors over slices:
    float64 [k] each.
    """
    voting = fits[fits["votes"]]
    columns = {str(name): column.to_numpy() for name, column in voting.items()}
    fitted = fit(columns["uu"], *donor_sums(columns, donors))
    return fitted.alpha, fitted.alpha_se


def visible_donors(alpha: Array, error: Array) -> Mask:
    """Donors whose share is neither tiny nor within four standard errors of zero: bool
    [k]; unknown shares are not visible.
    """
    with np.errstate(invalid="ignore"):
        size = np.abs(alpha)
        near_zero = size < VISIBLE_ERRORS * np.nan_to_num(error)
        visible: Mask = (size > VISIBLE_SHARE) & ~near_zero
    return visible


def weight_intervals(
    trial: Trial, donors: Sequence[str], free_base: bool = False
) -> tuple[list[Interval], float]:
    """The range of each donor's weight that the pilot's stored numbers allow together,
    and the share of elements that agree. No ranges where too few agree.

    Minimises the summed distance to the intervals (a linear programme on a sample of
    elements), then finds the least and the greatest of each weight among those that
    satisfy the elements that agree. free_base: the base has a weight of its own, the
    first; otherwise it takes what the donors leave to one.
    """
    bounds = _pilot_bounds(trial, donors, free_base)
    if len(bounds.low) < MIN_ELEMENTS_PER_WEIGHT * (len(donors) + 1):
        return [], 0.0
    stride = max(1, len(bounds.low) // MAX_FITTED_ELEMENTS)
    center = programmes.nearest_weights(bounds.chosen(slice(None, None, stride)))
    if center is None:
        return [], 0.0
    slack = MIDPOINT_SLACK + RELATIVE_SLACK * np.abs(bounds.high)
    loose = Bounds(bounds.rows, bounds.low - slack, bounds.high + slack)
    blended = bounds.rows @ center
    agrees = (blended >= loose.low) & (blended <= loose.high)
    share = float(agrees.mean())
    if share < MIN_AGREEING_SHARE:
        return [], share
    distance = np.minimum(blended - bounds.low, bounds.high - blended)[agrees]
    nearest = np.argsort(distance)[: programmes.MAX_BOUNDS]
    inside = loose.chosen(agrees).chosen(nearest)
    return programmes.weight_ranges(inside, center), share


def nearest_bounds(bounds: Bounds, blended: Array) -> Bounds:
    """The bounds that lie nearest to the weights which give `blended`, of those that
    hold there.

    blended: float64 [n]. Bounds that reach nowhere (a delta of zero) are left out.
    """
    rows, low, high = bounds.rows, bounds.low, bounds.high
    size = np.sqrt((rows**2).sum(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.minimum(blended - low, high - blended) / size
        holds = np.isfinite(distance) & (distance >= 0)
        kept = np.flatnonzero((size > 0) & holds & np.isfinite(low) & np.isfinite(high))
    kept = kept[np.argsort(distance[kept])[:MAX_NEAREST_OF_SLICE]]
    return bounds.chosen(kept)


def _pilot_bounds(trial: Trial, donors: Sequence[str], free_base: bool) -> Bounds:
    """What the informative elements of the pilot say of the weights, in units of each
    interval's width and in random order.
    """
    by_piece = [
        _piece_bounds(piece, trial, donors, free_base) for piece in trial.pieces
    ]
    bounds = Bounds.joined(by_piece)
    finite = np.isfinite(bounds.rows).all(1)
    finite &= np.isfinite(bounds.low) & np.isfinite(bounds.high)
    bounds = bounds.chosen(finite)
    # Stored zeros have intervals too narrow for a difference in float64.
    width = bounds.high - bounds.low
    unit = np.maximum(width, 1e-6 * np.abs(bounds.rows).max(1))
    scaled = Bounds(bounds.rows / unit[:, None], bounds.low / unit, bounds.high / unit)
    return scaled.chosen(np.random.default_rng(0).permutation(len(unit)))


def _piece_bounds(
    piece: Piece, trial: Trial, donors: Sequence[str], free_base: bool
) -> Bounds:
    low, high = piece.audited.midpoints()
    base = piece.values[trial.frame.base]
    deltas = [piece.values[donor] - base for donor in donors]
    if free_base:
        columns = [base, *(piece.values[donor] for donor in donors)]
    else:
        columns = deltas
        low = low - base
        high = high - base
    spread = np.max([np.abs(delta) for delta in deltas], axis=0)
    with np.errstate(invalid="ignore"):
        informative = (high - low) < trial.width * spread
    return Bounds(np.stack(columns, axis=1), low, high).chosen(informative)
