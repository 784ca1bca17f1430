"""How near to a donor a model may lie that would be named in its place.

Whoever blended a near relative of the donor, such as another checkpoint of its run, and
trained the blend, left what this route sees of the donor itself: the difference between
the two is part of what was changed after the merge, and can be no more than all of it.
"""

from math import sqrt

from mergetrace.finding.case import Case, Decision
from mergetrace.finding.descent import RESTS_ON
from mergetrace.finding.reasons_merge import NotToldApart


def with_relatives(case: Case, decision: Decision) -> tuple[NotToldApart, ...]:
    """What is to be said of the relatives of every donor that is named."""
    found = []
    for donor in decision.named:
        part = not_told_within(case, decision, donor)
        if part is not None:
            found.append(NotToldApart(donor, case.base, part))
    return tuple(found)


def not_told_within(case: Case, decision: Decision, donor: str) -> float | None:
    """The part of a donor's change by which another model may differ from it and be named
    in its place; None of a donor that is not named, of a merge that nothing changed, and
    where exact traces are of several donors.
    """
    if decision.verdict != "merge_then_trained" or donor not in decision.named:
        return None
    is_strong = decision.rests_on == RESTS_ON
    most = case.thresholds.not_told_within if is_strong else None
    left = _left(case, donor, is_strong)
    if left is None or len(decision.named) > 1:
        return most
    return min(sqrt(left), most or 1.0)


def _left(case: Case, donor: str, is_strong: bool) -> float | None:
    """The energy of what the blend leaves, over that of the donor's part in it."""
    if not is_strong:
        best = case.recipe.best
        return best.residual_share if best else None
    cosine = case.summary.donors[donor].cos
    return 1 / (cosine * cosine) - 1 if cosine else None
