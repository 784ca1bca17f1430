"""A finding reaches as far as what was compared: below a stated share of the audited
model nobody is accused and nobody acquitted.
"""

from dataclasses import replace

from mergetrace.finding.case import ACCUSING, Case, Decision, Reason
from mergetrace.finding.reasons_coverage import (
    EqualButHeldTwice,
    EqualButNotFinite,
    EqualButUnread,
    NotJudged,
    ParentComparedInPart,
    TooLittleCompared,
    TracesOfPart,
    WouldMakeReadable,
)
from mergetrace.finding.reasons_origin import EqualElements, Recast, RestsOnSample
from mergetrace.records.coverage import Coverage


def enough_read(case: Case, decision: Decision) -> Decision:
    """The decision, where enough of the audited model was compared; else
    `inconclusive`, with what was not read and what would make it readable.

    Where the coverage is not known (numbers that were stored before it was measured)
    the decision is left as it is.
    """
    coverage = case.compared.get(case.model)
    if coverage is None:
        return decision
    limit = case.thresholds.min_compared
    finite_share = compared_share(case, coverage)
    share = finite_share
    if decision.verdict not in ACCUSING:
        # who is acquitted must not hide anything in what is held twice
        share = _share_of_all_stored(coverage, share)
    beside = NotJudged(coverage)
    if share >= limit:
        known: tuple[Reason, ...] = (beside,)
        if decision.verdict != "inconclusive":
            known = (*_parents_compared_in_part(case, decision), beside)
        return replace(decision, reasons=(*decision.reasons, *known))
    why = (
        TooLittleCompared(case.model, coverage, finite_share, share, limit),
        WouldMakeReadable(case.model, coverage),
    )
    traces = decision.reasons
    if decision.verdict != "inconclusive":
        traces = (TracesOfPart(decision.verdict, decision.reasons),)
    return Decision("inconclusive", (*why, *traces, beside), family="unread")


def compared_share(case: Case, coverage: Coverage) -> float:
    """The share of the audited model's parameters that was compared, less what is NaN
    or infinite. coverage: the audited model's.
    """
    read = case.summary.elements_read
    lost = case.summary.nonfinite / read if read else 0.0
    return coverage.share * (1 - lost)


def not_whole(case: Case, equal: EqualElements) -> tuple[Reason, ...]:
    """Why equal elements make no copy: something of the audited model was not compared.
    Empty where all was, or where it is not known.
    """
    coverage = case.compared.get(case.model)
    if coverage is not None and not coverage.whole:
        # what is missing is said by `enough_read` where it stops the verdict
        if compared_share(case, coverage) < case.thresholds.min_compared:
            return (EqualButUnread(equal, coverage, with_parts=False),)
        return (
            EqualButUnread(equal, coverage, with_parts=True),
            WouldMakeReadable(case.model, coverage),
        )
    if coverage is not None and coverage.held_twice:
        return (EqualButHeldTwice(equal, coverage.held_twice),)
    read = case.summary.elements_read
    lost = case.summary.nonfinite
    if lost > case.thresholds.max_not_finite * read:
        return (EqualButNotFinite(equal, lost, read),)
    return ()


def held_of(case: Case, parent: str) -> float:
    """The share of a parent's parameters that the audited model has; 1 where it is not
    known.
    """
    coverage = case.compared.get(case.model)
    return 1.0 if coverage is None else coverage.holds.get(parent, 1.0)


def sampled(case: Case) -> tuple[Reason, ...]:
    """What a copy rests on in a sample audit; empty where all was read."""
    coverage = case.compared.get(case.model)
    read = case.summary.elements_read
    if coverage is None or read >= coverage.compared:
        return ()
    return (RestsOnSample(read, coverage.compared),)


def recast(case: Case, parent: str) -> Recast | None:
    """The formats in which a parent and the audited model are stored; None where they
    are the same, or not known.
    """
    target = _dtypes(case, case.model)
    source = _dtypes(case, parent)
    new = tuple(dtype for dtype in target if dtype not in source)
    gone = tuple(dtype for dtype in source if dtype not in target)
    if not new and not gone:
        return None
    return Recast(gone or source, new or target)


def _dtypes(case: Case, model: str) -> tuple[str, ...]:
    coverage = case.compared.get(model)
    return () if coverage is None else tuple(coverage.dtypes)


def _share_of_all_stored(coverage: Coverage, share: float) -> float:
    """The share that was compared of all parameters, those included that stand a second
    time in the files with other numbers.
    """
    if not coverage.held_twice:
        return share
    stored = coverage.parameters + coverage.held_twice
    return share * coverage.parameters / stored


def _parents_compared_in_part(case: Case, decision: Decision) -> tuple[Reason, ...]:
    """The parents that the decision is about and of which much less was compared than
    of the audited model.
    """
    reasons = []
    for parent in (case.base, *decision.named):
        coverage = case.compared.get(parent)
        if coverage is not None and coverage.share < case.thresholds.min_compared:
            reasons.append(ParentComparedInPart(parent, coverage, case.model))
    return tuple(reasons)
