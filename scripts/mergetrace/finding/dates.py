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

from mergetrace import timestamps
from mergetrace.records.verdict import Dates, HubDates

ALWAYS = datetime.min.replace(tzinfo=UTC)
NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Span:
    """The time within which a model was published."""

    first: datetime
    """The earliest moment it may have been published at."""
    last: datetime
    """The latest."""
    by: str
    """Who says so: `hub` or `stated`."""


@dataclass(frozen=True)
class Age:
    """Whether a parent was published before the audited model."""

    before: bool
    """True where its last change is before the other's first appearance, False where it
    appeared after the other's last change.
    """
    by: str
    """Whose word that is: `hub` where both dates are the Hub's, `stated` where one is
    the auditor's.
    """
    parent: Dates
    """The parent's dates."""
    audited: Dates
    """The audited model's dates."""


def span(dates: Dates, parent: bool = False) -> Span | None:
    """When a model was published, as a parent or as the audited one; None where nobody
    says. A stated day is the whole of that day in UTC.
    """
    stated = dates.get("stated")
    if stated and not contradicted(dates):
        return Span(*timestamps.span(stated), "stated")
    listed = dates.get("hub")
    if not listed or not (listed.get("first") or listed.get("last")):
        return None
    first, last = _listed_span(listed)
    if parent and stated and timestamps.span(stated)[1] > last:
        return Span(first, timestamps.span(stated)[1], "stated")
    return Span(first, last, "hub")


def contradicted(dates: Dates) -> bool:
    """Whether the Hub had weights of the model before the day that was stated."""
    stated = dates.get("stated")
    first = (dates.get("hub") or {}).get("first")
    if not stated or not first:
        return False
    return timestamps.span(first)[0] < timestamps.span(stated)[0]


def earlier(parent: Dates, audited: Dates) -> Age | None:
    """Whether a parent was published before the audited model; None where that is not
    known, or the two spans overlap.
    """
    parent_span = span(parent, parent=True)
    audited_span = span(audited)
    if parent_span is None or audited_span is None:
        return None
    by_hub = parent_span.by == audited_span.by == "hub"
    by = "hub" if by_hub else "stated"
    if parent_span.last < audited_span.first:
        return Age(True, by, parent, audited)
    if parent_span.first > audited_span.last:
        return Age(False, by, parent, audited)
    return None


def ages(
    audited: str, parents: Iterable[str], dates: Mapping[str, Dates]
) -> dict[str, Age]:
    """Every parent's age beside the audited model's, where that is known."""
    found = {}
    for parent in parents:
        age = earlier(dates.get(parent, {}), dates.get(audited, {}))
        if age is not None:
            found[parent] = age
    return found


def _listed_span(listed: HubDates) -> tuple[datetime, datetime]:
    """The first and the last moment that the Hub's dates allow."""
    created_on = listed.get("created")
    first_on = listed.get("first")
    last_on = listed.get("last")
    created = timestamps.span(created_on)[0] if created_on else ALWAYS
    first = timestamps.span(first_on)[0] if first_on else created
    if created_on != timestamps.LOWEST:
        first = max(first, created)
    if not last_on:
        return first, NEVER
    return first, max(timestamps.span(last_on)[1], first, created)
