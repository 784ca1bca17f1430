"""The rule that calls a model a copy."""

from mergetrace.finding.case import Case, Decision, Reason
from mergetrace.finding.coverage import held_of, not_whole, recast, sampled
from mergetrace.finding.reasons_origin import (
    EqualButNothingVotes,
    EqualElements,
    EqualInAll,
    EqualInPart,
    EqualOnceRounded,
    EqualToSeveral,
    Recast,
)


def copy(case: Case) -> Decision | None:
    """Every element of every tensor equals one parent's, be it once that is rounded to
    the format in which the audited model is stored.

    Nothing of the audited model may be left out, and something that votes must be among
    it. Where numbers were rounded for the comparison, they may have been trained a
    little.
    """
    equal = _equal_elements(case)
    if equal is None:
        return None
    against = not_whole(case, equal) or _against_copy(case, equal)
    if against:
        return Decision("inconclusive", against)
    parent = equal.parents[0]
    named: dict[str, float | None] = {} if parent == case.base else {parent: 1.0}
    base_share = 0.0 if named else 1.0
    if case.layout and case.layout.rounded:
        reasons = (EqualOnceRounded(equal),)
        if not named:
            return Decision("inconclusive", reasons)
        return Decision("finetune_of_donor", reasons, named, base_share)
    formats = recast(case, parent)
    return Decision(
        "copy",
        (EqualInAll(equal, formats), *sampled(case)),
        named,
        base_share,
        family=_family(case, equal, formats),
        rests_on="values",
    )


def _family(case: Case, equal: EqualElements, formats: Recast | None) -> str | None:
    """How a copy was stored anew; None where it was not."""
    if case.recipe.packed and not equal.exact:
        return "requantised"
    return None if equal.exact and formats is None else "recast"


def _against_copy(case: Case, equal: EqualElements) -> tuple[Reason, ...]:
    """Why a model that equals these parents in every weight is no copy; empty where
    nothing stands against it.
    """
    if not case.summary.slices:
        return (EqualButNothingVotes(equal),)
    held = held_of(case, equal.parents[0])
    if held < case.thresholds.min_compared:
        return (EqualInPart(equal, held),)
    if len(equal.parents) > 1:
        return (EqualToSeveral(equal),)
    return ()


def _equal_elements(case: Case) -> EqualElements | None:
    """The parents whose elements the audited model holds, None where there are none:
    the base, else the first donor, where any is equal as it is stored; else every one
    that is equal once it is rounded.
    """
    donors = case.summary.donors
    if case.summary.all_equal_base:
        return EqualElements(case.model, (case.base,), exact=True)
    for donor, numbers in donors.items():
        if numbers.all_equal:
            return EqualElements(case.model, (donor,), exact=True)
    rounded = [case.base] if case.summary.all_rounded_base else []
    rounded += [donor for donor, numbers in donors.items() if numbers.all_rounded]
    if not rounded:
        return None
    return EqualElements(case.model, tuple(rounded), exact=False)
