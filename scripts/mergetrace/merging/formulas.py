"""Merge formulas: the parents' elements in, the merged elements out, every operation
rounded to the dtype of the arithmetic.

Written from the papers and the tools' documentation, named at each formula; the order
of operations is the one that gives real merges back bit for bit. Linear ones here; in
`spheres` those on the sphere, in `selections` those that choose elements.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from mergetrace.merging.facts import Combination, Facts
from mergetrace.numerics import tool_sums
from mergetrace.numerics.arithmetic import Round, rounder, to_float32, total
from mergetrace.numerics.arrays import Array


@dataclass(frozen=True)
class Merge:
    """One tensor's merge: models in the tool's order with their weights, the base where
    the method has one, further settings as numbers.

    Elements are float64 [n], already rounded to `dtype`.
    """

    names: tuple[str, ...]
    models: tuple[Array, ...]
    weights: tuple[float, ...]
    base_name: str | None
    base: Array | None
    settings: Mapping[str, float]
    dtype: str
    facts: Facts

    @property
    def round(self) -> Round:
        """Rounds to the dtype of the arithmetic."""
        return rounder(self.dtype)

    def reduced(self, products: Array, of_tensor: float) -> float:
        """A sum over the tensor, rounded: of `products`, rounded each, where they are
        all there, else the exact sum known from elsewhere.
        """
        return (
            tool_sums.total(products, self.dtype)
            if self.facts.whole
            else float(self.round(of_tensor))
        )

    def norm(self, vector: Array, combination: Combination) -> float:
        """The norm of a tensor in float32, summed where all of it is there, else known
        from elsewhere by what it is made of.
        """
        return (
            tool_sums.norm(vector)
            if self.facts.whole
            else float(to_float32(self.facts.norm(combination)))
        )

    def deltas(self) -> list[Array]:
        """model - base, rounded."""
        to_dtype = self.round
        return [to_dtype(model - self.base) for model in self.models]


def linear(merge: Merge) -> Array:
    """Weighted average (Wortsman et al. 2022, arXiv 2203.05482): products added in
    order, divided by the sum of weights unless `normalize` is 0.

    float32: `fused` multiply-adds round once where separate ones round twice; that decides the last bit of a few elements in a million.
    Narrow dtypes: each product rounded, their sum rounded once; weights rounded too where they are tensors (`weights_rounded`).
    """
    to_dtype = merge.round
    settings = merge.settings
    weights = [float(np.float32(weight)) for weight in merge.weights]
    if merge.dtype == "float32":
        mixed = np.zeros(merge.models[0].shape)
        for model, weight in zip(merge.models, weights, strict=True):
            product = model * weight  # exact in float64
            mixed = to_dtype(
                mixed + (product if settings.get("fused", 1) else to_dtype(product))
            )
    else:
        if settings.get("weights_rounded", 1):
            weights = [float(to_dtype(weight)) for weight in weights]
        mixed = total(
            [
                to_dtype(to_float32(model * weight))
                for model, weight in zip(merge.models, weights, strict=True)
            ],
            to_dtype,
        )
    return (
        to_dtype(mixed / total(weights, to_dtype))
        if settings.get("normalize", 1)
        else mixed
    )


def lerp(merge: Merge) -> Array:
    """start + t (end - start), from the nearer end (torch.lerp's documentation); models
    are start and end, t is the end's weight.
    """
    to_dtype = merge.round
    start, end = merge.models
    t = float(np.float32(merge.weights[1]))
    gap = to_float32(end - start)
    near = (
        start + to_float32(t * gap)
        if abs(t) < 0.5
        else end - to_float32(gap * to_float32(1 - t))
    )
    return to_dtype(to_float32(near))


def task_arithmetic(merge: Merge) -> Array:
    """base + lambda sum w (model - base) (Ilharco et al. 2023, arXiv 2212.04089)."""
    return added_to_base(merge, merge.deltas(), None)


def passthrough(merge: Merge) -> Array:
    """The one model whose weight is 1, as it is: layers stacked of several models
    ("frankenmerge"; mergekit's documentation, "Passthrough").
    """
    return (
        merge.models[merge.weights.index(1.0)]
        if 1.0 in merge.weights
        else np.full(merge.models[0].shape, np.nan)
    )


def added_to_base(
    merge: Merge, deltas: list[Array], masks: list[Array] | None
) -> Array:
    """base + lambda sum w_i m_i delta_i [/ sum w_i m_i], each operation rounded; masks
    are numbers 0 and 1, or none.

    A divisor that is zero counts as one: nothing was kept there.
    """
    to_dtype = merge.round
    settings = merge.settings
    weights = [float(to_dtype(weight)) for weight in merge.weights]
    terms = [
        to_dtype(delta * weight) for delta, weight in zip(deltas, weights, strict=True)
    ]
    counted: list[Array | float] = list(weights)
    if masks is not None:
        terms = [term * mask for term, mask in zip(terms, masks, strict=True)]
        counted = [weight * mask for weight, mask in zip(weights, masks, strict=True)]
    mixed = total(terms, to_dtype)
    if settings.get("normalize", 0):
        divisor = total(counted, to_dtype)
        mixed = to_dtype(mixed / np.where(np.abs(divisor) < 1e-8, 1.0, divisor))
    if settings.get("lambda", 1) != 1:
        mixed = to_dtype(to_float32(mixed * float(np.float32(settings["lambda"]))))
    return to_dtype(merge.base + mixed)
