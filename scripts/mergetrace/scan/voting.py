"""Which of two models relatives were made from, by the numbers that they kept.

Distances do not tell a base from a model near it: what relatives learn they learn in
part alike, so that a model which has gone a little of that way lies nearer to all of
them. But a number that training left alone is the parent's own. Where two models
differ, a relative votes for the one whose numbers it has, if it has them far more often
than the other's. Adapters and light finetunes vote; who moved every number has no vote.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from mergetrace.numerics.arrays import Array, Integers, Mask
from mergetrace.numerics.dtypes import Codes

FREE = 0.3
"""Cosine up to which a relative's change from one of two models counts as independent
of the way between them: what went that way itself has no vote.
"""
VOTE_ERRORS = 4.0
"""Standard deviations by which a relative must have one model's numbers more often than
the other's.
"""
VOTE_RATIO = 2.0
"""How many times as often it must have them. Numbers that training left alone are
nearly all of one model; a blend that holds a part of another's change has 1.5 times as
many of that one's.
"""


def votes(
    codes: Mapping[str, Codes], mask: Mask, products: Array, offered: Sequence[str]
) -> Integers:
    """The votes for each model offered against each other one, less those against it.
    codes: of everybody, by key; products: of everybody's differences from one and the
    same model, in the same order.
    """
    flat = {key: own[mask] for key, own in codes.items()}
    place = {key: number for number, key in enumerate(codes)}
    found: Integers = np.zeros((len(offered), len(offered)), np.int64)
    for row, column in combinations(range(len(offered)), 2):
        one, other = offered[row], offered[column]
        there = _way(products, place[one], place[other])
        back = _way(products, place[other], place[one])
        free = np.maximum(np.abs(there), np.abs(back)) < FREE
        voters = [key for key in codes if free[place[key]] and key not in (one, other)]
        found[row, column] = _votes(flat, voters, one, other)
        found[column, row] = -found[row, column]
    return found


def _way(products: Array, start: int, end: int) -> Array:
    """The cosine between every model's change from one and the way to another."""
    square = products[start, start]
    along = products[:, end] - products[start, end] - products[:, start] + square
    sizes = np.clip(np.diag(products) - 2 * products[:, start] + square, 1e-30, None)
    found: Array = along / np.sqrt(sizes * sizes[end])
    return found


def _votes(
    flat: Mapping[str, Codes], voters: Sequence[str], one: str, other: str
) -> int:
    """The voters that have the first one's numbers, less those with the other's."""
    apart = flat[one] != flat[other]
    first, second = flat[one][apart], flat[other][apart]
    found = 0
    for key in voters:
        held = flat[key][apart]
        ours, theirs = int((held == first).sum()), int((held == second).sum())
        more, fewer = max(ours, theirs), min(ours, theirs)
        is_clear = more - fewer > VOTE_ERRORS * np.sqrt(more + fewer)
        if is_clear and more > VOTE_RATIO * fewer:
            found += 1 if ours > theirs else -1
    return found
