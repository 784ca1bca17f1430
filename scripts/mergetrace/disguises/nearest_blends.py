"""How many elements of some matrices the nearest weighted sum of all parents explains, of
several donors together, or where every matrix has weights of its own (as SLERP's).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mergetrace.disguises.blends import MAX_MATRICES, line_coverage
from mergetrace.disguises.comparison import Comparison
from mergetrace.numerics.arrays import Array, some_of
from mergetrace.sums.evidence import Sample
from mergetrace.tensors.view import Key

MIN_SUMMED = 1024  # elements of a matrix, for a weighted sum of its own
DRAWN_ON = 200
DRAWN_BY = 20.0
"""How often weights are drawn towards intervals that do not hold their sums, and how far:
few do not, so that the mean pull is small.
"""


def explained_together(
    comparison: Comparison, keys: Sequence[Key]
) -> tuple[float, float]:
    """The share of elements that the base and weighted changes of all donors explain, the
    same in all matrices, where it is rounded once and where it is rounded twice.
    """
    own = {key: comparison.own.sample(key) for key in some_of(keys, MAX_MATRICES)}
    held = [
        key for key in own if len(comparison.holders(key)) == len(comparison.parents)
    ]
    if not held or len(comparison.parents) < 3:
        return 0.0, 0.0
    bases, changes = [], []
    for key in held:
        base, *donors = _parents(comparison, key)
        bases.append(base)
        changes.append(np.stack([donor - base for donor in donors], axis=1))
    stored = [own[key] for key in held]
    moved = np.concatenate([sample.values() for sample in stored])
    ends = [sample.midpoints() for sample in stored]
    width = np.concatenate([high - low for low, high in ends])
    moved = moved - np.concatenate(bases)
    weights = _by_fineness(np.concatenate(changes), moved, width)
    sums = [
        (sample, base, base + change @ weights)
        for sample, base, change in zip(stored, bases, changes, strict=True)
    ]
    once, twice = (line_coverage(sums, each) for each in _formats(comparison))
    return once, twice


def explained_alone(comparison: Comparison, keys: Sequence[Key]) -> tuple[float, float]:
    """The same where every matrix may be a weighted sum of its own of all parents."""
    own = {key: comparison.own.sample(key) for key in some_of(keys, MAX_MATRICES)}
    once, twice = (
        line_coverage(_own_sums(comparison, own, each), each)
        for each in _formats(comparison)
    )
    return once, twice


def _formats(comparison: Comparison) -> tuple[str | None, str]:
    """What numbers are rounded to before they are stored: nothing, or the parents'."""
    return None, comparison.parent.dtype()


def _parents(comparison: Comparison, key: Key) -> list[Array]:
    """The numbers of the parents that hold a matrix, the base's first."""
    goal = comparison.goal(key)
    donors = [
        parent for parent in comparison.holders(key) if parent is not comparison.parent
    ]
    return [parent.sample(goal).values() for parent in (comparison.parent, *donors)]


def _by_fineness(columns: Array, goal: Array, width: Array) -> Array:
    """Weights by least squares, where a number counts by how finely it is stored."""
    sound = np.isfinite(width) & (width > 0)
    finely = columns[sound] / width[sound, None]
    weights, *_ = np.linalg.lstsq(finely, goal[sound] / width[sound], rcond=None)
    return np.asarray(weights)


def _own_sums(
    comparison: Comparison, own: dict[Key, Sample], through: str | None
) -> list[tuple[Sample, Array, Array]]:
    """Of each matrix the stored numbers, the base's, and the weighted sum of all parents
    that most numbers' intervals hold, as far as that is found.
    """
    found = []
    for key, sample in own.items():
        parents = _parents(comparison, key)
        low, high = replace(sample, through=through).midpoints()
        sound = np.isfinite(high - low) & (high > low)
        if len(parents) < 2 or sound.sum() < MIN_SUMMED:
            continue
        columns = np.stack(parents, axis=1)
        weights = _held_weights(columns[sound], low[sound], high[sound])
        found.append((sample, parents[0], columns @ weights))
    return found


def _held_weights(columns: Array, low: Array, high: Array) -> Array:
    """Weights whose sums lie in most intervals: least squares, drawn on by what still
    lies outside. columns: the parents' numbers, float64 [n, parents].
    """
    width = high - low
    weights = _by_fineness(columns, (low + high) / 2, width)
    solve = np.linalg.pinv(columns / width[:, None])
    for _ in range(DRAWN_ON):
        sums = columns @ weights
        outside = np.clip(sums, low, high) - sums
        weights = weights + DRAWN_BY * solve @ (outside / width)
    return np.asarray(weights)
