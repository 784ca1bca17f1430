"""The reasons that say which of two models came first, as sentences."""

from collections.abc import Callable, Mapping, Sequence

from mergetrace.finding.case import Reason
from mergetrace.finding.reasons_order import (
    BaseByWeights,
    BaseTakenForOlder,
    BaseYounger,
    CopyOrderUnknown,
    OfferCommonBase,
    OlderByLikePlaces,
    OlderByWeights,
    Pair,
    ParentComesBackBetween,
    ParentComesBackWhole,
    ParentFollows,
    ParentOlder,
    ParentYounger,
    Return,
    TwoStories,
    TwoStoriesOfParts,
)
from mergetrace.finding.wording_dates import both_published
from mergetrace.readable import listing, rate


def parent_younger(reason: ParentYounger) -> str:
    parent, model = reason.pair.parent, reason.pair.model
    dates = both_published(parent, model, reason.age)
    return (
        f"Order: {parent} is younger than {model} ({dates}), so it cannot be its parent."
        f" It may have been made from {model}."
    )


def parent_older(reason: ParentOlder) -> str:
    parent, model = reason.pair.parent, reason.pair.model
    dates = both_published(parent, model, reason.age)
    return f"Order: {parent} is older than {model} ({dates})."


def base_younger(reason: BaseYounger) -> str:
    base, model = reason.pair.parent, reason.pair.model
    dates = both_published(base, model, reason.age)
    return (
        f"Order: {base} is younger than {model} ({dates}), so {model} does not start at"
        " it."
    )


def offer_common_base(_: OfferCommonBase) -> str:
    return "Offer the base that both descend from."


def parent_comes_back_whole(reason: ParentComesBackWhole) -> str:
    parent, model = reason.pair.parent, reason.pair.model
    child = f"{parent} looks like its child"
    if reason.others:
        among = listing((parent, *reason.others), word="or")
        child = (
            f"{among} looks like its child (one that was computed from {model} brings"
            " the others back with it)"
        )
    return (
        f"Order: turned round, the recipe gives {parent} back whole from {model}"
        f" ({_shares(reason.returned)}), as it does a model that was computed from"
        f" {model}. {child}; nobody is accused."
    )


def parent_comes_back_between(reason: ParentComesBackBetween) -> str:
    parent, model = reason.pair.parent, reason.pair.model
    return (
        "Order: not established. Turned round, the recipe gives back of"
        f" {parent} neither what rounding leaves of a true parent nor all of it"
        f" ({_shares(reason.returned)}): {parent} may have been made from {model}."
        f" {_would_settle(reason.pair)}"
    )


def two_stories(reason: TwoStories) -> str:
    parent, model = reason.pair.parent, reason.pair.model
    returned = ""
    if reason.returned.reverse is not None:
        returned = f" ({parent} comes back from it by {_shares(reason.returned)})"
    return (
        f"Order: not established. Two stories fit: {model} was made from {parent}, or"
        f" {parent} was made from {model}{returned}. {_would_settle(reason.pair)}"
    )


def two_stories_of_parts(reason: TwoStoriesOfParts) -> str:
    parent, model = reason.pair.parent, reason.pair.model
    return (
        f"Order: not established. What {model} shares with {parent} it shares number for"
        f" number, so two stories fit: {model} was put together from {parent} and"
        f" {reason.base}, or {parent} is a finetune of {model} in which some of it was"
        f" left as it was. {_would_settle(reason.pair)}"
    )


def copy_order_unknown(reason: CopyOrderUnknown) -> str:
    parent, model = reason.pair.parent, reason.pair.model
    return (
        f"Order: not established. Which of {model} and {parent} was first is not known;"
        f" equal numbers do not say it. {_would_settle(reason.pair)}"
    )


def base_taken_for_older(reason: BaseTakenForOlder) -> str:
    base, model = reason.pair.parent, reason.pair.model
    return (
        f"Order: not established. Which of {model} and {base} was first is not known;"
        f" {base} is taken for the older because it was offered as base."
    )


def older_by_weights(reason: OlderByWeights) -> str:
    parent, model = reason.pair.parent, reason.pair.model
    return (
        f"Order: not established by dates. By its weights {parent} is the older:"
        f" computed from {model} in the plain way it would come back whole from"
        f" {model}, and it does by {_shares(reason.returned)}. That is no proof: of a"
        f" donor drawn at random among the numbers whose blend rounds to {model},"
        f" weights cannot tell. {_would_settle(reason.pair)}"
    )


def older_by_like_places(reason: OlderByLikePlaces) -> str:
    parents = listing(list(reason.dissents))
    is_, holds = ("is", "holds") if len(reason.dissents) == 1 else ("are", "hold")
    dissents = listing([rate(dissent) for dissent in reason.dissents.values()])
    return (
        f"Order: not established by dates. By their numbers {parents} {is_} older than"
        f" {reason.model}: at {dissents} of the places where {reason.model} and the other"
        f" parents are alike {parents} {holds} another number, and what is computed from"
        " them in a plain way would hold the same. That is no proof: of a parent that was"
        f" drawn at random among the numbers that give {reason.model}, weights cannot"
        f" tell. {_dates_of((*reason.dissents, reason.model))}"
    )


def parent_follows(reason: ParentFollows) -> str:
    parent, model = reason.pair.parent, reason.pair.model
    return (
        f"Order: not established. Where {model} and the other parents hold the same"
        f" numbers at two places, {parent} does too but for {rate(reason.dissent)} of"
        f" them: {parent} may have been computed from {model}. {_would_settle(reason.pair)}"
    )


def base_by_weights(reason: BaseByWeights) -> str:
    return (
        f"Nor is it established of {reason.base} by dates: it comes back by"
        f" {_shares(reason.returned)}, and may have been drawn so as well."
    )


SENTENCES: Mapping[type[Reason], Callable[..., str]] = {
    ParentYounger: parent_younger,
    ParentOlder: parent_older,
    BaseYounger: base_younger,
    OfferCommonBase: offer_common_base,
    ParentComesBackWhole: parent_comes_back_whole,
    ParentComesBackBetween: parent_comes_back_between,
    TwoStories: two_stories,
    TwoStoriesOfParts: two_stories_of_parts,
    CopyOrderUnknown: copy_order_unknown,
    BaseTakenForOlder: base_taken_for_older,
    OlderByWeights: older_by_weights,
    OlderByLikePlaces: older_by_like_places,
    ParentFollows: parent_follows,
    BaseByWeights: base_by_weights,
}


def _shares(returned: Return) -> str:
    return (
        f"{rate(returned.reverse)}, expected of a true parent {rate(returned.expected)}"
    )


def _would_settle(pair: Pair) -> str:
    return _dates_of((pair.parent, pair.model))


def _dates_of(models: Sequence[str]) -> str:
    keys = listing([f"models.{name}.published" for name in models])
    return (
        "The dates of their first publication would settle it: the Hub's, or stated"
        f" ({keys})."
    )
