"""When two models were published, and whether that says which of them came first.

The Hub gives a span: from the commit in which weight files first appeared to the last
that changed one. A parent counts from the end of its span and the audited model from
the start, so that neither a repository made early nor one that was tidied later turns
the order round. The auditor may state a day instead; it is believed unless the Hub had
weights there before it. Then the Hub's span counts, but a parent is even so no older
than its own accuser says: commits can be dated back, and a repository may have been
private.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from mergetrace import timestamps

Dates = Mapping[str, Any]
"""Of one model: `stated` (a date as timestamps writes it, or None) and `hub` (first,
last, created, or None; see models.history).
"""

ALWAYS = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Span:
    """Within which time a model was published, and who says so: `hub` or `stated`."""

    first: datetime
    last: datetime
    by: str


def span(dates: Dates, parent: bool = False) -> Span | None:
    """When a model was published, as a parent or as the audited one; None where nobody
    says. A stated day is the whole of that day in UTC.
    """
    stated = dates.get("stated")
    hub = dates.get("hub")
    if stated and not contradicted(dates):
        return Span(*timestamps.span(stated), "stated")
    if not hub or not (hub.get("first") or hub.get("last")):
        return None
    created = timestamps.span(hub["created"])[0] if hub.get("created") else ALWAYS
    first = timestamps.span(hub["first"])[0] if hub.get("first") else created
    if hub.get("created") != timestamps.LOWEST:
        first = max(first, created)
    last = (
        max(timestamps.span(hub["last"])[1], first, created)
        if hub.get("last")
        else NEVER
    )
    if parent and stated and timestamps.span(stated)[1] > last:
        return Span(first, timestamps.span(stated)[1], "stated")
    return Span(first, last, "hub")


def contradicted(dates: Dates) -> bool:
    """Whether the Hub had weights of the model before the day that was stated."""
    stated = dates.get("stated")
    hub = dates.get("hub")
    return bool(
        stated
        and hub
        and hub.get("first")
        and timestamps.span(hub["first"])[0] < timestamps.span(stated)[0]
    )


def earlier(parent: Dates, audited: Dates) -> tuple[bool | None, str | None]:
    """Whether a parent was published before the audited model, and whose word that is:
    (before, by).

    True: its last change is before the other's first appearance. False: it appeared after the other's last change. None: not known, or the
    two spans overlap. by: `hub` where both dates are the Hub's, `stated` where one is the auditor's, None with None.
    """
    ours = span(parent, parent=True)
    theirs = span(audited)
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
    changed = "" if first == last or found.last == NEVER else f", last changed {last}"
    return f"{name} on the Hub since {first}{changed}" + (
        f" (stated: {dates['stated']})" if dates.get("stated") else ""
    )


def ages(
    audited: str, parents: Iterable[str], dates: Mapping[str, Dates]
) -> tuple[dict[str, tuple[bool | None, str | None]], dict[str, str]]:
    """Of every parent whose age is known beside the audited model's: (before, by) as in
    `earlier`, and both dates in words.
    """
    order = {
        parent: earlier(dates.get(parent, {}), dates.get(audited, {}))
        for parent in parents
    }
    known = {
        parent: answer for parent, answer in order.items() if answer[0] is not None
    }
    return known, {
        parent: "; ".join(said(name, dates[name]) for name in (parent, audited))
        for parent in known
    }


def notes(dates: Mapping[str, Dates]) -> list[str]:
    """What is odd about the stated dates, a sentence each."""
    return [note for name, entry in dates.items() if (note := _odd(name, entry))]


def _odd(name: str, dates: Dates) -> str | None:
    stated = dates.get("stated")
    hub = dates.get("hub")
    if not stated or not hub:
        return None
    if contradicted(dates):
        return (
            f"{name} is stated to be published on {stated[:10]}, but the Hub lists it"
            f" from {hub['first'][:10]}: the Hub's dates were used."
        )
    if hub.get("last") and timestamps.span(stated)[1] < timestamps.span(hub["last"])[0]:
        return (
            f"{name} is stated to be published on {stated[:10]}; the weights that were"
            f" read were last changed on the Hub on {hub['last'][:10]}."
        )
    return None
