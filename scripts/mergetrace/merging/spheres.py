"""Merge formulas that interpolate directions: SLERP and its relatives. All need the
angle between whole tensors.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from mergetrace.merging.facts import Combination, TensorFacts
from mergetrace.merging.lines import nuslerp_of_lines
from mergetrace.merging.merge import Merge
from mergetrace.numerics import tool_sums
from mergetrace.numerics.arithmetic import to_float32, total
from mergetrace.numerics.arrays import Array

PARALLEL_COSINE = 0.9995
"""SLERP interpolates tensors linearly beyond this cosine (the tool's own limit)."""
COSINE_ERROR = 1e-5
"""How far a float32 cosine strays. Beyond the limit by more, the exact one decides."""
NUSLERP_SMALLEST_NORM = 1e-7  # the tool's own limits
NUSLERP_SMALLEST_SQUARED_SINE = 1e-16
MULTISLERP_EPSILON = 1e-8  # added by the tool to what it divides by


def slerp(merge: Merge) -> Array:
    """Spherical interpolation between the directions of two tensors (Shoemake 1985),
    applied to the tensors themselves, in float32.

    models: the first end and the second; weights[1] is t. Nearly parallel tensors
    (|cos| > 0.9995) are interpolated linearly.
    """
    first, second = merge.models
    first_share, second_share = _slerp_shares(
        merge, float(to_float32(merge.weights[1]))
    )
    return merge.round(
        to_float32(to_float32(first_share * first) + to_float32(second_share * second))
    )


def _slerp_shares(merge: Merge, t: float) -> tuple[float, float]:
    cosine = _slerp_cosine(merge)
    if abs(cosine) > PARALLEL_COSINE:
        return float(to_float32(1 - t)), t
    angle = tool_sums.arccos(cosine, "float32")
    sine_of_rest, sine_of_part, sine = (
        tool_sums.sine(to_float32(value), "float32")
        for value in (to_float32(1 - t) * angle, t * angle, angle)
    )
    return float(to_float32(sine_of_rest / sine)), float(
        to_float32(sine_of_part / sine)
    )


def _slerp_cosine(merge: Merge) -> float:
    """The cosine between the two models, as the tool sums it where it is near enough to
    the limit to matter.
    """
    first, second = ({name: 1.0} for name in merge.names)
    exact = _cosine(merge.facts, first, second)
    if abs(exact) < PARALLEL_COSINE + COSINE_ERROR:
        units = [
            to_float32(model / (merge.norm(model, combination) or 1.0))
            for model, combination in zip(merge.models, (first, second), strict=True)
        ]
        return merge.reduced(to_float32(units[0] * units[1]), exact)
    return exact


def nuslerp(merge: Merge) -> Array:
    """SLERP without a linear fallback, of two tensors or, with a base, of their deltas
    (mergekit's documentation, "NuSLERP").

    t = w2 / (w1 + w2). Every operation in the dtype of the arithmetic. Without
    `flatten` every line has an angle of its own.
    """
    to_dtype = merge.round
    share = merge.weights[1] / sum(merge.weights)
    rest, t = float(np.float32(1 - share)), float(np.float32(share))
    first, second = merge.vectors()
    if not merge.settings["flatten"]:
        return nuslerp_of_lines(merge, (rest, t), first, second)
    cosine = _nuslerp_cosine(merge, first, second)
    if 1 - cosine**2 <= NUSLERP_SMALLEST_SQUARED_SINE:
        first_part = to_dtype(to_float32(rest * first))
        second_part = to_dtype(to_float32(t * second))
        return merge.added_back(to_dtype(first_part + second_part))
    angle = tool_sums.arccos(cosine, merge.dtype)
    first_share, second_share = (
        tool_sums.sine(to_dtype(to_float32(share * angle)), merge.dtype)
        for share in (rest, t)
    )
    mixed = to_dtype(to_dtype(first_share * first) + to_dtype(second_share * second))
    return merge.added_back(to_dtype(mixed / tool_sums.sine(angle, merge.dtype)))


def _nuslerp_cosine(merge: Merge, first: Array, second: Array) -> float:
    to_dtype = merge.round
    combinations = [merge.combination(name) for name in merge.names]
    units = []
    for vector, combination in zip((first, second), combinations, strict=True):
        norm = merge.norm(vector, combination, merge.dtype)
        units.append(to_dtype(vector / max(norm, NUSLERP_SMALLEST_NORM)))
    exact = _cosine(merge.facts, *combinations)
    return min(merge.reduced(to_dtype(units[0] * units[1]), exact), 1.0)


def multislerp(merge: Merge) -> Array:
    """Interpolation in the tangent space at the weighted mean direction, scaled to the
    mean norm (Goddard, "Multi-SLERP", goddard.blog).
    """
    to_dtype = merge.round
    weights = [merge.scalar(weight) for weight in merge.weights]
    if merge.settings["normalize_weights"]:
        whole = total(weights, to_dtype)
        weights = [merge.scalar(weight / whole) for weight in weights]
    vectors = merge.vectors()
    combinations = [merge.combination(name) for name in merge.names]
    norms = merge.norms(vectors, combinations)
    divisors = [merge.scalar(norm + MULTISLERP_EPSILON) for norm in norms]
    units = [
        to_dtype(vector / divisor)
        for vector, divisor in zip(vectors, divisors, strict=True)
    ]
    unit_combinations = [
        _divided(combination, divisor)
        for combination, divisor in zip(combinations, divisors, strict=True)
    ]
    mean = _weighted_total(merge, units, weights)
    mean_combination = _weighted_combination(unit_combinations, weights)
    length = merge.norm(mean, mean_combination, merge.dtype) or 1.0
    mean = to_dtype(mean / length)
    dots = merge.reduced_rows(
        [to_dtype(unit * mean) for unit in units],
        [
            merge.facts.inner(combination, mean_combination) / length
            for combination in unit_combinations
        ],
    )
    tangents = [
        to_dtype(unit - to_dtype(dot * mean))
        for unit, dot in zip(units, dots, strict=True)
    ]
    direction = _exponential_map(merge, mean, _weighted_total(merge, tangents, weights))
    weighted_norms = [
        to_dtype(norm * weight) for norm, weight in zip(norms, weights, strict=True)
    ]
    return merge.added_back(to_dtype(direction * total(weighted_norms, to_dtype)))


def _exponential_map(merge: Merge, mean: Array, tangent: Array) -> Array:
    """The point of the sphere that a tangent vector at `mean` leads to.

    The tangents are u - (u.m) m of unit vectors u whose weighted sum is a multiple of
    m: what remains of their weighted sum is rounding, here as in the tool.
    """
    to_dtype = merge.round
    angle = merge.scalar(tool_sums.norm(tangent, merge.dtype) + MULTISLERP_EPSILON)
    sine_over_angle = to_dtype(tool_sums.sine(angle, merge.dtype) / angle)
    along_mean = to_dtype(mean * tool_sums.cosine(angle, merge.dtype))
    return to_dtype(along_mean + to_dtype(tangent * sine_over_angle))


def _weighted_total(
    merge: Merge, vectors: Sequence[Array], weights: Sequence[float]
) -> Array:
    to_dtype = merge.round
    terms = [
        to_dtype(vector * weight)
        for vector, weight in zip(vectors, weights, strict=True)
    ]
    return total(terms, to_dtype)


def _divided(combination: Combination, norm: float) -> Combination:
    return {name: weight / norm for name, weight in combination.items()}


def _weighted_combination(
    combinations: Sequence[Combination], weights: Sequence[float]
) -> Mapping[str, float]:
    summed: dict[str, float] = {}
    for combination, weight in zip(combinations, weights, strict=True):
        for name, value in combination.items():
            summed[name] = summed.get(name, 0.0) + weight * value
    return summed


def _cosine(facts: TensorFacts, first: Combination, second: Combination) -> float:
    """The cosine between two combinations of parents; 0 where one is zero: it has no
    direction and the angle does not matter.
    """
    size = facts.norm(first) * facts.norm(second)
    if size > 0:
        return float(np.clip(facts.inner(first, second) / size, -1, 1))
    return 0.0
