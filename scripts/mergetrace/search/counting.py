"""How many elements of an audited model a recipe gives back bit for bit, and how many
could have refuted it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.merging.applying import (
    Piece,
    apply_and_store,
    apply_recipe,
    undecided_elements,
)
from mergetrace.merging.recipes import Recipe
from mergetrace.numerics.arrays import Array, Mask
from mergetrace.sums.as_stored import round_as_stored


@dataclass(frozen=True)
class Count:
    """Elements of one slice, or of several, under one recipe."""

    confined: int
    """Elements whose stored number confines the weights (see confining_elements)."""
    informative: int
    """Those of them that could refute the recipe."""
    exact: int
    """The informative elements that the recipe gives back."""
    residual: float
    """Sum of squared differences over all elements but those for which the recipe gives
    no finite number; 0 where it was not asked for.
    """


NO_ELEMENTS = Count(0, 0, 0, 0.0)


def add_counts(counts: Iterable[Count]) -> Count:
    """The counts of all slices added."""
    rows = list(counts)
    return Count(
        confined=sum(count.confined for count in rows),
        informative=sum(count.informative for count in rows),
        exact=sum(count.exact for count in rows),
        residual=sum((count.residual for count in rows), 0.0),
    )


def exact_rate(count: Count, min_informative_share: float) -> float:
    """The share of informative elements given back; 0 where so few are informative that
    the recipe says little more than that a parent was kept.

    min_informative_share: the threshold of the configuration.
    """
    if count.informative > min_informative_share * count.confined:
        return count.exact / count.informative
    return 0.0


def missed_by(recipe: Recipe, pieces: Iterable[Piece]) -> int:
    """How many elements of the pieces a recipe does not give back, informative or not."""
    return sum(
        int(np.count_nonzero(piece.audited_values != apply_and_store(recipe, piece)))
        for piece in pieces
    )


def count_exact(recipe: Recipe, piece: Piece, base: str, width: float) -> Count:
    """Apply a recipe to a piece and count its elements (see count_exact_by_part),
    without the residual.
    """
    whole = [(0, piece.size)]
    (count,) = count_exact_by_part(recipe, piece, base, width, whole, residual=False)
    return count


def count_exact_by_part(
    recipe: Recipe,
    piece: Piece,
    base: str,
    width: float,
    parts: Sequence[tuple[int, int]],
    residual: bool = True,
) -> list[Count]:
    """Apply a recipe to a piece and count each of its parts (first element, one past
    the last). residual: whether it is asked for.

    An element is informative where it confines the weights and the recipe gives a
    number that none of its parents has: a copy of a parent gives back the others. A
    method that chooses elements gives little else than the parents' numbers. There
    those are left out that neither the audited model nor the recipe moved from the base
    (a sparse finetune leaves most of them), and those at a threshold. Of whole tensors
    the others confine nothing: one that is a donor's may be a small part of a model.
    Of a packed model see _count_cells.
    """
    if piece.audited.is_packed:
        return _count_cells(recipe, piece, base, width, parts, residual)
    merged = apply_and_store(recipe, piece)
    audited = piece.audited_values
    confined = confining_elements(piece, recipe.parents, width)
    informative = confined.copy()
    if recipe.selects:
        base_values = piece.values[base]
        informative &= (audited != base_values) | (merged != base_values)
        informative &= ~undecided_elements(recipe, piece)
        if recipe.method == "passthrough":
            confined = informative
    else:
        for parent in recipe.parents:
            informative &= merged != piece.stored_parents[parent]
    exact = (audited == merged) & informative
    squares = _squares(piece, merged) if residual else None
    return [
        _count_part(slice(start, end), confined, informative, exact, squares)
        for start, end in parts
    ]


def _count_cells(
    recipe: Recipe,
    piece: Piece,
    base: str,
    width: float,
    parts: Sequence[tuple[int, int]],
    residual: bool,
) -> list[Count]:
    """The same of a packed model, whose numbers lie in wide cells.

    An element is informative where the recipe's number lies outside its cell, or so
    near to an end that a weight half of `width` away could have moved it across; it is
    given back where the number lies in the cell. Where a method that chooses elements
    left the base's number and that lies in the cell too, nothing is refuted.
    """
    merged = apply_recipe(recipe, piece)
    low, high = piece.cell
    spread = _spread(piece, recipe.parents)
    with np.errstate(invalid="ignore"):
        inside = (low <= merged) & (merged <= high)
        room = np.minimum(merged - low, high - merged)
        informative = (spread > 0) & (~inside | (room <= width / 2 * spread))
    informative &= np.isfinite(merged)
    if recipe.selects:
        informative &= ~(inside & (merged == piece.values[base]))
        informative &= ~undecided_elements(recipe, piece)
    exact = inside & informative
    squares = None
    if residual:
        squares = _squares(piece, round_as_stored(merged, piece.audited))
    return [
        _count_part(slice(start, end), informative, informative, exact, squares)
        for start, end in parts
    ]


def _squares(piece: Piece, stored: Array) -> Array:
    """What each audited element is from what a recipe gives, squared: float64 [n]."""
    differences = np.where(np.isfinite(stored), piece.audited_values - stored, 0.0)
    return np.asarray(differences**2)


def _count_part(
    part: slice, confined: Mask, informative: Mask, exact: Mask, squares: Array | None
) -> Count:
    return Count(
        confined=int(confined[part].sum()),
        informative=int(informative[part].sum()),
        exact=int(exact[part].sum()),
        residual=0.0 if squares is None else float(squares[part].sum()),
    )


def confining_elements(piece: Piece, parents: Sequence[str], width: float) -> Mask:
    """Elements whose stored number confines a weight to an interval narrower than
    `width`: bool [n], to be read and not to be written.

    There the parents lie further apart than the stored number's interval over `width`;
    elsewhere any weights would do.
    """
    known = piece.confining
    asked = (frozenset(parents), width)
    if asked not in known:
        with np.errstate(invalid="ignore"):
            known[asked] = piece.interval_width < width * _spread(piece, parents)
        known[asked].flags.writeable = False
    return known[asked]


def _spread(piece: Piece, parents: Sequence[str]) -> Array:
    """How far the parents lie apart: float64 [n]."""
    values = np.stack([piece.values[name] for name in dict.fromkeys(parents)])
    with np.errstate(invalid="ignore"):
        return np.asarray(values.max(0) - values.min(0))
