"""The reasons of the rules that do not accuse of a merge, as sentences."""

from collections.abc import Callable, Mapping

from mergetrace.finding.case import Reason
from mergetrace.finding.reasons_origin import (
    ControlsMoveToo,
    DisguiseHides,
    DisguisesNotLookedFor,
    DonorIsBase,
    DonorsAlike,
    DonorsMoveAlike,
    EqualButNothingVotes,
    EqualElements,
    EqualInAll,
    EqualInPart,
    EqualOnceRounded,
    EqualToSeveral,
    FewInformative,
    FewInPlace,
    FollowsNoDonor,
    LookedFor,
    MatricesOfOther,
    MovesLikeDonors,
    NoCommonOrigin,
    NoExactTrace,
    NoRecipeFits,
    NoRuleApplies,
    NothingVotes,
    NotUndone,
    OtherBaseAccuses,
    RecipeButNoMerge,
    RestsOnSample,
    StartsAtBase,
    Undone,
    VerdictNotGiven,
)
from mergetrace.finding.wording_stops import clause
from mergetrace.readable import count, decimal, listing, rate

NEAREST_INDEPENDENT = 0.975
"""cos_fit: finetunes on a donor's data with another seed reached .971 in the zoo, a
checkpoint half way of the donor's run .976 to .983.
"""


def equals(equal: EqualElements) -> str:
    """The beginning of a sentence: which models are equal."""
    text = (
        f"Every compared element of {equal.model} equals that of"
        f" {listing(equal.parents)}"
    )
    if equal.exact:
        return text
    return f"{text} once that is rounded to the format in which {equal.model} is stored"


def equal_in_all(reason: EqualInAll) -> str:
    text = equals(reason.equal)
    if reason.recast is None:
        return f"{text}."
    source = listing(reason.recast.source)
    return f"{text}: recast from {source} to {listing(reason.recast.target)}."


def equal_once_rounded(reason: EqualOnceRounded) -> str:
    return (
        f"{equals(reason.equal)} once it is rounded as said below: either noise was"
        " added to a copy, or a copy was trained very lightly."
    )


def equal_but_nothing_votes(reason: EqualButNothingVotes) -> str:
    return f"{equals(reason.equal)}, but no tensor large enough to vote is among them."


def equal_in_part(reason: EqualInPart) -> str:
    return (
        f"{equals(reason.equal)}, but only {rate(reason.held)} of"
        f" {reason.equal.parents[0]}'s weights were compared with it: a part is no copy."
    )


def equal_to_several(reason: EqualToSeveral) -> str:
    return (
        f"{equals(reason.equal)}: these parents cannot be told apart. Offer only one of"
        " them, or the numbers before rounding."
    )


def rests_on_sample(reason: RestsOnSample) -> str:
    return (
        f"That rests on a sample: {count(reason.read)} of {count(reason.compared)}"
        " elements were read."
    )


def nothing_votes(_: NothingVotes) -> str:
    return (
        "No tensor large enough to vote was compared; offer parents that share the"
        " suspect's large matrices."
    )


def no_common_origin(reason: NoCommonOrigin) -> str:
    text = (
        f"The weights of {reason.model} and {reason.base} show no common origin (cosine"
        f" {reason.cosine:.3f}, below {reason.limit})."
    )
    if reason.in_place is None:
        return text
    return (
        f"{text} Nor is there one with a donor: {reason.in_place:.1%} of its matrices"
        " lie where one of theirs does."
    )


def disguises_not_looked_for(_: DisguisesNotLookedFor) -> str:
    return (
        "Disguises (permuted neurons, moved layers) were not checked; that needs local"
        " copies of the models."
    )


def disguise_hides(reason: DisguiseHides) -> str:
    if reason.origin:
        return "A disguise is visible and not undone."
    return "A disguise is visible and not undone; what it hides is open."


def matrices_of_other(reason: MatricesOfOther) -> str:
    return (
        f"{reason.in_place:.0%} of its matrices lie where those of {reason.reference}"
        " do: a parent that was not offered may be the base."
    )


def other_base_accuses(reason: OtherBaseAccuses) -> str:
    verdicts = [f"`{verdict}` on {base}" for base, verdict in reason.verdicts.items()]
    return (
        f"That holds on {reason.base}, the nearest base candidate; the same rules say"
        f" {listing(verdicts)}. A candidate that lies on a donor's way hides what came"
        " from that donor: offer the common ancestor alone as the base."
    )


def looked_for(reason: LookedFor) -> str:
    return f"Looked for and not found: {'; '.join(reason.kinds)}."


def few_in_place(reason: FewInPlace) -> str:
    return (
        f"Only {reason.in_place:.0%} of the matrices lie where {reason.reference} has"
        " its own; the others may be disguised."
    )


def undone(reason: Undone) -> str:
    return f"Undone: {reason.what}"


def not_undone(reason: NotUndone) -> str:
    return f"Not undone: {reason.what}"


def starts_at_base(reason: StartsAtBase) -> str:
    return (
        f"{reason.model} starts at {reason.base} (cosine of the raw weights"
        f" {reason.cosine:.4f})."
    )


