"""What torch does with the lines of SCRIPTS, operation by operation."""

from dataclasses import dataclass
from functools import reduce

import numpy as np

from mergetrace.merging.merge import Merge
from mergetrace.numerics.arithmetic import to_float32
from mergetrace.numerics.arrays import Array


@dataclass(frozen=True)
class Arithmetic:
    """Operations on tensors of one dtype, each rounded to it."""

    merge: Merge

    def scalar(self, value: float) -> float:
        """A weight as it lies beside the tensors."""
        if self.merge.settings.get("weights_rounded"):
            return self.rounded_scalar(value)
        return value if self.merge.dtype == "float64" else float(np.float32(value))

    def rounded_scalar(self, value: float) -> float:
        """A weight rounded to the dtype of the tensors."""
        return self.merge.scalar(value)

    def times(self, tensor: Array, weight: float) -> Array:
        """tensor * weight."""
        return self.merge.round(tensor * self.scalar(weight))

    def plus(self, first: Array, second: Array) -> Array:
        """first + second."""
        return self.merge.round(first + second)

    def minus(self, first: Array, second: Array) -> Array:
        """first - second."""
        return self.merge.round(first - second)

    def over(self, tensor: Array, number: float) -> Array:
        """tensor / number."""
        return self.merge.round(tensor / self.scalar(number))

    def add_scaled(self, tensor: Array, other: Array, weight: float) -> Array:
        """tensor.add(other, alpha=weight): the weight rounded, then one multiply-add."""
        return self.merge.round(tensor + other * self.rounded_scalar(weight))

    def lerp(self, start: Array, end: Array, weight: float) -> Array:
        """torch.lerp(start, end, weight), from the nearer end."""
        if self.merge.dtype == "float64":
            gap = end - start
            near_end = end - gap * (1 - weight)
            return start + weight * gap if abs(weight) < 0.5 else near_end
        t = self.scalar(weight)
        gap = to_float32(end - start)
        if abs(t) < 0.5:
            return self.merge.round(start + t * gap)
        rest = float(to_float32(1 - t))
        return self.merge.round(end - gap * rest)


def products(merge: Merge, arithmetic: Arithmetic) -> Array:
    products = map(arithmetic.times, merge.models, merge.weights)
    return reduce(arithmetic.plus, products)


def products_over_sum(merge: Merge, arithmetic: Arithmetic) -> Array:
    return arithmetic.over(products(merge, arithmetic), sum(merge.weights))


