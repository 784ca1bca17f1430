"""The reasons of the rules that accuse, as sentences."""

from collections.abc import Callable, Mapping

from mergetrace.finding.case import Reason
from mergetrace.finding.reasons_merge import (
    Agreement,
    AgreementStayed,
    Blend,
    BlendExplains,
    Chance,
    ChangedSlightly,
    ChangesKept,
    DonorPersists,
    DropPattern,
    ElementsOfEach,
    ElementsStayed,
    LeftOver,
    MethodsAlike,
    MixedTensors,
    NoBlendExplainsMore,
    NoControl,
    NotToldApart,
    OneWeight,
    PureByOtherMethod,
    PureInOtherOrder,
    RecipeGivesBack,
    SearchBeside,
    TensorsGivenBack,
    TokensOfOne,
    TrainedFromOther,
    WholeTensors,
)
from mergetrace.finding.wording_owners import owned
from mergetrace.finding.wording_remainder import remainder_sentences
from mergetrace.finding.wording_shares import amounts, are_changes, changes_added
from mergetrace.readable import listing, percent, rate


def recipe_gives_back(reason: RecipeGivesBack) -> str:
    text = (
        f"A {reason.blend.method} merge{_made_of(reason.blend)} gives back"
        f" {rate(reason.rate)} of {reason.informative:,} informative elements"
        f" {'as far as their cells tell' if reason.cells else 'bit for bit'}"
    )
    if reason.beside is None:
        return f"{text}."
    return f"{text}; by comparison {_rates(reason.beside)}."


def tensors_given_back(reason: TensorsGivenBack) -> str:
    return f"{rate(reason.share)} of the tensors that vote each reach {rate(reason.limit)}."


def search_beside(reason: SearchBeside) -> str:
    return (
        f"The same search reaches {_rates(reason.rates)} (limit {rate(reason.limit)})."
    )


def whole_tensors(reason: WholeTensors) -> str:
    text = "Each tensor is wholly one parent's"
    return f"{text}: {owned(reason.owners)}." if reason.owners else f"{text}."


def mixed_tensors(reason: MixedTensors) -> str:
    return (
        f"Within tensors some elements are {reason.base}'s and some {reason.donor}'s."
    )


def methods_alike(reason: MethodsAlike) -> str:
    return (
        f"On these models {reason.method} and {' and '.join(reason.others)} give the"
        " same elements: which of them was used cannot be told."
    )


def no_control(_: NoControl) -> str:
    return (
        "No independent control was given: that an innocent sibling would fail is known from the"
        " shuffled donor only."
    )


def elements_stayed(reason: ElementsStayed) -> str:
    return (
        f"{rate(reason.share)} of {reason.informative:,} informative elements are"
        f" exactly {reason.base}'s although {' and '.join(reason.donors)} moved them."
    )


def changes_kept(reason: ChangesKept) -> str:
    return (
        f"Of the others {rate(reason.share)} are {reason.base} plus the change of"
        f" {' or '.join(reason.donors)} times one number; by comparison"
        f" {_rates(reason.beside)}."
    )


def drop_pattern(reason: DropPattern) -> str:
    return (
        f"Which elements stayed is the pattern of: {reason.family}. A random choice"
        " cannot be replayed bit for bit."
    )


def elements_of_each(reason: ElementsOfEach) -> str:
    return (
        f"{rate(reason.base_share)} of {reason.informative:,} informative elements are"
        f" exactly {reason.base}'s, {rate(reason.donor_share)} exactly"
        f" {reason.donor}'s; with {reason.donor}'s elements shuffled"
        f" {rate(reason.shuffled)} would be."
    )


def agreement_stayed(reason: AgreementStayed) -> str:
    return f"{_stayed(reason.agreement)}."


def donor_persists(reason: DonorPersists) -> str:
    return (
        f"{rate(reason.share)} of {reason.informative:,} informative elements are"
        f" exactly {reason.donor}'s; {_needed(reason.chance)}"
    )


def no_blend_explains_more(reason: NoBlendExplainsMore) -> str:
    return (
        f"No blend of {reason.donor} and {reason.base} explains noticeably more"
        f" ({rate(reason.coverage)}); {rate(reason.base_share)} are {reason.base}'s."
    )


def trained_from_other(reason: TrainedFromOther) -> str:
    return (
        f"One of {reason.model} and {reason.donor} was made from the other: by training,"
        " or by a blend that leaves it nearly whole. Weights do not say which came first."
    )


def blend_explains(reason: BlendExplains) -> str:
    return (
        f"At {reason.alpha:.3f} x {reason.donor} and {1 - reason.alpha:.3f} x"
        f" {reason.base}, {rate(reason.share)} of {reason.informative:,} informative"
        f" elements are those of a rounded blend; {_needed(reason.chance)}"
    )


