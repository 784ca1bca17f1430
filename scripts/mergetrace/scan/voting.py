"""Which of two models relatives were made from, by the numbers that they kept.

Distances do not tell a base from a model near it: what relatives learn they learn in
part alike, so that a model which has gone a little of that way lies nearer to all of
them. But a number that training left alone is the parent's own. Where two models
differ, a relative votes for the one whose numbers it has, if it has them far more often
than the other's. Adapters and light finetunes vote; who moved every number has no vote.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations, permutations

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
FARTHER = 3.0
"""How many times as far as the way between two models a relative must have gone to tell
which of them lies on the other's way.
"""
WENT_BEYOND = 1.5
"""Of the way from one model to another: where most relatives went farther that way, they
were made from the first, and the other one is a light finetune. Of what finetunes learn a
part is alike, so from their base all go some way in the direction of any of them; from a
light finetune all would go back, and what one unlearns the others do not. On the tuning
families relatives lay at 1.7 to 20 on the way from the base to a gentle finetune of it.
Where they lie near 1 they may have been made from the other one, and nothing is told.
"""
MIN_BEYOND = 3  # relatives that must tell


def beyond(products: Array, offered: Sequence[int]) -> Mask:
    """Which of the models offered lies before which other one, by where the others went.
    products: as in `votes`. offered: places among them.
    """
    found = np.zeros((len(offered), len(offered)), bool)
    for row, column in permutations(range(len(offered)), 2):
        start, end = offered[row], offered[column]
        square = products[start, start]
        along = products[:, end] - products[start, end] - products[:, start] + square
        far = np.diag(products) - 2 * products[:, start] + square
        if far[end] <= 0:
            continue
        tells = far > FARTHER**2 * far[end]
        if tells.sum() >= MIN_BEYOND:
            share = float(np.median(along[tells] / far[end]))
            found[row, column] = share > WENT_BEYOND
    return found


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
