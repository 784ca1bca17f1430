"""The scales of FP8 weights: which tensor holds them, and which of them belongs to
which number.

Every published format multiplies, W = q * scale, whatever the scale is called:
`weight_scale_inv` is what the quantiser divided by. Scales come one per tensor, per
row, per column, per group of a row or per block; stacked experts have one such set
each.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from typing import TYPE_CHECKING, TypeVar

from mergetrace.errors import ModelFileError
from mergetrace.formats.block_layouts import stored_size
from mergetrace.formats.matrices import Matrix
from mergetrace.numerics.block_scales import EXPONENTS, NESTED, scale_grid
from mergetrace.numerics.dtypes import BITS, FORMATS

if TYPE_CHECKING:
    from mergetrace.files.tensor_records import TensorRecord
    from mergetrace.formats.model_config import ModelConfig

SCALED = ("F8_E4M3", "F8_E5M2")
# of DeepSeek-V3 and those after it, where the configuration says nothing
USUAL_BLOCK = (128, 128)
# the OCP Microscaling formats (MX) v1.0: one E8M0 exponent per 32 numbers of a row
MX_GROUP = 32
# names of what holds two matrices of one size, and may have a scale for each
PAIRED_NAMES = ("gate_up", "w13", "w1w3")
# weights that share a scale within a row or a block: a scale for each would be no
# quantisation
MIN_SHARING = 8
# scales of one view that are read at once and kept; of more only those that are needed
MAX_KEPT_SCALES = 1 << 18
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

M = TypeVar("M", bound=Matrix)


@dataclass(frozen=True)
class Grid:
    """The scales of one matrix."""

    rows: int  # of scales
    cols: int
    block: tuple[int, int]  # rows and columns of the numbers that share a scale


@dataclass(frozen=True)
class Stack:
    """A tensor as matrices of one size: three dimensions are stacked experts, any other
    number one matrix of flattened rows.
    """

    matrices: int
    rows: int  # of one matrix
    cols: int

    @classmethod
    def of(cls, shape: Sequence[int]) -> "Stack":
        """The matrices of a tensor of this shape."""
        if len(shape) == 3:
            return cls(shape[0], shape[1], shape[2])
        return cls(1, shape[0] if shape else 1, math.prod(shape[1:]))


def scale_names(name: str) -> list[str]:
    """What the scale of a weight of this name may be called."""
    module = name.removesuffix(".weight")
    names = [name + ending for ending in _OF_WEIGHT]
    names += [module + ending for ending in _OF_MODULE]
    if module == name:
        names += [module + ending for ending in _OF_FUSED]
    for data, scale in _OF_DATA.items():
        if name.endswith(data):
            names.append(name.removesuffix(data) + scale)
    return list(dict.fromkeys(names))


def scale_tensors(records: Mapping[str, "TensorRecord"]) -> dict[str, list[str]]:
    """The names of the tensors that may be its scale, for each FP8 weight that has any.

    records: a model's tensors by their own names.
    """
    candidates = {}
    for name, record in records.items():
        if record.dtype in SCALED:
            scales = [scale for scale in scale_names(name) if scale in records]
            if scales:
                candidates[name] = scales
    all_scales = set(chain.from_iterable(candidates.values()))
    return {
        name: scales for name, scales in candidates.items() if name not in all_scales
    }


def with_scale(
    matrix: M, record: "TensorRecord", scale: "TensorRecord", config: "ModelConfig"
) -> M:
    """The matrix with its scales attached.

    matrix: rows of a tensor, one after another as they are stored. record, scale: the
    tensor and its scale. ModelFileError where the scale does not fit: then no number of
    the tensor is known.
    """
    if not matrix.rows * matrix.cols:
        return matrix
    stack = Stack.of(record.shape)
    grid = _stack_grid(scale.shape, stack, record, config)
    if grid is None:
        raise ModelFileError(
            f"its scale {list(scale.shape)} does not fit {_times(record.shape)}"
        )
    dtype = _scale_dtype(scale.dtype, grid, stack.cols, config)
    is_single = scale.elements == 1
    if matrix.cols != stack.cols:
        # Stacked matrices that were not cut apart: a row of `matrix` is one of them.
        if not is_single and (grid.rows, grid.cols) != (1, 1):
            raise ModelFileError(
                f"its scale {list(scale.shape)} cannot be followed through"
                f" {_times(record.shape)} numbers that were not cut apart"
            )
        if is_single:
            grid = Grid(1, 1, (stack.matrices, matrix.cols))
        else:
            grid = Grid(stack.matrices, 1, (1, matrix.cols))
        stack = Stack(1, stack.matrices, matrix.cols)
    row_bytes = stored_size(matrix.dtype, stack.cols)
    expert, row = divmod((matrix.start - record.start) // row_bytes, stack.rows)
    block_rows, block_cols = grid.block
    above, skip = divmod(row, block_rows)
    scale_rows = -(-(skip + matrix.rows) // block_rows)
    if scale_rows == 1:
        block_rows = matrix.rows
        skip = 0
    index = 0 if is_single else (expert * grid.rows + above) * grid.cols
    return replace(
        matrix,
        scale_shard=scale.shard,
        scale_dtype=dtype,
        scale_start=scale.start + index * _scale_bytes(dtype),
        scale_rows=scale_rows,
        scale_cols=grid.cols,
        block_rows=block_rows,
        block_cols=block_cols,
        scale_skip=skip,
    )


def keeps_all_scales(matrix: Matrix) -> bool:
    """Whether all scales of a matrix are read whatever is read of it: where they are
    few, and where rows lie in any order or scales run on from one into the next.
    """
    scales = matrix.scale_rows * matrix.scale_cols
    is_any = matrix.row_map is not None or matrix.scales_run_on
    return scales <= MAX_KEPT_SCALES or is_any


def rows_of_scales(matrix: Matrix, first: int, count: int) -> tuple[int, int]:
    """The first row of scales, and how many, that elements first..first+count of a
    matrix need.
    """
    if keeps_all_scales(matrix):
        return 0, matrix.scale_rows
    first_row = first // matrix.cols + matrix.scale_skip
    last_row = (first + count - 1) // matrix.cols + matrix.scale_skip
    start = first_row // matrix.block_rows
    return start, last_row // matrix.block_rows - start + 1


def bytes_of_scales(matrix: Matrix, start: int, rows: int) -> tuple[int, int]:
    """Where some rows of a matrix's scales lie in their file: (first byte, bytes)."""
    row_bytes = matrix.scale_cols * _scale_bytes(matrix.scale_dtype)
    return matrix.scale_start + start * row_bytes, rows * row_bytes


