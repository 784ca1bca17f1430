"""How one case of the descent zoo is graded: what the finding says, against what is
true.
"""

from typing import Any

from mergetrace.finding.case import ACCUSING

Row = dict[str, Any]
WEIGHT_ERROR = 0.02
"""How far a stated weight may lie from the planted one."""
GRADES = (
    "named",
    "wrong weight",
    "acquitted",
    "bounded",
    "wrongly acquitted",
    "inconclusive",
    "accused",
    "failed",
)
"""`accused`: of an innocent, or a donor or control that is one. `acquitted`: by verdict,
or by a small bound on every donor's weight. `bounded`: every donor's weight has a bound
below what least squares gives. `wrongly acquitted`: a bound that is less than the truth,
or the word of an acquittal without a small one.
"""
ACQUITTING = ("finetune_of_base", "unrelated")
SMALL_BOUND = 0.1
"""A bound above this acquits nobody."""


def grade(row: Row) -> Row:
    """The row with its grade, and what was accused or the error of the weight."""
    if "error" in row:
        return row | {"grade": "failed", "wrong": [], "weight_error": None}
    wrong = accusations(row)
    error = weight_error(row)
    return row | {
        "grade": "accused" if wrong else _grade(row, error),
        "wrong": wrong,
        "weight_error": error,
        "evidence": row["verdict"].get("evidence"),
    }


def accusations(row: Row) -> list[str]:
    """Everything in the finding that accuses somebody wrongly."""
    case, found = row["case"], row["verdict"]
    if _excused(case, found):
        return []
    wrong = [f"names {name}" for name in named(found) if name not in case["truth"]]
    if not case["truth"] and found["verdict"] in ACCUSING:
        wrong.append(f"{found['verdict']} of an innocent")
    if case["kind"] == COPIED and found["verdict"] == "copy":
        wrong = []
    return wrong + [
        f"control {name}: {control['verdict']}"
        for name, control in found["controls"].items()
        if control["verdict"] in ACCUSING
    ]


COPIED = "framing by a copy"
"""Equal models are called so, which accuses nobody of having been second."""


def named(found: dict[str, Any]) -> list[str]:
    """The donors that a finding names as parents."""
    return [name for name, parent in found["parents"].items() if parent["named"]]


def weight_error(row: Row) -> float | None:
    """The largest error of a stated weight of a donor that is in the suspect."""
    parents = row["verdict"]["parents"]
    errors = [
        abs(parents[name]["alpha"] - weight)
        for name, weight in row["case"]["truth"].items()
        if weight is not None
        and parents[name]["named"]
        and parents[name]["alpha"] is not None
    ]
    return max(errors, default=None)


def bound_of(found: dict[str, Any], donor: str) -> float | None:
    """The greatest weight of a donor that a finding leaves open; None where it states
    none.
    """
    return found["parents"][donor].get("at_most")


def _grade(row: Row, error: float | None) -> str:
    case, found = row["case"], row["verdict"]
    bounds = {donor: bound_of(found, donor) for donor in case["donors"]}
    if _too_low(case["truth"], bounds):
        return "wrongly acquitted"
    if named(found):
        return "named" if error is None or error <= WEIGHT_ERROR else "wrong weight"
    low = all(bound is not None and bound <= SMALL_BOUND for bound in bounds.values())
    if found["verdict"] in ACQUITTING or low:
        untrue = case["truth"] and not low
        return "wrongly acquitted" if untrue else "acquitted"
    return "bounded" if _below_least_squares(found, bounds) else "inconclusive"


def _too_low(truth: dict[str, float | None], bounds: dict[str, float | None]) -> bool:
    """Whether a stated bound is less than a planted weight."""
    return any(
        weight is not None and (bound := bounds[donor]) is not None and bound < weight
        for donor, weight in truth.items()
    )


def _below_least_squares(
    found: dict[str, Any], bounds: dict[str, float | None]
) -> bool:
    parents = found["parents"]
    return all(
        bound is not None
        and (fitted := parents[donor].get("alpha_ols")) is not None
        and bound < min(1.0, fitted)
        for donor, bound in bounds.items()
    )


def _excused(case: dict[str, Any], found: dict[str, Any]) -> bool:
    """Whether the finding says what weights cannot show, where they cannot."""
    words = case["excused"]
    return bool(words) and any(words in reason for reason in found["reasons"])
