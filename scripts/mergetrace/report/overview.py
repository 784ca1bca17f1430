"""All findings of a results folder, a line each."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mergetrace import readable
from mergetrace.finding import wording
from mergetrace.report.rendering import TEMPLATES, render

Row = dict[str, Any]


def row(verdict: Mapping[str, Any], judged: float) -> Row:
    """One finding in words. judged: when, in seconds since 1970 (UTC)."""
    words = wording.finding(verdict)
    names = wording.named(verdict)
    return {
        "audit": verdict["audit"],
        "suspect": verdict["suspect"],
        "label": words.label,
        "tone": words.tone,
        "sentence": words.sentence,
        "parents": readable.listing(
            [wording.parent(verdict, name) for name in names], "none named"
        ),
        "base": verdict["base"]["name"],
        "mode": verdict["read"]["mode"],
        "compared": wording.compared_share(verdict),
        "date": f"{datetime.fromtimestamp(judged, UTC):%Y-%m-%d}",
    }


def page(
    rows: list[Row],
    comparisons: list[Mapping[str, Any]],
    templates: Path = TEMPLATES,
) -> str:
    """The index page. comparisons: name, before, after, sentence of each comparison of
    two revisions.
    """
    return render(
        "index.html.j2", templates=templates, rows=rows, comparisons=comparisons
    )
