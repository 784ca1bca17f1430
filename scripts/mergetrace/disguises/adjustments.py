"""How a slice is read where it lies, or is stored, otherwise than its view says."""

from dataclasses import dataclass
from typing import Any

from mergetrace.numerics.arrays import Array, Integers


@dataclass(frozen=True)
class Adjustment:
    """What undoes a disguise of one slice as its elements are read. A field that is not
    given leaves that as the view says.
    """

    row_map: Integers | None = None
    """Row r of the slice is row row_map[r] of the file."""
    col_map: Integers | None = None
    """Column c of the slice is column col_map[c] of the file."""
    row_scale: Array | None = None
    """What the numbers of each row are multiplied by."""
    col_scale: Array | None = None
    """What the numbers of each column are multiplied by."""
    row_decides: Array | None = None
    """1 for each row whose packed numbers lie in their cells, else 0."""
    col_decides: Array | None = None
    """The same of each column."""
    pushed: Array | None = None
    """The least and the most that is added to the ends of each cell of the columns that
    decide, one row after another. NaN where a cell is left open.
    """
    factor: float = 1.0
    """What all numbers were multiplied by, and are divided by."""
    through: str | None = None
    """The format that numbers were rounded to before they were scaled and stored."""
    dtype: str | None = None
    """The format that numbers are rounded to as they are read."""
    stored_dtype: str | None = None
    """The file's format, where they are."""

    def of_view(self) -> dict[str, Any]:
        """The fields that are given, under the names that a row of the plan has."""
        fields = {
            name: value for name, value in vars(self).items() if value is not None
        }
        if self.factor == 1.0:
            del fields["factor"]
        return fields