def _scale_bytes(dtype: str) -> int:
    """The bytes of one scale."""
    return 1 if dtype == NESTED else BITS[dtype] // 8


def _times(shape: Sequence[int]) -> str:
    """A shape in words: `128 x 64`."""
    return " x ".join(map(str, shape))


def _stack_grid(
    shape: Sequence[int], stack: Stack, record: "TensorRecord", config: "ModelConfig"
) -> Grid | None:
    """How scales of this shape lie over each matrix of a tensor; None where they do
    not, or in more ways than one.
    """
    if len(record.shape) == 3:
        if math.prod(shape) == 1:
            return Grid(1, 1, (stack.rows, stack.cols))
        if shape[0] != stack.matrices:
            return None
        shape = shape[1:]
    return _grid(shape, stack.rows, stack.cols, record.name, config)


def _grid(
    shape: Sequence[int], rows: int, cols: int, name: str, config: "ModelConfig"
) -> Grid | None:
    """How scales of this shape lie over one matrix; None where they do not, or in more
    ways than one.
    """
    if not rows * cols:
        return None
    grids = set()
    for scale_rows, scale_cols in _as_matrix(shape, rows, cols, name):
        block = _block(scale_rows, scale_cols, rows, cols, config)
        if block is not None:
            grids.add(Grid(scale_rows, scale_cols, block))
    return grids.pop() if len(grids) == 1 else None


def _as_matrix(
    shape: Sequence[int], rows: int, cols: int, name: str
) -> list[tuple[int, int]]:
    """The scales as rows and columns of scales, in every way that the dimensions of
    length 1 leave open.
    """
    if math.prod(shape) == 1:
        return [(1, 1)]
    if len(shape) == 1:
        twice = (
            shape[0] == 2
            and rows % 2 == 0
            and any(part in name for part in PAIRED_NAMES)
        )
        if shape[0] == rows or twice:
            return [(shape[0], 1)]
        return [(1, cols)] if shape[0] == cols else []
    # [rows / block, 1, columns / block, 1]
    if len(shape) == 4 and shape[1] == shape[3] == 1:
        return [(shape[0], shape[2])]
    pairs = combinations(shape, 2)
    return [(high, wide) for high, wide in pairs if high * wide == math.prod(shape)]


def _block(
    scale_rows: int, scale_cols: int, rows: int, cols: int, config: "ModelConfig"
) -> tuple[int, int] | None:
    """The block of each scale: the configured one or 128 x 128, of which those at the
    edges may be cut off; else an even division.

    Blocks that are neither whole rows or columns, nor parts of one row or column, nor
    square are not taken, since nobody uses them: scales that lie otherwise, transposed
    for example, would seem to fit.
    """
    for block in (config.weight_block_size, USUAL_BLOCK):
        if block and scale_grid(rows, cols, block) == (scale_rows, scale_cols):
            return block
    if not scale_rows or not scale_cols or rows % scale_rows or cols % scale_cols:
        return None
    high = rows // scale_rows
    wide = cols // scale_cols
    if high * wide < MIN_SHARING and high != rows and wide != cols:
        return None
    if high in (1, rows) or wide in (1, cols) or high == wide:
        return high, wide
    return None


def _scale_dtype(dtype: str, grid: Grid, cols: int, config: "ModelConfig") -> str:
    """The dtype as which the scale's numbers are read: bytes are exponents where the
    configuration says so, or where they lie as those of MX do.
    """
    scale_format = config.quantization.scale_format if config.quantization else None
    is_mx = grid.block == (1, MX_GROUP) and cols > MX_GROUP
    if dtype == "U8" and (is_mx or "e8m0" in (scale_format or "")):
        return EXPONENTS
    if dtype in (EXPONENTS, NESTED) or dtype in FORMATS:
        return dtype
    raise ModelFileError(
        f"its scale is of dtype {dtype}, and nothing says how that is read"
    )
