"""Merge formulas that choose elements by the size or the sign of the parents' changes."""

import numpy as np

from mergetrace.merging.formulas import Merge, added_to_base
from mergetrace.numerics import tool_sums
from mergetrace.numerics.arithmetic import Round, to_float32, total
from mergetrace.numerics.arrays import Array

# numbers of which arcee_fusion takes quartiles; of a larger tensor the tool draws as
# many at random
FENCE_SAMPLE = 1_000_000


def ties(merge: Merge) -> Array:
    """Trim the smallest deltas, elect a sign, average those that agree (Yadav et al.
    2023, arXiv 2306.01708), times lambda.

    settings: `density.{model}` is the share kept. Of deltas equal at the threshold the tool keeps an arbitrary few; `at_threshold` says
    which they are.
    """
    deltas = [
        delta * kept for delta, kept in zip(merge.deltas(), _kept(merge), strict=True)
    ]
    return added_to_base(
        merge, _rescaled(merge, deltas), _agreeing(merge, _rescaled(merge, deltas))
    )


def breadcrumbs(merge: Merge) -> Array:
    """Without the smallest and the `gamma` largest deltas (Davari & Belilovsky 2023,
    arXiv 2312.06795); `elect` adds the sign election of TIES.
    """
    deltas = _rescaled(
        merge,
        [
            delta * kept
            for delta, kept in zip(merge.deltas(), _kept(merge), strict=True)
        ],
    )
    return added_to_base(
        merge,
        deltas,
        _agreeing(merge, deltas) if merge.settings.get("elect", 0) else None,
    )


def sce(merge: Merge) -> Array:
    """Task vectors weighed by their mean square, those of the minority sign erased (Wan
    et al. 2024, arXiv 2408.07990).

    `topk`: the share of elements kept, those on which the models' deltas vary most.
    """
    to_dtype = merge.round
    deltas = _varied_most(merge)
    names = merge.names
    if merge.facts.whole:
        energy = [
            tool_sums.mean(to_dtype(delta * delta), merge.dtype) for delta in deltas
        ]
    elif merge.settings.get("topk", 1) < 1:
        energy = [float(to_dtype(np.mean(delta * delta))) for delta in deltas]
    else:
        vectors = [{name: 1.0, merge.base_name: -1.0} for name in names]
        energy = [
            float(to_dtype(merge.facts.inner(vector, vector) / merge.facts.elements))
            for vector in vectors
        ]
    whole = float(total(energy, to_dtype))
    # Weights too small to tell apart are taken as equal (the tool's limit).
    weights = [
        (
            float(to_dtype(value / whole))
            if whole >= 1e-6
            else float(to_dtype(1 / len(energy)))
        )
        for value in energy
    ]
    positive = to_dtype(total(deltas, to_dtype)) >= 0
    counted = [
        weight * (np.sign(delta) == np.where(positive, 1, -1))
        for weight, delta in zip(weights, deltas, strict=True)
    ]
    mixed = total(
        [
            to_dtype(delta * weight)
            for delta, weight in zip(deltas, counted, strict=True)
        ],
        to_dtype,
    )
    divisor = np.maximum(total(counted, to_dtype), 1e-6)
    return to_dtype(merge.base + to_dtype(mixed / divisor))


def nearswap(merge: Merge) -> Array:
    """Towards the model by at most t: weight min(1, t / |model - base|) (alchemonaut,
    QuartetAnemoi-70B-t0.0001, model card). weights[0] is t.
    """
    to_dtype = merge.round
    (model,), t = merge.models, merge.weights[0]
    gap = np.maximum(to_dtype(np.abs(to_dtype(merge.base - model))), 1e-6)
    share = np.clip(to_dtype(to_float32(to_dtype(1 / gap) * t)), 0, 1)
    return to_dtype(
        to_dtype(share * model) + to_dtype(to_dtype(1 - share) * merge.base)
    )


def arcee_fusion(merge: Merge) -> Array:
    """The model's elements where importance is an outlier, the base's elsewhere; the
    sum is float32 whatever the dtype.

    Importance is |model - base| times the divergence of the softmax of its row; kept is what reaches the median plus 1.5 times the distance of the
    quartiles (Arcee AI's announcement of "Arcee Fusion" in mergekit 0.1; Tukey 1977 for the fence). NaN where not all of the tensor is there.
    """
    (delta,) = merge.deltas()
    if not merge.facts.whole:
        return np.full(delta.shape, np.nan)
    importance = _importance(merge, delta)
    return to_float32(
        merge.base + delta * (importance >= _fence(importance, merge.round, 0.0))
    )


def unsure_of_fusion(merge: Merge) -> Array:
    """Elements which `arcee_fusion` may keep or drop: bool [n]. All where not all of a tensor is there, or of more than a million numbers, whose
    quartiles the tool takes of a million drawn at random, those within five standard errors of the fence.
    """
    (delta,) = merge.deltas()
    if not merge.facts.whole or delta.size <= FENCE_SAMPLE:
        return np.full(delta.shape, not merge.facts.whole)
    importance = _importance(merge, delta)
    error = 5 * 0.5 / np.sqrt(FENCE_SAMPLE)
    return (importance >= _fence(importance, merge.round, -error)) & (
        importance < _fence(importance, merge.round, error)
    )


