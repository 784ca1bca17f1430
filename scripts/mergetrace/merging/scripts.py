"""Merges that people write by hand: a few lines over tensors, each operation rounded to
the tensors' dtype.

SCRIPTS is the whole space of such lines, times the order of the models
(`Recipe.models`), the dtype of the tensors (`Recipe.dtype`), and where the weights live:
a Python number stays in float32 beside narrow tensors, a tensor of a weight has been
rounded to their dtype (`weights_rounded`). Every entry holds the lines themselves, which
the tests run with torch, and the formula that gives the same bits.

What torch does on a processor, measured with torch 2.13 and held by the tests: a product
with a Python number keeps that number in float32 and rounds once; `add(alpha=)` rounds
alpha to the dtype and then once more at the end; `lerp` works in float32 with fused
multiply-adds and rounds once; so do sums over a dimension and matrix products.

To add a script: an entry of SCRIPTS with lines and formula.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from typing import Literal

import numpy as np

from mergetrace.merging.merge import Merge
from mergetrace.numerics.arithmetic import to_float32
from mergetrace.numerics.arrays import Array

Weighing = Literal["free", "over_sum", "equal", "in_turn", "onto_first"]
"""What a script's weights are: shares as they stand, shares once they are divided by
their sum, equal by nature, each what the model moves the merge so far towards itself, or
each what of a change is added to the first model.
"""


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


Formula = Callable[[Merge, Arithmetic], Array]


@dataclass(frozen=True)
class Script:
    """One way to write a merge."""

    method: str
    """The method of METHODS that it computes: linear, lerp or task_arithmetic."""
    lines: str
    """The lines, over `models` and `weights` in order and, of task arithmetic, `base`;
    they leave the result in `merged`.
    """
    formula: Formula
    """The same, operation by operation."""
    weighing: Weighing = "free"
    """What the weights are."""
    scalars_kept: bool = True
    """Whether a weight can live in float32 beside the tensors."""
    scalars_rounded: bool = True
    """Whether a weight can live in the dtype of the tensors."""
    ordered: bool = False
    """Whether the order of two models matters; that of more always does."""


def _products(merge: Merge, arithmetic: Arithmetic) -> Array:
    products = map(arithmetic.times, merge.models, merge.weights)
    return reduce(arithmetic.plus, products)


def _products_over_sum(merge: Merge, arithmetic: Arithmetic) -> Array:
    return arithmetic.over(_products(merge, arithmetic), sum(merge.weights))


def _scaled_additions(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = np.zeros_like(merge.models[0])
    for model, weight in zip(merge.models, merge.weights, strict=True):
        merged = arithmetic.add_scaled(merged, model, weight)
    return merged


def _product_then_scaled_additions(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = arithmetic.times(merge.models[0], merge.weights[0])
    for model, weight in _rest(merge):
        merged = arithmetic.add_scaled(merged, model, weight)
    return merged


def _one_rounding(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = np.zeros_like(merge.models[0])
    for model, weight in zip(merge.models, merge.weights, strict=True):
        product = model * arithmetic.rounded_scalar(weight)
        merged = to_float32(merged + product)
    return merge.round(merged)


def _mean(merge: Merge, arithmetic: Arithmetic) -> Array:
    del arithmetic
    total = _float32_sum(merge) if merge.dtype != "float64" else sum(merge.models)
    return merge.round(total / len(merge.models))


def _float32_sum(merge: Merge) -> Array:
    return reduce(lambda total, model: to_float32(total + model), merge.models)


def _sum_over_count(merge: Merge, arithmetic: Arithmetic) -> Array:
    total = reduce(arithmetic.plus, merge.models)
    return merge.round(total / len(merge.models))


def _sum_times_share(merge: Merge, arithmetic: Arithmetic) -> Array:
    total = reduce(arithmetic.plus, merge.models)
    return arithmetic.times(total, 1 / len(merge.models))


def _parts_added(merge: Merge, arithmetic: Arithmetic) -> Array:
    count = len(merge.models)
    parts = [merge.round(model / count) for model in merge.models]
    return reduce(arithmetic.plus, parts)


def _running_mean(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.models[0]
    for count, model in enumerate(merge.models[1:], start=2):
        step = merge.round(arithmetic.minus(model, merged) / count)
        merged = arithmetic.plus(merged, step)
    return merged


def _moving_products(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.models[0]
    for model, weight in _rest(merge):
        kept = arithmetic.times(merged, 1 - weight)
        merged = arithmetic.plus(kept, arithmetic.times(model, weight))
    return merged


def _moving_steps(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.models[0]
    for model, weight in _rest(merge):
        step = arithmetic.times(arithmetic.minus(model, merged), weight)
        merged = arithmetic.plus(merged, step)
    return merged


def _moving_lerp(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.models[0]
    for model, weight in _rest(merge):
        merged = arithmetic.lerp(merged, model, weight)
    return merged


def _deltas_in_turn(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.base
    for model, weight in zip(merge.models, merge.weights, strict=True):
        delta = arithmetic.minus(model, merge.base)
        merged = arithmetic.plus(merged, arithmetic.times(delta, weight))
    return merged


def _sum_of_deltas(merge: Merge, arithmetic: Arithmetic) -> Array:
    products = [
        arithmetic.times(arithmetic.minus(model, merge.base), weight)
        for model, weight in zip(merge.models, merge.weights, strict=True)
    ]
    return arithmetic.plus(merge.base, reduce(arithmetic.plus, products))


def _scaled_sum_of_deltas(merge: Merge, arithmetic: Arithmetic) -> Array:
    deltas = [arithmetic.minus(model, merge.base) for model in merge.models]
    total = reduce(arithmetic.plus, deltas)
    return arithmetic.plus(merge.base, arithmetic.times(total, merge.weights[0]))


def _scaled_deltas(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.base
    for model, weight in zip(merge.models, merge.weights, strict=True):
        delta = arithmetic.minus(model, merge.base)
        merged = arithmetic.add_scaled(merged, delta, weight)
    return merged


def _wide_deltas(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.base
    for model, weight in zip(merge.models, merge.weights, strict=True):
        delta = to_float32(model - merge.base)
        scaled = to_float32(delta * float(np.float32(weight)))
        merged = arithmetic.plus(merged, merge.round(scaled))
    return merged


def _changes_added(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.models[0]
    for model, weight in _rest(merge):
        delta = arithmetic.minus(model, merge.base)
        merged = arithmetic.plus(merged, arithmetic.times(delta, weight))
    return merged


def _scaled_changes_added(merge: Merge, arithmetic: Arithmetic) -> Array:
    merged = merge.models[0]
    for model, weight in _rest(merge):
        delta = arithmetic.minus(model, merge.base)
        merged = arithmetic.add_scaled(merged, delta, weight)
    return merged


def _rest(merge: Merge) -> list[tuple[Array, float]]:
    return list(zip(merge.models[1:], merge.weights[1:], strict=True))


EACH = "for model, weight in zip(models, weights):\n"
LATER = "for model, weight in zip(models[1:], weights[1:]):\n"

SCRIPTS: Mapping[str, Script] = {
    "products": Script(
        "linear",
        "merged = models[0] * weights[0]\n" + LATER + "    merged += model * weight",
        _products,
    ),
    "products_over_sum": Script(
        "linear",
        "merged = models[0] * weights[0]\n"
        + LATER
        + "    merged += model * weight\nmerged = merged / sum(weights)",
        _products_over_sum,
        "over_sum",
        scalars_rounded=False,
    ),
    "deltas_in_turn": Script(
        "task_arithmetic",
        "merged = base.clone()\n" + EACH + "    merged += (model - base) * weight",
        _deltas_in_turn,
    ),
    "sum_of_deltas": Script(
        "task_arithmetic",
        "deltas = [(model - base) * weight for model, weight in zip(models, weights)]\n"
        "merged = base + sum(deltas)",
        _sum_of_deltas,
    ),
    "scaled_sum_of_deltas": Script(
        "task_arithmetic",
        "merged = base + sum(model - base for model in models) * weights[0]",
        _scaled_sum_of_deltas,
    ),
    "scaled_deltas": Script(
        "task_arithmetic",
        "merged = base.clone()\n"
        + EACH
        + "    merged.add_(model - base, alpha=weight)",
        _scaled_deltas,
        scalars_rounded=False,
    ),
    "wide_deltas": Script(
        "task_arithmetic",
        "merged = base.clone()\n"
        + EACH
        + "    delta = (model.float() - base.float()) * weight\n"
        "    merged += delta.to(base.dtype)",
        _wide_deltas,
        scalars_rounded=False,
    ),
    "changes_added": Script(
        "task_arithmetic",
        "merged = models[0].clone()\n"
        + LATER
        + "    merged += (model - base) * weight",
        _changes_added,
        "onto_first",
    ),
    "scaled_changes_added": Script(
        "task_arithmetic",
        "merged = models[0].clone()\n"
        + LATER
        + "    merged.add_(model - base, alpha=weight)",
        _scaled_changes_added,
        "onto_first",
        scalars_rounded=False,
    ),
    "scaled_additions": Script(
        "linear",
        "merged = torch.zeros_like(models[0])\n"
        + EACH
        + "    merged.add_(model, alpha=weight)",
        _scaled_additions,
        scalars_rounded=False,
        ordered=True,
    ),
    "product_then_scaled_additions": Script(
        "linear",
        "merged = models[0] * weights[0]\n"
        + LATER
        + "    merged.add_(model, alpha=weight)",
        _product_then_scaled_additions,
        scalars_rounded=False,
        ordered=True,
    ),
    "one_rounding": Script(
        "linear",
        "merged = torch.tensordot(\n"
        "    torch.tensor(weights, dtype=models[0].dtype), torch.stack(models), dims=1\n"
        ")",
        _one_rounding,
        scalars_kept=False,
    ),
    "mean": Script(
        "linear", "merged = torch.stack(models).mean(dim=0)", _mean, "equal"
    ),
    "sum_over_count": Script(
        "linear", "merged = sum(models) / len(models)", _sum_over_count, "equal"
    ),
    "sum_times_share": Script(
        "linear", "merged = sum(models) * (1 / len(models))", _sum_times_share, "equal"
    ),
    "parts_added": Script(
        "linear",
        "merged = sum(model / len(models) for model in models)",
        _parts_added,
        "equal",
    ),
    "running_mean": Script(
        "linear",
        "merged = models[0].clone()\n"
        "for count, model in enumerate(models[1:], start=2):\n"
        "    merged += (model - merged) / count",
        _running_mean,
        "equal",
        ordered=True,
    ),
    "moving_products": Script(
        "linear",
        "merged = models[0]\n"
        + LATER
        + "    merged = merged * (1 - weight) + model * weight",
        _moving_products,
        "in_turn",
        scalars_rounded=False,
        ordered=True,
    ),
    "moving_steps": Script(
        "linear",
        "merged = models[0]\n"
        + LATER
        + "    merged = merged + (model - merged) * weight",
        _moving_steps,
        "in_turn",
        ordered=True,
    ),
    "moving_lerp": Script(
        "lerp",
        "merged = models[0]\n"
        + LATER
        + "    merged = torch.lerp(merged, model, weight)",
        _moving_lerp,
        "in_turn",
        ordered=True,
    ),
}
"""Every script by its name."""


def run_script(script: str, merge: Merge) -> Array:
    """The merged elements of a script, before they are stored: float64 [n].

    From float64 a cast to a narrow dtype goes by way of float32.
    """
    merged = SCRIPTS[script].formula(merge, Arithmetic(merge))
    return to_float32(merged) if merge.dtype == "float64" else merged


def shares_of_script(script: str, weights: Sequence[float]) -> tuple[float, ...]:
    """What part of the merge each model is, by the script's weights in order; None of
    task arithmetic's base, which has the rest.
    """
    weighing = SCRIPTS[script].weighing
    if weighing == "equal":
        return (1 / len(weights),) * len(weights)
    if weighing == "over_sum":
        return tuple(weight / sum(weights) for weight in weights)
    if weighing in ("free", "onto_first"):
        return tuple(weights)
    left = [1 - weight for weight in (0.0, *weights[1:])]
    moved = (1.0, *weights[1:])
    return tuple(weight * prod(left[place + 1 :]) for place, weight in enumerate(moved))


def weights_of_shares(script: str, shares: Sequence[float]) -> tuple[float, ...]:
    """The weights of a script whose models have these shares, the reverse of
    `shares_of_script`; shares that do not fit a script are left as they are.
    """
    if SCRIPTS[script].weighing == "equal":
        return (1.0,) * len(shares)
    if SCRIPTS[script].weighing != "in_turn":
        return tuple(shares)
    weights = []
    so_far = shares[0]
    for share in shares[1:]:
        so_far += share
        weights.append(round(share / so_far, 12) if so_far else 0.0)
    return (1 - weights[0] if weights else 1.0, *weights)
