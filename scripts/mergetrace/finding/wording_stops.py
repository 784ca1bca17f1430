"""What stopped a rule, as sentences: what speaks for it, and as their end what stands
against it.
"""

from collections.abc import Callable, Mapping

from mergetrace.finding import wording_descent
from mergetrace.finding.case import Reason
from mergetrace.finding.reasons_cells import CellsMissed, FewInCells
from mergetrace.finding.reasons_origin import FewInformative
from mergetrace.finding.reasons_stops import (
    BaseQuantised,
    BlendExplainsMore,
    BlendLeavesMore,
    ChanceTooClose,
    ChosenStopped,
    CoarseSteps,
    ControlFollows,
    DropByChance,
    DropStopped,
    FewAgree,
    FollowingStopped,
    NeverRounded,
    NoBlendOfAll,
    NothingBeside,
    NothingMoved,
    OneParentEnough,
    RateTooLow,
    SearchReachesOthers,
    SharesOutside,
    SharesTiny,
    TensorsMissing,
    TooMuchMoved,
    TraceStopped,
    TraceTooThin,
    ValuesOfOneParent,
    WeightAtEnd,
    WeightsDiffer,
)
from mergetrace.finding.wording_shares import amounts
from mergetrace.numerics.levels import FEW_DECIDE
from mergetrace.readable import listing, percent, rate


def clause(against: Reason) -> str:
    """What stands against it, as the end of a sentence."""
    return CLAUSES[type(against)](against)


def trace_stopped(reason: TraceStopped) -> str:
    trace = reason.trace
    where = f"are exactly {trace.donor}'s"
    if trace.alpha is not None:
        where = f"are those of a rounded blend with {trace.alpha:.3f} x {trace.donor}"
    return (
        f"{rate(trace.share)} of {trace.informative:,} informative elements {where},"
        f" from which nothing follows: {clause(reason.against)}."
    )


def drop_stopped(reason: DropStopped) -> str:
    donors = listing(reason.donors, word="or")
    return (
        f"{rate(reason.stayed)} of the elements that {donors} moved are exactly"
        f" {reason.base}'s, and {rate(reason.survivors)} of the others hold a change of"
        f" {donors}, from which nothing follows: {clause(reason.against)}."
    )


def chosen_stopped(reason: ChosenStopped) -> str:
    return (
        f"{rate(reason.of_base)} of the informative elements are exactly"
        f" {reason.base}'s and {rate(reason.of_donor)} exactly {reason.donor}'s, from"
        f" which nothing follows: {clause(reason.against)}."
    )


def following_stopped(reason: FollowingStopped) -> str:
    return (
        f"At {rate(1 - reason.dissent)} of {reason.repeated:,} places where"
        f" {listing(reason.parents)} hold the same numbers as elsewhere in the tensor, the"
        " model does too, as after a merge element by element; but no merge is called:"
        f" {clause(reason.against)}."
    )


def cells_missed(reason: CellsMissed) -> str:
    share = percent(reason.missed / reason.informative, digits=3)
    return (
        f"of {reason.informative:,} numbers in few bits that could refute it"
        f" {reason.missed:,} lie outside their cells, {share} (at most"
        f" {percent(reason.limit, digits=3)} may, and a pure merge leaves hardly any): a"
        " merge with another model that is very near to the donor leaves so few, such as"
        " one that the donor is a light finetune of"
    )


def few_in_cells(reason: FewInCells) -> str:
    text = (
        f"{reason.whole:,} of these elements are stored in 16 bits, of embeddings, norms"
        " or what else was not quantised, which another model may share; the packed"
        f" tensors hold {reason.informative:,} that could refute it, and it takes"
        f" {reason.limit:,}"
    )
    if set(reason.formats) & set(FEW_DECIDE):
        text += ": of a matrix in GPTQ's format a few columns at most decide"
        if reason.sampled:
            text += (
                ", of which a sample reads next to nothing (`mode: full` reads them)"
            )
    return text


def few_informative(reason: FewInformative) -> str:
    return (
        f"only {reason.informative:,} elements are informative, and"
        f" {reason.needed:,} are needed"
    )


def rate_too_low(reason: RateTooLow) -> str:
    return f"{rate(reason.rate)} come back, and {rate(reason.limit)} are needed"


def tensors_missing(reason: TensorsMissing) -> str:
    return (
        f"{rate(reason.share)} of the tensors that vote reach {rate(reason.rate)} each,"
        f" and {rate(reason.limit)} of them have to"
    )


def shares_tiny(reason: SharesTiny) -> str:
    known = {
        model: share for model, share in reason.shares.items() if share is not None
    }
    text = "it is made of one model alone"
    if known:
        text = f"it takes {listing(amounts(known))}"
    return f"{text}, and of two models at least {reason.limit:g} each is needed"


def one_parent_enough(reason: OneParentEnough) -> str:
    return (
        f"{rate(reason.share)} of them are exactly {reason.parent}'s, which explains"
        f" them alone (at most {rate(reason.limit)} may be)"
    )


def search_reaches_others(reason: SearchReachesOthers) -> str:
    return (
        f"the same search gives back {rate(reason.rate)} for {reason.name} (at most"
        f" {rate(reason.limit)} may be)"
    )


def nothing_beside(_: NothingBeside) -> str:
    return (
        "neither a control nor shuffled elements say what chance gives; offer a control"
    )


