"""What is said of a donor's small singular directions."""

from collections.abc import Callable, Mapping

from mergetrace.finding.case import Reason
from mergetrace.finding.reasons_descent import (
    AncestorNotOffered,
    AtMostOf,
    ChangesTakenBack,
    ControlHolds,
    ControlUneven,
    DonorIsNoChild,
    DonorsShareTail,
    FewMatrices,
    MayBeChild,
    MayBeCutOut,
    MayBePure,
    NoControlBeside,
    NoiseOverUneven,
    NotOfNumbersAlone,
    NotOneWeight,
    OneWeightEverywhere,
    OnItsTask,
    PartlyRoundTrip,
    Shown,
    StaysOpen,
    WeightAtOne,
    WeightObserved,
    WeightUneven,
    WrittenBackSince,
)
from mergetrace.finding.reasons_stops import CoarseSteps
from mergetrace.readable import interval, listing, percent
from mergetrace.records.verdict import Verdict

UNLESS = (
    ", unless it was trained to unlearn it, or fine changes were taken out of it to hide"
    " it"
)
"""What no upper limit can exclude."""


def one_weight_everywhere(reason: OneWeightEverywhere) -> str:
    shown = reason.shown
    return (
        f"Strong evidence, not exact: {_weight(shown)}, and it is one weight: between"
        f" {shown.matrices} matrices, and between all bins of directions but the first,"
        " a shared ancestor's part would have to differ by no more than"
        f" {percent(shown.unevenness)} of itself (limit {percent(reason.limit)});"
        " no independent training that was measured left it that even."
        f" {_beside(shown)}"
    )


def donor_is_no_child(reason: DonorIsNoChild) -> str:
    shown = reason.shown
    return (
        f"Turned round, {shown.donor} holds no one weight of {shown.model}: it differs by"
        f" at least {percent(reason.apart)} of itself, which it would not if"
        f" {shown.donor} had been made from {shown.model}. The dates of first publication"
        " would establish which came first."
    )


def on_its_task(reason: OnItsTask) -> str:
    shown = reason.shown
    return (
        f"Of {shown.donor}'s largest directions it holds {percent(reason.over)} more than"
        " of the small ones. Hard training on any task does that, and training on a task"
        f" like {shown.donor}'s own, which raises the weight: no share is stated."
    )


def changes_taken_back(reason: ChangesTakenBack) -> str:
    shown = reason.shown
    return (
        f"{percent(reason.share)} of the numbers that such a blend would have moved are"
        " exactly the base's, far more than chance leaves beside those nearly there."
        f" Changes were taken back, which lowers what is measured of {shown.donor}, or"
        " were never taken over, as by a merge that drops some: no share is stated."
    )


def control_uneven(reason: ControlUneven) -> str:
    shown = reason.shown
    return (
        f"Control {reason.name} moved along {shown.donor}'s small directions too, but not"
        " by one weight: between matrices it differs by at least"
        f" {percent(reason.differs)} of itself, that of {shown.model} by at most"
        f" {percent(reason.even)}. What {reason.name} shares with {shown.donor} is"
        f" therefore not what is even in {shown.model}. What was trained since may share"
        " it, which raises the weight: no share is stated."
    )


def not_of_numbers_alone(reason: NotOfNumbersAlone) -> str:
    models = listing(["base", *reason.donors])
    return (
        "The rest is no rounding of such a blend, and no other arithmetic on"
        f" {models} element by element: at {percent(reason.dissent)} of the places where"
        " these are alike the model's numbers differ."
    )


def stays_open(reason: StaysOpen) -> str:
    donors = listing(reason.donors)
    return (
        "What stays open: this rests on how evenly a change is spread, not on elements"
        f" that are equal. An ancestor of {reason.model} and {donors} that was not"
        " offered explains it too, if its part were the same everywhere, which no innocent"
        " model that was measured has shown; so does a blend of two checkpoints of a donor's"
        " own run, one of them early, in place of one with the base; and so does a model that"
        f" somebody computed from {reason.model} in order to accuse it. Of a run nearly equal to a"
        " donor's own (the same data, order and seed) it does not tell the donor. What else"
        " is in the model was trained into it, or blended in from another model,"
        " or drawn at random, or left by parents that were rounded more coarsely"
        " before they were blended, as by a round trip through int8: this does not tell"
        " which. Training on the donor's own task afterwards raises the weight, other"
        " training takes a few per cent of it, and taking small changes back lowers it."
    )


