"""Whether many of a model's numbers still lie on a coarse grid: quantised, written back
in 16 bits, and then perhaps trained a little.

Coarse steps blur what a change is along small directions, and a checkpoint of the
donor's own run looks as even then as a blend. Training moves some of the numbers off
the grid, so that no grid is found any more; but among few numbers side by side sizes
still repeat, of which 16 bits have hundreds and a grid a few dozen.
"""

import numpy as np

from mergetrace.numerics.arrays import Array

SIDE_BY_SIDE = 32
"""As many as share a scale in most formats. Where fewer do, as the 16 of NVFP4, sizes
repeat among those.
"""


def repeated(values: Array) -> float | None:
    """Of numbers side by side in a row, sorted by size, the share that is as large as
    the one before, zeros left out.

    values: float64 [rows, cols]. None where rows are shorter than SIDE_BY_SIDE. Numbers
    of bf16 that nobody quantised have .03.
    """
    rows, cols = values.shape
    groups = cols // SIDE_BY_SIDE
    if not groups:
        return None
    sizes = np.abs(values[:, : groups * SIDE_BY_SIDE]).reshape(rows, groups, -1)
    sizes.sort(axis=-1)
    before, after = sizes[..., :-1], sizes[..., 1:]
    return float(np.mean((before == after) & (after > 0)))
