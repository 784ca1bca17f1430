"""Merge formulas that keep deltas by their size: TIES and breadcrumbs.

Which deltas a model keeps depends on thresholds over the whole tensor. Of deltas
exactly as large as a threshold the tool keeps an arbitrary few; `at_threshold` says
which they are.
"""

import numpy as np

from mergetrace.merging.linear import add_to_base
from mergetrace.merging.merge import Merge
from mergetrace.numerics import tool_sums
from mergetrace.numerics.arithmetic import total
from mergetrace.numerics.arrays import Array, Mask

RESCALE_SMALLEST_SUM = 1e-7  # the tool's own limit


def ties(merge: Merge) -> Array:
    """Trim the smallest deltas, elect a sign, average those that agree (Yadav et al.
    2023, arXiv 2306.01708), times lambda.

    settings: `density.{model}` is the share kept, or `least.{model}` the size from which
    they are, as in the paper's own code, which ranks all tensors' changes together.
    `cancelled`, `counted` and `inclusive` are choices of lines by hand (see methods).
    """
    deltas = _rescaled(merge, _trimmed(merge))
    return add_to_base(merge, deltas, _agreeing(merge, deltas))


def breadcrumbs(merge: Merge) -> Array:
    """Without the smallest and the `gamma` largest deltas (Davari & Belilovsky 2023,
    arXiv 2312.06795); `elect` adds the sign election of TIES.
    """
    deltas = _rescaled(merge, _trimmed(merge))
    masks = _agreeing(merge, deltas) if merge.settings["elect"] else None
    return add_to_base(merge, deltas, masks)


def at_threshold(merge: Merge) -> Mask:
    """Elements exactly as large as a threshold, in any model: bool [n]. Which of them a
    tool keeps depends on its sort. Of a sample those too that lie as near to it as the
    sample says where it is.
    """
    equal = np.zeros(merge.models[0].shape, bool)
    if merge.settings.get("inclusive") and merge.facts.whole:
        return equal
    for name, delta in zip(merge.names, merge.deltas(), strict=True):
        sizes = np.abs(delta)
        for least, most in _threshold_ranges(merge, name):
            equal |= (least <= sizes) & (sizes <= most)
    return equal


def _trimmed(merge: Merge) -> list[Array]:
    """The deltas, zero where they are not kept."""
    return [
        delta * _keeps(merge, name, np.abs(delta))
        for name, delta in zip(merge.names, merge.deltas(), strict=True)
    ]


def _keeps(merge: Merge, name: str, sizes: Array) -> Mask:
    """Which deltas one model keeps: bool [n]. Of equal ones as the tool's sort has them
    where all of the tensor is there, otherwise all.
    """
    density, top = _density_and_top(merge, name)
    least = merge.settings.get(f"least.{name}")
    if least is not None:
        return sizes >= least
    inclusive = bool(merge.settings.get("inclusive"))
    if inclusive or not merge.facts.whole or density >= 1:
        low, high = _thresholds(merge, name)
        return (sizes >= low) & (sizes < high)
    count = int(density * sizes.size)
    # With `gamma` the tool sorts upwards, and counts from the largest down.
    upwards = f"gamma.{name}" in merge.settings
    end = sizes.size - int(top * sizes.size) if upwards else count
    order = merge.facts.size_order(merge.delta(name), descending=not upwards)
    kept = np.zeros(sizes.size, bool)
    kept[order[max(end - count, 0) : end]] = True
    return kept


def _thresholds(merge: Merge, name: str) -> tuple[float, float]:
    """The smallest |delta| that one model keeps, and the smallest that is too large to
    be kept.
    """
    density, top = _density_and_top(merge, name)
    if density >= 1:
        return 0.0, np.inf
    delta = merge.delta(name)
    low = merge.facts.smallest_kept(delta, density + top)
    return low, merge.facts.smallest_kept(delta, top)


def _threshold_ranges(merge: Merge, name: str) -> list[tuple[float, float]]:
    """The least and the greatest size that each of the thresholds may have."""
    density, top = _density_and_top(merge, name)
    if f"least.{name}" in merge.settings:
        return []  # the size is known, and all that reach it are kept
    if density >= 1:
        return [(0.0, 0.0)]
    delta, facts = merge.delta(name), merge.facts
    found = []
    for share in (density + top, top):
        error = facts.share_error(delta, share)
        least = facts.smallest_kept(delta, min(share + error, 1.0))
        found.append((least, facts.smallest_kept(delta, max(share - error, 0.0))))
    return found


def _density_and_top(merge: Merge, name: str) -> tuple[float, float]:
    """The share of deltas kept, and the share of the largest left out (less where
    density leaves no room).
    """
    density = merge.settings[f"density.{name}"]
    gamma = merge.settings.get(f"gamma.{name}", 0.0)
    return density, min(gamma, max(1 - density, 0.0))


def _rescaled(merge: Merge, deltas: list[Array]) -> list[Array]:
    """The kept deltas scaled to the sum of |delta| that all had, where `rescale` is
    set.
    """
    if not merge.settings["rescale"]:
        return deltas
    scaled = []
    for name, delta in zip(merge.names, deltas, strict=True):
        scaled.append(merge.round(delta * _rescale_factor(merge, name, delta)))
    return scaled


def _rescale_factor(merge: Merge, name: str, kept: Array) -> float:
    """What a donor's kept deltas are multiplied by: sums as the tool takes them where
    all of the tensor is there.
    """
    if not merge.facts.whole:
        density, top = _density_and_top(merge, name)
        return merge.facts.rescale_factor(merge.delta(name), density, top)
    change = merge.round(merge.models[merge.names.index(name)] - merge.base)
    of_all, of_kept = (
        tool_sums.total(np.abs(delta), merge.dtype) for delta in (change, kept)
    )
    if min(of_all, of_kept) < RESCALE_SMALLEST_SUM:
        return 1.0
    return merge.scalar(of_all / of_kept)


def _agreeing(merge: Merge, deltas: list[Array]) -> list[Array]:
    """1 where a model's weighted delta has the sign of the sum of all, or with `counted`
    of most, else 0. Where they cancel the sign is `cancelled`: the tool's is positive.
    """
    to_dtype = merge.round
    terms = [
        to_dtype(delta * to_dtype(weight))
        for delta, weight in zip(deltas, merge.weights, strict=True)
    ]
    counted = bool(merge.settings.get("counted"))
    votes = [np.sign(term) for term in terms] if counted else terms
    elected = np.sign(total(votes, to_dtype))
    elected = np.where(elected == 0, merge.settings.get("cancelled", 1.0), elected)
    return [(np.sign(term) == elected).astype(np.float64) for term in terms]
