"""What is said where no rule answers: how far the numbers reach, and what would settle
it.
"""

from mergetrace.finding.case import Case, Decision, Reason
from mergetrace.finding.cells import hidden
from mergetrace.finding.descent import observed
from mergetrace.finding.following import against_following, is_pure
from mergetrace.finding.reasons_origin import (
    ControlsMoveToo,
    DonorIsBase,
    DonorsMoveAlike,
    FewInformative,
    MovesLikeDonors,
    NoExactTrace,
    NoRuleApplies,
    RecipeButNoMerge,
)
from mergetrace.finding.reasons_stops import (
    ChosenStopped,
    DropStopped,
    FollowingStopped,
    Trace,
    TraceStopped,
)
from mergetrace.finding.stops import (
    against_blend,
    against_chosen,
    against_drop,
    against_finetune,
    against_merge,
    shows_chosen,
    shows_drop,
)
from mergetrace.finding.traces import traces_beside


def inconclusive(case: Case) -> Decision:
    """The decision where every rule is silent."""
    reasons: list[Reason] = [
        DonorIsBase(donor, case.base)
        for donor, numbers in case.summary.donors.items()
        if numbers.is_base
    ]
    cos_fit = case.summary.cos_fit
    if cos_fit is not None and abs(cos_fit) >= case.thresholds.max_innocent_cos:
        reasons.append(MovesLikeDonors(case.model, cos_fit))
        step = shared_step(case)
        if step is not None:
            reasons.append(step)
    noise = hidden(case)
    if noise is not None:
        reasons.append(noise)
    reasons += observed(case)
    exactness = _exactness(case)
    if exactness is not None:
        reasons.append(exactness)
    reasons += _stopped(case)
    return Decision("inconclusive", tuple(reasons) or (NoRuleApplies(),))


def shared_step(case: Case) -> Reason | None:
    """What points to a wrong base where no other was offered: the controls, or else all
    donors, move alike from it. None where nothing does.
    """
    limit = case.thresholds.min_shared_step
    controls = {
        name: summary.cos_fit
        for name, summary in case.controls.items()
        if summary.cos_fit is not None
    }
    if controls:
        if min(controls.values()) < limit:
            return None
        return ControlsMoveToo(case.base, controls)
    cosines = _cosines_of_donors(case)
    if not cosines or min(cosines) < limit:
        return None
    return DonorsMoveAlike(case.base, min(cosines))


def _exactness(case: Case) -> Reason | None:
    """How much of the informative elements the best recipe gives back, and what stops
    a merge where that is enough.
    """
    limits = case.thresholds
    informative = case.recipe.informative_elements
    exact = case.exact_rate
    if informative < limits.min_informative:
        return FewInformative(informative, limits.min_informative)
    if exact is None:
        return None
    against = against_merge(case)
    if exact >= limits.min_bit_exact and against is not None:
        return RecipeButNoMerge(exact, informative, against)
    return NoExactTrace(
        exact, informative, case.summary.exact_share or 0.0, limits.min_bit_exact
    )


def _stopped(case: Case) -> list[Reason]:
    """What stops each other rule for which something speaks: dropped changes, elements
    of two models, a trace of one blend, a donor's own values.
    """
    stops: list[Reason | None] = []
    for mark in case.recipe.signatures:
        against = against_drop(case, mark)
        if against is not None and shows_drop(case, mark):
            stayed = (mark.stayed, mark.survivors)
            stops.append(DropStopped(case.base, mark.donors, *stayed, against))
    for donor, numbers in case.summary.donors.items():
        against = against_chosen(case, donor)
        if against is not None and shows_chosen(case, donor):
            of_base = numbers.coverage_base or 0.0
            of_donor = numbers.coverage_donor or 0.0
            stops.append(ChosenStopped(case.base, of_base, donor, of_donor, against))
    dependence = case.recipe.dependence
    if dependence is not None and is_pure(case):
        against = against_following(case, dependence)
        if against is not None:
            seen = (dependence.parents, dependence.repeated, dependence.dissent)
            stops.append(FollowingStopped(*seen, against))
    stops.append(_stopped_trace(case))
    return [stop for stop in stops if stop is not None]


def _stopped_trace(case: Case) -> Reason | None:
    """What stops the greatest trace of one donor, where chance does not give it."""
    limits = case.thresholds
    donor, numbers = max(
        case.summary.donors.items(), key=lambda pair: pair[1].coverage or 0.0
    )
    coverage = numbers.coverage or 0.0
    own = numbers.coverage_donor or 0.0
    if own >= limits.min_peak_share * coverage:
        trace = Trace(donor, None, own, numbers.informative)
        against = against_finetune(case, donor)
    elif (case.exact_rate or 0.0) < limits.min_bit_exact:
        trace = Trace(donor, numbers.alpha_replay, coverage, numbers.informative)
        against = against_blend(case, donor)
    else:
        return None
    chance = max(traces_beside(case, donor).values(), default=1.0)
    least = min(limits.min_trace, limits.min_trace_over_null * chance)
    if against is None or trace.share < least:
        return None
    return TraceStopped(trace, against)


def _cosines_of_donors(case: Case) -> list[float]:
    mixture = case.summary.mixture
    if mixture is None:
        return []
    return [
        cosine
        for row in mixture.cosines.values()
        for cosine in row.values()
        if cosine is not None
    ]
