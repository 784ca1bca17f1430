"""Tensors that were multiplied by a power of two or by -1, which floating-point numbers
undo exactly.
"""

from collections import defaultdict
from dataclasses import replace

import numpy as np

from mergetrace.disguises.comparison import CLOSE_MIN_COSINE, Comparison
from mergetrace.disguises.findings import Finding, PowerMultiplied, Tensors
from mergetrace.disguises.likeness import cosine
from mergetrace.numerics.arrays import Singles
from mergetrace.tensors.view import Key

MAX_OCTAVES_OFF = 0.25
"""A finetune changes a tensor's size by less, and so does a merge."""


def find_powers_of_two(comparison: Comparison) -> list[Finding]:
    """Divide tensors that were multiplied by a power of two, by -1, or by both."""
    own = comparison.own
    multiplied: dict[float, list[Key]] = defaultdict(list)
    for key, target in comparison.comparable(list(own.views)):
        factor = _power(*_numbers(comparison, key, target))
        if factor != 1:
            multiplied[factor].append(key)
    for factor, keys in multiplied.items():
        for key in keys:
            own.adjust(key, replace(own.adjustment(key), factor=factor))
    return [
        PowerMultiplied(Tensors.of(keys), factor) for factor, keys in multiplied.items()
    ]


def _numbers(comparison: Comparison, key: Key, target: Key) -> tuple[Singles, Singles]:
    """Some numbers of a slice and the parent's at the same places: all of a vector."""
    if comparison.own.views[key].dimensions <= 1:
        return comparison.own.vector(key), comparison.parent.vector(target)
    return comparison.runs(key, target)


def _power(own: Singles, other: Singles) -> float:
    """The power of two, with a sign, by which numbers were multiplied.

    own, other: float32 [n]. Returns 1 where they were not multiplied: where they are
    not alike, or where their sizes are not near a power of two apart.
    """
    if abs(cosine(own, other)) < CLOSE_MIN_COSINE:
        return 1.0
    ratio = float(own @ other / (other @ other))
    octaves = np.log2(abs(ratio))
    if abs(octaves - round(octaves)) > MAX_OCTAVES_OFF:
        return 1.0
    return float(np.copysign(2.0 ** round(octaves), ratio))