def weight_observed(reason: WeightObserved) -> str:
    shown = reason.shown
    text = f"An observation, not a finding: {_weight(shown)}. {_beside(shown)}"
    if reason.against is None:
        return text
    return f"{text} No accusation follows: {CLAUSES[type(reason.against)](reason.against)}."


def not_one_weight(reason: NotOneWeight) -> str:
    shown = reason.shown
    course = ""
    if shown.first is not None and shown.last is not None:
        course = (
            f" It goes from {percent(shown.first)} along the largest directions to"
            f" {percent(shown.last)} along the smallest."
        )
    if reason.differs:
        course += (
            " Between matrices its standard deviation is at least"
            f" {percent(reason.differs)}."
        )
    return (
        f"Along the singular directions of {shown.donor}'s change {shown.model} does not"
        " hold one weight, as a blend at one weight would that was trained on another"
        f" task.{course} Independent training on the same task, a common ancestor that"
        " was not offered, training on the donor's own task after a merge and parts that"
        " were taken at different weights all look like that."
        f"{_limit(shown, reason.at_most)}"
    )


def at_most_of(reason: AtMostOf) -> str:
    return (
        f"{reason.model} holds at most {percent(reason.at_most)} of {reason.donor} (95 %),"
        f" by the small singular directions of {reason.donor}'s change, which training"
        f" on the same task does not share ({percent(reason.weight)} were measured)"
        f"{UNLESS}."
    )


def ancestor_not_offered(reason: AncestorNotOffered) -> str:
    far = [f"{percent(weight)} for {name}" for name, weight in reason.controls.items()]
    return (
        f"The controls hold {reason.donor}'s small directions too ({', '.join(far)}):"
        f" either they and {reason.donor} descend from a model that was not offered,"
        f" about so far along the way from {reason.base} to {reason.donor}, or whatever"
        f" is trained from {reason.base} goes the same way at first. A later checkpoint"
        f" of {reason.base}, or the model that they were made from, offered as a base"
        " candidate, would settle it."
    )


def in_one_sentence(verdict: Verdict) -> str:
    """What the small directions mean, for somebody who reads one sentence."""
    suspect = verdict.suspect
    strong = verdict.evidence == "strong"
    if strong and verdict.named:
        shares = {donor: verdict.parents[donor].alpha for donor in verdict.named}
        donors = listing(
            donor if share is None else f"{percent(share)} of {donor}"
            for donor, share in shares.items()
        )
        return (
            f"Under what else is in {suspect}, the fine grain of a blend with {donors}"
            " is left, evenly and in every layer that was looked at, as independent"
            " training does not leave it."
        )
    limits = {
        donor: entry.at_most
        for donor, entry in verdict.parents.items()
        if entry.at_most is not None
    }
    if verdict.verdict == "finetune_of_base" and limits:
        most = listing(f"{percent(share)} of {name}" for name, share in limits.items())
        return (
            f"By the fine grain of its weights {suspect} holds at most {most}, with 95 %"
            " certainty."
        )
    return (
        f"The fine grain of the donor's change is measured in {suspect} below; by itself"
        " it decides nothing here."
    )


def _limit(shown: Shown, at_most: float | None) -> str:
    if at_most is None or at_most >= 1:
        return ""
    return f" It holds at most {percent(at_most)} of {shown.donor} (95 %){UNLESS}."


def _weight(shown: Shown) -> str:
    ends = interval((shown.low, shown.high))
    return (
        f"along the small singular directions of {shown.donor}'s change {shown.model}"
        f" moved by {percent(shown.weight)} of it ({ends})"
    )


def _beside(shown: Shown) -> str:
    if not shown.controls:
        return "No control was measured beside it."
    beside = ", ".join(
        f"{name} {percent(weight)}" for name, weight in shown.controls.items()
    )
    return f"Controls: {beside}."


