"""Where the elements of a view lie in its file, and what they are multiplied by row by row
and column by column.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from mergetrace.formats.block_layouts import LAYOUTS, Unpacked
from mergetrace.numerics.arrays import AnyArray, Array, Integers, Mask
from mergetrace.numerics.block_scales import block_scales
from mergetrace.numerics.dtypes import decode
from mergetrace.tensors.view import View


def merged(stretches: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Adjoining (first, count) as one: a slice kept whole costs one read, not one per
    block.
    """
    first = 0
    count = 0
    for start, length in stretches:
        if count and start == first + count:
            count += length
            continue
        if count:
            yield first, count
        first = start
        count = length
    if count:
        yield first, count


def places(view: View, first: int, count: int) -> tuple[Integers, Integers]:
    """The stored rows that hold elements first..first+count, in order, and the stored
    place of every column.
    """
    rows = np.arange(first // view.cols, -(-(first + count) // view.cols))
    if view.row_map is not None:
        rows = view.row_map[rows]
    cols = np.arange(view.cols) if view.col_map is None else view.col_map
    return rows, cols


def spread(view: View, grid: Array, row: int, first: int, count: int) -> Array:
    """What elements first..first+count share with their block: float64 [count].

    grid: rows of what lies as the view's scales do, from row number `row` on.
    """
    block = view.block_rows, view.block_cols
    if view.scales_run_on:
        return np.asarray(grid[0][_stored_at(view, first, count) // view.block_cols])
    if view.is_rearranged:
        rows, cols = places(view, first, count)
        block_row = (rows + view.scale_skip) // view.block_rows
        of_rows = grid[np.ix_(block_row - row, cols // view.block_cols)].reshape(-1)
        return np.asarray(of_rows[first % view.cols :][:count])
    # rows of the view, or before it, above the first of these scales
    above = row * view.block_rows - view.scale_skip
    rows_here = min(view.rows - above, len(grid) * view.block_rows)
    start = first - above * view.cols
    return block_scales(grid, rows_here, view.cols, start, count, block)


def _stored_at(view: View, first: int, count: int) -> Integers:
    """How many elements lie before each of first..first+count in the file."""
    if not view.is_rearranged:
        return np.arange(first, first + count)
    rows, cols = places(view, first, count)
    stored = rows[:, None] * view.cols + cols
    return np.asarray(stored.reshape(-1)[first % view.cols :][:count])


def channel_scales(view: View, first: int, count: int) -> Array | None:
    """What elements first..first+count are multiplied by for their row and their
    column, None where they are not.
    """
    if view.row_scale is None and view.col_scale is None:
        return None
    rows, cols = np.divmod(np.arange(first, first + count), view.cols)
    of_row = np.ones(count) if view.row_scale is None else view.row_scale[rows]
    return of_row if view.col_scale is None else of_row * view.col_scale[cols]


def picked(
    parts: list[AnyArray], cols: Integers | None, skip: int, count: int
) -> AnyArray:
    """Elements of neighbouring rows, or of one run of blocks: `count` after the first
    `skip`. cols: the stored place of every column, where the parts are rows.
    """
    if cols is not None:
        parts = [part[cols] for part in parts]
    together = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return together[skip : skip + count]


def adjusted(view: View, first: int, part: Unpacked) -> Unpacked:
    """Elements of a packed view multiplied by what the view says."""
    of_channel = channel_scales(view, first, part.codes.size)
    if of_channel is not None or view.factor != 1:
        by = (1.0 if of_channel is None else of_channel) / view.factor
        shifts = None if part.shifts is None else part.shifts * by
        part = Unpacked(part.codes, part.scales * by, shifts)
    return decided(view, first, part)


def decided(view: View, first: int, part: Unpacked) -> Unpacked:
    """The same numbers, whose cells are left open where the view says that they decide
    nothing: a scale of 0, and the number itself as the shift. Elsewhere what was pushed
    onto them is added.
    """
    if view.row_decides is None and view.col_decides is None:
        return part
    rows, cols = np.divmod(np.arange(first, first + part.codes.size), view.cols)
    decides = np.ones(part.codes.size, bool)
    if view.row_decides is not None:
        decides &= view.row_decides[rows] > 0
    if view.col_decides is not None:
        decides &= view.col_decides[cols] > 0
    shifts = np.zeros(part.codes.size) if part.shifts is None else part.shifts
    levels = decode(part.codes, view.dtype)
    numbers = levels * part.scales + shifts
    scales = part.scales
    if view.pushed is not None:
        least, most = _pushed(view, rows, cols, decides)
        decides &= np.isfinite(least)
        # These formats' levels lie one scale apart.
        scales = part.scales + (most - least)
        shifts = numbers + (least + most) / 2 - levels * scales
    return Unpacked(
        part.codes,
        np.where(decides, scales, 0.0),
        np.where(decides, shifts, numbers),
    )


def _pushed(
    view: View, rows: Integers, cols: Integers, decides: Mask
) -> tuple[Array, Array]:
    """The least and the most that is added to the ends of elements' cells, 0 where these
    decide nothing.
    """
    found = np.zeros((rows.size, 2))
    if view.pushed is not None and view.col_decides is not None:
        deciding = np.flatnonzero(view.col_decides)
        of_rows = view.pushed.reshape(-1, deciding.size, 2)
        place = np.searchsorted(deciding, cols[decides])
        found[decides] = of_rows[rows[decides], place]
    return found[:, 0], found[:, 1]


def is_adjusted(view: View) -> bool:
    """Whether numbers are multiplied by anything that is not stored among them, or their
    cells left open.
    """
    of_channel = view.row_scale is not None or view.col_scale is not None
    if view.row_decides is not None or view.col_decides is not None:
        return True
    return of_channel or view.factor != 1 or bool(view.scale_shard)


def is_blocks_alone(view: View) -> bool:
    """Whether a packed view's blocks, in the order of the file, are all there is to it."""
    in_blocks = LAYOUTS[view.dtype].size > 1
    return in_blocks and not (is_adjusted(view) or view.is_rearranged)


def places_in_blocks(
    stretches: Sequence[tuple[int, int]], held: Sequence[tuple[int, int]]
) -> Integers:
    """Where the elements of stretches lie among those of the blocks that hold them.

    stretches, held: (first, count) of the elements, and of their whole blocks.
    """
    found = []
    before = 0
    for (first, count), (start, whole) in zip(stretches, held, strict=True):
        found.append(np.arange(count) + (before + first - start))
        before += whole
    return np.concatenate(found) if found else np.empty(0, np.int64)
