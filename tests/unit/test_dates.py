"""Who was first: stated dates, the Hub's dates, and what follows from both. Nobody is
called first whose dates touch the other's.
"""

import dataclasses
import json
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
import yaml

from mergetrace.finding.dates import earlier
from mergetrace.finding.wording_dates import beside_suspect, oddities
from mergetrace.stages import verdict
from mergetrace.testing.audits import audit
from mergetrace.testing.planting import blend, finetuned, random_model, write_model
from mergetrace.thresholds import Thresholds
from mergetrace.timestamps import describe_dates, stated

NOW = datetime(2026, 6, 14, 12, tzinfo=UTC)


def hub(first, last=None, created=None):
    """What the Hub lists: days of May 2026 as numbers, or texts."""

    def day(value):
        return f"2026-05-{value:02}T12:00:00Z" if isinstance(value, int) else value

    return {
        "stated": None,
        "hub": {
            "first": day(first),
            "last": day(last or first),
            "created": day(created or first),
        },
    }


def said(day, listed=None):
    """What the auditor states: a day of May 2026 as a number, or a text."""
    return {
        "stated": f"2026-05-{day:02}" if isinstance(day, int) else day,
        "hub": listed and listed["hub"],
    }


NOBODY = {"stated": None, "hub": None}
UNKNOWN_LAST = {
    "stated": None,
    "hub": {
        "first": "2026-05-10T12:00:00Z",
        "last": None,
        "created": "2026-05-10T12:00:00Z",
    },
}


@pytest.mark.parametrize(
    ("donor", "suspect", "found"),
    [
        # The Hub's dates alone.
        (hub(1, 2), hub(3, 4), (True, "hub")),
        (hub(3, 4), hub(1, 2), (False, "hub")),
        (hub(1), hub(1), (None, None)),
        (
            hub("2026-05-01T12:00:00Z"),
            hub("2026-05-01T12:00:01Z"),
            (True, "hub"),
        ),  # a moment decides within a day
        (
            hub(1, 9),
            hub(5),
            (None, None),
        ),  # a repository made early whose weights were changed after the suspect's
        (
            hub(3),
            hub(1, 9),
            (None, None),
        ),  # a suspect that was cut into other shards later
        (hub(1, 5), hub(5, 9), (None, None)),  # they touch
        (
            UNKNOWN_LAST,
            hub(20),
            (None, None),
        ),  # a donor whose last change nobody knows is never first
        (UNKNOWN_LAST, hub(5), (False, "hub")),
        (hub(5), UNKNOWN_LAST, (True, "hub")),
        (hub(20), UNKNOWN_LAST, (None, None)),
        # Stated days.
        (said(1), said(2), (True, "stated")),
        (said(2), said(1), (False, "stated")),
        (said(1), said(1), (None, None)),
        (said("2026-05-01T12:00:00Z"), said(1), (None, None)),  # a day is no moment
        (said("2026-05-01T12:00:00Z"), said("2026-05-01T12:00:01Z"), (True, "stated")),
        (said("2026-05-01T23:59:59Z"), said(2), (True, "stated")),
        # One stated, the other the Hub's.
        (said(1), hub(2), (True, "stated")),
        (said(2), hub(2), (None, None)),
        (hub(1), said(2), (True, "stated")),
        (hub(2), said(2), (None, None)),
        (hub(3), said(2), (False, "stated")),
        # Both of one model: what is stated counts, as long as the Hub does not
        # contradict it.
        (said(1, hub(9)), hub(5), (True, "stated")),
        (hub(9), said(5, hub(20)), (False, "stated")),
        (
            said(9, hub(9)),
            hub(12),
            (True, "stated"),
        ),  # the same day is no contradiction
        (
            hub(5),
            said(20, hub(3)),
            (False, "hub"),
        ),  # a suspect is not made younger than the Hub knows it
        (hub(1), said(20, hub(3)), (True, "hub")),
        (
            said(20, hub(1)),
            hub(5),
            (None, None),
        ),  # nor a donor older than its own accuser says
        (said(20, hub(1)), hub(25), (True, "stated")),
        (said(20, hub(9)), hub(5), (False, "stated")),
        # Nobody says anything of one of them.
        (NOBODY, NOBODY, (None, None)),
        (NOBODY, said(1), (None, None)),
        (said(1), NOBODY, (None, None)),
        (hub(1), NOBODY, (None, None)),
        ({}, hub(1), (None, None)),
    ],
)
def test_who_was_first(donor, suspect, found):
    age = earlier(donor, suspect)
    assert (age and age.before, age and age.by) == found


def test_a_stated_date_that_the_hub_contradicts_is_said_and_so_is_one_before_the_last_change():
    odd = oddities(
        {
            "rio": said(20, hub(3)),
            "nex": said(1, hub(1, 9)),
            "a": said(3, hub(3)),
            "b": hub(3),
            "c": said(3),
            "d": NOBODY,
        }
    )
    assert len(odd) == 2
    assert (
        "rio is stated to be published on 2026-05-20, but the Hub lists it from"
        " 2026-05-03: the Hub's dates were used." in odd
    )
    assert "were last changed on the Hub on 2026-05-09" in odd[1]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (date(2026, 5, 1), "2026-05-01"),
        ("2026-05-01", "2026-05-01"),
        (" 2026-05-01 ", "2026-05-01"),
        ("2026-05-01T10:00:00+02:00", "2026-05-01T08:00:00Z"),
        ("2026-05-01 10:00Z", "2026-05-01T10:00:00Z"),
        (
            datetime(2026, 5, 1, 1, tzinfo=timezone(timedelta(hours=8))),
            "2026-04-30T17:00:00Z",
        ),
        ("2026-06-15", "2026-06-15"),  # it is tomorrow already east of here
    ],
)
def test_a_date_is_written_in_one_way(value, written):
    assert stated(value, NOW) == written
    assert stated(written, NOW) == written


