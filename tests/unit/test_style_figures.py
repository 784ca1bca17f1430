"""The figures of the code, on a planted file."""

from pathlib import Path

import pytest

from benchmarks.style import (
    details,
    loose_mappings,
    percentile95,
    public,
    read,
    repeated_options,
    row,
)

LONG = "# " + "long " * 30
PLANTED = f'''"""A planted file."""

import argparse
from collections.abc import Mapping
from typing import Any

{LONG}


def told(facts: Mapping[str, Any]) -> dict[str, int]:
    """Documented."""

    def inner(value):
        return value

    return {{name: inner(value) for name, value in facts.items()}}


class Shown:
    def method(self, row: dict[str, Any]) -> None:
        pass

    def _hidden(self) -> None:
        pass


def options(parser: argparse.ArgumentParser, derived: str) -> None:
    parser.add_argument("-a", "--alpha")
    parser.add_argument("--alpha")
    parser.add_argument("--beta")
    parser.add_argument(derived)
    parser.add_argument(derived)
    parser.add_argument("beta")
'''


@pytest.fixture
def sources(tmp_path):
    (tmp_path / "code").mkdir()
    (tmp_path / "code/planted.py").write_text(PLANTED)
    (tmp_path / "code/empty.py").write_text('"""Nothing."""\n')
    return read(Path("code"), tmp_path)


def test_a_row_counts_files_lines_functions_and_docstrings(sources):
    cells = [cell.strip() for cell in row(Path("code"), sources).split("|")[1:-1]]
    assert cells[:3] == ["code", "2", "17 (33)"]
    assert cells[3] == "2 / 7 / 7"
    assert cells[4] == f"{1 / 34:.1%}"
    planted = sources[1]
    density = f"{len(planted.nodes) / planted.non_blank:.1f}"
    assert cells[5] == f"{density} ({density})"  # the empty file is too small to count
    assert cells[6] == "33%"
    assert [node.name for node in public(sources)] == ["told", "options", "method"]


def test_options_are_repeated_where_their_name_is_written_twice(sources):
    assert repeated_options(sources) == [
        "--alpha: code/planted.py:28, code/planted.py:29"
    ]


def test_dictionaries_of_anything_are_found_with_their_place(sources):
    assert [str(place) for place in loose_mappings(sources)] == [
        "code/planted.py:10: Mapping[str, Any]",
        "code/planted.py:20: dict[str, Any]",
    ]


def test_what_stands_out_is_named(sources):
    told = details(sources).splitlines()
    assert told[0] == "longest module: code/planted.py, 33 lines"
    assert told[1].startswith("longest function: code/planted.py:10: told, 7 lines")
    assert told[2] == "files above 10 nodes a line: 0"


def test_the_95th_percentile_of_one_value_is_that_value():
    assert percentile95([4]) == 4
    assert percentile95(list(range(1, 101))) == pytest.approx(95, abs=1)
