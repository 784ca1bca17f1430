"""Every table that is written is described once, and checked when it is written."""

import pandas as pd
import pytest

from mergetrace.tables.documentation import README, page
from mergetrace.tables.schema import Column, Table
from mergetrace.tables.schemas import TABLES

TABLE = Table(
    "x.csv",
    "a table",
    (
        Column("model", "text", "a name"),
        Column("n", "integer", "a count"),
        Column("alpha", "number", "a share", nullable=True),
        Column("uv", "number", "a sum", per="donor"),
        Column("model_2", "text", "another name"),
    ),
    optional=frozenset({"model_2"}),
)


def frame(**columns):
    return pd.DataFrame({"model": ["a"], "n": [1], "alpha": [0.5]} | columns)


def test_what_the_readme_says_of_the_tables_is_current():
    assert README.read_text(encoding="utf-8") == page(
        README.read_text(encoding="utf-8")
    )


def test_every_column_says_what_it_is():
    for table in TABLES:
        names = [(column.name, column.per) for column in table.columns]
        assert len(set(names)) == len(names), table.path
        assert all(column.meaning.strip() for column in table.columns)


@pytest.mark.parametrize(
    "columns", [{}, {"uv.nex": [1.0]}, {"alpha": [None]}, {"model_2": ["b"]}]
)
def test_a_table_as_described_is_let_through(columns):
    TABLE.check(frame(**columns))
    TABLE.check(frame(**columns).iloc[:0])


@pytest.mark.parametrize(
    ("columns", "wrong"),
    [
        ({"beta": [1.0]}, "unknown column beta"),
        ({"n": [0.5]}, "column n holds float64"),
        ({"model": [1]}, "column model holds int64"),
        ({"uv": [1.0]}, "unknown column uv"),
    ],
)
def test_another_table_is_refused(columns, wrong):
    with pytest.raises(ValueError, match=wrong):
        TABLE.check(frame(**columns))


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="no column n"):
        TABLE.check(frame().drop(columns="n"))
