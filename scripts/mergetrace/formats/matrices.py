"""A matrix in a file: where its elements lie, and the scales of FP8 weights."""

from dataclasses import dataclass, field

from mergetrace.numerics.arrays import Integers


@dataclass(frozen=True, kw_only=True)
class Matrix:
    """rows x cols elements of one file, row-major, with their block scales where they
    have them.

    Contiguous from `start`, unless `row_map` says which rows from there on they are:
    where rows of several matrices take turns, or heads have their rows in another order.
    """

    shard: str  # the file
    dtype: str
    start: int  # absolute byte offset
    rows: int
    cols: int
    scale_shard: str = ""  # the file that holds the scales; "": there are none
    scale_dtype: str = ""
    scale_start: int = 0  # absolute byte offset
    scale_rows: int = 0
    scale_cols: int = 0
    block_rows: int = 0  # rows and columns of the elements that share a scale
    block_cols: int = 0
    scale_skip: int = 0  # rows of the first blocks that lie above the matrix
    # what else its numbers depend on (see companions); "": nothing
    beside: str = ""
    # int64 [rows]: row r is the row row_map[r] of the file, counted from `start`
    row_map: Integers | None = field(default=None, compare=False, repr=False)

    @property
    def scales_run_on(self) -> bool:
        """Whether blocks follow one another over the ends of rows: bitsandbytes knows no
        rows, and these are no whole number of blocks.
        """
        return self.scale_cols * self.block_cols >= self.cols + self.block_cols
