"""Write what the tables hold into results/README.md."""

from pathlib import Path

from mergetrace.outputs import write_text
from mergetrace.tables.schema import Column, Table
from mergetrace.tables.schemas import TABLES

README = Path(__file__).parents[3] / "results/README.md"
HEAD = "## Columns"
"""Everything from this line on is written here."""
ABOUT = """Written by `make tables-docs` from scripts/mergetrace/tables/schemas.py; do not edit.
`.DONOR` stands for a donor's name: such a column exists once for each. A column marked
with `?` may be empty: what cannot be computed is missing, never zero.
"""
PER = {
    None: "",
    "donor": ".DONOR",
    "pair": ".DONOR.DONOR",
    "ordered pair": ".DONOR.DONOR",
}


def page(text: str) -> str:
    """The text of results/README.md with the columns as they are now."""
    own = text.partition(HEAD)[0].rstrip()
    tables = "\n".join(_table(table) for table in TABLES)
    return f"{own}\n\n{HEAD}\n\n{ABOUT}\n{tables}"


def _table(table: Table) -> str:
    rows = "".join(map(_row, table.columns))
    head = "| column | holds | what it is |\n|---|---|---|\n"
    return f"### {table.path}\n\n{table.meaning}\n\n{head}{rows}"


def _row(column: Column) -> str:
    unit = f" ({column.unit})" if column.unit else ""
    missing = "?" if column.nullable else ""
    meaning = column.meaning.replace("|", "\\|")
    return f"| `{column.name}{PER[column.per]}` | {column.kind}{unit}{missing} | {meaning} |\n"


def main() -> None:
    """Rewrite the page."""
    write_text(README, page(README.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
