"""The scales of FP8 weights: which tensor holds them, and which of them belongs to
which number.

Every published format multiplies, W = q * scale, whatever the scale is called:
`weight_scale_inv` is what the quantiser divided by. Scales come one per tensor, per
row, per column, per group of a row or per block; of stacked experts, one such set for
each.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from mergetrace.errors import AuditError
from mergetrace.numerics.block_scales import EXPONENTS, scale_grid
from mergetrace.numerics.dtypes import BITS, FORMATS

if TYPE_CHECKING:
    from mergetrace.tensors.views import View

SCALED = ("F8_E4M3", "F8_E5M2")
BLOCK = (
    128,
    128,
)  # of DeepSeek-V3 and those after it, where the configuration says nothing
# the OCP Microscaling formats (MX) v1.0: one E8M0 exponent per 32 numbers of a row
MX_GROUP = 32
TWICE = (
    "gate_up",
    "w13",
    "w1w3",
)  # what holds two matrices of one size, and may have a scale for each
# weights that share a scale within a row or a block: a scale for each would be no
# quantisation
FEWEST = 8
SMALL = (
    1 << 18
    # scales of one view that are read at once and kept; of more only those that are needed
)
_OF_WEIGHT = ("_scale_inv", "_scale", ".scale", "_scales")
_OF_MODULE = (
    ".scale",
    ".scale_inv",
    ".scales",
    ".scale_weight",
    ".qscale_weight",
    ".weight_scale",
    ".weight_scale_inv",
)
_OF_FUSED = ("_weight_scale", "_weight_scale_inv")
_OF_DATA = {"._data": "._scale", "_qdata": "_scale"}  # optimum-quanto, torchao


@dataclass(frozen=True)
class Grid:
    """The scales of one matrix: how many rows and columns of them, and the block of
    numbers that each belongs to.
    """

    rows: int
    cols: int
    block: tuple[int, int]


def scale_names(name: str) -> list[str]:
    """What the scale of a weight of this name may be called."""
    module = name.removesuffix(".weight")
    names = [name + ending for ending in _OF_WEIGHT]
    names += [
        module + ending
        for ending in (_OF_MODULE if module != name else (*_OF_MODULE, *_OF_FUSED))
    ]
    names += [
        name.removesuffix(data) + scale
        for data, scale in _OF_DATA.items()
        if name.endswith(data)
    ]
    return list(dict.fromkeys(names))


def scale_tensors(records: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of the tensors that may be its scale, by FP8 weight that has any.

    records: rows of a manifest's table by the tensors' own names.
    """
    found = {}
    for name, record in records.items():
        if record.dtype in SCALED:
            held = [other for other in scale_names(name) if other in records]
            if held:
                found[name] = held
    weights = {other for others in found.values() for other in others if other in found}
    return {name: others for name, others in found.items() if name not in weights}


