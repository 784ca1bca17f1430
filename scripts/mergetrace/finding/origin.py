"""The rules that acquit, and those that see that nothing can be said: origin, disguises,
innocence.
"""

from mergetrace.finding.case import Case, Decision, Reason
from mergetrace.finding.cells import hidden, undimmed, undimmed_same_sign
from mergetrace.finding.descent import RESTS_ON, acquitted, bounds, contradicted
from mergetrace.finding.reasons_origin import (
    DisguiseHides,
    DisguisesNotLookedFor,
    FewInPlace,
    FollowsNoDonor,
    LookedFor,
    MatricesOfOther,
    MovesLikeDonors,
    NoCommonOrigin,
    NoRecipeFits,
    NothingVotes,
    StartsAtBase,
)
from mergetrace.finding.stops import most_beside


def too_little(case: Case) -> Decision | None:
    """Nothing large enough to vote was compared."""
    if case.summary.slices:
        return None
    return Decision("inconclusive", (NothingVotes(),))


def no_common_origin(case: Case) -> Decision | None:
    """The raw weights do not point the same way. A finding only where every disguise
    was looked for: a permuted copy looks the same.
    """
    limits = case.thresholds
    cosine = case.summary.base_cos
    layout = case.layout
    if cosine is None or cosine >= limits.min_base_cos:
        return None
    # What a recipe gives back has that origin: one huge weight is enough to turn a
    # cosine.
    if (case.exact_rate or 0.0) >= limits.min_bit_exact:
        return None
    apart = NoCommonOrigin(case.model, case.base, cosine, limits.min_base_cos)
    if layout is None:
        return Decision("inconclusive", (apart, DisguisesNotLookedFor()))
    if layout.not_undone:
        return Decision("inconclusive", (apart, DisguiseHides(origin=True)))
    if layout.kin >= limits.max_chance_in_place:
        elsewhere = MatricesOfOther(layout.kin, layout.reference)
        return Decision("inconclusive", (apart, elsewhere))
    kin = layout.kin if case.summary.donors else None
    from_nobody = NoCommonOrigin(
        case.model, case.base, cosine, limits.min_base_cos, in_place=kin
    )
    return Decision("unrelated", (from_nobody, LookedFor(layout.looked_for)))


def disguised(case: Case) -> Decision | None:
    """Too much lies nowhere in the parents for an acquittal, or a disguise is seen on
    what does.
    """
    layout = case.layout
    if layout is None:
        return None
    if layout.kin < case.thresholds.min_in_place:
        return Decision("inconclusive", (FewInPlace(layout.kin, layout.reference),))
    if layout.visible:
        return Decision("inconclusive", (DisguiseHides(origin=False),))
    return None


def finetune_of_base(case: Case) -> Decision | None:
    """Close to the base, and nothing in the donors' direction; or nothing of their small
    directions, which independent training on the same task does not share.
    """
    summary = case.summary
    limits = case.thresholds
    donors = summary.donors.values()
    signs = [donor.same_sign for donor in donors if donor.same_sign is not None]
    incomplete = len(signs) < len(summary.donors)
    if incomplete or any(donor.is_base for donor in donors):
        return None
    if summary.base_cos is None or summary.cos_fit is None:
        return None
    follows = abs(undimmed(case, summary.cos_fit)) >= limits.max_innocent_cos
    same = undimmed_same_sign(case, max(signs))
    follows = follows or same >= limits.max_innocent_same_sign
    if hidden(case) or contradicted(case) or (follows and not acquitted(case)):
        return None
    exact = case.exact_rate
    if exact is not None and exact > most_beside(case):
        return None
    apart: Reason = FollowsNoDonor(
        summary.cos_fit,
        limits.max_innocent_cos,
        max(signs),
        limits.max_innocent_same_sign,
    )
    if follows:
        apart = MovesLikeDonors(case.model, summary.cos_fit)
    reasons = (
        StartsAtBase(case.model, case.base, summary.base_cos),
        apart,
        *bounds(case),
        NoRecipeFits(exact),
    )
    return Decision(
        "finetune_of_base",
        reasons,
        base_share=1.0,
        rests_on=RESTS_ON if follows else None,
    )
