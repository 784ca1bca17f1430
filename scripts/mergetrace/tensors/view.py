"""A view: one matrix of a model under its common name, and how it is read."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from mergetrace.formats.matrices import Matrix
from mergetrace.numerics.arrays import Array, Integers

Key = tuple[str, str]
"""A slice by its canonical name: tensor, expert."""

ARRAYS = (
    *("row_map", "col_map", "row_scale", "col_scale"),
    *("row_decides", "col_decides", "pushed"),
)
"""The fields of a view that are arrays: one number per row or column, or for each of them
both."""


@dataclass(frozen=True, kw_only=True)
class View(Matrix):
    """A matrix of a model, and which slice it is.

    The last fields say how it is read where the model's tensor lies otherwise than its
    parents' (see disguises).
    """

    tensor: str  # canonical name of the tensor (without the expert's number)
    slice: str  # the expert's number, or ""
    source: str  # the tensor's own name in the model: untrusted text
    dimensions: int  # dimensions longer than 1, as stored
    model: str = ""  # whose matrix it is; "": it was not said yet
    # a head that is the embedding: its elements are compared there
    borrowed: bool = False

    # int64 [cols]: column c of the view is column col_map[c] of the file
    col_map: Integers | None = field(default=None, compare=False, repr=False)
    # float64 [rows] and [cols]: what the numbers of a row or column are multiplied by
    row_scale: Array | None = field(default=None, compare=False, repr=False)
    col_scale: Array | None = field(default=None, compare=False, repr=False)
    # float64 [rows] and [cols], 0 or 1: whose packed numbers lie in their cells; elsewhere
    # the cells are left open (see elements.decided)
    row_decides: Array | None = field(default=None, compare=False, repr=False)
    col_decides: Array | None = field(default=None, compare=False, repr=False)
    # float64 [rows x deciding columns x 2]: the least and the most that is added to the
    # ends of the cells of the columns that decide; NaN where one is left open all the same
    pushed: Array | None = field(default=None, compare=False, repr=False)
    factor: float = 1.0  # what the model's numbers were multiplied by; they are divided
    shift: float = 0.0  # what is added to the numbers of a format that is not packed
    through: str = ""  # the format they were rounded to before (see evidence.Sample)
    # the file's dtype, where numbers are rounded to `dtype` as they are read
    stored_dtype: str = ""

    @property
    def key(self) -> Key:
        """The slice that it is."""
        return self.tensor, self.slice

    @property
    def label(self) -> str:
        """Its name for people: the tensor's own, with the expert."""
        return f"{self.source}[{self.slice}]" if self.slice else self.source

    @property
    def is_rearranged(self) -> bool:
        """Whether its rows or columns lie in another order in the file."""
        return self.row_map is not None or self.col_map is not None


_FIELDS = tuple(each.name for each in fields(View))


def view_of(row: Mapping[Hashable, Any]) -> View:
    """A row of the plan as a view. Where the plan lacks a column, no model of the audit
    needs it.
    """
    known = {name: row[name] for name in _FIELDS if name in row}
    for name in ARRAYS:
        value = known.get(name)
        is_missing = value is None or isinstance(value, float)
        known[name] = None if is_missing else np.asarray(value)
    return View(**known)
