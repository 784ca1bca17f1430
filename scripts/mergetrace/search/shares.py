"""Shares of several donors at once: least squares from the sums, then the weights that
the stored numbers' intervals allow together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
MIN_AGREEING_TENSOR = 0.95
"""The same within a single tensor that is a mixture but for rounding."""
ALL_AGREEING = 0.9995  # of them; float32 sums stray over a few ends
MAX_ROUNDS = 4
VISIBLE_SHARE = 0.005
"""Recipes are first looked for with donors of a greater share by least squares."""
VISIBLE_ERRORS = 4
"""Standard errors that such a share must lie from zero."""
FEW_DONORS = 3  # of more, a programme takes far longer with as many bounds
MIN_ELEMENTS_PER_WEIGHT = 10
MAX_FITTED_ELEMENTS = 1_000  # the linear programme for the fit is made of
MAX_NEAREST_OF_SLICE = 500  # bounds kept of one slice: the nearest decide
MAX_BOUNDS_OF_TENSOR = 400  # the nearest ones decide
STEEPEST_ROW = 1e5
"""Of bounds in units of their width: float32 sums stray over the ends of an interval
that confines a weight to less than a hundred-thousandth.
"""
PURE_SHARE = 0.99
"""The least share of elements that agree where all do but for a lack of digits."""
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


@dataclass(frozen=True)
class Allowed:
    """The weights that the pilot's stored numbers allow together."""

    intervals: list[Interval]
    """The range of each weight; none where too few elements agree."""
    center: tuple[float, ...]
    """Weights within; none where too few elements agree."""
    agreeing: float
    """The share of elements that agree."""


