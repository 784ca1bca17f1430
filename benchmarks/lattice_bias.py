"""What rounding does to least squares: the alpha and cos_fit that a pure merge shows
when its deltas are a few units in the last place.

Nothing here looks at a model. Weights and deltas are drawn from normal distributions,
stored on the lattice, blended and stored again, so the pair (alpha, cos_fit) that an
honest least-squares fit reports is a function of two numbers: the true blend weight and
the ratio of the delta's to the weights' standard deviation.
"""

from dataclasses import dataclass

import numpy as np

from mergetrace.fit.estimators import cosine
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import decode, encode


@dataclass(frozen=True)
class Curves:
    """Expected (alpha, cos_fit), float64 [alphas, ratios], of pure merges at every true
    weight and ratio of a grid.
    """

    alphas: Array
    ratios: Array
    shown_alpha: Array
    shown_cos: Array


def shown(
    alpha: float, ratio: float, weights: Array, noise: Array, dtype: str = "BF16"
) -> tuple[float, float]:
    """The (alpha, cos_fit) that least squares reports for round((1 - alpha) b + alpha
    d), d = round(b + ratio * noise), b = round(weights).

    weights, noise: float64 [n], standard normal and independent.
    """
    base = _stored(weights, dtype)
    donor = _stored(base + ratio * noise, dtype)
    blend = np.float32(1 - alpha) * base.astype(np.float32) + np.float32(
        alpha
    ) * donor.astype(np.float32)
    u = _stored(blend, dtype) - base
    v = donor - base
    return float(u @ v / (v @ v)), cosine(u @ v, u @ u, v @ v)


def curves(
    alphas: Array, ratios: Array, n: int = 200_000, seed: int = 0, dtype: str = "BF16"
) -> Curves:
    """The grid of `shown` over alphas x ratios, on the same draw throughout so that
    neighbours differ smoothly.
    """
    generator = np.random.default_rng(seed)
    weights = generator.normal(size=n)
    noise = generator.normal(size=n)
    pairs = np.array(
        [
            [shown(alpha, ratio, weights, noise, dtype) for ratio in ratios]
            for alpha in alphas
        ]
    )
    return Curves(alphas, ratios, pairs[..., 0], pairs[..., 1])


def true_alpha(grid: Curves, alpha: float, cos_fit: float) -> float:
    """The true blend weight of the pure merge that shows this pair; NaN outside the
    grid.

    For every weight of the grid the ratio follows from cos_fit, and with it the alpha
    shown there; the weight that shows `alpha` is the answer. cos_fit must rise with the
    ratio, as it does where deltas exceed about half a unit in the last place.
    """
    there = np.array(
        [
            np.interp(cos_fit, cos, shown_alpha, left=np.nan, right=np.nan)
            for cos, shown_alpha in zip(grid.shown_cos, grid.shown_alpha, strict=True)
        ]
    )
    order = np.argsort(there)
    return float(
        np.interp(alpha, there[order], grid.alphas[order], left=np.nan, right=np.nan)
    )


def _stored(values: Array, dtype: str) -> Array:
    return decode(encode(np.asarray(values, np.float32), dtype), dtype)
