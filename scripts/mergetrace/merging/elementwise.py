"""Merge formulas of two models that decide element by element: near swap, Arcee fusion."""

import numpy as np

from mergetrace.merging.merge import Merge
from mergetrace.numerics import tool_sums
from mergetrace.numerics.arithmetic import to_float32
from mergetrace.numerics.arrays import Array, Mask

NEARSWAP_SMALLEST_GAP = 1e-6  # the tool's own limit
FENCE_SAMPLE = 1_000_000
"""Elements of which Arcee fusion takes quartiles; of a larger tensor the tool draws as
many at random.
"""
FENCE_STANDARD_ERRORS = 5
"""How far a random sample's quartiles are taken to stray."""


def nearswap(merge: Merge) -> Array:
    """Towards the model by at most t: weight min(1, t / |model - base|) (alchemonaut,
    QuartetAnemoi-70B-t0.0001, model card). weights[0] is t.
    """
    to_dtype = merge.round
    (model,) = merge.models
    t = float(np.float32(merge.weights[0]))
    distance = to_dtype(np.abs(to_dtype(merge.base - model)))
    inverse = to_dtype(1 / np.maximum(distance, NEARSWAP_SMALLEST_GAP))
    share = np.clip(to_dtype(to_float32(inverse * t)), 0, 1)
    rest = to_dtype(1 - share)
    return to_dtype(to_dtype(share * model) + to_dtype(rest * merge.base))


def arcee_fusion(merge: Merge) -> Array:
    """The model's elements where importance is an outlier, the base's elsewhere; the
    sum is float32 whatever the dtype.

    Importance is |model - base| times the divergence of the softmax of its row. Kept is
    what reaches the median plus 1.5 times the distance of the quartiles (Arcee AI's
    announcement of "Arcee Fusion" in mergekit 0.1; Tukey 1977 for the fence). NaN where
    not all of the tensor is there.
    """
    (delta,) = merge.deltas()
    if not merge.facts.whole:
        return np.full(delta.shape, np.nan)
    importance = _importance(merge, delta)
    kept = importance >= _fence(merge, importance)
    return to_float32(merge.base + delta * kept)


def near_the_fence(merge: Merge) -> Mask:
    """Elements which `arcee_fusion` may keep or drop: bool [n].

    All where not all of a tensor is there. Of a tensor of more than a million elements,
    whose quartiles the tool takes of a million drawn at random, those within five
    standard errors of the fence.
    """
    (delta,) = merge.deltas()
    if not merge.facts.whole or delta.size <= FENCE_SAMPLE:
        return np.full(delta.shape, not merge.facts.whole)
    importance = _importance(merge, delta)
    # The standard error of a quantile's rank is at most 0.5 / sqrt(n).
    error = FENCE_STANDARD_ERRORS * 0.5 / np.sqrt(FENCE_SAMPLE)
    lowest = _fence(merge, importance, -error)
    highest = _fence(merge, importance, error)
    return (importance >= lowest) & (importance < highest)


def _importance(merge: Merge, delta: Array) -> Array:
    rows = tool_sums.divergence(
        merge.models[0], merge.base, merge.facts.columns, merge.dtype
    )
    return merge.round(np.abs(delta).reshape(len(rows), -1) * rows).ravel()


def _fence(merge: Merge, importance: Array, shift: float = 0.0) -> float:
    """Median + 1.5 (third quartile - first), each operation rounded; `shift` moves
    median and quartiles apart by this share of the ranks.
    """
    to_dtype = merge.round
    ordered = np.sort(importance)
    last = importance.size - 1
    first, median, third = (
        ordered[int(share * last)]
        for share in (0.25 - shift, 0.5 + shift, 0.75 + shift)
    )
    return merge.scalar(median + to_dtype(1.5 * to_dtype(third - first)))
