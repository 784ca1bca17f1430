"""Whether a model is a blend of its parents as a tool gives them back that loaded them in
few bits: quantised, then written back in 16 bits.

Whoever loads models in 8 or 4 bits, merges and saves them merges numbers that lie beside
those which were published, by more than rounding and less than training. The offered
parents are put through the same tools, matrix by matrix, and blended; what is left then is
rounding, or it is not.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.merging.facts import HeldFacts
from mergetrace.merging.recipes import Recipe, make
from mergetrace.numerics.arrays import AnyArray, Array
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.numerics.levels import E4M3, FLOAT_4, NORMAL_4
from mergetrace.records.recipe_search import RoundTrip
from mergetrace.search.blends import Blend, blend_of, pilot_blend
from mergetrace.search.counting import NO_ELEMENTS, Count, add_counts, count_exact
from mergetrace.search.trial import Trial

MOST_TO_LOOK = 1 << 20
"""Of the matrix on which a tool is looked for."""
LESS_LEFT = 0.5
"""What the right tool leaves of what the parents leave as they are, at most."""
ABOUT_AS_LITTLE = 1.1
"""Of what the best tool leaves of one matrix: so much is left by its like as well."""
DIGITS = (1, 2, 3, 4)
"""To which a weight is rounded that somebody may have written."""
BLOCK, SMALL_BLOCK, TILE = 64, 32, 128
ROUNDED = ("BF16", "F16")

Trip = Callable[[Array], Array | None]
"""Quantises a matrix and writes it back; None where its shape does not allow it."""


def by_rows(is_inverse: bool, matrix: Array) -> Array:
    """Eight bits with a scale for each row, in float32 as the tools have it: bitsandbytes
    multiplies by one over the scale, others divide by it.
    """
    numbers = matrix.astype(np.float32)
    greatest = _some(np.abs(numbers).max(1, keepdims=True))
    if is_inverse:
        codes = np.round(numbers * (np.float32(127) / greatest))
        return np.asarray(codes * greatest * np.float32(1 / 127), np.float64)
    codes = np.round(numbers / greatest * np.float32(127))
    return np.asarray(codes * greatest / np.float32(127), np.float64)


def by_levels(levels: Sequence[float], matrix: Array) -> Array | None:
    """bitsandbytes' four bits."""
    if matrix.size % BLOCK:
        return None
    table = np.unique(levels)
    blocks = matrix.astype(np.float32).reshape(-1, BLOCK)
    scales = _some(np.abs(blocks).max(1, keepdims=True))
    middles = ((table[1:] + table[:-1]) / 2).astype(np.float32)
    nearest = table[np.searchsorted(middles, blocks * (np.float32(1) / scales))]
    return np.asarray((nearest.astype(np.float32) * scales).reshape(matrix.shape))


def q8_0(matrix: Array) -> Array | None:
    """GGUF's eight bits, whose scale is rounded to f16; halves are rounded away from 0."""
    if matrix.size % SMALL_BLOCK:
        return None
    blocks = matrix.astype(np.float32).reshape(-1, SMALL_BLOCK)
    scales = _some(np.abs(blocks).max(1, keepdims=True)) / np.float32(127)
    stored = decode(encode(scales.ravel(), "F16"), "F16")[:, None]
    quotients = blocks * (np.float32(1) / scales)
    codes = np.sign(quotients) * np.floor(np.abs(quotients) + np.float32(0.5))
    return np.asarray((codes * stored).reshape(matrix.shape), np.float64)


def fp8(rows: int, cols: int, matrix: Array) -> Array:
    """FP8 with a scale for so many rows and columns, 0 for all of them."""
    high, wide = rows or len(matrix), cols or matrix.shape[1]
    found = np.empty_like(matrix)
    for row in range(0, len(matrix), high):
        for col in range(0, matrix.shape[1], wide):
            tile = matrix[row : row + high, col : col + wide]
            scale = _some(np.abs(tile).max()).astype(np.float32) / np.float32(max(E4M3))
            divided = (tile.astype(np.float32) / scale).astype(np.float64)
            codes = encode(np.ravel(divided), "F8_E4M3")
            numbers = decode(codes, "F8_E4M3").reshape(tile.shape)
            found[row : row + high, col : col + wide] = numbers * float(scale)
    return found


def _some(greatest: AnyArray) -> AnyArray:
    """Greatest numbers, with 1 in place of 0."""
    return np.where(greatest > 0, greatest, greatest.dtype.type(1))


TRIPS: Mapping[str, Trip] = {
    "int8": partial(by_rows, True),
    "int8, divided": partial(by_rows, False),
    "nf4": partial(by_levels, NORMAL_4),
    "fp4": partial(by_levels, FLOAT_4),
    "Q8_0": q8_0,
    "FP8 by rows": partial(fp8, 1, 0),
    "FP8 by tensor": partial(fp8, 0, 0),
    "FP8 by blocks": partial(fp8, TILE, TILE),
}


@dataclass(frozen=True)
class Way:
    """A tool, and the parents that went through it."""

    kind: str
    parents: tuple[str, ...]


