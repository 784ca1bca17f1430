"""The configurations of published recipes are valid, and the page lists them all. They are
run by whoever has a network.
"""

import re
from pathlib import Path

import pytest

from mergetrace.configuration.reading import load
from mergetrace.finding.wording_headline import LABELS

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted((ROOT / "config/published").glob("*.yaml"))
PAGE = (ROOT / "docs/published.md").read_text()


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_a_published_recipe_is_a_valid_configuration(path):
    configuration = load(path)
    assert list(configuration.audits) == [path.stem]
    assert all(source.on_hub for source in configuration.models.values())
    assert configuration.mode == "sample"
    (row,) = (line for line in PAGE.splitlines() if f"`{path.name}`" in line)
    (expected,) = re.findall(r"^# expected: (.*)$", path.read_text(), re.MULTILINE)
    verdicts = re.split(", | or ", expected)
    assert verdicts
    for verdict in verdicts:
        assert verdict in LABELS
        assert f"`{verdict}`" in row


def test_the_page_says_that_they_were_not_run():
    assert "None of them was run by us" in PAGE
    assert set(re.findall(r"`([a-z]+\.yaml)`", PAGE)) == {
        path.name for path in PUBLISHED
    }
