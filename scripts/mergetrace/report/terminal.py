"""A finding in a few lines for the terminal."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from mergetrace.finding import wording
from mergetrace.finding.cells import THROUGH_CELLS
from mergetrace.finding.wording_headline import headline, task_vectors
from mergetrace.outputs import read_json
from mergetrace.planning import costs
from mergetrace.readable import count, listing, percent, rate, visible
from mergetrace.records.json_records import from_json
from mergetrace.records.scan import Scan
from mergetrace.records.verdict import BaseShare, NameCount, RecipeFinding, Verdict
from mergetrace.scan.wording import headline as scan_headline

BOLD = "\x1b[1m"
DIM = "\x1b[2m"
PLAIN = "\x1b[0m"

MOST_CONDITIONS = 3
"""Conditions of the probe that are shown: keeps a finding within twelve lines."""
MOST_NAMES_GIVEN = 3
"""Names that are shown of one condition."""


def lines(verdict: Verdict, report: Path) -> list[tuple[str, str]]:
    """(label, text) of at most twelve lines: the verdict in words, how much was
    compared, parents, their order, recipe, controls, probe, and where the report is.
    """
    words = headline(verdict)
    read = f"{count(verdict.read.elements)} numbers read ({verdict.read.mode} mode)"
    text = [
        (verdict.audit, words.sentence),
        ("", words.explanation),
        ("verdict", f"{verdict.verdict}; {_evidence(verdict)}{read}"),
    ]
    compared = wording.compared(verdict)
    if compared:
        text.append(("compared", " ".join(compared)))
    text.append(("parents", _parents(verdict)))
    order = wording.order(verdict)
    if order:
        text.append(("order", order))
    text += [
        (
            "recipe",
            _recipe(
                verdict.recipe, verdict.evidence == THROUGH_CELLS, bool(verdict.parents)
            ),
        ),
        ("controls", wording.controls(verdict)),
        *_probe(verdict),
        ("report", _report(report)),
    ]
    return text


def findings(
    results: Path, audits: Sequence[str], published: Mapping[str, str], colour: bool
) -> str:
    """The findings that are there, each in at most twelve lines; of an audit that is only
    planned, the plan.

    results: the folder of the results. published: the dates that the configuration
    states, by model. colour: whether the terminal shows colours; NO_COLOR turns them
    off.
    """
    colour = colour and not os.environ.get("NO_COLOR")
    shown: list[str] = []
    for audit in audits:
        verdict = results / audit / "verdict.json"
        plan = results / audit / "plan.json"
        if verdict.is_file():
            finding = Verdict.of(read_json(verdict))
            text = lines(finding, verdict.with_name("report.html"))
        elif plan.is_file():
            text = costs.lines(audit, read_json(plan), dict(published))
        else:
            continue
        shown += ["", *decorated(text, colour)]
    return "\n".join(shown)


def scanned(results: Path, suspects: Sequence[str]) -> list[str]:
    """What the scans found that are there, two lines each. results: the folder of the
    results.
    """
    found = []
    for suspect in suspects:
        folder = results / "scan" / suspect
        if (folder / "scan.html").is_file():
            scan = from_json(Scan, read_json(folder / "screen.json"), "screen.json")
            found += [visible(scan_headline(scan)), f"{folder / 'scan.html'}"]
    return found


def decorated(text: Sequence[tuple[str, str]], colour: bool) -> list[str]:
    """Labelled lines set in columns: the first in bold, the labels dim."""
    rows = [(label.ljust(10), " ".join(visible(line).split())) for label, line in text]
    if not colour:
        return [f"{label} {line}" for label, line in rows]
    (label, line), *others = rows
    first = f"{DIM}{label}{PLAIN} {BOLD}{line}{PLAIN}"
    return [first, *(f"{DIM}{label}{PLAIN} {line}{PLAIN}" for label, line in others)]


def _parents(verdict: Verdict) -> str:
    if not verdict.named:
        if not verdict.parents:
            return f"only a base was offered: {verdict.base.name}"
        return f"none named; {_base(verdict.base)}"
    vectors = task_vectors(verdict)
    if vectors:
        return vectors
    donors = [wording.parent(verdict, donor) for donor in verdict.named]
    return "; ".join([*donors, _base(verdict.base)])


def _evidence(verdict: Verdict) -> str:
    return f"{verdict.evidence}; " if verdict.evidence == THROUGH_CELLS else ""


def _base(base: BaseShare) -> str:
    return f"base {base.name} {percent(base.share, 'no one share')}"


def _recipe(recipe: RecipeFinding | None, cells: bool, offered: bool) -> str:
    if recipe is None:
        return (
            "none found" if offered else "no donor was offered, so none was looked for"
        )
    return (
        f"{recipe.method}, {recipe.dtype} arithmetic:"
        f" {rate(recipe.bit_exact_rate, 'nothing to compare')} of"
        f" {count(recipe.informative_elements)} informative elements"
        f" {'as far as their cells tell' if cells else 'bit for bit'}"
    )


def _probe(verdict: Verdict) -> list[tuple[str, str]]:
    counts = (verdict.probe or {}).get(verdict.suspect, {})
    if not counts:
        return [("probe", "nobody asked the models who they are")]
    return [
        ("probe", f"{wording.condition_words(condition)}: {_names(by_name)}")
        for condition, by_name in list(counts.items())[:MOST_CONDITIONS]
    ]


def _names(counts: Mapping[str, NameCount]) -> str:
    asked = [(name, cell) for name, cell in counts.items() if cell.n]
    if not asked:
        return "not asked"
    asked.sort(key=lambda item: -item[1].hits)
    return listing(
        [f"{name} {cell.hits}/{cell.n}" for name, cell in asked[:MOST_NAMES_GIVEN]]
    )


def _report(report: Path) -> str:
    if not report.is_file():
        return "not written yet"
    bundle = report.with_name("bundle.zip")
    return f"{report}, evidence {bundle}" if bundle.is_file() else f"{report}"
