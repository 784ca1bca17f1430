"""How one case of the zoo is graded: what the finding says, against what was planted."""

from typing import Any

from mergetrace.finding.case import ACCUSING

Row = dict[str, Any]
SHARE_ERROR = 0.001
TRAINED_SHARE_ERROR = 0.01
"""How far a share may lie from the planted one, of a deterministic merge and of others."""


def verdict_of(row: Row) -> str:
    """The verdict, or that the case failed."""
    return "failed" if "error" in row else row["verdict"]["verdict"]


def named_by(finding: dict[str, Any]) -> list[str]:
    """The donors that a finding names as parents."""
    return [name for name, parent in finding["parents"].items() if parent["named"]]


def method_of(row: Row) -> str | None:
    """The family of the recipe that a merge is stated with."""
    return (
        None
        if "error" in row or verdict_of(row) not in ("merge", "other_merge")
        else row["verdict"]["family"]
    )


def verdict_right(row: Row) -> bool:
    """Whether the verdict is among the acceptable ones."""
    return verdict_of(row) in row["case"]["verdicts"] or _excused(row)


def false_accusations(row: Row) -> list[str]:
    """Everything in the finding that accuses somebody wrongly: the suspect of what it
    is not, an offered model that is no parent, a control.
    """
    if "error" in row:
        return []
    case = row["case"]
    found = row["verdict"]
    if _excused(row):
        return []
    wrong = (
        []
        if case["guilty"] or found["verdict"] not in ACCUSING or verdict_right(row)
        else [f"{found['verdict']} of an innocent"]
    )
    wrong += [f"names {name}" for name in named_by(found) if name not in case["named"]]
    return wrong + [
        f"control {name}: {control['verdict']}"
        for name, control in found["controls"].items()
        if control["verdict"] in ACCUSING
    ]


def _excused(row: Row) -> bool:
    """Whether the finding says what weights cannot show, where they cannot."""
    words = row["case"]["excused"]
    return (
        bool(words)
        and "error" not in row
        and any(words in reason for reason in row["verdict"]["reasons"])
    )


def parents_right(row: Row) -> bool:
    """Whether exactly the planted parents are named."""
    return set(named_by(row["verdict"])) == set(row["case"]["named"])


def alpha_error(row: Row) -> float | None:
    """The largest error of a donor's share, where shares are planted and the verdict
    states them.
    """
    case = row["case"]
    if (
        "error" in row
        or not case["alphas"]
        or verdict_of(row) not in ("merge", "merge_then_trained")
    ):
        return None
    parents = row["verdict"]["parents"]
    found = [parents[name]["alpha"] for name in case["alphas"]]
    return (
        None
        if None in found
        else max(
            abs(alpha - case["alphas"][name])
            for name, alpha in zip(case["alphas"], found, strict=True)
        )
    )


def family_right(row: Row) -> bool | None:
    """Whether the stated recipe is of a planted family; None where no recipe is
    stated.
    """
    method = method_of(row)
    return None if method is None else method in row["case"]["families"]


def shares_wrong(row: Row) -> float | None:
    """The error of the shares where it is more than may be; training moves them."""
    error = alpha_error(row)
    most = SHARE_ERROR if row["case"]["pure"] else TRAINED_SHARE_ERROR
    # .571 - .57 is not .001 in float64
    return error if error is not None and round(error, 9) > most else None


def imperfect(row: Row) -> bool:
    """Whether a recipe of a deterministic merge leaves informative elements out."""
    recipe = row["verdict"]["recipe"] if "error" not in row else None
    return bool(
        row["case"]["pure"]
        and recipe
        and recipe["bit_exact_rate"] is not None
        and recipe["bit_exact_rate"] < 1
    )


def recovered(row: Row) -> bool:
    """Whether a deterministic merge has a recipe of a right family that gives every
    informative element back, and its shares, where they are planted, within .001.
    """
    if "error" in row or not row["verdict"]["recipe"] or imperfect(row):
        return False
    return bool(family_right(row)) and shares_wrong(row) is None


def not_identified(row: Row) -> bool:
    """Whether a pure blend is seen, and no recipe gives it back."""
    found = {} if "error" in row else row["verdict"]
    return found.get("verdict") == "other_merge" and found["family"] == "blend"