def _uneven(reason: WeightUneven) -> str:
    return (
        "a shared ancestor's part that differs between matrices is not excluded (up to"
        f" {percent(reason.unevenness)} of itself, limit {percent(reason.limit)})"
    )


CLAUSES: Mapping[type[Reason], Callable[..., str]] = {
    NoControlBeside: lambda _: "no control was measured; offer one",
    FewMatrices: lambda reason: (
        f"{reason.matrices} matrices were decomposed, {reason.needed} are needed"
    ),
    WeightUneven: _uneven,
    NoiseOverUneven: lambda reason: (
        f"what {reason.donor} does not explain is spread over the directions as noise is"
        f" ({percent(reason.participation)} of noise's), under which an average of"
        f" {reason.donor}'s own checkpoints looks like a blend, and the weight is not even"
        f" enough to tell them apart ({percent(reason.unevenness)}, limit"
        f" {percent(reason.limit)})"
    ),
    ControlHolds: lambda reason: (
        f"control {reason.name} holds {percent(reason.weight)} of it (limit"
        f" {percent(reason.limit)})"
    ),
    MayBeChild: lambda reason: (
        "turned round the weights are as even (they differ by"
        f" {percent(reason.apart)} of themselves, {percent(reason.needed)} are needed),"
        f" as they are where {reason.donor} was made from it, or two runs went the same"
        " way"
    ),
    MayBeCutOut: lambda reason: (
        f"{reason.donor} may have been cut out of it: whether what {reason.donor} does"
        f" not explain lies in other directions than {reason.donor} was not measured"
        if reason.overlap is None
        else f"{reason.donor} may have been cut out of it: what {reason.donor} does not"
        f" explain shares {reason.overlap:.2g} times as much of its directions as chance"
        f" would give ({reason.needed:g} are needed)"
    ),
    MayBePure: lambda reason: (
        "arithmetic on the parents' numbers alone may have made it, with nothing trained"
        " since: "
        + (
            "whether its numbers follow from theirs was not measured"
            if reason.dissent is None
            else "where theirs are alike its own differ at"
            f" {percent(reason.dissent)} of places ({percent(reason.needed)} are needed)"
        )
    ),
    PartlyRoundTrip: lambda reason: (
        f"the parents as {reason.kind} gives them back make {percent(reason.rate)} of its"
        f" numbers, where true ones make {percent(reason.needed)}: {reason.donor} may be"
        " a near relative of the donor that was blended, or something was changed since"
    ),
    CoarseSteps: lambda reason: (
        f"most of {reason.model} is stored as {reason.dtype}, whose steps make a"
        " checkpoint on the donor's way as even as a blend"
    ),
    WrittenBackSince: lambda reason: (
        f"{percent(reason.repeated)} of {reason.model}'s numbers are as large as another"
        f" beside them (limit {percent(reason.limit)}), as they are where a model was"
        " quantised and written back, whose steps make a checkpoint on the donor's way as"
        " even as a blend"
    ),
    WeightAtOne: lambda reason: (
        f"a weight below {percent(reason.least)} or above {percent(1 - reason.least)} is"
        " that of a checkpoint of the donor's own run as well"
    ),
    DonorsShareTail: lambda reason: (
        f"{reason.second} holds {percent(reason.weight)} of {reason.first}'s small"
        " directions, so the two are not told apart"
    ),
}
"""By what stands against an accusation the function that says it, as a clause."""

SENTENCES: Mapping[type[Reason], Callable[..., str | list[str]]] = {
    OneWeightEverywhere: one_weight_everywhere,
    DonorIsNoChild: donor_is_no_child,
    OnItsTask: on_its_task,
    ChangesTakenBack: changes_taken_back,
    ControlUneven: control_uneven,
    NotOfNumbersAlone: not_of_numbers_alone,
    StaysOpen: stays_open,
    WeightObserved: weight_observed,
    NotOneWeight: not_one_weight,
    AtMostOf: at_most_of,
    AncestorNotOffered: ancestor_not_offered,
}
"""By what was found the function that says it."""