def with_scale(
    view: "View", record: Any, scale: Any, config: Mapping[str, Any]
) -> "View":
    """The view with its scales attached.

    view: rows of a tensor, one after another as they are stored; record, scale: the tensor's and its scale's rows of the manifest's table.
    config: the manifest's configuration facts. Raises AuditError where the scale does not fit: then no number of the tensor can be told.
    """
    if not view.rows * view.cols:
        return view
    shape, own = ([int(size) for size in one.shape] for one in (scale, record))
    matrices, rows, cols = _matrices(own)
    stacked = matrices > 1 or len(own) == 3
    grid = (
        _stack_grid(shape, matrices, rows, cols, record.name, config)
        if stacked
        else _grid(shape, rows, cols, record.name, config)
    )
    if grid is None:
        raise AuditError(f"its scale {shape} does not fit {' x '.join(map(str, own))}")
    dtype = _scale_dtype(scale.dtype, grid, cols, config)
    one = math.prod(shape) == 1
    if (
        view.cols != cols
    ):  # stacked matrices that were not cut apart: one row of the view is one matrix
        if not one and (grid.rows, grid.cols) != (1, 1):
            raise AuditError(
                f"its scale {shape} cannot be followed through"
                f" {' x '.join(map(str, own))} numbers that were not cut apart"
            )
        grid = Grid(1 if one else matrices, 1, (matrices if one else 1, view.cols))
        rows = matrices
        cols = view.cols
    first = (view.start - int(record.start)) // (cols * FORMATS[view.dtype].width)
    matrix, row = divmod(first, rows)
    block_rows, block_cols = grid.block
    above, skip = divmod(row, block_rows)
    scale_rows = -(-(skip + view.rows) // block_rows)
    if scale_rows == 1:
        block_rows = view.rows
        skip = 0
    index = 0 if one else (matrix * grid.rows + above) * grid.cols
    return replace(
        view,
        scale_shard=scale.shard,
        scale_dtype=dtype,
        scale_start=int(scale.start) + index * BITS[dtype] // 8,
        scale_rows=scale_rows,
        scale_cols=grid.cols,
        block_rows=block_rows,
        block_cols=block_cols,
        scale_skip=skip,
    )


def read_whole(view: Mapping[str, Any]) -> bool:
    """Whether all scales of a view are read whatever is read of it: where they are few,
    and where its rows lie in any order.
    """
    return (
        view["scale_rows"] * view["scale_cols"] <= SMALL
        or view.get("row_map") is not None
    )


def rows_of_scales(view: Mapping[str, Any], first: int, count: int) -> tuple[int, int]:
    """The first row of scales, and how many, that elements first..first+count of a view
    need.
    """
    if read_whole(view):
        return 0, view["scale_rows"]
    start = (first // view["cols"] + view["scale_skip"]) // view["block_rows"]
    end = ((first + count - 1) // view["cols"] + view["scale_skip"]) // view[
        "block_rows"
    ]
    return start, end - start + 1


def bytes_of_scales(view: Mapping[str, Any], start: int, rows: int) -> tuple[int, int]:
    """Where some rows of a view's scales lie in their file: (first byte, bytes)."""
    row = view["scale_cols"] * BITS[view["scale_dtype"]] // 8
    return view["scale_start"] + start * row, rows * row


def _matrices(shape: Sequence[int]) -> tuple[int, int, int]:
    """A tensor as matrices of rows x cols: three dimensions are stacked experts, more
    than three one matrix of flattened rows.
    """
    if len(shape) == 3:
        return shape[0], shape[1], shape[2]
    return 1, shape[0] if shape else 1, math.prod(shape[1:])


def _stack_grid(
    shape: Sequence[int],
    matrices: int,
    rows: int,
    cols: int,
    name: str,
    config: Mapping[str, Any],
) -> Grid | None:
    if math.prod(shape) == 1:
        return Grid(1, 1, (rows, cols))
    return _grid(shape[1:], rows, cols, name, config) if shape[0] == matrices else None


def _grid(
    shape: Sequence[int], rows: int, cols: int, name: str, config: Mapping[str, Any]
) -> Grid | None:
    """How scales of this shape lie over one matrix; None where they do not, or in more
    ways than one.
    """
    if not rows * cols:
        return None
    found = set()
    for scale_rows, scale_cols in _as_matrix(shape, rows, cols, name):
        block = _block(scale_rows, scale_cols, rows, cols, config)
        if block is not None:
            found.add(Grid(scale_rows, scale_cols, block))
    return found.pop() if len(found) == 1 else None


def _as_matrix(
    shape: Sequence[int], rows: int, cols: int, name: str
) -> list[tuple[int, int]]:
    """The scales as rows and columns of scales, in every way that the dimensions of
    length 1 leave open.
    """
    if math.prod(shape) == 1:
        return [(1, 1)]
    if len(shape) == 1:
        twice = shape[0] == 2 and rows % 2 == 0 and any(part in name for part in TWICE)
        if shape[0] == rows or twice:
            return [(shape[0], 1)]
        return [(1, cols)] if shape[0] == cols else []
    if (
        len(shape) == 4 and shape[1] == shape[3] == 1
    ):  # [rows / block, 1, columns / block, 1]
        return [(shape[0], shape[2])]
    kept = combinations(range(len(shape)), 2)
    return [
        (shape[i], shape[j]) for i, j in kept if shape[i] * shape[j] == math.prod(shape)
    ]


def _block(
    scale_rows: int, scale_cols: int, rows: int, cols: int, config: Mapping[str, Any]
) -> tuple[int, int] | None:
    """The block of each scale: the configured one or 128 x 128, of which those at the
    edges may be cut off; else an even division.

    Blocks that are neither whole rows or columns, nor parts of one row or column, nor square are nobody's: scales that lie otherwise, turned
    for example, would seem to fit.
    """
    for block in (config.get("weight_block_size"), BLOCK):
        if block and scale_grid(rows, cols, tuple(block)) == (scale_rows, scale_cols):
            return block[0], block[1]
    if not scale_rows or not scale_cols or rows % scale_rows or cols % scale_cols:
        return None
    high = rows // scale_rows
    wide = cols // scale_cols
    if high * wide < FEWEST and high != rows and wide != cols:
        return None
    return (
        (high, wide) if high in (1, rows) or wide in (1, cols) or high == wide else None
    )


def _scale_dtype(dtype: str, grid: Grid, cols: int, config: Mapping[str, Any]) -> str:
    """How the scale's numbers are read: bytes are exponents where the configuration
    says so, or where they lie as MX's do.
    """
    said = str((config.get("quantization") or {}).get("scale_format") or "").lower()
    if dtype == "U8" and (
        "e8m0" in said or (grid.block == (1, MX_GROUP) and cols > MX_GROUP)
    ):
        return EXPONENTS
    if dtype == EXPONENTS or dtype in FORMATS:
        return dtype
    raise AuditError(
        f"its scale is of dtype {dtype}, and nothing says how that is read"
    )
