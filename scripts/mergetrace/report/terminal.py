"""A finding in a few lines for the terminal."""

from collections.abc import Mapping
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
from mergetrace.readable import count, listing, percent, rate

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
