"""How an answer is graded, and the page that says so."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from case import ACCUSING, Case

from mergetrace.files import write_text
from mergetrace.probe.intervals import wilson95

Row = dict[str, Any]
GRADES = ("right", "tolerated", "wrong", "accusation", "traceback")


def grade(case: Case, row: Row) -> tuple[str, str]:
    """(one of GRADES, why). row: `error` (a message), `traceback`, or `verdict`, `named`, `reasons`.

    tolerated: `inconclusive` where more could have been said. accusation: an accusing verdict, or a name, where none is right.
    """
    if "traceback" in row:
        return "traceback", row["traceback"].strip().splitlines()[-1]
    if "error" in row:
        lacking = [word for word in case.error if word.casefold() not in row["error"].casefold()]
        return ("right", "") if case.error and not lacking else ("wrong", f"refused: {row['error']}")
    verdict, said = row["verdict"], " ".join(row["reasons"])
    accused = verdict in ACCUSING and verdict not in case.verdicts
    if (accused and not case.guilty) or set(row["named"]) - set(case.named) or row["controls"]:
        return "accusation", f"{verdict}, names {', '.join(row['named']) or 'nobody'}; controls accused: {', '.join(row['controls']) or 'none'}"
    spoken = [word for word in case.never if word in said]
    if spoken:
        return "wrong", f"{verdict}, and says {spoken[0]!r}"
    if verdict not in case.verdicts or (verdict in ACCUSING and set(row["named"]) != set(case.named)):
        why = f"{verdict}, names {', '.join(row['named']) or 'nobody'}: {row['reasons'][0] if row['reasons'] else ''}"
        return ("tolerated" if verdict == "inconclusive" else "wrong"), why
    lacking = [word for word in case.says if word.casefold() not in said.casefold()]
    return ("wrong", f"{verdict}, and does not say {lacking[0]!r}") if lacking else ("right", "")


def write_page(path: Path, graded: Sequence[tuple[Case, int, Row, str, str]], tuning: Sequence[int], reporting: Sequence[int]) -> None:
    """The page of all cases: (case, seed, row, grade, why)."""
    text = [
        "# The open world",
        "",
        "Written by `make bench-openworld`; do not edit. Folders, as small as a test needs them, built after public reports of how people publish",
        "models: other names, fused and packed weights, half-written indexes, infinities, strangers, and originals beside their own children. The",
        "answer is planted. Nothing was copied from anywhere; the source of each kind stands beside it. Weights are random numbers and random",
        "finetunes of them.",
        f"Rules were mended on seeds {_list(tuning)}; seeds {_list(reporting)} only report.",
        "",
        "| | " + " | ".join(GRADES) + " | right | accused, of innocents |",
        "|---|" + "---|" * (len(GRADES) + 2),
        *(_line(name, [entry for entry in graded if entry[1] in seeds]) for name, seeds in (("reporting", reporting), ("tuning", tuning))),
        "",
        "*right*: the best answer, for the true reason. *tolerated*: `inconclusive` where more could have been said. *accusation*: an accusing",
        "verdict or a name where none is right. Intervals are Wilson's, 95 %.",
        "",
        "## By kind",
        "",
        "| kind | cases | right | tolerated | wrong |",
        "|---|---|---|---|---|",
    ]
    for kind in dict.fromkeys(case.kind for case, *_ in graded):
        counts = Counter(grade for case, _, _, grade, _ in graded if case.kind == kind)
        total, right, tolerated = sum(counts.values()), counts["right"], counts["tolerated"]
        text.append(f"| {kind} | {total} | {right} | {tolerated} | {total - right - tolerated} |")
    text += ["", "## Misses", ""]
    misses = [f"- `{case.id}`, seed {seed}: {grade}. {why}" for case, seed, _, grade, why in graded if grade != "right"]
    text += [*(misses or ["None."]), "", "## Cases", "", "| case | answer | source |", "|---|---|---|"]
    seen = {case.id: (case, row) for case, _, row, _, _ in graded}
    text += [f"| {case.id} | {_answer(row)} | {case.source} |" for case, row in seen.values()]
    write_text(path, "\n".join([*text, ""]))


def rates(graded: Sequence[tuple[Case, int, Row, str, str]], seeds: Sequence[int]) -> dict[str, Any]:
    """Of the reporting seeds: cases, right, innocents, accused, with Wilson's 95 % intervals."""
    own = [entry for entry in graded if entry[1] in seeds]
    innocents = [entry for entry in own if not entry[0].guilty]
    right, accused = sum(entry[3] == "right" for entry in own), sum(entry[3] == "accusation" for entry in innocents)
    return {
        "cases": len(own),
        "right": right,
        "right_ci95": [round(end, 6) for end in wilson95(right, len(own))],
        "innocents": len(innocents),
        "accused": accused,
        "accused_ci95": [round(end, 6) for end in wilson95(accused, len(innocents))],
    }


def _line(name: str, graded: Sequence[tuple[Case, int, Row, str, str]]) -> str:
    counts = Counter(grade for *_, grade, _ in graded)
    found = rates(graded, [entry[1] for entry in graded]) if graded else None
    if not found:
        return f"| {name} | " + " | ".join("" for _ in range(len(GRADES) + 2)) + " |"
    low, high = found["right_ci95"]
    most = found["accused_ci95"][1]
    share = f"{found['right'] / found['cases']:.1%} [{low:.1%}, {high:.1%}]"
    return (
        f"| {name} seeds | "
        + " | ".join(str(counts[grade]) for grade in GRADES)
        + f" | {share} | {found['accused']} of {found['innocents']} (under {most:.1%}) |"
    )


def _list(seeds: Sequence[int]) -> str:
    return " and ".join(map(str, seeds))


def _answer(row: Row) -> str:
    return "refused" if "error" in row else "traceback" if "traceback" in row else row["verdict"].replace("_", " ")
