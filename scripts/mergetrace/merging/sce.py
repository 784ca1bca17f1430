"""The merge formula SCE: select what varies most, calculate weights, erase the minority
sign.
"""

import numpy as np

from mergetrace.merging.merge import Merge
from mergetrace.numerics import tool_sums
from mergetrace.numerics.arithmetic import total
from mergetrace.numerics.arrays import Array, Mask

SMALLEST_SUM = 1e-6
"""Smaller sums of mean squares or of weights are not divided by (the tool's limit)."""


def sce(merge: Merge) -> Array:
    """Task vectors weighed by their mean square, those of the minority sign erased (Wan
    et al. 2024, arXiv 2408.07990).

    `topk`: the share of elements kept, those on which the models' deltas vary most.
    """
    to_dtype = merge.round
    deltas = _deltas_that_vary_most(merge)
    weights = _weights(merge, deltas)
    elected_sign = np.where(to_dtype(total(deltas, to_dtype)) >= 0, 1, -1)
    effective = [
        weight * (np.sign(delta) == elected_sign)
        for weight, delta in zip(weights, deltas, strict=True)
    ]
    terms = [
        to_dtype(delta * weight)
        for delta, weight in zip(deltas, effective, strict=True)
    ]
    divisor = np.maximum(total(effective, to_dtype), SMALLEST_SUM)
    return to_dtype(merge.base + to_dtype(total(terms, to_dtype) / divisor))


def at_least_variance(merge: Merge) -> Mask:
    """Elements of the smallest variance that `sce` keeps, where the tool's own choice
    among them is not known: bool [n].
    """
    share = merge.settings["topk"]
    if share >= 1 or merge.facts.whole:
        return np.zeros(merge.models[0].shape, bool)
    variance = _variance(merge, merge.deltas())
    at_least: Mask = variance == _smallest_kept_variance(variance, share)
    return at_least


def _weights(merge: Merge, deltas: list[Array]) -> list[float]:
    """Each model's mean square over the sum of all."""
    energies = _mean_squares(merge, deltas)
    whole = merge.scalar(total(energies, merge.round))
    if whole >= SMALLEST_SUM:
        return [merge.scalar(energy / whole) for energy in energies]
    return [merge.scalar(1 / len(energies))] * len(energies)


def _mean_squares(merge: Merge, deltas: list[Array]) -> list[float]:
    to_dtype = merge.round
    if merge.facts.whole:
        squares = [to_dtype(delta * delta) for delta in deltas]
        return [tool_sums.mean(square, merge.dtype) for square in squares]
    if merge.settings["topk"] < 1:
        return [merge.scalar(np.mean(delta * delta)) for delta in deltas]
    combinations = [merge.combination(name) for name in merge.names]
    return [
        merge.scalar(merge.facts.inner(vector, vector) / merge.facts.elements)
        for vector in combinations
    ]


def _deltas_that_vary_most(merge: Merge) -> list[Array]:
    """The deltas, zero but for the share `topk` of elements on which they vary most."""
    deltas = merge.deltas()
    share = merge.settings["topk"]
    if share >= 1:
        return deltas
    variance = _variance(merge, deltas)
    if merge.facts.whole:
        count = int(share * np.count_nonzero(variance))
        kept = tool_sums.largest(variance, count, merge.dtype)
    else:
        kept = variance >= _smallest_kept_variance(variance, share)
    return [delta * kept for delta in deltas]


def _variance(merge: Merge, deltas: list[Array]) -> Array:
    return merge.round(np.var(np.stack(deltas), axis=0))


def _smallest_kept_variance(variance: Array, share: float) -> float:
    """The smallest variance among the largest `share` of those that are not zero;
    infinity where the share holds none.
    """
    count = int(share * np.count_nonzero(variance))
    if not count:
        return np.inf
    rank = variance.size - count
    return float(np.partition(variance, rank)[rank])
