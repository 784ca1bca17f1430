"""How much of each parent a blend holds: as a straight line in the parents, or element
by element.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from mergetrace.merging.applying import Piece, apply_recipe
from mergetrace.merging.recipes import Recipe
from mergetrace.numerics.arrays import Array

MAX_LINE_MISFIT = 1e-6
"""Of the numbers' size: how far a float32 blend strays from the line that it is."""
GROWTH = 1 / 16
"""Of a change: enlarging it by so much shows how much of it a method takes, and crosses
few thresholds.
"""
OUTLIER_FACTOR = 1e6
"""Times the median: numbers further out than any model's outliers."""
WHOLE_GROWTH_ERROR = 1e-3
"""How near to 1 or 0 a growth is that means that a change was taken whole or not at
all.
"""


@dataclass(frozen=True)
class Line:
    """A blend without any rounding."""

    values: Array
    """float64 [n]."""
    weights: Mapping[str, float]
    """Each parent's weight in it."""


def fit_line(
    recipe: Recipe, piece: Piece, origin: str, blend: Array, stored: Array
) -> Line | None:
    """The weighted sum of the parents that a recipe is on one tensor, by least squares;
    None where it is no such sum.

    Of float32 arithmetic the fit must be as good as float32; of narrower arithmetic a
    method that does not choose elements is taken to be one. blend: float64 [n], what
    the recipe gives; stored: the same as stored, NaN where it is not known. Weights of a
    blend stored as float32 are those that fit it: to float32's last bit a tool's are not
    those that its configuration says.
    """
    if recipe.selects or recipe.method == "nearswap":
        return None
    line = _least_squares(recipe, piece, origin, blend)
    if line is None:
        return None
    usable = np.isfinite(blend) & np.isfinite(line.values)
    if recipe.dtype == "float32":
        misfit = np.abs(line.values - blend)[usable].max()
        if misfit > MAX_LINE_MISFIT * np.abs(blend[usable]).max():
            return None
    if piece.audited.dtype != "F32":
        return line
    return _least_squares(recipe, piece, origin, stored) or line


def _least_squares(
    recipe: Recipe, piece: Piece, origin: str, blend: Array
) -> Line | None:
    """The weights of the parents that give a blend, by least squares; None where too
    few elements are finite.
    """
    base = piece.values[origin]
    others = [name for name in recipe.parents if name != origin]
    deltas = [piece.values[name] - base for name in others]
    largest = np.abs(base)
    for delta in deltas:
        largest = np.maximum(largest, np.abs(delta))
    usable = np.isfinite(blend) & np.isfinite(largest)
    sizes = largest[usable & (largest > 0)]
    if sizes.size:  # one huge number would decide alone
        usable &= largest <= OUTLIER_FACTOR * np.median(sizes)
    columns = np.stack([*deltas, base], axis=1)
    if usable.sum() <= columns.shape[1]:
        return None
    fitted = columns[usable]
    size = np.sqrt((fitted**2).mean(axis=0))
    scale = np.where(size > 0, size, 1.0)
    solution, *_ = np.linalg.lstsq(fitted / scale, (blend - base)[usable], rcond=None)
    shares = solution / scale
    weights = dict(zip(others, shares[:-1].tolist(), strict=True))
    rest = 1.0 + float(shares[-1]) - sum(weights.values())
    return Line(base + columns @ shares, {**weights, origin: rest})


def weights_by_element(recipe: Recipe, piece: Piece, parent: str, origin: str) -> Array:
    """How much of a parent's change each element takes, float64 [n]: by how much the
    blend grows where the change does. NaN of the origin.

    A blend that is stored as float32 is no coarser than the float32 formula: there only
    changes that were taken whole or not at all are known.
    """
    if parent == origin:
        return np.full(piece.size, np.nan)
    formula = replace(recipe, dtype="float32")
    values = piece.values[parent]
    change = values - piece.values[origin]
    enlarged = {**piece.values, parent: values + GROWTH * change}
    grown = apply_recipe(formula, replace(piece, values=enlarged))
    growth = grown - apply_recipe(formula, piece)
    unchanged = change == 0
    taken = np.where(unchanged, 0.0, growth / np.where(unchanged, 1.0, GROWTH * change))
    if piece.audited.dtype != "F32" and recipe.method != "nearswap":
        return taken
    not_at_all = np.where(np.abs(taken) < WHOLE_GROWTH_ERROR, 0.0, np.nan)
    return np.where(np.abs(taken - 1) < WHOLE_GROWTH_ERROR, 1.0, not_at_all)
