"""What the open-world zoo shows: rates with Wilson intervals, a table by kind, every
miss by name.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.openworld.cases import REPORTING, TUNING, Trial
from benchmarks.openworld.grading import OUTCOMES, Grade
from mergetrace.outputs import write_text
from mergetrace.probe.intervals import wilson95


def write_readme(
    path: Path,
    trials: Mapping[str, Trial],
    grades: Mapping[str, Grade],
    rows: Mapping[str, Any],
    seconds: float,
) -> None:
    """Write the whole page. trials, grades, rows: by id; seconds: what all of them
    took, of one processor.
    """
    cases = {
        (trial.case.kind, trial.case.name): trial.case for trial in trials.values()
    }
    innocents = sum(not case.guilty for case in cases.values())
    reported = {
        name: trial for name, trial in trials.items() if trial.part == REPORTING
    }
    text = [
        "# The open-world zoo",
        "",
        (
            "Written by `make bench-openworld`; do not edit. The zoo (../zoo) asks"
            " whether the program is right about models that lie as it expects"
        ),
        (
            "them; this one asks about folders as people publish them: packed, renamed,"
            " fused, held twice, half there, with an odd number or file."
        ),
        (
            "Every folder is made by code with a seed. A source is the public report"
            " that a case was built after; nothing is copied from it."
        ),
        (
            f"{len(cases)} cases, {innocents} of them innocents or strangers, in"
            f" {len(trials)} trials: planted random models, mixtures of experts, and"
        ),
        (
            f"families that the zoo trained; {seconds / max(1, len(trials)):.1f}"
            " processor seconds each. Interrupted, the command goes on where it was."
        ),
        "",
        (
            "*Right*: the planted verdict (or a refusal, where that is the answer) with"
            " the sentences it owes. *Tolerated*: `inconclusive` where"
        ),
        (
            "more could be known, for a reason that is true. *Wrong*: anything else"
            " that harms nobody. *Accusation*: an innocent, a stranger or a"
        ),
        (
            "control is accused, or a model is named that is no parent. Verdicts are"
            " those of a default configuration. Rules were fixed on the"
        ),
        "tuning seeds.",
        "",
        "| | Reporting seeds | Tuning seeds |",
        "|---|---|---|",
    ]
    parts = [
        {name: grades[name] for name, trial in trials.items() if trial.part == part}
        for part in (REPORTING, TUNING)
    ]
    text += [
        f"| {outcome} | " + " | ".join(_rate(part, outcome) for part in parts) + " |"
        for outcome in OUTCOMES
    ]
    innocent = [
        {name: grade for name, grade in part.items() if not trials[name].case.guilty}
        for part in parts
    ]
    text += [
        "| innocents and strangers accused | "
        + " | ".join(_rate(part, "accusation") for part in innocent)
        + " |"
    ]
    text += [
        "",
        "## By kind, on the reporting seeds",
        "",
        "| kind | " + " | ".join(OUTCOMES) + " |",
        "|---|" + "---|" * len(OUTCOMES),
    ]
    text += _by_kind(reported, grades)
    for title, part in zip(("reporting seeds", "tuning seeds"), parts, strict=True):
        text += ["", f"## Not right, {title}", "", *(_misses(part) or ["None."])]
    text += [
        "",
        "## All cases",
        "",
        "| kind | case | right | built after |",
        "|---|---|---|---|",
    ]
    text += [
        f"| {case.kind} | {case.name} | {_expected(case)} |"
        f" {case.source or 'thought up here'} |"
        for case in cases.values()
    ]
    write_text(path, "\n".join([*text, ""]))


def rates(trials: Mapping[str, Trial], grades: Mapping[str, Grade]) -> dict[str, Any]:
    """What reports print: innocents, how many were accused, Wilson's 95 % interval, and
    how many answers were right; on the reporting seeds.
    """
    reported = {
        name: grades[name] for name, trial in trials.items() if trial.part == REPORTING
    }
    innocents = [
        grade for name, grade in reported.items() if not trials[name].case.guilty
    ]
    false = sum(grade.outcome == "accusation" for grade in innocents)
    interval = [round(end, 6) for end in wilson95(false, len(innocents))]
    right = sum(grade.outcome == "right" for grade in reported.values())
    return {
        "innocents": len(innocents),
        "false": false,
        "ci95": interval,
        "cases": len(reported),
        "right": right,
    }


def _rate(grades: Mapping[str, Grade], outcome: str) -> str:
    hits = sum(grade.outcome == outcome for grade in grades.values())
    low, high = wilson95(hits, len(grades))
    return f"{hits}/{len(grades)} = {hits / len(grades):.1%} [{low:.1%}, {high:.1%}]"


def _by_kind(trials: Mapping[str, Trial], grades: Mapping[str, Grade]) -> list[str]:
    counts: dict[str, Counter] = {}
    for name, trial in trials.items():
        counts.setdefault(trial.case.kind, Counter())[grades[name].outcome] += 1
    return [
        f"| {kind} | "
        + " | ".join(str(found[outcome] or "") for outcome in OUTCOMES)
        + " |"
        for kind, found in counts.items()
    ]


def _misses(grades: Mapping[str, Grade]) -> list[str]:
    worst_first = sorted(
        (name for name in grades if grades[name].outcome != "right"),
        key=lambda name: (-OUTCOMES.index(grades[name].outcome), name),
    )
    return [
        f"- **{grades[name].outcome}** `{name}`:"
        f" {' / '.join(_line(fault) for fault in grades[name].faults)}"
        for name in worst_first
    ]


def _expected(case: Any) -> str:
    words = [f"`{verdict}`" for verdict in case.right] + (
        ["a refusal"] if case.error else []
    )
    return " or ".join(words)


def _line(text: str) -> str:
    return " ".join(text.split())[:400]
