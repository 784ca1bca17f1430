"""When two models were published, and whether that says which of them came first.

The Hub gives a span: from the commit in which weight files first appeared to the last that changed one. A parent counts from the end of its span
and the audited model from the start, so that neither a repository made early nor one that was tidied later turns the order round. The
auditor may state a day instead; it is believed unless the Hub had the weights before it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any

from mergetrace.readable import listing

Dates = Mapping[str, Any]
"""Of one model: `stated` (an ISO date, with a time or without, or None) and `hub` (first, last, created, or None; see manifest)."""


@dataclass(frozen=True)
class Span:
    """Within which time a model was published, and who says so: `hub` or `stated`."""

    first: datetime
    last: datetime
    by: str


def span(dates: Dates) -> Span | None:
    """When a model was published; None where nobody says. A stated day is the whole of that day, in any time zone."""
    stated, hub = dates.get("stated"), dates.get("hub")
    if stated and not contradicted(dates):
        return _stated(stated)
    if not hub or not hub.get("first") or not hub.get("last"):
        return None
    created = _moment(hub["created"]) if hub.get("created") else None
    first, last = (max(_moment(hub[end]), created) if created else _moment(hub[end]) for end in ("first", "last"))
    return Span(first, max(first, last), "hub")


def contradicted(dates: Dates) -> bool:
    """Whether the Hub had the weights before the day that was stated."""
    stated, hub = dates.get("stated"), dates.get("hub")
    return bool(stated and hub and hub.get("last") and _moment(hub["last"]) < _stated(stated).first)


def earlier(parent: Dates, audited: Dates) -> tuple[bool | None, str | None]:
    """Whether a parent was published before the audited model, and whose word that is: (before, by).

    True: its last change is before the other's first appearance. False: it appeared after the other's last change. None: not known, or the
    two spans overlap. by: `hub` where both dates are the Hub's, `stated` where one is the auditor's, None with None.
    """
    ours, theirs = span(parent), span(audited)
    if ours is None or theirs is None:
        return None, None
    by = "hub" if ours.by == theirs.by == "hub" else "stated"
    if ours.last < theirs.first:
        return True, by
    return (False, by) if ours.first > theirs.last else (None, None)


def said(name: str, dates: Dates) -> str:
    """A model's date in words: the span, and who says so."""
    found = span(dates)
    if found is None:
        return f"no date of {name} is known"
    if found.by == "stated":
        return f"{name} published {dates['stated']}, as stated by the auditor"
    first, last = (moment.date().isoformat() for moment in (found.first, found.last))
    changed = "" if first == last else f", last changed {last}"
    return f"{name} on the Hub since {first}{changed}"


def ages(audited: str, parents: Iterable[str], dates: Mapping[str, Dates]) -> tuple[dict[str, tuple[bool | None, str | None]], dict[str, str]]:
    """Of every parent whose age is known beside the audited model's: (before, by) as in `earlier`, and both dates in words."""
    order = {parent: earlier(dates.get(parent, {}), dates.get(audited, {})) for parent in parents}
    known = {parent: answer for parent, answer in order.items() if answer[0] is not None}
    return known, {parent: "; ".join(said(name, dates[name]) for name in (parent, audited)) for parent in known}


def notes(dates: Mapping[str, Dates]) -> list[str]:
    """What is odd about the dates, a sentence each."""
    odd = [name for name, entry in dates.items() if contradicted(entry)]
    return [f"The date stated of {listing(odd)} is later than weights that the Hub already had; the Hub's date was used."] if odd else []


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _stated(text: str) -> Span:
    if len(text) > len("2026-05-01"):
        return Span(_moment(text), _moment(text), "stated")
    start = datetime.combine(datetime.fromisoformat(text), time.min, UTC)
    return Span(start, start + timedelta(days=1) - timedelta(seconds=1), "stated")
