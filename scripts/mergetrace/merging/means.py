"""Merge formulas that need no weights: the Karcher mean of directions, model stock."""

import numpy as np

from mergetrace.merging.lines import model_stock_of_lines
from mergetrace.merging.merge import Merge
from mergetrace.numerics import tool_sums
from mergetrace.numerics.arithmetic import to_float32, total
from mergetrace.numerics.arrays import Array

KARCHER_SHORTEST_STEP = 1e-5  # the tool's own limits, this one and the two below
KARCHER_SMALLEST_NORM = 1e-30
KARCHER_MOST_STEPS = 100  # which nobody needs
STOCK_SMALLEST_NORM_PRODUCT = 1e-6


def karcher(merge: Merge) -> Array:
    """The Karcher mean of the directions, with equal weights, times the mean norm
    (Karcher 1977; mergekit's documentation, "Karcher Mean").

    Found by gradient steps on the sphere from the normalised mean, at most `max_iter`, until a
    step is shorter than 1e-5. Where only a sample is there, the steps are taken on the
    coefficients of the parents.
    """
    share = _share_of_each(merge)
    norms = [
        merge.norm(model, {name: 1.0})
        for name, model in zip(merge.names, merge.models, strict=True)
    ]
    if merge.facts.whole:
        direction = _karcher_direction(merge, norms)
    else:
        direction = _karcher_direction_of_sample(merge, norms)
    parts = [to_float32(share * norm) for norm in norms]
    mean_norm = merge.scalar(total(parts, to_float32))
    return merge.round(to_float32(mean_norm * direction))


def _share_of_each(merge: Merge) -> float:
    """The weight of each model, as a number beside float32 tensors."""
    return float(np.float32(1.0 / len(merge.names)))


def _steps(merge: Merge) -> int:
    """How many steps are taken at most: a stranger may have declared any number."""
    return int(min(merge.settings["max_iter"], KARCHER_MOST_STEPS))


def _karcher_direction(merge: Merge, norms: list[float]) -> Array:
    """The mean direction, computed on the elements and rounded as the tool rounds: what
    divides stays in float32, everything else is in the dtype.
    """
    to_dtype = merge.round
    share = _share_of_each(merge)
    units = [
        to_dtype(model / max(norm, KARCHER_SMALLEST_NORM))
        for model, norm in zip(merge.models, norms, strict=True)
    ]
    mean = np.zeros(units[0].shape)
    for unit in units:
        mean = to_dtype(mean + to_dtype(to_float32(share * unit)))
    mean = _normalised(merge, mean)
    for _ in range(_steps(merge)):
        tangent = np.zeros(mean.shape)
        for unit in units:
            pull = _pull(merge, mean, unit)
            if pull is not None:
                tangent = to_dtype(tangent + pull)
        step = tool_sums.norm(tangent)
        if step < KARCHER_SHORTEST_STEP:
            break
        cosine, sine = (
            to_dtype(function(step, "float32"))
            for function in (tool_sums.cosine, tool_sums.sine)
        )
        along_mean = to_dtype(cosine * mean)
        along_tangent = to_dtype(sine * to_dtype(tangent / step))
        mean = _normalised(merge, to_dtype(along_mean + along_tangent))
    return mean


def _pull(merge: Merge, mean: Array, unit: Array) -> Array | None:
    """The part of the gradient that one direction adds; None where it is the mean's."""
    to_dtype = merge.round
    share = _share_of_each(merge)
    dot = np.clip(tool_sums.dot(mean, unit, merge.dtype), -1, 1)
    angle = float(tool_sums.arccos(dot, merge.dtype))
    if angle >= KARCHER_SHORTEST_STEP:
        angle_over_sine = to_dtype(angle / tool_sums.sine(angle, merge.dtype))
        weight = merge.scalar(to_float32(share * angle_over_sine))
        return to_dtype(weight * to_dtype(unit - to_dtype(dot * mean)))
    return None


def _normalised(merge: Merge, vector: Array) -> Array:
    return merge.round(vector / max(tool_sums.norm(vector), KARCHER_SMALLEST_NORM))


def _karcher_direction_of_sample(merge: Merge, norms: list[float]) -> Array:
    """The mean direction as a sum of the parents, from their inner products alone."""
    sizes = np.maximum(norms, KARCHER_SMALLEST_NORM)
    products = [
        [merge.facts.inner({first: 1.0}, {second: 1.0}) for second in merge.names]
        for first in merge.names
    ]
    cosines = np.array(products) / np.outer(sizes, sizes)
    coefficients = _karcher_coefficients(cosines, _steps(merge))
    direction = np.zeros(merge.models[0].shape)
    for coefficient, model in zip(coefficients / sizes, merge.models, strict=True):
        direction = direction + coefficient * model
    return direction


def _karcher_coefficients(cosines: Array, steps: int) -> Array:
    """The Karcher mean of unit vectors of which only the cosines between them are
    known, float64 [k, k], as a sum of these vectors: float64 [k].
    """
    share = 1.0 / len(cosines)

    def length(vector: Array) -> float:
        return float(np.sqrt(vector @ cosines @ vector))

    mean = np.full(len(cosines), share)
    mean /= length(mean)
    for _ in range(steps):
        dots = np.clip(cosines @ mean, -1, 1)
        angles = np.arccos(dots)
        at_mean = angles < KARCHER_SHORTEST_STEP
        sines = np.where(at_mean, 1.0, np.sin(angles))
        pull = np.where(at_mean, 0.0, share * angles / sines)
        tangent = pull - (pull @ dots) * mean
        step = length(tangent)
        if step < KARCHER_SHORTEST_STEP:
            break
        mean = np.cos(step) * mean + np.sin(step) * tangent / step
        mean /= length(mean)
    return mean


def model_stock(merge: Merge) -> Array:
    """t mean(models) + (1 - t) base, t = k cos / (1 + (k - 1) cos) of the deltas' mean
    cosine (Jang et al. 2024, arXiv 2403.19522). With `filter_wise` every row has its
    own.
    """
    if merge.settings["filter_wise"]:
        return model_stock_of_lines(merge)
    to_dtype = merge.round
    count = len(merge.names)
    cosine = merge.scalar(np.mean(_pairwise_cosines(merge)))
    divisor = to_dtype(1 + to_dtype((count - 1) * cosine))
    t = merge.scalar(to_dtype(count * cosine) / divisor)
    average = merge.models[0]
    for model in merge.models[1:]:
        average = to_dtype(average + model)
    average = to_dtype(average / count)
    return to_dtype(to_dtype(t * average) + to_dtype(to_dtype(1 - t) * merge.base))


def _pairwise_cosines(merge: Merge) -> list[float]:
    """The cosine between every two deltas, rounded."""
    to_dtype = merge.round
    combinations = [merge.combination(name) for name in merge.names]
    deltas = merge.deltas()
    norms = [
        merge.norm(delta, combination, merge.dtype)
        for delta, combination in zip(deltas, combinations, strict=True)
    ]
    cosines = []
    for i in range(len(deltas)):
        for j in range(i + 1, len(deltas)):
            exact = merge.facts.inner(combinations[i], combinations[j])
            inner = merge.reduced(to_dtype(deltas[i] * deltas[j]), exact)
            sizes = np.maximum(
                to_dtype(norms[i] * norms[j]), STOCK_SMALLEST_NORM_PRODUCT
            )
            cosines.append(merge.scalar(inner / sizes))
    return cosines
