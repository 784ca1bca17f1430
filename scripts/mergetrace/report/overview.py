"""All findings of a results folder, a line each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mergetrace import readable
from mergetrace.finding import wording
from mergetrace.finding.wording_headline import headline
from mergetrace.records.verdict import Verdict
from mergetrace.report.rendering import render

if TYPE_CHECKING:
    from mergetrace.report.revisions import Comparison


@dataclass(frozen=True)
class Row:
    """One finding in words."""

    audit: str
    """The audit's name."""
    suspect: str
    """The model under audit."""
    label: str
    """The verdict's short label."""
    tone: str
    """Whether it accuses: `found`, `clear` or `open`."""
    sentence: str
    """The verdict in one sentence."""
    parents: str
    """The donors that are named, with their shares."""
    base: str
    """The base."""
    mode: str
    """`full` or `sample`."""
    compared: str
    """The share of the suspect's parameters that was compared."""
    date: str
    """The day on which it was judged (UTC)."""


def row(verdict: Verdict, judged: float) -> Row:
    """One finding in words. judged: when, in seconds since 1970 (UTC)."""
    words = headline(verdict)
    parents = [wording.parent(verdict, donor) for donor in verdict.named]
    return Row(
        audit=verdict.audit,
        suspect=verdict.suspect,
        label=words.label,
        tone=words.tone,
        sentence=words.sentence,
        parents=readable.listing(parents, "none named"),
        base=verdict.base.name,
        mode=verdict.read.mode,
        compared=wording.compared_share(verdict),
        date=datetime.fromtimestamp(judged, UTC).date().isoformat(),
    )


def page(rows: Sequence[Row], comparisons: Sequence["Comparison"]) -> str:
    """The index page. comparisons: comparison.json of each comparison of two revisions
    (see revisions.summary).
    """
    return render("index.html.j2", rows=rows, comparisons=comparisons)
