"""Whether a model is a blend of a donor whose numbers were finer than those offered.

Who merges a donor's float32 release, or its adapter at half of its weight, blends
numbers that the 16-bit release only rounds. Then no stored blend gives the model back;
but each of its numbers lies as near to the blend as the two roundings leave it, the
donor's and its own. A donor's run repeated at another rate strays farther in 1 to 87 %
of such numbers, from its second step on.
"""

from collections.abc import Sequence

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.rounding import replay
from mergetrace.records.recipe_search import FinerBlend


def measure_finer(
    pieces: Sequence[Piece], base: str, donor: str, width: float
) -> FinerBlend | None:
    """The weight that most numbers hold, if the donor's may lie anywhere in its cells.
    None where it is packed, or not known as stored.

    width: `replay_width` of the configuration.
    """
    known = [piece.samples.get(donor) for piece in pieces]
    if any(sample is None or sample.is_packed for sample in known):
        return None
    ends = [_allowed(piece, base, donor) for piece in pieces]
    start, end = (np.concatenate(side) for side in zip(*ends, strict=True))
    peak = replay(start, end, width)
    if not peak.informative:
        return None
    return FinerBlend(peak.alpha, peak.informative, 1 - peak.coverage)


def _allowed(piece: Piece, base: str, donor: str) -> tuple[Array, Array]:
    """The weights that each element allows: float64 [n] each, NaN where the donor's
    cell reaches the base's number.
    """
    from_base = piece.values[base]
    low, high = piece.cell
    donor_low, donor_high = piece.samples[donor].on_lattice().midpoints()
    nearest, farthest = donor_low - from_base, donor_high - from_base
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = np.stack(
            [
                (side - from_base) / change
                for side in (low, high)
                for change in (nearest, farthest)
            ]
        )
        crossed = ~(nearest * farthest > 0)
    ends[:, crossed | ~np.isfinite(ends).all(0)] = np.nan
    return ends.min(0), ends.max(0)
