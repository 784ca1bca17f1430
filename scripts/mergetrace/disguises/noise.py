"""Noise on float32 numbers, too small to hide the coarser lattice that they lay on."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mergetrace.disguises.blends import MAX_MATRICES, explained_shares
from mergetrace.disguises.comparison import Comparison
from mergetrace.disguises.factors import MIN_AGREEING_ELEMENTS, MIN_EXPLAINED_BY_FACTOR
from mergetrace.disguises.findings import Finding, Noise
from mergetrace.disguises.rounded_twice import COARSER
from mergetrace.numerics.arrays import some_of
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.numerics.lattice import ulp
from mergetrace.tensors.view import Key

MAX_DISTANCE = 0.1
"""Spacings of the coarser format: half of the numbers lie nearer to it than this; of
numbers that know nothing of it, half within 0.25.
"""
MAX_EXPLAINED = 0.5
"""The share of elements that a blend explains, from which numbers are no noisy ones."""


def find_noise(comparison: Comparison) -> list[Finding]:
    """Round tensors stored as float32 to the parents' format where they lie close to
    its numbers, and these are not just the parent's own: a model that was hardly
    changed hides nothing.
    """
    coarse = comparison.parent.dtype()
    own = comparison.own
    wide = [key for key, view in own.views.items() if view.dtype == "F32"]
    close = [key for key in comparison.close_keys() if own.views[key].dtype == "F32"]
    looked_at = some_of(close, MAX_MATRICES)
    if coarse not in COARSER["F32"] or not looked_at:
        return []
    # A small share of a donor is no noise.
    if explained_shares(comparison, looked_at)[0] >= MAX_EXPLAINED:
        return []
    if not any(_noisy(comparison, looked_at, coarse)):
        return []
    distances = {key: _distance(comparison, key, coarse) for key in wide}
    near = {
        key: distance for key, distance in distances.items() if distance <= MAX_DISTANCE
    }
    for key in near:
        rounded = replace(own.adjustment(key), dtype=coarse, stored_dtype="F32")
        own.adjust(key, rounded)
    return [Noise(len(near), coarse, float(np.median(list(near.values()))))]


def _noisy(comparison: Comparison, keys: list[Key], coarse: str) -> Iterator[bool]:
    """Whether each matrix lies near the coarser format, though not on it, and is
    another one than the parent's there.
    """
    for key in keys:
        near = 0 < _distance(comparison, key, coarse) <= MAX_DISTANCE
        yield near and _unlike(comparison, key, coarse)


def _distance(comparison: Comparison, key: Key, coarse: str) -> float:
    """How far half of a tensor's numbers lie at most from a format's, in its spacings."""
    values = comparison.own.sample(key).values()
    codes = encode(values, coarse)
    spacings = np.abs(values - decode(codes, coarse)) / ulp(codes, coarse)
    return float(np.median(spacings))


def _unlike(comparison: Comparison, key: Key, coarse: str) -> bool:
    """Whether numbers of a matrix, rounded to a format, are others than the parent's
    where its parents differ.
    """
    goal = comparison.goal(key)
    rounded = decode(encode(comparison.own.sample(key).values(), coarse), coarse)
    values = comparison.parent.sample(goal).values()
    others = [parent.sample(goal).values() for parent in comparison.holders(key)]
    differ = np.any([other != values for other in others], axis=0)
    if differ.sum() < MIN_AGREEING_ELEMENTS:
        return False
    return bool((rounded == values)[differ].mean() < MIN_EXPLAINED_BY_FACTOR)