def one_weight(reason: OneWeight) -> str:
    return (
        "The weight is the same in the large tensors (median distance"
        f" {reason.spread:.4f}); neither parent alone explains more than"
        f" {rate(reason.single)}."
    )


def pure_by_other_method(reason: PureByOtherMethod) -> str:
    return (
        f"{_stayed(reason.agreement)}: a pure blend, by a method not among the recipes."
    )


def pure_in_other_order(_: PureInOtherOrder) -> str:
    return (
        "The others lie within rounding of it, which leaves training nothing to"
        " explain: a pure blend whose sums were done in another order."
    )


def changed_slightly(reason: ChangedSlightly) -> str:
    return (
        f"{_stayed(reason.agreement)}: changes after the merge were too small to move"
        " them, or the merge was computed in another arithmetic."
    )


def not_told_apart(reason: NotToldApart) -> str:
    return (
        f"This does not tell {reason.donor} from its near relatives, such as another"
        " checkpoint of its run or a light finetune of it: a model that differs from it by"
        f" up to {percent(reason.part)} of its change from {reason.base} would be named in"
        " its place."
    )


def tokens_of_one(reason: TokensOfOne) -> str:
    rows = listing([f"{count:,} of {name}" for name, count in reason.rows.items()])
    return (
        "Of the embedding and the head some rows are one model's own, number for number"
        f" ({rows}): the numbers of single tokens. They were left out of what a recipe"
        " has to give back."
    )


def left_over(reason: LeftOver) -> str:
    text = "What is left is more than rounding"
    if reason.energy is not None:
        text += f": {percent(reason.energy, digits=2)} of the change's energy"
    sentences = [
        f"{text}. Training after the merge explains it; so would an edit of the weights"
        " (directions taken out, small weights set to 0, noise), or a further model, or a"
        " method, that is not among those tried."
    ]
    if reason.remainder is not None:
        sentences += remainder_sentences(reason.remainder)
    return " ".join(sentences)


SENTENCES: Mapping[type[Reason], Callable[..., str]] = {
    RecipeGivesBack: recipe_gives_back,
    TensorsGivenBack: tensors_given_back,
    SearchBeside: search_beside,
    WholeTensors: whole_tensors,
    MixedTensors: mixed_tensors,
    MethodsAlike: methods_alike,
    NoControl: no_control,
    ElementsStayed: elements_stayed,
    ChangesKept: changes_kept,
    DropPattern: drop_pattern,
    ElementsOfEach: elements_of_each,
    AgreementStayed: agreement_stayed,
    DonorPersists: donor_persists,
    NoBlendExplainsMore: no_blend_explains_more,
    TrainedFromOther: trained_from_other,
    BlendExplains: blend_explains,
    OneWeight: one_weight,
    PureByOtherMethod: pure_by_other_method,
    PureInOtherOrder: pure_in_other_order,
    ChangedSlightly: changed_slightly,
    NotToldApart: not_told_apart,
    TokensOfOne: tokens_of_one,
    LeftOver: left_over,
}


def _made_of(blend: Blend) -> str:
    """Who was merged, with shares where they are numbers; of task vectors that are no
    parts of a whole, what was added to the base.
    """
    shares = {
        model: share for model, share in blend.shares.items() if share is not None
    }
    if (
        blend.base is None
        or blend.base_share is None
        or len(shares) < len(blend.shares)
    ):
        models = [*blend.shares, *([blend.base] if blend.base else [])]
        return f" of {' and '.join(models)}"
    every = {**shares, blend.base: blend.base_share}
    if are_changes(every.values()):
        return f", {changes_added(blend.base, blend.base_share, shares)},"
    used = {model: share for model, share in every.items() if share}
    return f" of {' + '.join(amounts(used))}"


def _needed(chance: Chance) -> str:
    """What traces are compared with, and by how much they have to exceed it."""
    return (
        f"by comparison {_rates(chance.shares)} (at least {chance.times:g} times as many"
        " are needed)."
    )


def _stayed(agreement: Agreement) -> str:
    """How many of the elements moved that a merge leaves and training moves."""
    part = "none"
    if agreement.moved:
        part = f"only {percent(agreement.moved, digits=2)}"
    return (
        f"Of {agreement.elements:,} elements on which {agreement.donor} and"
        f" {agreement.base} agree {part} moved, where training moves many"
    )


def _rates(shares: Mapping[str, float]) -> str:
    return ", ".join(f"{rate(share)} for {name}" for name, share in shares.items())