def test_yaml_dates_are_taken_as_they_come():
    read = yaml.safe_load(
        "[2026-05-01, '2026-05-01', 2026-05-01T10:00:00+02:00, 2026-05-01 10:00:00Z]"
    )
    assert [stated(value, NOW) for value in read] == [
        "2026-05-01",
        "2026-05-01",
        "2026-05-01T08:00:00Z",
        "2026-05-01T10:00:00Z",
    ]


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (
            "soon",
            "`soon` is no date; give the day its weights were published as 2026-05-01",
        ),
        ("2026-5-1", "is no date"),
        ("2026-13-01", "is no date"),
        ("01.05.2026", "is no date"),
        ("", "`` is no date"),
        (20260501, "`20260501` is no date"),
        (2026, "is no date"),
        (True, "is no date"),
        (None, "`None` is no date"),
        ([], "is no date"),
        ({"day": 1}, "is no date"),
        ("2026-05-01\n\u202e\x00", "is no date"),
        ("x" * 10_000, "is no date"),
        ("2026-06-16", "lies in the future"),
        (date(2099, 1, 1), "lies in the future"),
        ("1999-12-31", "is before there were such models"),
        ("0001-01-01T00:00:00+23:00", "before there were such models"),
        ("9999-12-31T23:59:59-23:00", "lies in the future"),
        ("2026-05-01T10:00:00", "says no time zone"),
        (datetime(2026, 5, 1, 10), "says no time zone"),
    ],
)
def test_nonsense_is_refused_in_one_short_line(value, why):
    with pytest.raises(ValueError, match="`") as refused:
        stated(value, NOW)
    assert why in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 250


def test_dates_in_words_say_who_says_so():
    assert describe_dates("2026-05-01", None) == "2026-05-01 (stated)"
    assert describe_dates(None, None) == ""
    listed = hub(1, 3, created="2026-04-01T00:00:00Z")["hub"]
    assert (
        describe_dates(None, listed)
        == "2026-05-01 (Hub: weights first 2026-05-01, last changed 2026-05-03)"
    )
    assert (
        describe_dates("2026-04-01", listed)
        == "2026-04-01 (stated; Hub: weights first 2026-05-01, last changed 2026-05-03)"
    )
    assert (
        describe_dates(None, UNKNOWN_LAST["hub"])
        == "2026-05-10 (Hub: repository made 2026-05-10)"
    )


@pytest.mark.slow
def test_a_stated_date_stands_in_the_finding_as_stated(tmp_path):
    base = random_model(0)
    donor = finetuned(base, 1)
    tensors = {"suspect": blend(base, donor, 0.571), "base": base, "donor": donor}
    folders = {
        name: write_model(tmp_path / "models" / name, tensors[name]) for name in tensors
    }
    spec = {"suspect": "suspect", "base": "base", "donors": ["donor"]}
    found = audit(
        tmp_path / "x",
        folders,
        spec,
        published={"donor": date(2026, 5, 1), "suspect": "2026-05-02T10:00:00+02:00"},
    )
    assert found["published"] == {
        "suspect": {"stated": "2026-05-02T08:00:00Z", "hub": None},
        "base": {"stated": None, "hub": None},
        "donor": {"stated": "2026-05-01", "hub": None},
    }
    assert found["order"]["donor"]["by"] == "stated"

    # The same models, had they come from the Hub: its dates stand in the manifests.
    for name, day in (("donor", 1), ("suspect", 9)):
        path = tmp_path / f"x/models/{name}/manifest.json"
        path.write_text(
            json.dumps({**json.loads(path.read_text()), "published": hub(day)["hub"]})
        )
    limits = dataclasses.asdict(Thresholds())
    verdict.run(
        verdict.Inputs(
            *(
                tmp_path / f"x/{name}.json"
                for name in ("summary", "plan", "layout", "packed")
            ),
            tuple(tmp_path / f"x/models/{name}/manifest.json" for name in tensors),
        ),
        verdict.Params("x", limits),
        verdict.Outputs(tmp_path / "hub.json"),
    )
    again = json.loads((tmp_path / "hub.json").read_text())
    assert (again["order"]["donor"]["before"], again["order"]["donor"]["by"]) == (
        True,
        "hub",
    )
    assert again["published"]["donor"] == hub(1)
    assert again["verdict"] == "merge"


def test_every_model_is_dated_beside_the_suspect():
    assert beside_suspect(hub(5, 5), hub(1, 1)) == "older, by the Hub"
    assert beside_suspect(hub(1, 1), hub(5, 5)) == "younger, by the Hub"
    assert (
        beside_suspect(hub(5, 5), {"stated": "2020-01-01"}) == "older, by a stated date"
    )
    assert beside_suspect(hub(1, 1), hub(1, 1)) == "not known: the dates overlap"
    assert beside_suspect(hub(1, 1), {}) == "not known: a date is missing"
