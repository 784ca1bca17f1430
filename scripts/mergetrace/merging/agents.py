"""Merge formulas that add what one donor alone changed, and average what several did:
Reinforced Agent Merging.
"""

import numpy as np

from mergetrace.merging.merge import Merge
from mergetrace.numerics.arithmetic import to_float32, total
from mergetrace.numerics.arrays import Array, Mask


def ram(merge: Merge) -> Array:
    """base + the change of the one donor that changed an element, or the mean of those
    of several (RAM, arXiv 2601.13572; mergekit's documentation, "ram").

    `epsilon`: a change counts where it is greater.
    """
    to_dtype = merge.round
    deltas, moved = _changes(merge)
    alone, shared = _alone_and_shared(merge, deltas, moved)
    terms = [to_dtype(one + part) for one, part in zip(alone, shared, strict=True)]
    return to_dtype(merge.base + total(terms, to_dtype))


def ramplus_tl(merge: Merge) -> Array:
    """RAM, with what one donor alone changed multiplied by 1 + r min(s / u, greatest ratio),
    where s and u count its shared and its own changes in the tensor (RAM+, arXiv
    2601.13572; mergekit's documentation, "ramplus_tl").

    The counts make float32 numbers of the products whatever the dtype.
    """
    deltas, moved = _changes(merge)
    alone, shared = _alone_and_shared(merge, deltas, moved)
    terms = []
    counts = np.sum(moved, axis=0)
    for own, one, part in zip(moved, alone, shared, strict=True):
        scale = _reinforcement(merge, own, counts)
        terms.append(to_float32(to_float32(one * scale) + part))
    return to_float32(merge.base + total(terms, to_float32))


def _reinforcement(merge: Merge, moved: Mask, counts: Array) -> float:
    """What a donor's own changes are multiplied by."""
    shared = int((moved & (counts > 1)).sum())
    alone = max(int((moved & (counts == 1)).sum()), merge.settings["epsilon"])
    ratio = float(to_float32(shared / float(to_float32(alone))))
    ratio = min(ratio, float(to_float32(merge.settings["greatest_ratio"])))
    product = to_float32(float(to_float32(merge.settings["r"])) * ratio)
    return float(to_float32(1 + product))


def _changes(merge: Merge) -> tuple[list[Array], list[Mask]]:
    """The deltas, zero where they do not count, and where they do."""
    epsilon = merge.scalar(merge.settings["epsilon"])
    deltas = merge.deltas()
    moved = [np.abs(delta) > epsilon for delta in deltas]
    return [delta * own for delta, own in zip(deltas, moved, strict=True)], moved


def _alone_and_shared(
    merge: Merge, deltas: list[Array], moved: list[Mask]
) -> tuple[list[Array], list[Array]]:
    """By donor what it alone changed, and its part of the mean of what several did."""
    counts = np.sum(moved, axis=0)
    alone = [delta * (counts == 1) for delta in deltas]
    divisor = np.maximum(counts, 1)
    shared = [merge.round(delta * (counts > 1) / divisor) for delta in deltas]
    return alone, shared
