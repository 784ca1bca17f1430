"""Merge recipes: formulas applied to the parents, rounded as the tool rounds, compared with the suspect bit for bit."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from mergetrace.dtypes import decode, encode
from mergetrace.evidence import Sample
from mergetrace.weights import scaled

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """A linear merge in float32 arithmetic: weights of (base, donor), which is added first, whether multiply-adds are fused."""

    base_weight: float
    donor_weight: float
    donor_first: bool = False
    fused: bool = True
    dtype: str = "float32"
    method: str = "linear"

    @property
    def alpha(self) -> float:
        """The donor's share."""
        return self.donor_weight / (self.base_weight + self.donor_weight)


def linear(recipe: Recipe, base: Array, donor: Array) -> NDArray[np.float32]:
    """The merged elements before the final cast, float32 [n].

    Weighted average of the parents (Wortsman et al. 2022, arXiv 2203.05482), in the arithmetic of merging tools: parents in the order
    given, each product added to a float32 sum, the sum divided by the float32 sum of the weights. Processors that fuse the multiply
    and the add round once where others round twice; that decides the last bit of a few elements in a million.
    """
    parents = [(base, recipe.base_weight), (donor, recipe.donor_weight)]
    if recipe.donor_first:
        parents.reverse()
    total = np.zeros(base.size, np.float32)
    weight_sum = np.float32(0)
    for values, weight in parents:
        product = values.astype(np.float32).astype(np.float64) * np.float64(np.float32(weight))  # exact in float64
        if not recipe.fused:
            product = product.astype(np.float32)
        total = (total + product).astype(np.float32)
        weight_sum += np.float32(weight)
    return total / weight_sum


def decoded_merge(recipe: Recipe, base: Array, donor: Array, audited: Sample) -> Array:
    """The merge as the audited model would have stored it, decoded again: float64 [n]. Equal to its values where it is reproduced bit for bit."""
    merged = linear(recipe, base, donor)
    codes = encode(merged if audited.scales is None else merged / audited.scales, audited.dtype)
    return scaled(decode(codes, audited.dtype), audited.scales)


def simple_weights(low: float, high: float, most: int = 6) -> list[tuple[float, float]]:
    """Pairs (base, donor) of weights a person would write whose donor share lies in [low, high], simplest first.

    Decimals that sum to one, with as few digits as the interval allows and one more; fractions with small whole numbers; where
    there is neither, the interval's middle.
    """
    middle = (low + high) / 2
    pairs = dict.fromkeys([*_decimals(low, high), *_fractions(low, high)]) or [(1 - middle, middle)]
    return list(pairs)[:most]


def candidates(low: float, high: float) -> list[Recipe]:
    """The linear recipes worth trying for a donor share in [low, high]; of equally good ones the first is the simplest."""
    return [Recipe(*weights, donor_first, fused) for weights in simple_weights(low, high) for fused in (True, False) for donor_first in (False, True)]


def mergekit_config(recipe: Recipe, base: str, donor: str, out_dtype: str) -> str:
    """The recipe as a mergekit configuration (YAML), so that anyone can run it and compare file hashes."""
    models = [(base, recipe.base_weight), (donor, recipe.donor_weight)]
    if recipe.donor_first:
        models.reverse()
    lines = ["merge_method: linear", "models:"]
    for model, weight in models:
        lines += [f"  - model: {model}", "    parameters:", f"      weight: {weight:.10g}"]
    return "\n".join([*lines, f"dtype: {out_dtype}", ""])


def _decimals(low: float, high: float) -> Iterator[tuple[float, float]]:
    found_at = None
    for digits in range(1, 8):
        unit = Fraction(1, 10**digits)
        first = -((-Fraction(low)) // unit)
        inside = [first + i for i in range(3) if (first + i) * unit <= Fraction(high)]
        yield from ((float(1 - share * unit), float(share * unit)) for share in inside)
        found_at = found_at or (digits if inside else None)
        if found_at and digits > found_at:
            return


def _fractions(low: float, high: float, largest: int = 20) -> Sequence[tuple[float, float]]:
    found = []
    for total in range(2, largest + 1):
        donor = round((low + high) / 2 * total)
        if 0 < donor < total and low <= donor / total <= high and Fraction(donor, total).denominator == total:
            found.append((float(total - donor), float(donor)))
    return found
