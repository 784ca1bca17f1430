"""When models were published, in words."""

from collections.abc import Mapping

from mergetrace import timestamps
from mergetrace.finding.dates import NEVER, Age, contradicted, earlier, span
from mergetrace.records.verdict import Dates


def published(model: str, dates: Dates) -> str:
    """A model's date as a clause: the span, and who says so."""
    known = span(dates)
    if known is None:
        return f"no date of {model} is known"
    stated = dates.get("stated")
    if known.by == "stated":
        return f"{model} published {stated}, as stated by the auditor"
    first = known.first.date().isoformat()
    last = known.last.date().isoformat()
    text = f"{model} on the Hub since {first}"
    if last != first and known.last != NEVER:
        text += f", last changed {last}"
    return f"{text} (stated: {stated})" if stated else text


def beside_suspect(suspect: Dates, other: Dates) -> str:
    """What the dates of another model of the audit say of which was first, in a few
    words for a table.
    """
    age = earlier(other, suspect)
    if age is not None:
        who = "the Hub" if age.by == "hub" else "a stated date"
        return f"{'older' if age.before else 'younger'}, by {who}"
    if span(other, parent=True) is None or span(suspect) is None:
        return "not known: a date is missing"
    return "not known: the dates overlap"


def both_published(parent: str, audited: str, age: Age) -> str:
    """The dates of a parent and of the audited model as a clause."""
    return f"{published(parent, age.parent)}; {published(audited, age.audited)}"


def oddities(dates: Mapping[str, Dates]) -> list[str]:
    """What does not fit together in the stated dates, a sentence each."""
    notes = [_oddity(model, entry) for model, entry in dates.items()]
    return [note for note in notes if note]


def _oddity(model: str, dates: Dates) -> str | None:
    """A stated date that the Hub's dates do not bear out."""
    stated = dates.get("stated")
    listed = dates.get("hub")
    if not stated or not listed:
        return None
    head = f"{model} is stated to be published on {stated[:10]}"
    first = listed.get("first")
    if first and contradicted(dates):
        return f"{head}, but the Hub lists it from {first[:10]}: the Hub's dates were used."
    last = listed.get("last")
    if last and timestamps.span(stated)[1] < timestamps.span(last)[0]:
        return (
            f"{head}; the weights that were read were last changed on the Hub on"
            f" {last[:10]}."
        )
    return None
