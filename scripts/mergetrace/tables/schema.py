"""What a table holds: its columns, and the check that it holds no others."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal[
    "text", "integer", "number", "yes or no", "list of integers", "list of numbers"
]
"""What a column holds: utf-8, int64, float64, bool, list<int64>, list<float64>."""
Per = Literal["donor", "pair", "ordered pair"]
"""Of what a column exists once each: its name goes on with the donors' after dots."""

ALLOWED: dict[str, str] = {
    "text": "OTU",
    "integer": "iuO",
    "number": "fiO",
    "yes or no": "bO",
    "list of integers": "O",
    "list of numbers": "O",
}
"""The kinds of numpy and pandas dtypes in which a column may be held; O where it may be
missing, or is held as objects."""


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    kind: Kind
    meaning: str
    """One line."""
    unit: str = ""
    nullable: bool = False
    """Whether a value may be missing (an empty field in CSV)."""
    per: Per | None = None


@dataclass(frozen=True)
class Table:
    """One kind of table that is written."""

    path: str
    """Where it lies under results/."""
    meaning: str
    columns: tuple[Column, ...]
    optional: frozenset[str] = frozenset()
    """The columns that only some tables have, such as those of a sample."""

    def unknown(self, names: Iterable[str]) -> list[str]:
        """The names that are no column of the table."""
        return [name for name in names if self.column(name) is None]

    def missing(self, names: Iterable[str]) -> list[str]:
        """The columns, those per donor left aside, that a table must have and that are
        not among the names.
        """
        needed = [
            column.name
            for column in self.columns
            if column.per is None and column.name not in self.optional
        ]
        present = set(names)
        return [name for name in needed if name not in present]

    def column(self, name: str) -> Column | None:
        """The column of this name; of one per donor the donors' names are left aside."""
        for column in self.columns:
            if column.per is None and column.name == name:
                return column
            if column.per and re.fullmatch(rf"{re.escape(column.name)}\..+", name):
                return column
        return None

    def check(self, frame: "pd.DataFrame") -> None:
        """Check a table before it is written.

        Raises ValueError, which is a defect of ours: a column that the table does not
        know, one that it must have and has not, or one that holds another kind of value.
        """
        names = [str(name) for name in frame.columns]
        wrong = [f"unknown column {name}" for name in self.unknown(names)]
        wrong += [f"no column {name}" for name in self.missing(names)]
        for name in names if len(frame) else ():
            column = self.column(name)
            kind = frame[name].dtype.kind
            if column is None or frame[name].isna().all():
                continue
            # Joined with an empty table, integers are held as floats.
            whole = kind == "f" and (frame[name].dropna() % 1 == 0).all()
            if column.kind == "integer" and whole:
                continue
            if kind not in ALLOWED[column.kind]:
                wrong.append(f"column {name} holds {frame[name].dtype}")
        if wrong:
            raise ValueError(f"{self.path}: {'; '.join(wrong)}")
