"""Shares of answers with their 95 % intervals, and the comparison of two sets of
answers to the same prompts.
"""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from scipy.stats import binomtest, bootstrap

RESAMPLES = 4_999
"""Samples of a bootstrap."""


def wilson95(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion (Wilson 1927,
    doi:10.1080/01621459.1927.10502953); NaN without trials.
    """
    if n == 0:
        return math.nan, math.nan
    interval = binomtest(hits, n).proportion_ci(confidence_level=0.95, method="wilson")
    return float(interval.low), float(interval.high)


def share95(hits: Sequence[bool], prompts: Sequence[Hashable]) -> tuple[float, float]:
    """The interval of a share of answers: Wilson's, or with several answers to a prompt
    a bootstrap over prompts, which are what is independent.

    Where all prompts have the same share a bootstrap shows no spread at all; there it
    is Wilson's, for as many trials as prompts.
    """
    groups: dict[Hashable, list[bool]] = {}
    for number, (hit, prompt) in enumerate(zip(hits, prompts, strict=True)):
        groups.setdefault(number if prompt is None else prompt, []).append(hit)
    if len(groups) == len(hits):
        return wilson95(sum(hits), len(hits))
    # Every prompt has as many answers.
    means = np.array([np.mean(group) for group in groups.values()])
    if np.ptp(means) == 0:
        return wilson95(round(float(means[0]) * len(means)), len(means))
    drawn = bootstrap(
        (means,),
        np.mean,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def mcnemar(only_first: int, only_second: int) -> float:
    """The exact two-sided p-value of paired answers that differ by chance alone
    (McNemar 1947, binomial form); 1 without discordant pairs.
    """
    discordant = only_first + only_second
    return float(binomtest(only_first, discordant).pvalue) if discordant else 1.0


def difference95(
    both: int, only_first: int, only_second: int, neither: int
) -> tuple[float, float]:
    """The interval of the difference of two paired shares, first less second (Newcombe
    1998, Statistics in Medicine 17:2635, method 10).
    """
    n = both + only_first + only_second + neither
    if n == 0:
        return math.nan, math.nan
    hits_first = both + only_first
    hits_second = both + only_second
    first = hits_first / n
    second = hits_second / n
    low_first, high_first = wilson95(hits_first, n)
    low_second, high_second = wilson95(hits_second, n)
    product = hits_first * (n - hits_first) * hits_second * (n - hits_second)
    cross: float = both * neither - only_first * only_second
    if cross > 0:
        cross = max(cross - n / 2, 0)  # the continuity correction
    phi = cross / math.sqrt(product) if product else 0.0

    def distance(one: float, other: float) -> float:
        square = one * one - 2 * phi * one * other + other * other
        return math.sqrt(max(0.0, square))

    below = distance(first - low_first, high_second - second)
    above = distance(high_first - first, second - low_second)
    return first - second - below, first - second + above
