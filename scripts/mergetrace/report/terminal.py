"""A finding in a few lines for the terminal."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mergetrace.finding.wording import (
    CONDITIONS,
    compared,
    controls,
    finding,
    named,
    order,
    parent,
)
from mergetrace.outputs import read_json
from mergetrace.planning import costs
from mergetrace.readable import count, listing, percent, rate, visible

BOLD = "\x1b[1m"
DIM = "\x1b[2m"
PLAIN = "\x1b[0m"
MOST_CONDITIONS = 3  # keeps a finding within twelve lines


def lines(verdict: Mapping[str, Any], report: Path) -> list[tuple[str, str]]:
    """(label, text) of at most twelve lines: the verdict in words, how much was compared, parents, their order, recipe, controls, probe, and
    where the report is.
    """
    words = finding(verdict)
    base = verdict["base"]
    text = [
        (verdict["audit"], words.sentence),
        ("", words.explanation),
        (
            "verdict",
            (
                f"{verdict['verdict']}; {count(verdict['read']['elements'])} numbers"
                f" read ({verdict['read']['mode']} mode)"
            ),
        ),
        *([("compared", " ".join(compared(verdict)))] if compared(verdict) else []),
        (
            "parents",
            (
                "; ".join(
                    [parent(verdict, donor) for donor in named(verdict)] + [_base(base)]
                )
                if named(verdict)
                else f"none named; {_base(base)}"
            ),
        ),
        *([("order", order(verdict))] if order(verdict) else []),
        ("recipe", _recipe(verdict["recipe"])),
        ("controls", controls(verdict)),
    ]
    probe = (verdict["probe"] or {}).get(verdict["suspect"]) or {}
    text += [
        ("probe", f"{CONDITIONS.get(condition, condition)}: {_names(tally)}")
        for condition, tally in list(probe.items())[:MOST_CONDITIONS]
    ]
    if not probe:
        text.append(("probe", "nobody asked the models who they are"))
    evidence = report.with_name("bundle.zip")
    where = (
        f"{report}{f', evidence {evidence}' if evidence.is_file() else ''}"
        if report.is_file()
        else "not written yet"
    )
    return [*text, ("report", where)]


def _base(base: Mapping[str, Any]) -> str:
    return f"base {base['name']} {percent(base['share'], 'no one share')}"


def _recipe(recipe: Mapping[str, Any] | None) -> str:
    if not recipe:
        return "none found"
    exact = (
        f"{rate(recipe['bit_exact_rate'], 'nothing to compare')} of"
        f" {count(recipe['informative_elements'])} informative elements bit for bit"
    )
    return f"{recipe['method']}, {recipe['dtype']} arithmetic: {exact}"


def _names(tally: Mapping[str, Mapping[str, Any]], most: int = 3) -> str:
    asked = {identity: cell for identity, cell in tally.items() if cell["n"]}
    if not asked:
        return "not asked"
    first = sorted(asked.items(), key=lambda item: -item[1]["hits"])[:most]
    return listing(
        [f"{identity} {cell['hits']}/{cell['n']}" for identity, cell in first]
    )


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
            text = lines(read_json(verdict), verdict.with_name("report.html"))
        elif plan.is_file():
            text = costs.lines(audit, read_json(plan), dict(published))
        else:
            continue
        shown += ["", *decorated(text, colour)]
    return "\n".join(shown)


def decorated(text: Sequence[tuple[str, str]], colour: bool) -> list[str]:
    """Labelled lines set in columns: the first in bold, the labels dim."""
    rows = [(label.ljust(10), " ".join(visible(line).split())) for label, line in text]
    if not colour:
        return [f"{label} {line}" for label, line in rows]
    (label, line), *others = rows
    first = f"{DIM}{label}{PLAIN} {BOLD}{line}{PLAIN}"
    return [first, *(f"{DIM}{label}{PLAIN} {line}{PLAIN}" for label, line in others)]
