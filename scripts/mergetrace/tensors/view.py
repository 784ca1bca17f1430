"""A view: one matrix of a model, and where its elements lie in the model's files."""

from dataclasses import dataclass, field

from mergetrace.numerics.arrays import Integers

Key = tuple[str, str]
"""A slice by its canonical name: tensor, expert."""


@dataclass(frozen=True)
class View:
    """rows x cols elements of one model's file, row-major, with their FP8 block scales
    where they have them.

    Contiguous from `start`, unless `row_map` says which rows from there on they are:
    where rows of several matrices take turns, or heads have their rows in another order.
    """

    tensor: str  # canonical name of the tensor (without the expert's number)
    slice: str  # the expert's number, or ""
    source: str  # the tensor's own name in the model: untrusted text
    shard: str
    dtype: str
    start: int  # absolute byte offset
    rows: int
    cols: int
    dimensions: int  # dimensions longer than 1, as stored
    scale_shard: str = ""  # the file that holds the scales; "": there are none
    scale_dtype: str = ""
    scale_start: int = 0  # absolute byte offset
    scale_rows: int = 0
    scale_cols: int = 0
    block_rows: int = 0  # rows and columns of the elements that share a scale
    block_cols: int = 0
    scale_skip: int = 0  # rows of the first blocks that lie above the view
    # a head that is the embedding: its elements are compared there
    borrowed: bool = False
    row_map: Integers | None = field(default=None, compare=False, repr=False)

    @property
    def key(self) -> Key:
        """The slice that it is."""
        return self.tensor, self.slice

    @property
    def label(self) -> str:
        """Its name for people: the tensor's own, with the expert."""
        return f"{self.source}[{self.slice}]" if self.slice else self.source
