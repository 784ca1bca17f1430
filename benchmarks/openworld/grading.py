"""What an answer is worth, beside the one that would be right."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.openworld.case import Case
from mergetrace.finding.case import ACCUSING

OUTCOMES = ("right", "tolerated", "wrong", "accusation", "traceback")
NOT_OF_A_WHOLE_FOLDER = r"download"
"""Folders here are whole, as their publishers left them: nobody can mend them by
fetching them again.
"""


@dataclass(frozen=True)
class Grade:
    """What an answer is worth (one of OUTCOMES), and what is wrong with it."""

    outcome: str
    faults: tuple[str, ...] = ()


def grade(
    case: Case, world: str, answer: Mapping[str, Any], share: float | None = None
) -> Grade:
    """Judge one answer: {"traceback": text}, {"error": message} or {"finding": of
    verdict.json}.

    share: how much of the suspect can be compared, where the case says so.
    """
    if "traceback" in answer:
        return Grade("traceback", (answer["traceback"].strip().splitlines()[-1],))
    text = (
        answer["error"] if "error" in answer else " ".join(answer["finding"]["reasons"])
    )
    said = [
        f"says {match.group(0)!r}"
        for pattern in _never(case)
        if (match := re.search(pattern, text, re.I))
    ]
    if "error" in answer:
        missing = [
            f"its message lacks {pattern!r}"
            for pattern in case.error
            if not re.search(pattern, text, re.I)
        ]
        faults = [*said, *(missing if case.error else ["refused"])]
        return Grade("wrong", (*faults, text)) if faults else Grade("right")
    finding = answer["finding"]
    if accused := accusations(case, finding):
        return Grade("accusation", (*accused, *said, *finding["reasons"][:1]))
    return _of_finding(case, world, finding, text, [*said, *_coverage(finding, share)])


def accusations(case: Case, finding: Mapping[str, Any]) -> list[str]:
    """Everything in a finding that accuses wrongly: the suspect of what it is not, a
    model that is no parent, a control.
    """
    verdict = finding["verdict"]
    wrong = (
        [f"{verdict} of an innocent"]
        if verdict in ACCUSING and not case.guilty and verdict not in case.right
        else []
    )
    wrong += [
        f"names {name}"
        for name, parent in finding["parents"].items()
        if parent["named"] and name not in case.named
    ]
    return wrong + [
        f"control {name}: {control['verdict']}"
        for name, control in finding["controls"].items()
        if control["verdict"] in ACCUSING
    ]


def rights(case: Case, world: str) -> tuple[str, ...]:
    """The right verdicts. What a really trained innocent shows may lie beyond the
    limits of an acquittal, as in the zoo.
    """
    return (
        (*case.right, "inconclusive")
        if world == "trained"
        and not case.guilty
        and case.right[0] == "finetune_of_base"
        else case.right
    )


def _of_finding(
    case: Case, world: str, finding: Mapping[str, Any], text: str, faults: list[str]
) -> Grade:
    verdict = finding["verdict"]
    missing = [
        f"does not say {pattern!r}"
        for pattern in case.says
        if not re.search(pattern, text, re.I)
    ]
    named = {name for name, parent in finding["parents"].items() if parent["named"]}
    if verdict in ACCUSING and case.named and named != set(case.named):
        missing.append(
            f"names {', '.join(sorted(named)) or 'nobody'} instead of"
            f" {', '.join(case.named)}"
        )
    alpha = finding["parents"].get("donor", {}).get("alpha")
    if (
        verdict == "merge"
        and case.alpha is not None
        and (alpha is None or abs(alpha - case.alpha) > 0.01)
    ):
        missing.append(f"the donor's share is {alpha} instead of {case.alpha}")
    if verdict in rights(case, world) and not faults and not missing:
        return Grade("right")
    if verdict not in rights(case, world):
        expected = " or ".join(case.right) if case.right else "a refusal"
        faults = [*faults, f"{verdict} instead of {expected}"]
    excused = verdict == "inconclusive" and any(
        re.search(pattern, text, re.I) for pattern in case.tolerated
    )
    said_wrongly = any(fault.startswith("says ") for fault in faults)
    outcome = "tolerated" if excused and not said_wrongly else "wrong"
    return Grade(outcome, (*faults, *missing, *finding["reasons"][:2]))


def _coverage(finding: Mapping[str, Any], share: float | None) -> list[str]:
    if share is None:
        return []
    stated = (finding.get("compared") or {}).get("suspect", {}).get("share")
    if stated is None:
        return ["does not state what share of the suspect was compared"]
    return (
        []
        if abs(stated - share) <= 0.03
        else [
            f"states that {stated:.1%} of the suspect was compared, and {share:.1%}"
            " can be"
        ]
    )


def _never(case: Case) -> tuple[str, ...]:
    return case.never if case.may_download else (*case.never, NOT_OF_A_WHOLE_FOLDER)
