"""Merge formulas that weigh the parents' elements alike wherever they lie: averages,
task arithmetic, layers taken whole.
"""

from collections.abc import Sequence

import numpy as np

from mergetrace.merging.merge import Merge
from mergetrace.numerics.arithmetic import to_float32, total
from mergetrace.numerics.arrays import Array

SMALLEST_DIVISOR = 1e-8
"""A sum of weights nearer to zero divides as one: nothing was kept there (the tool's
own limit).
"""


def linear(merge: Merge) -> Array:
    """Weighted average (Wortsman et al. 2022, arXiv 2203.05482): products added in
    order, divided by the sum of weights unless `normalize` is 0.
    """
    weights = [float(np.float32(weight)) for weight in merge.weights]
    if merge.dtype == "float32":
        mixed = _sum_in_float32(merge, weights)
    else:
        if merge.settings["weights_rounded"]:
            weights = [merge.scalar(weight) for weight in weights]
        mixed = _sum_in_narrow_dtype(merge, weights)
    if not merge.settings["normalize"]:
        return mixed
    return merge.round(mixed / total(weights, merge.round))


def _sum_in_float32(merge: Merge, weights: Sequence[float]) -> Array:
    """Products added one by one. `fused` multiply-adds round once where separate ones
    round twice; that decides the last bit of a few elements in a million.
    """
    mixed = np.zeros(merge.models[0].shape)
    for model, weight in zip(merge.models, weights, strict=True):
        product = model * weight  # exact in float64
        if not merge.settings["fused"]:
            product = to_float32(product)
        mixed = to_float32(mixed + product)
    return mixed


def _sum_in_narrow_dtype(merge: Merge, weights: Sequence[float]) -> Array:
    """Each product rounded, their sum rounded once."""
    to_dtype = merge.round
    products = [
        to_dtype(to_float32(model * weight))
        for model, weight in zip(merge.models, weights, strict=True)
    ]
    return total(products, to_dtype)


def lerp(merge: Merge) -> Array:
    """start + t (end - start), from the nearer end (torch.lerp's documentation); models
    are start and end, t is the end's weight.
    """
    start, end = merge.models
    t = float(np.float32(merge.weights[1]))
    gap = to_float32(end - start)
    if abs(t) < 0.5:
        mixed = start + to_float32(t * gap)
    else:
        mixed = end - to_float32(gap * to_float32(1 - t))
    return merge.round(to_float32(mixed))


def task_arithmetic(merge: Merge) -> Array:
    """base + lambda sum w (model - base) (Ilharco et al. 2023, arXiv 2212.04089)."""
    return add_to_base(merge, merge.deltas(), None)


def passthrough(merge: Merge) -> Array:
    """The one model whose weight is 1, as it is: layers stacked of several models
    ("frankenmerge"; mergekit's documentation, "Passthrough"). NaN where none is.
    """
    if 1.0 not in merge.weights:
        return np.full(merge.models[0].shape, np.nan)
    return merge.models[merge.weights.index(1.0)]


def add_to_base(
    merge: Merge, deltas: Sequence[Array], masks: Sequence[Array] | None
) -> Array:
    """base + lambda sum w_i m_i delta_i [/ sum w_i m_i], each operation rounded. Masks
    are numbers 0 and 1; None stands for ones everywhere.
    """
    to_dtype = merge.round
    weights = [merge.scalar(weight) for weight in merge.weights]
    weighted = zip(deltas, weights, strict=True)
    terms = [to_dtype(delta * weight) for delta, weight in weighted]
    divisors: list[Array | float] = [*weights]
    if masks is not None:
        terms = [term * mask for term, mask in zip(terms, masks, strict=True)]
        divisors = [weight * mask for weight, mask in zip(weights, masks, strict=True)]
    mixed = total(terms, to_dtype)
    if merge.settings["normalize"]:
        divisor = total(divisors, to_dtype)
        nothing_kept = np.abs(divisor) < SMALLEST_DIVISOR
        mixed = to_dtype(mixed / np.where(nothing_kept, 1.0, divisor))
    if merge.settings["lambda"] != 1:
        scale = float(np.float32(merge.settings["lambda"]))
        mixed = to_dtype(to_float32(mixed * scale))
    return to_dtype(merge.base + mixed)