def allowed_weights(
    trial: Trial, donors: Sequence[str], free_base: bool = False
) -> Allowed:
    """The weights of the donors that the pilot's stored numbers allow together.

    Minimises the summed distance to the intervals (a linear programme on a sample of
    elements), then finds the least and the greatest of each weight among those that
    satisfy the elements that agree. free_base: the base has a weight of its own, the
    first; otherwise it takes what the donors leave to one.
    """
    bounds = _pilot_bounds(trial, donors, free_base)
    if len(bounds.low) < MIN_ELEMENTS_PER_WEIGHT * (len(donors) + 1):
        return Allowed([], (), 0.0)
    stride = max(1, len(bounds.low) // MAX_FITTED_ELEMENTS)
    center = programmes.nearest_weights(bounds.chosen(slice(None, None, stride)))
    if center is None:
        return Allowed([], (), 0.0)
    loose = _loosened(bounds)
    if PURE_SHARE <= _holding(loose, center).mean() < 1:
        refined = _agreed_weights(loose, center, enough=1.0)
        center = center if refined is None else refined
    blended = bounds.rows @ center
    agrees = _holding(loose, center)
    share = float(agrees.mean())
    if share < MIN_AGREEING_SHARE:
        return Allowed([], (), share)
    distance = np.minimum(blended - bounds.low, bounds.high - blended)[agrees]
    most = programmes.MAX_BOUNDS // max(1, len(donors) - FEW_DONORS)
    nearest = np.argsort(distance)[:most]
    inside = loose.chosen(agrees).chosen(nearest)
    intervals = programmes.weight_ranges(inside, center)
    return Allowed(intervals, tuple(center.tolist()), share)


def joint_intervals(
    piece: Piece,
    models: Sequence[str],
    start: Array,
    width: float,
    known: Sequence[float] = (),
) -> list[Interval] | None:
    """The ranges of weights that one tensor's stored numbers allow together; None where
    too few agree.

    The first model has what the others leave to one. start: least-squares weights of
    the others, float64 [k - 1]. known: the weights of the first of them, which are held;
    the ranges are those of the rest.
    """
    bounds = _in_units(_bounds_of(piece, models[0], models[1:], width, False))
    bounds = bounds.chosen(np.abs(bounds.rows).max(1) < STEEPEST_ROW)
    if len(bounds.low) < MIN_ELEMENTS_PER_WEIGHT * len(models):
        return None
    bounds = _loosened(_with_known(bounds, np.array(known)))
    center = _agreed_weights(bounds, start[len(known) :])
    if center is None:
        return None
    inside = _tightest(bounds.chosen(_holding(bounds, center)), center)
    return programmes.weight_ranges(inside, center)


def _agreed_weights(
    bounds: Bounds, start: Array, enough: float = ALL_AGREEING
) -> Array | None:
    """Weights under which nearly all bounds hold; None where there are none. enough:
    the share that holds from which no better ones are sought.

    Of many bounds only those nearest to the start are taken, and then those that the
    weights found came nearest to, or broke.
    """
    chosen = _tightest(bounds, start)
    agreeing = 0.0
    for _ in range(MAX_ROUNDS):
        center = programmes.nearest_weights(chosen)
        if center is None:
            return None
        agreeing = float(_holding(bounds, center).mean())
        if agreeing >= enough:
            break
        chosen = Bounds.joined([chosen, _tightest(bounds, center)])
    return center if agreeing >= MIN_AGREEING_TENSOR else None


def _holding(bounds: Bounds, weights: Array) -> Mask:
    blended = bounds.rows @ weights
    holds: Mask = (blended >= bounds.low) & (blended <= bounds.high)
    return holds


def _with_known(bounds: Bounds, known: Array) -> Bounds:
    """What bounds say of the other weights once the first of them are known."""
    given = bounds.rows[:, : len(known)] @ known
    rows = bounds.rows[:, len(known) :]
    left = Bounds(rows, bounds.low - given, bounds.high - given)
    return left.chosen((rows != 0).any(1))


def _tightest(bounds: Bounds, weights: Array) -> Bounds:
    """The bounds that the weights come nearest to, or break."""
    blended = bounds.rows @ weights
    room = np.minimum(blended - bounds.low, bounds.high - blended)
    room = room / np.sqrt((bounds.rows**2).sum(1))
    return bounds.chosen(np.argsort(room)[:MAX_BOUNDS_OF_TENSOR])


def _loosened(bounds: Bounds) -> Bounds:
    slack = MIDPOINT_SLACK + RELATIVE_SLACK * np.abs(bounds.high)
    return Bounds(bounds.rows, bounds.low - slack, bounds.high + slack)


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
    base = trial.frame.base
    by_piece = [
        _bounds_of(piece, base, donors, trial.width, free_base)
        for piece in trial.pieces
    ]
    scaled = _in_units(Bounds.joined(by_piece))
    return scaled.chosen(np.random.default_rng(0).permutation(len(scaled.low)))


def _in_units(bounds: Bounds) -> Bounds:
    """The finite bounds, in units of each interval's width."""
    finite = np.isfinite(bounds.rows).all(1)
    finite &= np.isfinite(bounds.low) & np.isfinite(bounds.high)
    bounds = bounds.chosen(finite)
    # Stored zeros have intervals too narrow for a difference in float64.
    width = bounds.high - bounds.low
    unit = np.maximum(width, 1e-6 * np.abs(bounds.rows).max(1))
    return Bounds(bounds.rows / unit[:, None], bounds.low / unit, bounds.high / unit)


def _bounds_of(
    piece: Piece, base: str, donors: Sequence[str], width: float, free_base: bool
) -> Bounds:
    """What the informative elements of one tensor say of the weights."""
    low, high = piece.audited.midpoints()
    base_values = piece.values[base]
    deltas = [piece.values[donor] - base_values for donor in donors]
    if free_base:
        columns = [base_values, *(piece.values[donor] for donor in donors)]
    else:
        columns = deltas
        low = low - base_values
        high = high - base_values
    spread = np.max([np.abs(delta) for delta in deltas], axis=0)
    with np.errstate(invalid="ignore"):
        informative = (high - low) < width * spread
    return Bounds(np.stack(columns, axis=1), low, high).chosen(informative)
