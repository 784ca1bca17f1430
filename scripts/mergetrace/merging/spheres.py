"""Merge formulas that interpolate directions: SLERP and its relatives, model stock. All
need the angles between whole tensors.
"""

import numpy as np

from mergetrace.merging.facts import Combination, Facts
from mergetrace.merging.formulas import Merge
from mergetrace.numerics import tool_sums
from mergetrace.numerics.arithmetic import to_float32, total
from mergetrace.numerics.arrays import Array

# tensors whose cosine is beyond are interpolated linearly (the tool's limit)
PARALLEL = 0.9995
# how far a float32 cosine strays: beyond the limit by more, the exact one decides
ROUNDING = 1e-5


def slerp(merge: Merge) -> Array:
    """Spherical interpolation between the directions of two tensors (Shoemake 1985),
    applied to the tensors themselves, in float32.

    models: the first end and the second; weights[1] is t. Nearly parallel tensors
    (|cos| > 0.9995) are interpolated linearly.
    """
    (first, second), t = merge.models, float(to_float32(merge.weights[1]))
    a, b = ({name: 1.0} for name in merge.names)
    cosine = _cosine(merge.facts, a, b)
    if abs(cosine) < PARALLEL + ROUNDING:
        units = [
            to_float32(vector / (merge.norm(vector, combination) or 1.0))
            for vector, combination in ((first, a), (second, b))
        ]
        cosine = merge.reduced(to_float32(units[0] * units[1]), cosine)
    if abs(cosine) > PARALLEL:
        shares = float(to_float32(1 - t)), t
    else:
        angle = float(to_float32(np.arccos(cosine)))
        sines = [
            float(to_float32(np.sin(to_float32(value))))
            for value in (to_float32(1 - t) * angle, t * angle, angle)
        ]
        shares = [float(to_float32(sine / sines[2])) for sine in sines[:2]]
    return merge.round(
        to_float32(to_float32(shares[0] * first) + to_float32(shares[1] * second))
    )


def nuslerp(merge: Merge) -> Array:
    """SLERP without a linear fallback, of two tensors or, with a base, of their deltas
    (mergekit's documentation, "NuSLERP").

    t = w2 / (w1 + w2). Every operation in the dtype of the arithmetic.
    """
    to_dtype = merge.round
    facts = merge.facts
    t = merge.weights[1] / sum(merge.weights)
    origin = {} if merge.base_name is None else {merge.base_name: -1.0}
    a, b = ({name: 1.0, **origin} for name in merge.names)
    first, second = merge.models if merge.base is None else merge.deltas()
    units = [
        to_dtype(vector / max(float(to_dtype(merge.norm(vector, made_of))), 1e-7))
        for vector, made_of in ((first, a), (second, b))
    ]
    cosine = min(
        merge.reduced(to_dtype(units[0] * units[1]), _cosine(facts, a, b)), 1.0
    )
    if 1 - cosine**2 <= 1e-16:
        mixed = to_dtype(
            to_dtype(to_float32((1 - t) * first)) + to_dtype(to_float32(t * second))
        )
    else:
        angle = float(to_dtype(np.arccos(cosine)))
        shares = [
            float(to_dtype(np.sin(to_dtype(to_float32(share * angle)))))
            for share in (1 - t, t)
        ]
        mixed = to_dtype(to_dtype(shares[0] * first) + to_dtype(shares[1] * second))
        mixed = to_dtype(mixed / to_dtype(np.sin(angle)))
    return mixed if merge.base is None else to_dtype(merge.base + mixed)


def multislerp(merge: Merge) -> Array:
    """Interpolation in the tangent space at the weighted mean direction, scaled to the
    mean norm (Goddard, "Multi-SLERP", goddard.blog).
    """
    to_dtype = merge.round
    facts = merge.facts
    weights = [float(to_dtype(weight)) for weight in merge.weights]
    weights = [float(to_dtype(weight / total(weights, to_dtype))) for weight in weights]
    origin = {} if merge.base_name is None else {merge.base_name: -1.0}
    vectors = merge.models if merge.base is None else merge.deltas()
    norms = [
        float(to_dtype(to_dtype(merge.norm(vector, {name: 1.0, **origin})) + 1e-8))
        for name, vector in zip(merge.names, vectors, strict=True)
    ]
    units = [
        to_dtype(vector / norm) for vector, norm in zip(vectors, norms, strict=True)
    ]
    shares = [
        {name: 1.0 / norm, **{base: weight / norm for base, weight in origin.items()}}
        for name, norm in zip(merge.names, norms, strict=True)
    ]
    mean = total(
        [to_dtype(unit * weight) for unit, weight in zip(units, weights, strict=True)],
        to_dtype,
    )
    direction: dict[str, float] = {}
    for share, weight in zip(shares, weights, strict=True):
        for name, value in share.items():
            direction[name] = direction.get(name, 0.0) + weight * value
    length = float(to_dtype(merge.norm(mean, direction))) or 1.0
    mean = to_dtype(mean / to_dtype(length))
    dots = [
        merge.reduced(to_dtype(unit * mean), facts.inner(share, direction) / length)
        for unit, share in zip(units, shares, strict=True)
    ]
    tangents = [
        to_dtype(unit - to_dtype(dot * mean))
        for unit, dot in zip(units, dots, strict=True)
    ]
    tangent = total(
        [
            to_dtype(vector * weight)
            for vector, weight in zip(tangents, weights, strict=True)
        ],
        to_dtype,
    )
    # |sum w (u - (u.m) m)| with sum w u = length m: what remains after the projection
    # is rounding, as it is in the tool.
    size = float(to_dtype(to_dtype(tool_sums.norm(tangent)) + 1e-8))
    mixed = to_dtype(
        to_dtype(mean * to_dtype(np.cos(size)))
        + to_dtype(tangent * to_dtype(to_dtype(np.sin(size)) / size))
    )
    mixed = to_dtype(
        mixed
        * total(
            [
                to_dtype(norm * weight)
                for norm, weight in zip(norms, weights, strict=True)
            ],
            to_dtype,
        )
    )
    return mixed if merge.base is None else to_dtype(merge.base + mixed)


