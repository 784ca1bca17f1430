"""What the zoo shows: rates with Wilson intervals, tuning and reporting seeds apart,
and every miss by name.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.zoo.by_hand import GROUP as BY_HAND
from benchmarks.zoo.cases import REPORTING, TUNING
from benchmarks.zoo.grading import (
    Row,
    alpha_error,
    false_accusations,
    family_right,
    imperfect,
    method_of,
    named_by,
    not_identified,
    parents_right,
    recovered,
    shares_wrong,
    verdict_of,
    verdict_right,
)
from mergetrace.finding.case import ACCUSING
from mergetrace.outputs import write_text
from mergetrace.probe.intervals import wilson95

VERDICTS = (*ACCUSING, "finetune_of_base", "unrelated", "inconclusive")
LINEAR = {"linear", "task_arithmetic"}
NOTES: dict[str, str] = {}
"""What is known of a miss."""


def write_readme(
    path: Path,
    rows: list[Row],
    every: list[Row],
    planned: int,
    old: int,
    given: Sequence[str],
    training_s: float,
) -> None:
    """Write the whole page.

    rows: judged as a default configuration does, which gives the accusing verdicts
    `given`; every: the same cases with every accusing verdict given. planned: the
    number of cases there should be; old: how many an earlier state of the code
    measured; training_s: what training the families took, in seconds of one processor.
    """
    parts, all_given = (
        {"Reporting seeds": _of(group, REPORTING), "Tuning seeds": _of(group, TUNING)}
        for group in (rows, every)
    )
    seeds = {
        name: ", ".join(f"{arch} {seed}" for arch, seed in group)
        for name, group in (("reporting", REPORTING), ("tuning", TUNING))
    }
    seconds = sum(row["cpu_s"] for row in rows)
    heads = ["| | " + " | ".join(parts) + " |", "|---|" + "---|" * len(parts)]
    text = [
        "# The zoo",
        "",
        (
            "Written by `make bench-zoo`; do not edit. Every suspect is made by"
            " mergekit or by training, of models that were trained (`trainer.py`),"
        ),
        (
            " or by lines of torch and numpy (`scripts.py`). The answer is planted"
            " (`merges.py`, `by_hand.py`, `innocents.py`, `disguised.py`, `framings.py`)."
            " Thresholds and rules were set on the tuning seeds"
        ),
        (
            f"({seeds['tuning']}); the reporting seeds ({seeds['reporting']}) are other"
            " trainings."
        ),
        (
            f"{len(rows)} of {planned} cases, {seconds / max(1, len(rows)):.1f}"
            f" processor seconds each, {training_s:.0f} for the families' training:"
        ),
        (
            f"{(planned * seconds / max(1, len(rows)) + training_s) / 120:.0f} minutes"
            " for all on two cores that have nothing else to do. Interrupted,"
        ),
        "the command goes on where it was.",
        *(
            [
                f"{old} of these cases were measured by an earlier state of the code;"
                " verdicts are today's."
            ]
            if old
            else []
        ),
        "",
        (
            "Verdicts are those of a default configuration, which accuses with"
            f" {', '.join(f'`{verdict}`' for verdict in given)}"
        ),
        (
            "(`verdict.accuse_with`); any other accusation ends in `inconclusive` with"
            " its traces stated and nobody named. Small directions are measured and"
            " judged as in any audit."
        ),
        "",
        "## Targets, on the reporting seeds",
        "",
        "| target | reached | met |",
        "|---|---|---|",
        *(
            f"| {name} | {reached} | {'yes' if met else 'no: see the misses'} |"
            for name, (reached, met) in targets(parts["Reporting seeds"]).items()
        ),
        "",
        "## All measures",
        "",
        *heads,
        *(
            f"| {name} | " + " | ".join(measure(part) for part in parts.values()) + " |"
            for name, measure in MEASURES.items()
        ),
        "",
        "Deterministic merges without a recipe end in `other_merge` or `inconclusive`: "
        + ("; ".join(_without_recipe(rows)) or "none")
        + ".",
        "",
        (
            "Rates carry Wilson 95 % intervals. Cases of one family share their"
            " trainings and are not independent: the intervals are optimistic."
        ),
        "",
        "## False accusations, verdict by verdict",
        "",
        (
            "Of the innocents, with every accusing verdict given"
            " (`scripts/mergetrace/data/error_rates.json` holds those of the reporting seeds):"
        ),
        "",
        *heads,
        *(
            f"| `{verdict}` | "
            + " | ".join(
                _rate(_innocents(part), lambda row, v=verdict: _accused(row) == v)
                for part in all_given.values()
            )
            + " |"
            for verdict in ACCUSING
        ),
        "",
        *[
            f"- `{row['case']['id']}`: {verdict_of(row)}. {row['verdict']['reasons'][0]}"
            for row in every
            if _accused(row)
        ],
        "",
        (
            "Which of two models was trained from the other, weights do not show:"
            " `finetune_of_donor` takes the donor to be the older, and says so."
        ),
        "Where the offered donor came second, that is a false accusation.",
        "",
    ]
    for name, part in parts.items():
        text += [
            f"## {name}: verdicts",
            "",
            *_confusion(part),
            "",
            f"## {name}: misses",
            "",
            *(_misses(part) or ["None."]),
            "",
        ]
    write_text(path, "\n".join(text))


def error_rates(every: list[Row]) -> dict[str, dict[str, Any]]:
    """Per accusing verdict, on the reporting seeds: how many innocents there were, how
    many it accused wrongly, Wilson's 95 % interval.
    """
    innocents = _innocents(_of(every, REPORTING))
    found = {}
    for verdict in ACCUSING:
        false = sum(_accused(row) == verdict for row in innocents)
        interval = (
            [round(end, 6) for end in wilson95(false, len(innocents))]
            if innocents
            else [0.0, 1.0]
        )
        found[verdict] = {"innocents": len(innocents), "false": false, "ci95": interval}
    return found


def targets(rows: list[Row]) -> dict[str, tuple[str, bool]]:
    """What was aimed at, what was reached, and whether that is enough."""
    naming = [row for row in rows if "error" not in row and named_by(row["verdict"])]
    stated = [row for row in rows if family_right(row) is not None]
    pure = [
        row
        for row in rows
        if row["case"]["pure"] and "error" not in row and row["verdict"]["recipe"]
    ]
    planned = [row for row in rows if row["case"]["pure"]]
    errors = _alpha_errors(rows)
    wrong = sum(bool(false_accusations(row)) for row in rows)

    def share(hits: int, cases: Sequence[Row], least: float) -> tuple[str, bool]:
        return f"{hits} of {len(cases)}", bool(cases) and hits >= least * len(cases)

    return {
        "false accusations, decoys and controls included: none": (
            f"{wrong} of {len(rows)} cases",
            not wrong,
        ),
        "verdict acceptable: 97 %": share(sum(map(verdict_right, rows)), rows, 0.97),
        "parents exactly right, where any is named: 99 %": share(
            sum(map(parents_right, naming)), naming, 0.99
        ),
        "error of alpha, linear families: median .001, worst .01": (
            _alpha(rows),
            bool(errors) and median(errors) <= 0.001 and max(errors) <= 0.01,
        ),
        "recipe family right, where one is stated: 95 %": share(
            sum(bool(family_right(row)) for row in stated), stated, 0.95
        ),
        "deterministic merges with a recipe: every informative element": share(
            sum(not imperfect(row) for row in pure), pure, 1.0
        ),
        "deterministic merges with every informative element and the right family: 99 %": (
            share(sum(map(recovered, planned)), planned, 0.99)
        ),
    }


def _misses(rows: Sequence[Row]) -> list[str]:
    lines = []
    for row in rows:
        if "error" in row:
            lines.append(
                f"- `{row['case']['id']}`: failed, {row['error'].splitlines()[-1]}"
            )
            continue
        wrong = [f"**{text}**" for text in false_accusations(row)]
        if not verdict_right(row):
            wrong.append(
                f"{verdict_of(row)} instead of {' or '.join(row['case']['verdicts'])}"
            )
        if named_by(row["verdict"]) and not parents_right(row):
            wrong.append(
                f"names {', '.join(named_by(row['verdict']))} instead of"
                f" {', '.join(row['case']['named']) or 'nobody'}"
            )
        if (error := shares_wrong(row)) is not None:
            wrong.append(f"alpha off by {error:.4f}")
        if family_right(row) is False:
            wrong.append(
                f"recipe {method_of(row)} instead of"
                f" {' or '.join(row['case']['families'])}"
            )
        if imperfect(row):
            wrong.append(f"bit-exact {row['verdict']['recipe']['bit_exact_rate']:.5%}")
        if wrong:
            known = f" {NOTES[row['case']['id']]}" if row["case"]["id"] in NOTES else ""
            lines.append(
                f"- `{row['case']['id']}`: {'; '.join(wrong)}."
                f" {row['verdict']['reasons'][0]}{known}"
            )
    return lines


def _without_recipe(rows: Sequence[Row]) -> list[str]:
    """Deterministic merges for which no recipe is stated, with the families in which
    that is so.
    """
    found: dict[str, list[str]] = {}
    for row in rows:
        if (
            row["case"]["pure"]
            and "error" not in row
            and row["verdict"]["recipe"] is None
        ):
            family, name = row["case"]["id"].split("/", 1)
            found.setdefault(name, []).append(family.replace("-", " "))
    return [f"{name} ({', '.join(families)})" for name, families in found.items()]


def _confusion(rows: Sequence[Row]) -> list[str]:
    used = [
        verdict
        for verdict in (*VERDICTS, "failed")
        if any(verdict_of(row) == verdict for row in rows)
    ]
    counts: dict[str, Counter] = {}
    for row in rows:
        counts.setdefault(row["case"]["group"], Counter())[verdict_of(row)] += 1
    lines = ["| planted | " + " | ".join(used) + " |", "|---|" + "---|" * len(used)]
    return [
        *lines,
        *(
            f"| {group} | "
            + " | ".join(str(found[verdict] or "") for verdict in used)
            + " |"
            for group, found in counts.items()
        ),
    ]


def _rate(rows: Sequence[Row], right: Callable[[Row], bool]) -> str:
    if not rows:
        return "no case"
    hits = sum(map(right, rows))
    low, high = wilson95(hits, len(rows))
    return f"{hits}/{len(rows)} = {hits / len(rows):.1%} [{low:.1%}, {high:.1%}]"


def _alpha_errors(rows: Sequence[Row]) -> list[float]:
    return [
        error
        for row in rows
        if method_of(row) in LINEAR and (error := alpha_error(row)) is not None
    ]


def _alpha(rows: Sequence[Row]) -> str:
    errors = _alpha_errors(rows)
    return (
        f"median {median(errors):.2g}, worst {max(errors):.2g} of {len(errors)}"
        if errors
        else "no case"
    )


MEASURES: dict[str, Callable[[list[Row]], str]] = {
    "cases, of them not made of two offered models": lambda rows: (
        f"{len(rows)}, {sum(not row['case']['guilty'] for row in rows)}"
    ),
    "false accusations: innocents with an accusing verdict or a named parent": (
        lambda rows: _rate(
            [row for row in rows if not row["case"]["guilty"]],
            lambda row: bool(false_accusations(row)),
        )
    ),
    "decoys named or controls accused beside a merge": lambda rows: _rate(
        [row for row in rows if row["case"]["guilty"]],
        lambda row: bool(false_accusations(row)),
    ),
    "verdict acceptable": lambda rows: _rate(rows, verdict_right),
    "verdict the most telling one": lambda rows: _rate(
        rows, lambda row: verdict_of(row) == row["case"]["verdicts"][0]
    ),
    "parents exactly right, where any is named": lambda rows: _rate(
        [row for row in rows if "error" not in row and named_by(row["verdict"])],
        parents_right,
    ),
    "pure merges called `merge` or `other_merge`": lambda rows: _rate(
        [row for row in rows if row["case"]["group"] == "merge"],
        lambda row: verdict_of(row) in ("merge", "other_merge"),
    ),
    "merges by hand: recovered whole, with the right family": lambda rows: _rate(
        _by_hand(rows), recovered
    ),
    "merges by hand: pure, the arithmetic not identified": lambda rows: _rate(
        _by_hand(rows), not_identified
    ),
    "recipe family right, where one is stated": lambda rows: _rate(
        [row for row in rows if family_right(row) is not None],
        lambda row: bool(family_right(row)),
    ),
    "error of alpha, linear families": _alpha,
    "deterministic merges for which a recipe is stated": lambda rows: _rate(
        [row for row in rows if row["case"]["pure"] and "error" not in row],
        lambda row: row["verdict"]["recipe"] is not None,
    ),
    "every informative element bit-exact, deterministic merges with a recipe": (
        lambda rows: _rate(
            [
                row
                for row in rows
                if row["case"]["pure"]
                and "error" not in row
                and row["verdict"]["recipe"]
            ],
            lambda row: not imperfect(row),
        )
    ),
}


def _by_hand(rows: Sequence[Row]) -> list[Row]:
    return [
        row for row in rows if row["case"]["pure"] and row["case"]["group"] == BY_HAND
    ]


def _innocents(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row["case"]["guilty"]]


def _accused(row: Row) -> str | None:
    """The verdict of a case in which somebody is accused wrongly."""
    return verdict_of(row) if false_accusations(row) else None


def _of(rows: list[Row], families: Sequence[tuple[str, int]]) -> list[Row]:
    return [
        row for row in rows if (row["case"]["arch"], row["case"]["seed"]) in families
    ]