def scaled_additions(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = np.zeros_like(merge.models[0])
    for model, weight in zip(merge.models, merge.weights, strict=True):
        merged = arithmetic.add_scaled(merged, model, weight)
    return merged


def scaled_additions_over_sum(merge: Merge, arithmetic: Arithmetic) -> Array:
    return arithmetic.over(scaled_additions(merge, arithmetic), sum(merge.weights))


def product_then_scaled_additions(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = arithmetic.times(merge.models[0], merge.weights[0])
    for model, weight in _rest(merge):
        merged = arithmetic.add_scaled(merged, model, weight)
    return merged


def one_rounding(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = np.zeros_like(merge.models[0])
    for model, weight in zip(merge.models, merge.weights, strict=True):
        product = model * arithmetic.rounded_scalar(weight)
        merged = to_float32(merged + product)
    return merge.round(merged)


def mean(merge: Merge, arithmetic: Arithmetic) -> Array:
    del arithmetic
    total = _float32_sum(merge) if merge.dtype != "float64" else sum(merge.models)
    return merge.round(total / len(merge.models))


def _float32_sum(merge: Merge) -> Array:
    return reduce(lambda total, model: to_float32(total + model), merge.models)


def sum_over_count(merge: Merge, arithmetic: Arithmetic) -> Array:
    total = reduce(arithmetic.plus, merge.models)
    return merge.round(total / len(merge.models))


def sum_times_share(merge: Merge, arithmetic: Arithmetic) -> Array:
    total = reduce(arithmetic.plus, merge.models)
    return arithmetic.times(total, 1 / len(merge.models))


def parts_added(merge: Merge, arithmetic: Arithmetic) -> Array:
    count = len(merge.models)
    parts = [merge.round(model / count) for model in merge.models]
    return reduce(arithmetic.plus, parts)


def running_mean(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.models[0]
    for count, model in enumerate(merge.models[1:], start=2):
        step = merge.round(arithmetic.minus(model, merged) / count)
        merged = arithmetic.plus(merged, step)
    return merged


def moving_products(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.models[0]
    for model, weight in _rest(merge):
        kept = arithmetic.times(merged, 1 - weight)
        merged = arithmetic.plus(kept, arithmetic.times(model, weight))
    return merged


def moving_scaled_additions(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.models[0]
    for model, weight in _rest(merge):
        kept = arithmetic.times(merged, 1 - weight)
        merged = arithmetic.add_scaled(kept, model, weight)
    return merged


def moving_steps(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.models[0]
    for model, weight in _rest(merge):
        step = arithmetic.times(arithmetic.minus(model, merged), weight)
        merged = arithmetic.plus(merged, step)
    return merged


def moving_lerp(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.models[0]
    for model, weight in _rest(merge):
        merged = arithmetic.lerp(merged, model, weight)
    return merged


def deltas_in_turn(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.base
    for model, weight in zip(merge.models, merge.weights, strict=True):
        delta = arithmetic.minus(model, merge.base)
        merged = arithmetic.plus(merged, arithmetic.times(delta, weight))
    return merged


def sum_of_deltas(merge: Merge, arithmetic: Arithmetic) -> Array:
    products = [
        arithmetic.times(arithmetic.minus(model, merge.base), weight)
        for model, weight in zip(merge.models, merge.weights, strict=True)
    ]
    return arithmetic.plus(merge.base, reduce(arithmetic.plus, products))


def scaled_sum_of_deltas(merge: Merge, arithmetic: Arithmetic) -> Array:
    deltas = [arithmetic.minus(model, merge.base) for model in merge.models]
    total = reduce(arithmetic.plus, deltas)
    return arithmetic.plus(merge.base, arithmetic.times(total, merge.weights[0]))


def scaled_deltas(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.base
    for model, weight in zip(merge.models, merge.weights, strict=True):
        delta = arithmetic.minus(model, merge.base)
        merged = arithmetic.add_scaled(merged, delta, weight)
    return merged


def wide_deltas(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.base
    for model, weight in zip(merge.models, merge.weights, strict=True):
        delta = to_float32(model - merge.base)
        scaled = to_float32(delta * float(np.float32(weight)))
        merged = arithmetic.plus(merged, merge.round(scaled))
    return merged


def wide_deltas_in_turn(merge: Merge, arithmetic: Arithmetic) -> Array:
    del arithmetic
    merged = merge.base
    for model, weight in zip(merge.models, merge.weights, strict=True):
        scaled = _float32_times(model - merge.base, weight)
        merged = merge.round(_float32_unless_wider(merge, merged + scaled))
    return merged


def narrow_deltas_added_wide(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = to_float32(merge.base)
    for model, weight in zip(merge.models, merge.weights, strict=True):
        delta = arithmetic.minus(model, merge.base)
        merged = to_float32(merged + _float32_times(delta, weight))
    return merge.round(merged)


def products_added_wide(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = np.zeros_like(merge.models[0])
    for model, weight in zip(merge.models, merge.weights, strict=True):
        merged = to_float32(merged + arithmetic.times(model, weight))
    return merge.round(merged)


def _float32_times(delta: Array, weight: float) -> Array:
    return to_float32(to_float32(delta) * float(np.float32(weight)))


def _float32_unless_wider(merge: Merge, values: Array) -> Array:
    return values if merge.dtype == "float64" else to_float32(values)


def changes_added(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.models[0]
    for model, weight in _rest(merge):
        delta = arithmetic.minus(model, merge.base)
        merged = arithmetic.plus(merged, arithmetic.times(delta, weight))
    return merged


def scaled_changes_added(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.models[0]
    for model, weight in _rest(merge):
        delta = arithmetic.minus(model, merge.base)
        merged = arithmetic.add_scaled(merged, delta, weight)
    return merged


def _rest(merge: Merge) -> list[tuple[Array, float]]:
    return list(zip(merge.models[1:], merge.weights[1:], strict=True))
