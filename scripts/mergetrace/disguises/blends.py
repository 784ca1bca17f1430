"""How many elements of some matrices one blend of two parents explains."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mergetrace.disguises.comparison import Comparison
from mergetrace.disguises.glimpses import Glimpses
from mergetrace.numerics.arrays import Array, some_of
from mergetrace.numerics.rounding import replay, replay_intervals
from mergetrace.sums.evidence import Sample
from mergetrace.tensors.view import Key

MAX_MATRICES = 64  # that are sampled to see how all were stored
ANY_WIDTH = 1.0  # of an interval of blend weights
MIN_BETTER = 0.01
"""The share of elements by which rounding once and rounding twice are told apart."""


def explained_shares(
    comparison: Comparison, keys: Sequence[Key], scale: float | None = None
) -> tuple[float, float]:
    """The share of elements that one blend with a donor explains where it is rounded
    once, and where it is rounded to the parents' format first.

    scale: what every number is multiplied by; None: by the sample's own scales.
    """
    keys = some_of(keys, MAX_MATRICES)
    samples = {key: comparison.own.sample(key) for key in keys}
    if scale is not None:
        samples = {key: _scaled(sample, scale) for key, sample in samples.items()}
    donors = [
        parent for parent in comparison.parents if parent is not comparison.parent
    ]
    once, twice = (
        max(
            (_explained(comparison, donor, samples, through) for donor in donors),
            default=0.0,
        )
        for through in (None, comparison.parent.dtype())
    )
    return once, twice


def _scaled(sample: Sample, scale: float) -> Sample:
    elements = len(sample.values())
    return replace(sample, scales=np.full(elements, scale))


def _explained(
    comparison: Comparison,
    donor: Glimpses,
    samples: dict[Key, Sample],
    through: str | None,
) -> float:
    """The share of elements that the best blend with one donor explains, 0 where none
    is informative.
    """
    triples = []
    for key, sample in samples.items():
        if donor not in comparison.holders(key):
            continue
        goal = comparison.goal(key)
        base = comparison.parent.sample(goal).values()
        triples.append((sample, base, donor.sample(goal).values()))
    return line_coverage(triples, through)


def line_coverage(
    triples: Sequence[tuple[Sample, Array, Array]], through: str | None
) -> float:
    """The share of elements on the best line from one parent to the other. triples: of
    each matrix the stored numbers and both parents'.
    """
    starts: list[Array] = []
    ends: list[Array] = []
    for sample, base, donor in triples:
        low, high = replace(sample, through=through).midpoints()
        start, end = replay_intervals(low, high, base, donor)
        starts.append(start)
        ends.append(end)
    if not starts:
        return 0.0
    best = replay(np.concatenate(starts), np.concatenate(ends), ANY_WIDTH)
    return best.coverage if best.informative else 0.0
