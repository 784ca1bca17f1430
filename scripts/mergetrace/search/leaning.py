"""Whether a model's numbers were rounded as a blend's are before anything else happened
to them.

Training that starts at a stored blend does not know where between two stored numbers the
blend lay before it was rounded: it moves numbers off the blend's to either side alike. A
model whose change is merely proportional to a donor's was never rounded as their blend:
the donor's own run repeated at another rate, a blend of finer numbers than are offered,
or one that was trained before it was stored. Its numbers miss the blend's where that
lies next to a midpoint, and to that side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mergetrace.merging.applying import Piece, apply_and_store, apply_recipe
from mergetrace.merging.methods import METHODS
from mergetrace.merging.recipes import Recipe, make, model_shares
from mergetrace.numerics.arrays import Array, Mask
from mergetrace.numerics.rounding import replay, replay_intervals
from mergetrace.records.recipe_search import Leaning
from mergetrace.sums.as_stored import round_as_stored

NEAR = 0.3
"""Of a cell: a blend that lies no farther than this from the midpoint leans to the number
behind it; one that lies so near to the far midpoint leans away from it. Of weights in
quarters the blends lie on quarters.
"""
LEAST_TRACE = 0.2  # of the elements; for less no rule asks
SHORT_WEIGHT = 64
"""A weight that is a multiple of one in so many, but for float64's last bits, is taken
for that multiple: then many blends lie on a midpoint, where a last bit decides.
"""
SLIP = 1e-9


@dataclass
class _Misses:
    """The elements that a model holds one step off a blend's."""

    toward: int = 0
    """Those where the blend lies next to the midpoint between the two."""
    away: int = 0
    """Those where it lies on the far side of its own number."""

    def add(self, piece: Piece, blend: Array, told: Mask) -> None:
        """Count some elements of a piece. blend: unrounded, float64 [n]."""
        low, high = (ends[told] for ends in piece.cell)
        exact = blend[told]
        with np.errstate(invalid="ignore"):
            cells = np.maximum(low - exact, exact - high) / (high - low)
        self.toward += int(np.count_nonzero((cells >= 0) & (cells <= NEAR)))
        self.away += int(np.count_nonzero((cells >= 1 - NEAR) & (cells <= 1)))

    def leaning(self, parents: Sequence[str]) -> Leaning:
        """What is recorded of them."""
        counted = self.toward + self.away
        share = self.toward / counted if counted else None
        return Leaning(tuple(parents), counted, share)


def lean_to_pair(
    pieces: Sequence[Piece], base: str, donor: str, width: float
) -> Leaning | None:
    """How the audited numbers miss those of the best blend of base and donor; None where
    it explains next to nothing.

    width: `replay_width` of the configuration.
    """
    ends = [
        replay_intervals(*piece.cell, piece.values[base], piece.values[donor])
        for piece in pieces
    ]
    start, end = (np.concatenate(side) for side in zip(*ends, strict=True))
    peak = replay(start, end, width)
    if not peak.coverage >= LEAST_TRACE:  # NaN where nothing is informative
        return None
    weight = _plain(peak.alpha)
    misses = _Misses()
    for piece, (first, last) in zip(pieces, ends, strict=True):
        values = piece.values[base]
        blend = values + weight * (piece.values[donor] - values)
        missed = round_as_stored(blend, piece.audited) != piece.audited_values
        misses.add(piece, blend, missed & (last - first < width))
    return misses.leaning((base, donor))


def lean_to_recipe(
    pieces: Sequence[Piece], recipe: Recipe, base: str
) -> Leaning | None:
    """How the audited numbers miss a recipe's: measured from the same blend in float64,
    before it is stored. None for lines by hand whose shares differ between tensors.
    """
    wide = _widened(recipe, base)
    if wide is None:
        return None
    misses = _Misses()
    for piece in pieces:
        missed = apply_and_store(recipe, piece) != piece.audited_values
        misses.add(piece, apply_recipe(wide, piece), missed)
    return misses.leaning(recipe.parents)


def _plain(weight: float) -> float:
    near = round(weight * SHORT_WEIGHT) / SHORT_WEIGHT
    return near if abs(near - weight) < SLIP else weight


def _widened(recipe: Recipe, base: str) -> Recipe | None:
    """The merge tool's recipe in float64; of lines by hand the sum that they compute,
    None where its shares differ between tensors.
    """
    if recipe.script:
        shares = model_shares(recipe, base)
        if not shares:
            return None
        return make("linear", shares, dtype="float64", normalize=0.0)
    wide = replace(recipe, dtype="float64")
    if METHODS[recipe.method].parameter("cast") is None:
        return wide
    return wide.with_settings({"cast": 0.0})
