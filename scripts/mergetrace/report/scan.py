"""The page of a scan."""

from mergetrace import readable
from mergetrace.records.scan import Ranked, Scan, Watched
from mergetrace.report.rendering import render
from mergetrace.scan import wording

ROWS_SHOWN = 40  # models of the table
PARTS = {
    "base": "base candidate",
    "donor": "donor candidate",
    "sibling": "relative",
    "same": "same print",
}


def page(scan: Scan) -> str:
    """The page of a scan, self-contained."""
    return render(
        "scan.html.j2",
        scan=scan,
        headline=wording.headline(scan),
        proposed=[(each, wording.proposed(each)) for each in scan.proposed],
        traces=[wording.trace(each) for each in scan.traces],
        rows=[_row(each) for each in scan.ranked[:ROWS_SHOWN]],
        left_out=wording.counted(scan.left_out),
        megabytes=readable.size(scan.bytes),
    )


def _row(each: Ranked) -> dict[str, str]:
    """One model in words."""
    part = PARTS.get(each.part, "relative")
    if each.same_as:
        part = f"same print as {each.same_as}"
    elif each.younger:
        part = "younger"
    elif not each.related:
        part = "no relative"
    return {
        "place": each.place,
        "part": part,
        "equal": readable.percent(
            each.equal / each.compared if each.compared else None
        ),
        "chance": readable.percent(
            each.chance / each.compared if each.compared else None, digits=2
        ),
        "signs": readable.percent(
            each.signs / each.compared if each.compared else None
        ),
        "cosine": ""
        if each.cosine is None
        else readable.decimal(each.cosine, digits=2),
        "created": (each.created or "")[:10],
        "why": wording.reasons(each),
    }


def watch_page(found: Watched) -> str:
    """The page of a watch, self-contained."""
    return render(
        "watch.html.j2",
        found=found,
        headline=wording.watched(found),
        rows=[(each, wording.carrier(each)) for each in found.carriers],
    )
