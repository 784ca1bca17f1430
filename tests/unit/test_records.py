"""Records read from JSON and written as JSON: nothing is lost, and what is missing is
named.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import yaml

from mergetrace.errors import AuditError
from mergetrace.records.json_records import as_json, from_json
from mergetrace.records.summary import Summary
from mergetrace.records.verdict import Verdict
from mergetrace.report.rendering import GLOSSARY, PACKAGE
from mergetrace.testing import reporting


@dataclass(frozen=True)
class Inner:
    number: float | None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    one: Inner | None
    many: tuple[Inner, ...]
    by_name: Mapping[str, Inner]


VALUE = {
    "one": None,
    "many": [{"number": 1.5, "names": ["a", "b"]}],
    "by_name": {"x": {"number": None, "names": []}},
}


def test_a_record_comes_back_as_it_was_written():
    record = from_json(Outer, VALUE, "here")
    assert record == Outer(None, (Inner(1.5, ("a", "b")),), {"x": Inner(None)})
    assert as_json(record) == VALUE


def test_further_keys_are_passed_over_and_defaults_stand_for_missing_ones():
    assert from_json(Inner, {"number": 2.0, "later": 1}, "here") == Inner(2.0)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ({**VALUE, "many": [{}]}, "here.many: number is missing"),
        ({**VALUE, "many": None}, "here.many: no list"),
        ({**VALUE, "by_name": {"x": 3}}, "here.by_name.x: no JSON object"),
        ([], "here: no JSON object"),
    ],
)
def test_what_is_missing_or_of_another_shape_is_named(value, place):
    with pytest.raises(AuditError, match=place):
        from_json(Outer, value, "here")


def test_a_finding_and_its_numbers_come_back_as_they_were_written():
    verdict = Verdict.of(reporting.finding())
    assert Verdict.of(verdict.as_json()) == verdict
    assert list(verdict.as_json())[:3] == ["audit", "suspect", "verdict"]
    summary = reporting.inputs().summary
    assert Summary.of(summary.as_json()) == summary


def test_every_word_of_the_glossary_is_explained_and_used():
    terms = yaml.safe_load(GLOSSARY.read_text())
    pages = "".join(
        path.read_text() for path in (PACKAGE / "templates").glob("*.html.j2")
    )
    for key, entry in terms.items():
        assert set(entry) == {"term", "meaning"}
        assert entry["meaning"].endswith("."), key
    used = {key for key in terms if f"term('{key}'" in pages}
    assert set(terms) - used <= {"base", "donor", "lattice", "recipe", "stripped"}
