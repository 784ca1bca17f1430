"""How much of a donor is the base, quantised and written back.

Adapters are trained on a base that was loaded in few bits, and merged into it as it then
is: what they leave alone differs from the base by what rounding to a coarse grid left, the
same for everybody who loaded it so. Such numbers are no donor's own.
"""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mergetrace.numerics.arrays import Integers, some_of
from mergetrace.sums.coarse_grids import grid_of
from mergetrace.sums.evidence import Sample, read_blocks, read_evidence
from mergetrace.sums.frames import Frame
from mergetrace.tensors.view import View

SLICES_LOOKED_AT = 64
"""Of those that vote, evenly spread."""
LEAST_IN_CELLS = 0.99
"""Of the base's numbers in the cells of a donor's: .9991 where the scales were quantised as
well (bitsandbytes 0.50.2, NF4).
"""


def requantised_shares(
    frame: Frame, fits: pd.DataFrame, evidence: Sequence[Path]
) -> dict[str, float]:
    """By donor the share of its numbers other than the base's that are the base's, on a
    coarse grid; those without any are left out.
    """
    of_matrices = fits["votes"] & (fits["cols"] > 0)
    voting = fits.loc[of_matrices, ["slice_id", "elements", "cols"]]
    sizes = {number: (elements, cols) for number, elements, cols in voting.to_numpy()}
    wanted = set(some_of(sorted(sizes), SLICES_LOOKED_AT))
    others = dict.fromkeys(frame.donors, 0)
    requantised = dict.fromkeys(frame.donors, 0)
    for path in evidence:
        blocks = read_blocks(path)
        for slice_id, samples in read_evidence(path, wanted):
            view = _matrix(*sizes[slice_id])
            base = samples[frame.base]
            for donor in frame.donors:
                own = samples[donor]
                differing = int((own.values() != base.values()).sum())
                others[donor] += differing
                if differing and _is_base(own, base, view, blocks[slice_id]):
                    requantised[donor] += differing
    return {
        donor: count / others[donor] for donor, count in requantised.items() if count
    }


def _matrix(elements: int, cols: int) -> View:
    """A matrix as its elements are numbered in the evidence."""
    return View(
        shard="",
        dtype="BF16",
        start=0,
        rows=elements // cols,
        cols=cols,
        tensor="",
        slice="",
        source="",
        dimensions=2,
    )


def _is_base(own: Sample, base: Sample, view: View, blocks: Integers) -> bool:
    """Whether a donor's numbers lie on a grid, and the base's in their cells."""
    grid = grid_of(own, view, blocks)
    if grid is None:
        return False
    low, high = grid.midpoints()
    values = base.values()
    return bool(((low <= values) & (values <= high)).mean() >= LEAST_IN_CELLS)