def follows_no_donor(reason: FollowsNoDonor) -> str:
    return (
        f"Its changes do not follow any donor's: cos_fit {reason.cos_fit:.3f} (limit"
        f" {reason.max_cos_fit}), equal signs {rate(reason.same_sign)} (limit"
        f" {rate(reason.max_same_sign)}; chance is 50 %)."
    )


def no_recipe_fits(reason: NoRecipeFits) -> str:
    text = "No recipe over the offered models gives it back"
    if reason.best is None:
        return f"{text}."
    return f"{text} (best {rate(reason.best)} of informative elements)."


def donors_alike(reason: DonorsAlike) -> str:
    counted = (
        f"their changes have a cosine of {decimal(reason.cosine)}, {reason.only_named:,}"
        f" elements speak for {reason.named} alone and {reason.only_other:,} for"
        f" {reason.other} alone"
    )
    if reason.told_apart:
        return f"{reason.named} and {reason.other} are alike but told apart: {counted}."
    return (
        f"{reason.named} and {reason.other} cannot be told apart: {counted}. These are"
        " the traces of one of them, or of a relative of both, so neither is named."
        " Offering only one of them would settle the rest; which of the two it was is"
        " not in the weights."
    )


def verdict_not_given(reason: VerdictNotGiven) -> str:
    return (
        f"These are the traces of `{reason.verdict}`, a verdict that this configuration"
        f" does not give (verdict.{reason.setting})."
    )


def donor_is_base(reason: DonorIsBase) -> str:
    return (
        f"{reason.donor} equals {reason.base} in every compared element: the two cannot"
        " be told apart. Offer another donor or base."
    )


def moves_like_donors(reason: MovesLikeDonors) -> str:
    cosine = f"(cos_fit {decimal(reason.cos_fit, digits=3)})"
    if reason.cos_fit < 0:
        return (
            f"{reason.model} moves against the donors' direction {cosine}, as it would"
            " if a donor's change had been taken away from the base."
        )
    moves = f"{reason.model} moves in the donors' direction {cosine},"
    if reason.cos_fit <= NEAREST_INDEPENDENT:
        return f"{moves} which independent finetunes on the same task do too."
    return (
        f"{moves} nearer than any independent finetune on a donor's own data came that"
        " was measured (0.971). A checkpoint of a donor's own run, a copy whose numbers"
        " were all changed and a finetune of a donor come as near, and so does a model"
        " that a donor was made from."
    )


def controls_move_too(reason: ControlsMoveToo) -> str:
    cosines = [f"{cosine:.2f} for {name}" for name, cosine in reason.cosines.items()]
    return (
        "The controls move in the donors' direction too (cos_fit"
        f" {', '.join(cosines)}){_wrong_base(reason.base)}"
    )


def donors_move_alike(reason: DonorsMoveAlike) -> str:
    return (
        f"All donors move alike from {reason.base} (cosine {reason.cosine:.2f} and"
        f" more){_wrong_base(reason.base)}"
    )


def few_informative(reason: FewInformative) -> str:
    return (
        f"Only {reason.informative:,} elements are informative (at least"
        f" {reason.needed:,} are needed): the differences are too few or too fine."
    )


def recipe_but_no_merge(reason: RecipeButNoMerge) -> str:
    return (
        f"A recipe gives back {rate(reason.rate)} of {reason.informative:,} informative"
        f" elements, but no merge is called: {clause(reason.against)}."
    )


def no_exact_trace(reason: NoExactTrace) -> str:
    return (
        f"No exact trace: the best recipe gives back {rate(reason.rate)} of"
        f" {reason.informative:,} informative elements, {rate(reason.tensors)} of the"
        f" tensors reach {rate(reason.limit)}. Other base candidates and further parents"
        " could be offered."
    )


def no_rule_applies(_: NoRuleApplies) -> str:
    return "No rule applies to these numbers."


SENTENCES: Mapping[type[Reason], Callable[..., str]] = {
    EqualInAll: equal_in_all,
    EqualOnceRounded: equal_once_rounded,
    EqualButNothingVotes: equal_but_nothing_votes,
    EqualInPart: equal_in_part,
    EqualToSeveral: equal_to_several,
    RestsOnSample: rests_on_sample,
    NothingVotes: nothing_votes,
    NoCommonOrigin: no_common_origin,
    DisguisesNotLookedFor: disguises_not_looked_for,
    DisguiseHides: disguise_hides,
    MatricesOfOther: matrices_of_other,
    LookedFor: looked_for,
    FewInPlace: few_in_place,
    Undone: undone,
    NotUndone: not_undone,
    OtherBaseAccuses: other_base_accuses,
    StartsAtBase: starts_at_base,
    FollowsNoDonor: follows_no_donor,
    NoRecipeFits: no_recipe_fits,
    DonorsAlike: donors_alike,
    VerdictNotGiven: verdict_not_given,
    DonorIsBase: donor_is_base,
    MovesLikeDonors: moves_like_donors,
    ControlsMoveToo: controls_move_too,
    DonorsMoveAlike: donors_move_alike,
    FewInformative: few_informative,
    RecipeButNoMerge: recipe_but_no_merge,
    NoExactTrace: no_exact_trace,
    NoRuleApplies: no_rule_applies,
}


def _wrong_base(base: str) -> str:
    return (
        f", as all that descends from another model than {base} would: {base} may be the"
        " wrong base. Offer other candidates."
    )