def base_quantised(reason: BaseQuantised) -> str:
    enough = "so many make a trace by themselves"
    if reason.share < reason.limit:
        enough = (
            f"of the rest at most {rate(reason.outside)} can be on the trace, and it takes"
            f" {rate(reason.limit)}"
        )
    return (
        f"{rate(reason.share)} of what {reason.donor} has otherwise than {reason.base} is"
        f" {reason.base} itself, quantised and written back, as everybody has it who"
        f" loaded it so to train an adapter; {enough}"
    )


def shares_outside(reason: SharesOutside) -> str:
    return (
        f"it takes {listing(amounts(reason.shares))}, and where not every element comes"
        f" back a share is only judged between 0 and {reason.greatest:g}, since a donor"
        " that was made from the audited model shows the same"
    )


def trace_too_thin(reason: TraceTooThin) -> str:
    return f"at least {rate(reason.limit)} are needed"


def chance_too_close(reason: ChanceTooClose) -> str:
    return (
        f"by comparison {rate(reason.share)} are for {reason.name}, and"
        f" {reason.times:g} times as many are needed"
    )


def too_much_moved(reason: TooMuchMoved) -> str:
    stays = (
        "training light enough to leave such traces" if reason.trained else "a merge"
    )
    return (
        f"of the elements on which {reason.donor} and {reason.base} agree"
        f" {percent(reason.moved, digits=2)} moved, which {stays} leaves alone (at most"
        f" {percent(reason.limit, digits=2)} may have moved)"
    )


def nothing_moved(reason: NothingMoved) -> str:
    return (
        f"none of the elements moved on which {reason.donor} and {reason.base} agree,"
        " where training moves many"
    )


def weights_differ(reason: WeightsDiffer) -> str:
    if reason.spread is None:
        return "too few tensors show a weight"
    return (
        f"the weight differs between tensors (median distance {reason.spread:.4f}, at"
        f" most {reason.limit:g} may be)"
    )


def never_rounded(reason: NeverRounded) -> str:
    return (
        f"the model was never rounded as a stored blend of {listing(reason.parents)}:"
        f" {rate(reason.leaning)} of {reason.misses:,} numbers that miss it by a step do"
        f" so to the side where it lies (at most {rate(reason.limit)} may; half do after"
        " training that began at it). A donor's own run repeated at another rate leaves"
        " that; so does a donor that was made of the model, which then came first, a"
        " blend of finer numbers than were offered, or one that was trained before it"
        " was stored"
    )


def weight_at_end(reason: WeightAtEnd) -> str:
    return (
        "where not every element comes back a blend is only judged with at least"
        f" {reason.least:g} of either model"
    )


def values_of_one_parent(reason: ValuesOfOneParent) -> str:
    return (
        f"{rate(reason.share)} are exactly {reason.parent}'s (at most"
        f" {rate(reason.limit)} may be)"
    )


def blend_explains_more(reason: BlendExplainsMore) -> str:
    return f"a blend explains {rate(reason.coverage)}"


def drop_by_chance(reason: DropByChance) -> str:
    return (
        f"by comparison {rate(reason.share)} do for {reason.name}, and"
        f" {rate(reason.apart)} more are needed"
    )


def few_agree(reason: FewAgree) -> str:
    return (
        f"{reason.donor} and {reason.base} agree on {reason.elements:,} elements only,"
        f" too few ({reason.needed:,} are needed) to say that nothing was trained"
    )


def control_follows(reason: ControlFollows) -> str:
    return f"so does control {reason.name}, at {rate(1 - reason.dissent)} of its places"


def no_blend_of_all(reason: NoBlendOfAll) -> str:
    return f"no weighted sum of {listing(reason.parents)} is near it"


def coarse_steps(reason: CoarseSteps) -> str:
    return (
        f"most of {reason.model} is stored as {reason.dtype}, whose steps hide what a"
        " light finetune of a parent differs by from that parent"
    )


def blend_leaves_more(reason: BlendLeavesMore) -> str:
    return (
        f"{rate(reason.within)} of its elements lie within last bits of the nearest"
        f" weighted sum, and {rate(reason.limit)} are needed"
    )


SENTENCES: Mapping[type[Reason], Callable[..., str]] = {
    TraceStopped: trace_stopped,
    DropStopped: drop_stopped,
    ChosenStopped: chosen_stopped,
    FollowingStopped: following_stopped,
}

CLAUSES: Mapping[type[Reason], Callable[..., str]] = {
    **wording_descent.CLAUSES,
    FewInformative: few_informative,
    FewInCells: few_in_cells,
    CellsMissed: cells_missed,
    RateTooLow: rate_too_low,
    TensorsMissing: tensors_missing,
    SharesTiny: shares_tiny,
    OneParentEnough: one_parent_enough,
    SearchReachesOthers: search_reaches_others,
    NothingBeside: nothing_beside,
    BaseQuantised: base_quantised,
    SharesOutside: shares_outside,
    TraceTooThin: trace_too_thin,
    ChanceTooClose: chance_too_close,
    TooMuchMoved: too_much_moved,
    NothingMoved: nothing_moved,
    WeightsDiffer: weights_differ,
    NeverRounded: never_rounded,
    WeightAtEnd: weight_at_end,
    ValuesOfOneParent: values_of_one_parent,
    BlendExplainsMore: blend_explains_more,
    DropByChance: drop_by_chance,
    FewAgree: few_agree,
    ControlFollows: control_follows,
    NoBlendOfAll: no_blend_of_all,
    CoarseSteps: coarse_steps,
    BlendLeavesMore: blend_leaves_more,
}
"""What stands against a verdict, as the end of a sentence."""