def karcher(merge: Merge) -> Array:
    """The Karcher mean of the directions, with equal weights, times the mean norm
    (Karcher 1977; mergekit's documentation, "Karcher Mean").

    Found by gradient steps on the sphere from the normalised mean, at most ten, until a step is shorter than 1e-5. Where only a sample is
    there, the steps are taken on the coefficients of the parents.
    """
    names, share = merge.names, 1.0 / len(merge.names)
    norms = [
        merge.norm(model, {name: 1.0})
        for name, model in zip(names, merge.models, strict=True)
    ]
    mean = (
        _karcher_direction(merge, norms)
        if merge.facts.whole
        else _karcher_coefficients(merge, norms)
    )
    scale = float(
        merge.round(total([to_float32(share * norm) for norm in norms], to_float32))
    )
    return merge.round(to_float32(scale * mean))


def _karcher_direction(merge: Merge, norms: list[float]) -> Array:
    """The mean direction, computed on the elements and rounded as the tool rounds: what
    divides stays in float32, everything else is in the dtype.
    """
    to_dtype = merge.round
    share = 1.0 / len(merge.names)
    units = [
        to_dtype(model / max(norm, 1e-30))
        for model, norm in zip(merge.models, norms, strict=True)
    ]
    mean = np.zeros(units[0].shape)
    for unit in units:
        mean = to_dtype(mean + to_dtype(to_float32(share * unit)))
    mean = to_dtype(mean / max(tool_sums.norm(mean), 1e-30))
    for _ in range(10):
        tangent = np.zeros(mean.shape)
        for unit in units:
            dot = np.clip(tool_sums.dot(mean, unit, merge.dtype), -1, 1)
            angle = float(to_dtype(np.arccos(dot)))
            if angle >= 1e-5:
                pull = float(
                    to_dtype(
                        to_float32(share * to_dtype(angle / to_dtype(np.sin(angle))))
                    )
                )
                tangent = to_dtype(
                    tangent + to_dtype(pull * to_dtype(unit - to_dtype(dot * mean)))
                )
        step = tool_sums.norm(tangent)
        if step < 1e-5:
            break
        turned = (
            to_dtype(to_dtype(np.cos(step)) * mean),
            to_dtype(to_dtype(np.sin(step)) * to_dtype(tangent / step)),
        )
        mean = to_dtype(turned[0] + turned[1])
        mean = to_dtype(mean / max(tool_sums.norm(mean), 1e-30))
    return mean


def _karcher_coefficients(merge: Merge, norms: list[float]) -> Array:
    """The mean direction as a sum of the parents, from their inner products alone."""
    facts = merge.facts
    share = 1.0 / len(norms)
    sizes = np.maximum(norms, 1e-30)
    cosines = np.array(
        [
            [facts.inner({one: 1.0}, {other: 1.0}) for other in merge.names]
            for one in merge.names
        ]
    ) / np.outer(sizes, sizes)

    def length(vector: Array) -> float:
        return float(np.sqrt(vector @ cosines @ vector))

    mean = np.full(len(sizes), share)
    mean /= length(mean)
    for _ in range(10):
        dots = np.clip(cosines @ mean, -1, 1)
        angles = np.arccos(dots)
        pull = np.where(
            angles < 1e-5,
            0.0,
            share * angles / np.where(angles < 1e-5, 1.0, np.sin(angles)),
        )
        tangent = pull - (pull @ dots) * mean
        step = length(tangent)
        if step < 1e-5:
            break
        mean = np.cos(step) * mean + np.sin(step) * tangent / step
        mean /= length(mean)
    return sum(
        coefficient * model
        for coefficient, model in zip(mean / sizes, merge.models, strict=True)
    )


def model_stock(merge: Merge) -> Array:
    """t mean(models) + (1 - t) base, t = k cos / (1 + (k - 1) cos) of the deltas' mean
    cosine (Jang et al. 2024, arXiv 2403.19522).
    """
    to_dtype = merge.round
    facts = merge.facts
    count = len(merge.names)
    vectors = [{name: 1.0, merge.base_name: -1.0} for name in merge.names]
    deltas = merge.deltas()
    norms = [
        to_dtype(merge.norm(delta, vector))
        for delta, vector in zip(deltas, vectors, strict=True)
    ]
    pairs = [
        float(
            to_dtype(
                merge.reduced(
                    to_dtype(deltas[i] * deltas[j]), facts.inner(vectors[i], vectors[j])
                )
                / np.maximum(to_dtype(norms[i] * norms[j]), 1e-6)
            )
        )
        for i in range(count)
        for j in range(i + 1, count)
    ]
    cosine = float(to_dtype(np.mean(pairs)))
    t = float(
        to_dtype(
            to_dtype(count * cosine) / to_dtype(1 + to_dtype((count - 1) * cosine))
        )
    )
    average = merge.models[0]
    for model in merge.models[1:]:
        average = to_dtype(average + model)
    average = to_dtype(average / count)
    return to_dtype(to_dtype(t * average) + to_dtype(to_dtype(1 - t) * merge.base))


def _cosine(facts: Facts, one: Combination, other: Combination) -> float:
    """The cosine between two combinations of parents; 0 where one is zero: it has no
    direction and the angle does not matter.
    """
    size = facts.norm(one) * facts.norm(other)
    return float(np.clip(facts.inner(one, other) / size, -1, 1)) if size > 0 else 0.0
