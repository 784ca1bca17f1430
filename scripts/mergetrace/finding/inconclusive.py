"""What is said where no rule answers: how far the numbers reach, and what would settle
it.
"""

from mergetrace.finding.case import Case, Decision, Reason
from mergetrace.finding.reasons_merge import (
    ChanceTooClose,
    OneParentEnough,
    SharesOutside,
    SharesTiny,
    TensorsMissing,
)
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
from mergetrace.finding.traces import best_recipe, shares_outside, single_parent


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
    exactness = _exactness(case)
    if exactness is not None:
        reasons.append(exactness)
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


def against_merge(case: Case) -> Reason:
    """What stands against a merge although a recipe gives the audited model back."""
    limits = case.thresholds
    shares = dict(best_recipe(case).common.shares or {})
    outside = shares_outside(case, shares)
    if outside:
        return SharesOutside(outside, 1 - limits.min_share)
    sizes = [abs(share) for share in shares.values() if share is not None]
    if shares and all(size < limits.min_share for size in sizes):
        return SharesTiny()
    if single_parent(case, case.summary.donors) > limits.max_single_parent:
        return OneParentEnough()
    if (case.summary.exact_share or 0.0) < limits.min_exact_slices:
        return TensorsMissing()
    return ChanceTooClose()


def _exactness(case: Case) -> Reason | None:
    """How much of the informative elements recipes give back."""
    limits = case.thresholds
    informative = case.recipe.informative_elements
    exact = case.exact_rate
    if informative < limits.min_informative:
        return FewInformative(informative, limits.min_informative)
    if exact is None:
        return None
    if exact >= limits.min_bit_exact:
        return RecipeButNoMerge(exact, informative, against_merge(case))
    return NoExactTrace(
        exact, informative, case.summary.exact_share or 0.0, limits.min_bit_exact
    )


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
