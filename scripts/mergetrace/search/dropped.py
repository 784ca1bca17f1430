"""One donor's change, some of it dropped: how much of it a single tensor took, and what
narrow arithmetic makes of it.

mergekit scales what it kept of a tensor until it is as large as the whole change was
(`rescale_norm`): a weight of 2 is 1.89 in one tensor and 2.16 in another.
"""

from dataclasses import replace

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.merging.recipes import Recipe
from mergetrace.merging.settings import constant, single_value
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.sums.as_stored import round_as_stored

TENSOR_SLACK = 0.1
"""Of the weight: how far that of one tensor may lie from that of all. In planted merges
by mergekit, of .3 of a change, it lay up to .08 from it.
"""
FEWEST_SURVIVORS = 100
"""Elements of a tensor that the donor moved and that were kept, below which the weight of
all tensors stands.
"""
TIMES_FITTED = 2
"""Of fitting: the elements near one weight, and once more those near what they gave."""
FIRST_SCALED = 0.6
"""What is kept is scaled up and then weighed, in two roundings; how the product is
divided between them does not matter to how far they stray.
"""


def with_own_scale(recipe: Recipe, piece: Piece) -> Recipe:
    """The drop of one donor's changes with the weight that its survivors in one tensor
    have by least squares, where that gives more of them back; else as it is, as where
    too few tell or there are several.
    """
    weight = _weight(recipe)
    if weight is None or recipe.base is None:
        return recipe
    donor = recipe.models[0]
    base = piece.values[recipe.base]
    change = piece.values[donor] - base
    moved = piece.audited_values - base
    fitted = weight
    for _ in range(TIMES_FITTED):
        room = TENSOR_SLACK * np.abs(weight * change) + piece.interval_width / 2
        near = np.abs(moved - fitted * change) <= room
        near &= (moved != 0) & (change != 0)
        if near.sum() < FEWEST_SURVIVORS:
            return recipe
        fitted = float(moved[near] @ change[near] / (change[near] @ change[near]))
    if abs(fitted - weight) > TENSOR_SLACK * abs(weight):
        return recipe

    def given_back(weight: float) -> int:
        stored = round_as_stored(base + weight * change, piece.audited)
        return int(((stored == piece.audited_values) & (moved != 0)).sum())

    if given_back(fitted) <= given_back(weight):
        return recipe
    return replace(recipe, weights=(constant(fitted),))


def narrowly_merged(recipe: Recipe, piece: Piece) -> Array:
    """The drop on a piece in the arithmetic of the audited model's format, in which the
    change is rounded when it is taken, scaled and weighed; stored: float64 [n].
    """
    weight = _weight(recipe)
    assert weight is not None
    assert recipe.base is not None
    dtype = piece.audited.dtype
    base = piece.values[recipe.base]
    change = _rounded(piece.values[recipe.models[0]] - base, dtype)
    scaled = _rounded(change * weight / FIRST_SCALED, dtype)
    return round_as_stored(base + _rounded(scaled * FIRST_SCALED, dtype), piece.audited)


def _weight(recipe: Recipe) -> float | None:
    """The one weight of one donor; None of any other recipe."""
    if recipe.method != "task_arithmetic" or len(recipe.models) != 1:
        return None
    return single_value(recipe.weights[0])


def _rounded(values: Array, dtype: str) -> Array:
    return decode(encode(values, dtype), dtype)
