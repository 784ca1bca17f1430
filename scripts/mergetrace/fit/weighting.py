"""Means and medians of slices' numbers, weighted by what each slice holds.

values, weights: of the same slices. A missing value, or one of no weight, counts
nothing; where none counts, the result is NaN.
"""

import numpy as np
import pandas as pd

NAN = float("nan")


def mean(values: pd.Series, weights: pd.Series) -> float:
    """The weighted mean."""
    counts = values.notna() & (weights > 0)
    if not counts.any():
        return NAN
    return float(np.average(values[counts], weights=weights[counts]))


def median_and_spread(values: pd.Series, weights: pd.Series) -> tuple[float, float]:
    """The weighted median, and the weighted median of the distances from it."""
    counts = values.notna() & (weights > 0)
    if not counts.any():
        return NAN, NAN
    middle = _median(values[counts], weights[counts])
    distances = (values[counts] - middle).abs()
    return middle, _median(distances, weights[counts])


def _median(values: pd.Series, weights: pd.Series) -> float:
    """The least value at which half of the weight is reached."""
    order = values.argsort()
    running = weights.iloc[order].cumsum().to_numpy()
    reached = int((running >= running[-1] / 2).argmax())
    return float(values.iloc[order].iloc[reached])
