"""Whether a model is a blend of finer numbers than were offered.

Who merges float32 releases, or a donor's adapter at half of its weight, blends numbers
that the 16-bit releases only round. Then no stored blend gives the model back; but each
of its numbers lies as near to the blend as the roundings leave it, the parents' and its
own. A donor's run repeated at another rate strays farther in 2 % and more of such
numbers, from its second step on.
"""

from collections.abc import Sequence

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.rounding import replay
from mergetrace.records.recipe_search import FinerBlend
from mergetrace.sums.evidence import Sample

FINE = ("BF16", "F16", "F32", "F64")


def measure_finer(
    pieces: Sequence[Piece], base: str, donor: str, width: float
) -> FinerBlend | None:
    """The weight that most numbers hold, if the parents' may lie anywhere in their
    cells. None where one is not known as stored, or any in less than 16 bits: in steps
    so coarse a relative of the donor has the same cells.

    width: `replay_width` of the configuration.
    """
    parents = [piece.samples.get(name) for piece in pieces for name in (base, donor)]
    audited = [piece.audited for piece in pieces]
    if not all(_is_fine(sample) for sample in (*parents, *audited)):
        return None
    ends = [_allowed(piece, base, donor) for piece in pieces]
    start, end = (np.concatenate(side) for side in zip(*ends, strict=True))
    peak = replay(start, end, width)
    if not peak.informative:
        return None
    return FinerBlend(peak.alpha, peak.informative, 1 - peak.coverage)


def _is_fine(sample: Sample | None) -> bool:
    """Whether the numbers were rounded to no coarser format than bf16."""
    return sample is not None and sample.on_lattice().dtype in FINE


def _allowed(piece: Piece, base: str, donor: str) -> tuple[Array, Array]:
    """The weights that each element allows: float64 [n] each, NaN where the parents'
    cells meet.
    """
    starts, donors = (
        np.stack(piece.samples[name].on_lattice().midpoints()) for name in (base, donor)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        moves = np.stack(piece.cell) - starts[:, np.newaxis]
        changes = donors - starts[:, np.newaxis]
        ends = moves[:, :, np.newaxis] / changes[:, np.newaxis]
        apart = (changes > 0).all((0, 1)) | (changes < 0).all((0, 1))
    ends = ends.reshape(-1, piece.size)
    ends[:, ~apart | ~np.isfinite(ends).all(0)] = np.nan
    return ends.min(0), ends.max(0)
