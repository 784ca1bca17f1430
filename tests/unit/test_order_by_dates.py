"""Who was first, by dates alone and in words: what is believed of a date, how it may be
written, and what the first screen says.
"""

from datetime import UTC, date, datetime

import pytest

from mergetrace.configuration.reading import complete
from mergetrace.errors import AuditError
from mergetrace.finding import wording
from mergetrace.finding.dates import earlier
from mergetrace.finding.wording_headline import headline
from mergetrace.records.verdict import Verdict
from mergetrace.testing import reporting


def hub(first, last=None, created=None):
    return {
        "stated": None,
        "hub": {
            "first": f"{first}T10:00:00Z",
            "last": f"{last or first}T10:00:00Z",
            "created": f"{created or first}T09:00:00Z",
        },
    }


def day(text):
    return {"stated": text, "hub": None}


@pytest.mark.parametrize(
    ("parent", "audited", "answer"),
    [
        (hub("2026-01-01"), hub("2026-02-01"), (True, "hub")),
        (hub("2026-02-01"), hub("2026-01-01"), (False, "hub")),
        (day("2026-01-01"), day("2026-01-02"), (True, "stated")),
        (day("2026-01-02"), day("2026-01-01"), (False, "stated")),
        (day("2026-01-01"), day("2026-01-01"), (None, None)),
        (day("2026-01-01"), hub("2026-01-01"), (None, None)),
        (day("2026-01-01"), hub("2026-01-03"), (True, "stated")),
        (day("2026-01-01"), {"stated": None, "hub": None}, (None, None)),
        ({}, hub("2026-01-03"), (None, None)),
        # a repository made early into which other weights were pushed later, and an
        # innocent one that was tidied later
        (hub("2026-01-01", "2026-05-01"), hub("2026-03-01"), (None, None)),
        (hub("2026-02-01"), hub("2026-01-01", "2026-05-01"), (None, None)),
        # commits carry the date that whoever pushed them wrote; the repository's own is
        # the Hub's
        (hub("2020-01-01", created="2026-04-01"), hub("2026-03-01"), (False, "hub")),
        # the Hub had the weights before the day that is stated: it is believed of the
        # audited model, and no parent is older than its accuser says
        (
            hub("2026-01-15"),
            {**hub("2026-02-01"), "stated": "2026-01-01"},
            (False, "stated"),
        ),
        (
            hub("2026-03-01"),
            {**hub("2026-01-01"), "stated": "2026-06-01"},
            (False, "hub"),
        ),
        (
            {**hub("2026-01-01"), "stated": "2026-06-01"},
            hub("2026-03-01"),
            (None, None),
        ),
        (
            {**hub("2026-01-01"), "stated": "2026-06-01"},
            hub("2026-07-01"),
            (True, "stated"),
        ),
        (
            {**hub("2026-05-01"), "stated": "2026-01-01"},
            hub("2026-03-01"),
            (True, "stated"),
        ),
        (
            day("2026-01-01T12:00:00+02:00"),
            day("2026-01-01T11:00:00"),
            (True, "stated"),
        ),
    ],
)
def test_dates_say_which_is_the_older_or_nothing(parent, audited, answer):
    age = earlier(parent, audited)
    assert (age and age.before, age and age.by) == answer


def configured(stated):
    """A configuration whose suspect has a date."""
    models = {
        "one": {"path": "a", "published": stated},
        "base": {"path": "b"},
        "donor": {"path": "c"},
    }
    audited = {"suspect": "one", "base": "base", "donors": ["donor"]}
    return complete({"models": models, "audits": {"x": audited}})


@pytest.mark.parametrize(
    "stated", ["2026-05-01", date(2026, 5, 1), datetime(2026, 5, 1, 12, tzinfo=UTC)]
)
def test_a_stated_date_may_be_written_as_yaml_reads_it(stated):
    assert (
        configured(stated).stated_dates(["one", "base"])["one"].startswith("2026-05-01")
    )


@pytest.mark.parametrize(
    ("stated", "what"),
    [
        ("May 2026", "is no date"),
        ("2999-01-01", "in the future"),
        (20260501, "published"),
        ("2026-13-01", "is no date"),
    ],
)
def test_a_stated_date_that_cannot_be_is_refused_with_its_key(stated, what):
    with pytest.raises(AuditError, match=what) as caught:
        configured(stated)
    assert "models.one.published" in str(caught.value)


def finding(before, by, kind="merge", share=0.571):
    verdict = reporting.finding(kind, share=1 - share)
    verdict["parents"]["nex"] |= {"alpha": share}
    verdict["order"] = {"nex": {"before": before, "by": by}}
    return Verdict.of(verdict | {"recipe": None})


def test_the_first_screen_says_who_was_first_or_what_would_establish_it():
    assert (
        wording.order(finding(True, "hub"))
        == "nex came before rio, by the dates of the Hub."
    )
    assert (
        wording.order(finding(True, "stated"))
        == "nex came before rio, by dates that the auditor stated."
    )
    by_weights = wording.order(finding(True, "reverse replay"))
    assert "not established. It rests on the weights alone" in by_weights
    assert "dates of first publication would establish it" in by_weights
    assert "Equal weights do not say it" in wording.order(finding(None, None, "copy"))


def test_two_equal_models_are_copies_of_one_another_until_a_date_says_which_was_first():
    assert (
        headline(finding(None, None, "copy", 1.0)).sentence
        == "rio and nex are copies of one another."
    )
    assert (
        headline(finding(True, "hub", "copy", 1.0)).sentence == "rio is a copy of nex."
    )


def test_a_base_of_which_nothing_was_taken_is_no_part_of_a_blend():
    assert "qwen" in headline(finding(True, "hub", "merge", 0.571)).sentence
    assert "qwen" not in headline(finding(True, "hub", "merge", 1.0)).sentence