def measure_round_trip(trial: Trial, donors: Sequence[str]) -> RoundTrip | None:
    """The blend of parents of which some were quantised and written back, where one
    leaves far less than the blend of the parents as they are; None where none does, and
    where no matrix is held whole.
    """
    base = trial.frame.base
    blend = pilot_blend(trial, donors)
    matrices = [piece for piece in trial.pieces if _is_matrix(piece)]
    if blend is None or len(blend.models) < 2 or not matrices:
        return None
    first = min(matrices, key=lambda piece: piece.size)
    if first.size > MOST_TO_LOOK or blend.is_rounding:
        return None
    ways = _ways(first, base, donors, blend)
    tried = (found for way in ways for found in _tried(trial, donors, way))
    return max(tried, key=lambda found: found.exact / found.informative, default=None)


def _tried(trial: Trial, donors: Sequence[str], way: Way) -> Iterator[RoundTrip]:
    """Weighted sums of the parents that went a way, and what they give back."""
    base = trial.frame.base
    pieces = [_through(piece, way) or piece for piece in trial.pieces]
    blend = blend_of(pieces, base, donors)
    if blend is None or base not in blend.models or len(blend.models) < 2:
        return
    for recipe, shares in _recipes(blend, base):
        counts = _counts(recipe, trial, pieces)
        told = sum(count.informative > 0 for count in counts)
        of_all = add_counts(counts)
        if told:
            numbers = of_all.informative, of_all.exact, told
            yield RoundTrip(way.kind, way.parents, shares, *numbers)


def _is_matrix(piece: Piece) -> bool:
    """Whether a piece holds the whole of a matrix of 16 bits."""
    cols = piece.facts.columns
    return (
        isinstance(piece.facts, HeldFacts)
        and piece.facts.elements == piece.size
        and 1 < cols < piece.size
        and piece.audited.dtype in ROUNDED
        and all(sample.dtype in ROUNDED for sample in piece.samples.values())
    )


def _ways(piece: Piece, base: str, donors: Sequence[str], blend: Blend) -> list[Way]:
    """The tools that leave least of a matrix, and the parents that went through them."""
    left: dict[Way, float] = {}
    for kind in TRIPS:
        for parents in _some_of(blend.models):
            way = Way(kind, parents)
            moved = _through(piece, way)
            if moved is not None:
                left[way] = _left(moved, base, donors)
    most = LESS_LEFT * _left(piece, base, donors)
    most = min(most, ABOUT_AS_LITTLE * min(left.values(), default=0.0))
    return [way for way in left if left[way] <= most]


def _some_of(models: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """All of some models, and each of them."""
    yield tuple(models)
    yield from ((name,) for name in models)


def _left(piece: Piece, base: str, donors: Sequence[str]) -> float:
    """The energy that the nearest weighted sum leaves of a piece."""
    names = (base, *donors)
    columns = np.stack([piece.values[name] for name in names], axis=1)
    target = piece.audited_values
    known = np.isfinite(columns).all(1) & np.isfinite(target)
    weights = np.linalg.lstsq(columns[known], target[known], rcond=None)[0]
    return float(np.sum((target[known] - columns[known] @ weights) ** 2))


def _through(piece: Piece, way: Way) -> Piece | None:
    """A piece with its parents' numbers as the tool gives them back; None where it is no
    matrix, or not one for the tool.
    """
    facts = piece.facts
    if not _is_matrix(piece) or not isinstance(facts, HeldFacts):
        return None
    values = dict(piece.values)
    for name in way.parents:
        matrix = piece.values[name].reshape(-1, facts.columns)
        if not np.isfinite(matrix).all():
            return None
        moved = TRIPS[way.kind](matrix)
        if moved is None:
            return None
        stored = piece.samples[name].dtype if name in piece.samples else "BF16"
        values[name] = decode(encode(np.ravel(moved), stored), stored)
    held = replace(facts, values={**facts.values, **values})
    return replace(piece, values=values, facts=held)


def _recipes(blend: Blend, base: str) -> Iterator[tuple[Recipe, dict[str, float]]]:
    """Weighted sums near a blend, as the merge tool computes them."""
    of_donors = {
        name: weight
        for name, weight in zip(blend.models, blend.weights, strict=True)
        if name != base
    }
    seen = set()
    for digits in DIGITS:
        shares = {name: round(weight, digits) for name, weight in of_donors.items()}
        left = round(1 - sum(shares.values()), digits)
        if tuple(shares.values()) in seen or not all((left, *shares.values())):
            continue
        seen.add(tuple(shares.values()))
        for dtype in ("float32", "bfloat16"):
            linear = {base: left, **shares}
            yield make("linear", linear, dtype=dtype), shares
            yield make("task_arithmetic", shares, base, dtype), shares


def _counts(recipe: Recipe, trial: Trial, pieces: Sequence[Piece]) -> list[Count]:
    """What a recipe gives back of each piece: of one that was left alone as it is."""
    found = []
    for plain, moved in zip(trial.pieces, pieces, strict=True):
        counts = [
            count_exact(recipe, piece, trial.frame.base, trial.width)
            for piece in ([moved] if moved is plain else [moved, plain])
        ]
        found.append(max(counts, key=_rate, default=NO_ELEMENTS))
    return found


def _rate(count: Count) -> float:
    return count.exact / count.informative if count.informative else 0.0