def _importance(merge: Merge, delta: Array) -> Array:
    rows = tool_sums.divergence(
        merge.models[0], merge.base, merge.facts.columns, merge.dtype
    )
    return merge.round(np.abs(delta).reshape(len(rows), -1) * rows).ravel()


def _fence(importance: Array, to_dtype: Round, shift: float) -> float:
    """Median + 1.5 (third quartile - first), each operation rounded; `shift` moves
    median and quartiles apart by this share of the ranks.
    """
    ordered = np.sort(importance)
    last = importance.size - 1
    first, median, third = (
        ordered[int(share * last)]
        for share in (0.25 - shift, 0.5 + shift, 0.75 + shift)
    )
    return float(to_dtype(median + to_dtype(1.5 * to_dtype(third - first))))


def at_threshold(merge: Merge) -> Array:
    """Elements exactly as large as a threshold, in any model: bool [n]. Which of them a
    tool keeps depends on its sort.
    """
    found = np.zeros(merge.models[0].shape, bool)
    for i, delta in enumerate(merge.deltas()):
        for threshold in _thresholds(merge, i):
            found |= np.abs(delta) == threshold
    return found


def at_least_variance(merge: Merge) -> Array:
    """Elements of the smallest variance that `sce` keeps, where the tool's own choice
    among them is not known: bool [n].
    """
    if "topk" not in merge.settings or merge.facts.whole:
        return np.zeros(merge.models[0].shape, bool)
    variance = _variance(merge.deltas(), merge)
    return variance == _least(variance, merge.settings["topk"])


def _varied_most(merge: Merge) -> list[Array]:
    """The deltas, zero but for the share `topk` of elements on which they vary most."""
    deltas = merge.deltas()
    share = merge.settings.get("topk", 1.0)
    if share >= 1:
        return deltas
    variance = _variance(deltas, merge)
    if merge.facts.whole:
        kept = tool_sums.largest(
            variance, int(share * np.count_nonzero(variance)), merge.dtype
        )
    else:
        kept = variance >= _least(variance, share)
    return [delta * kept for delta in deltas]


def _variance(deltas: list[Array], merge: Merge) -> Array:
    return merge.round(np.var(np.stack(deltas), axis=0))


def _least(variance: Array, share: float) -> float:
    """The smallest variance among the largest `share` of those that are not zero."""
    count = int(share * np.count_nonzero(variance))
    return (
        float(np.partition(variance, variance.size - count)[variance.size - count])
        if count
        else np.inf
    )


def _shares(merge: Merge, name: str) -> tuple[float, float]:
    """The share of deltas kept, and the share of the largest left out (less where
    density leaves no room).
    """
    density = merge.settings.get(f"density.{name}", 1.0)
    return density, min(merge.settings.get(f"gamma.{name}", 0.0), max(1 - density, 0.0))


def _thresholds(merge: Merge, index: int) -> tuple[float, float]:
    """The smallest |delta| that one model keeps, and the smallest that is too large to
    be kept.
    """
    name = merge.names[index]
    density, top = _shares(merge, name)
    if density >= 1:
        return 0.0, np.inf
    return tuple(
        merge.facts.smallest_kept(merge.base_name, name, share, merge.dtype)
        for share in (density + top, top)
    )


def _kept(merge: Merge) -> list[Array]:
    return [_chosen(merge, i, np.abs(delta)) for i, delta in enumerate(merge.deltas())]


def _chosen(merge: Merge, index: int, sizes: Array) -> Array:
    """Which deltas one model keeps: bool [n]. Of equal ones as the tool's sort has them
    where all of the tensor is there, else all.
    """
    name = merge.names[index]
    facts = merge.facts
    density, top = _shares(merge, name)
    if not facts.whole or density >= 1:
        low, high = _thresholds(merge, index)
        return (sizes >= low) & (sizes < high)
    outer = (
        f"gamma.{name}" in merge.settings
    )  # then the tool sorts upwards, and counts from above
    count = int(density * sizes.size)
    last = sizes.size - int(top * sizes.size) if outer else int(density * sizes.size)
    found = np.zeros(sizes.size, bool)
    found[
        facts.in_order(merge.base_name, name, merge.dtype, not outer)[
            max(last - count, 0) : last
        ]
    ] = True
    return found


def _rescaled(merge: Merge, deltas: list[Array]) -> list[Array]:
    """The kept deltas scaled to the sum of |delta| that all had, where `rescale` is
    set.
    """
    if not merge.settings.get("rescale", 0):
        return deltas
    to_dtype = merge.round
    scales = [
        merge.facts.scale(merge.base_name, name, *_shares(merge, name), merge.dtype)
        for name in merge.names
    ]
    return [
        to_dtype(delta * scale) for delta, scale in zip(deltas, scales, strict=True)
    ]


def _agreeing(merge: Merge, deltas: list[Array]) -> list[Array]:
    """1 where a model's weighted delta has the sign of the sum of all (zero counts as
    positive), else 0.
    """
    to_dtype = merge.round
    terms = [
        to_dtype(delta * to_dtype(weight))
        for delta, weight in zip(deltas, merge.weights, strict=True)
    ]
    sign = np.where(total(terms, to_dtype) >= 0, 1, -1)
    return [(np.sign(term) == sign).astype(np.float64) for term in terms]
