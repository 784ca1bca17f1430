"""The value of one parameter that explains most elements of a tensor."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.cell_replay import cell_intervals, replay_cells
from mergetrace.numerics.rounding import NOTHING, Replay, replay, replay_intervals

INTERVAL_SLACK = 1e-9
"""How far sums in float64 stray from interval ends that coincide in theory, as all do
in an average of two.
"""
SWEEP_STEPS = 3
SWEEP_STEP = 1e-4  # of a weight: over it a prediction is taken for a straight line
SWEEP_LARGEST_WEIGHT = 2.0  # beyond it a sweep has lost its way


def sweep(
    piece: Piece,
    predict: Callable[[Piece, float], Array],
    around: float,
    width: float,
) -> Replay:
    """The value of one parameter that explains most elements of a piece.

    predict: (piece, value) -> merged elements before the last rounding, float64 [n].
    The prediction is taken as a straight line, at first around the given value, then
    around what was found. width: see counting.confining_elements.
    """
    center = around
    swept = NOTHING
    low, high = piece.audited.midpoints()
    for _ in range(SWEEP_STEPS):
        here = predict(piece, center)
        slope = (predict(piece, center + SWEEP_STEP) - here) / SWEEP_STEP
        ends = (low - here, high - here, np.zeros_like(here), slope)
        if piece.audited.is_packed:
            step = replay_cells(*cell_intervals(*ends), width)
        else:
            start, end = replay_intervals(*ends)
            step = replay(start - INTERVAL_SLACK, end + INTERVAL_SLACK, width)
        if not step.informative or abs(step.alpha) > SWEEP_LARGEST_WEIGHT:
            break
        swept = _shifted(step, center)
        center = swept.alpha
    return swept


def _shifted(swept: Replay, by: float) -> Replay:
    return replace(
        swept, alpha=swept.alpha + by, low=swept.low + by, high=swept.high + by
    )
