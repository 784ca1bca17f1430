"""Measurements of one weight pooled, and how far they lie apart beyond chance."""

from collections.abc import Callable

import numpy as np

from mergetrace.numerics.arrays import Array
from mergetrace.records.spectrum import Evenness

HALVINGS = 60
"""Of the interval in which a spread is sought: to the last bits of a float."""
FACTORS: Array = np.logspace(-3, 0, 61)
"""What errors that are too large may have to be multiplied by."""
SPREADS: Array = np.logspace(-3, 1, 200)
"""Spreads that are tried beside such errors, as multiples of the values' range."""
LIKELY = 3.32
"""The logarithm of the likelihood may be this much below its greatest for a spread within
a 99 % interval: half the 99 % quantile of chi squared. More than 95 %, since this interval
is only asked for where the values already lie near together, some of them by luck.
"""


def pool(values: Array, errors: Array) -> Evenness | None:
    """Measurements pooled under random effects: the spread by Paule and Mandel's
    equation, its interval by Viechtbauer's Q profile (Statistics in Medicine 26, 2007),
    the mean's by Hartung and Knapp's variance, and never narrower than chance alone.

    values, errors: float64 [n]. None where fewer than two have an error above 0.
    """
    from scipy.special import chdtri, stdtrit  # a third of a second

    sound = np.isfinite(values) & np.isfinite(errors) & (errors > 0)
    values, errors = values[sound], errors[sound]
    free = len(values) - 1
    if free < 1:
        return None

    def distance(spread: float) -> float:
        weights = 1 / (errors**2 + spread**2)
        mean = weights @ values / weights.sum()
        return float(weights @ (values - mean) ** 2)

    spread = _where(distance, free, values)
    weights = 1 / (errors**2 + spread**2)
    mean = float(weights @ values / weights.sum())
    apart = max(float(weights @ (values - mean) ** 2) / free, 1.0)
    half = float(stdtrit(free, 0.975)) * (apart / float(weights.sum())) ** 0.5
    least = float(chdtri(free, 0.975))
    most = _where(distance, least, values)
    if distance(0.0) < least:
        # Nearer together than their errors allow: these are too large.
        most = _most_beside_too_large(values, errors)
    return Evenness(
        value=mean,
        low=mean - half,
        high=mean + half,
        spread=spread,
        spread_low=_where(distance, float(chdtri(free, 0.025)), values),
        spread_high=most,
        chi2=distance(0.0) / free,
        count=free + 1,
    )


def _most_beside_too_large(values: Array, errors: Array) -> float:
    """The greatest spread (99 %) where nobody knows how large the errors are: one factor
    is right for all of them. If they are alike, all that is seen may be spread; if not,
    what was measured well says how little it is.
    """
    spreads = SPREADS * float(np.ptp(values))
    heights = np.array([_best_likelihood(values, errors, each) for each in spreads])
    return float(spreads[heights >= heights.max() - LIKELY].max(initial=0.0))


def _best_likelihood(values: Array, errors: Array, spread: float) -> float:
    """The logarithm of the likelihood of a spread, with the best factor."""
    variances = (FACTORS[:, None] * errors) ** 2 + spread**2
    weights = 1 / variances
    means = (weights @ values) / weights.sum(axis=1)
    squares = (values - means[:, None]) ** 2 * weights
    heights = -0.5 * (np.log(variances) + squares).sum(axis=1)
    return float(heights.max())


def _where(distance: Callable[[float], float], target: float, values: Array) -> float:
    """The spread at which the distance falls to `target`; 0 where it is below it."""
    low, high = 0.0, 10 * float(np.ptp(values)) + 1e-12
    if distance(low) <= target:
        return 0.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if distance(middle) > target:
            low = middle
        else:
            high = middle
    return (low + high) / 2
