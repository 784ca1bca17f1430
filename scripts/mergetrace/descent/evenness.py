"""Measurements of one weight pooled, and how far they lie apart beyond chance."""

from collections.abc import Callable

import numpy as np

from mergetrace.numerics.arrays import Array
from mergetrace.records.spectrum import Evenness

HALVINGS = 60
"""Of the interval in which a spread is sought: to the last bits of a float."""


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
        # Nearer together than their errors allow: these are too large, and all that
        # is seen may be spread.
        most = (free * float(values.var(ddof=1)) / least) ** 0.5
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
