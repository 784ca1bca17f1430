"""Points in time, one way of writing them whoever states them: a day as `2026-05-01`, a
moment as `2026-05-01T08:00:00Z`, both in UTC.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

EARLIEST = date(2010, 1, 1)
"""Nobody published the weights of a language model before."""

LOWEST = "2022-03-02T23:29:04Z"
"""When the Hub began to keep the days on which repositories were made; it says of all
older ones that they were made then.
"""

EASTERNMOST = timedelta(hours=14)  # where a day begins first, ahead of UTC
EXAMPLE = (
    "the day its weights were published as 2026-05-01, or a moment with its zone as"
    " 2026-05-01T10:00:00+02:00"
)


def stated(value: Any, now: datetime | None = None) -> str:
    """A date as somebody states it, in text or as YAML reads it, in our way of writing.

    now: the present moment, with its zone, for tests. Raises ValueError where it is no
    date on which a model can have been published; the message continues a sentence
    that begins with the key's name.
    """
    parsed = _parsed(value)
    if isinstance(parsed, datetime) and parsed.tzinfo is None:
        raise ValueError(
            f"{_shown(value)} says no time zone; give a day alone, or a moment as"
            " 2026-05-01T10:00:00+02:00 (Z is UTC)"
        )
    # its zone moves a moment by less than a day
    day = parsed.date() if isinstance(parsed, datetime) else parsed
    today = ((now or datetime.now(UTC)) + EASTERNMOST).date()
    if day > today:
        raise ValueError(f"{_shown(value)} lies in the future; give {EXAMPLE}")
    if day < EARLIEST:
        raise ValueError(
            f"{_shown(value)} is before there were such models; give {EXAMPLE}"
        )
    return written(parsed) if isinstance(parsed, datetime) else parsed.isoformat()


def written(moment: datetime) -> str:
    """An aware moment in UTC, to the second."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def span(text: str) -> tuple[datetime, datetime]:
    """The first and the last moment that a text in our way of writing may mean: the two
    ends of a day, or a moment twice.
    """
    if "T" in text:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment, moment
    start = datetime.combine(date.fromisoformat(text), time(), UTC)
    return start, start + timedelta(days=1) - timedelta(microseconds=1)


def describe_dates(day: str | None, hub: Mapping[str, object] | None) -> str:
    """When a model was published, and who says so: `2026-05-01 (stated)`; empty where
    nobody does.

    day: the date that was stated. hub: what the Hub lists (a manifest's `published`).
    """
    listed = _listed(hub) if hub else ""
    if day:
        beside = f"; Hub: {listed}" if listed else ""
        return f"{day[:10]} (stated{beside})"
    first = hub["first"] if hub else None
    return f"{first[:10]} (Hub: {listed})" if isinstance(first, str) else ""


def _listed(hub: Mapping[str, object]) -> str:
    """The dates that the Hub lists, in words. A first date that is the repository's own
    means that no earlier one could be believed.
    """
    words = {"first": "weights first", "last": "last changed"}
    if hub["first"] == hub["created"]:
        words = {"created": "repository made", "last": "weights last changed"}
    listed = []
    for key, word in words.items():
        moment = hub.get(key)
        if isinstance(moment, str):
            listed.append(f"{word} {moment[:10]}")
    return ", ".join(listed)


def _parsed(value: Any) -> date | datetime:
    """What YAML read as a date (a datetime is one, too), or what a text says in ISO
    8601.
    """
    if isinstance(value, date):
        return value
    try:
        text = value.strip()
        if len(text) <= len("2026-05-01"):
            return date.fromisoformat(text)
        return datetime.fromisoformat(text)
    except (AttributeError, ValueError):
        raise ValueError(f"{_shown(value)} is no date; give {EXAMPLE}") from None


def _shown(value: Any) -> str:
    return f"`{repr(' '.join(str(value).split())[:40])[1:-1]}`"
