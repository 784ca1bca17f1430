"""Names of columns that exist once per donor, or per pair of donors.

The tables of sums and fits (deltas, fits) hold one row per block or slice, and the
numbers of each donor in columns of their own: `uv.nex`, `vv.nex.nex`, `vv.nex.other`.
A dot is in no name of a donor, so such a name is read back without doubt.

Rows per donor were tried instead (800,000 blocks, two donors): the file is as large,
but what belongs to a block as a whole and what belongs to a pair of donors need tables
of their own. Memory is 2.5 times as much, grouping by slice takes 5 times as long, and
putting together a slice's Gram matrix 20 times. Only this module takes names apart.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations, combinations_with_replacement
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import pandas as pd


class Columns(Protocol):
    """A data frame, arrays by name, or a row: whatever gives values by column."""

    def __contains__(self, column: object, /) -> bool: ...
    def __getitem__(self, column: str, /) -> Any: ...


def of_donor(number: str, donor: str) -> str:
    """The column of a number that exists once per donor: `coverage.nex`."""
    return f"{number}.{donor}"


def of_pair(number: str, first: str, second: str) -> str:
    """The column of a number that exists once per pair of donors: `vv.nex.other`."""
    return f"{number}.{first}.{second}"


def number_of(column: str) -> str:
    """The number that a column holds, of whichever donor: `coverage` of `coverage.nex`."""
    return column.partition(".")[0]


def pairs_with_self(donors: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Every unordered pair of donors, in their order, each with itself included."""
    return combinations_with_replacement(donors, 2)


def pairs(donors: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Every unordered pair of two donors, in their order."""
    return combinations(donors, 2)


def numbers_of(table: "pd.DataFrame", donor: str) -> "pd.DataFrame":
    """What a table holds of one donor, without its name: column `coverage` for
    `coverage.nex`.
    """
    names = {
        of_donor(number, donor): number
        for number, *donors in (str(name).split(".") for name in table.columns)
        if donors == [donor]
    }
    return table[list(names)].rename(columns=names)
