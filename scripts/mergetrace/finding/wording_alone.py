"""What is said where no donor was offered: the reasons of those rules, and whether the
model's files name the base.
"""

from collections.abc import Callable, Mapping

from mergetrace.finding.case import Reason
from mergetrace.finding.reasons_alone import (
    BaseIsOlder,
    CommonOrigin,
    NoDonorOffered,
    PartOfBase,
    WhichFirstOpen,
)
from mergetrace.finding.wording_dates import both_published
from mergetrace.readable import listing, rate
from mergetrace.records.verdict import BaseDeclared, Verdict


def common_origin(reason: CommonOrigin) -> str:
    equal = ""
    if reason.equal is not None:
        equal = f", and {rate(reason.equal)} of their numbers are equal"
    return (
        f"{reason.model} and {reason.base} have one origin: their raw weights point the"
        f" same way (cosine {reason.cosine:.4f}; of models that began apart it is about"
        f" 0){equal}."
    )


def part_of_base(reason: PartOfBase) -> str:
    return (
        f"In {reason.share:.0%} of what votes the raw weights point the way of"
        f" {reason.base}'s (cosine {reason.cosine} or more); below {reason.limit:.0%}"
        " that is a part of it, and where the rest comes from is open."
    )


def which_first_open(reason: WhichFirstOpen) -> str:
    base, model = reason.pair.parent, reason.pair.model
    return (
        f"Whether {model} was made from {base}, {base} from {model}, or both from a"
        " third model is not known: no dates of both say who came first. They can be"
        " stated (`published`), and a third model can be offered as a further base."
    )


def base_is_older(reason: BaseIsOlder) -> str:
    base, model = reason.pair.parent, reason.pair.model
    dates = both_published(base, model, reason.age)
    return (
        f"Order: {base} is older than {model} ({dates}), so it was not made from"
        f" {model}. Whether both were made from a third model is open; one can be"
        " offered as a further base."
    )


def no_donor_offered(_: NoDonorOffered) -> str:
    return (
        "No donor was offered: no merge was looked for and none is ruled out. `make"
        " scan` proposes candidates (docs/scan.md)."
    )


def base_declared_sentence(
    suspect: str,
    base: str,
    declared: BaseDeclared,
    names: tuple[str, ...],
    older: bool,
) -> str:
    """Whether the suspect's files name the base it shares an origin with. names: the
    parents that its card lists. older: whether dates say that the base came first.
    """
    if declared == "named":
        return f"Declared: {suspect}'s card or configuration names {base}."
    if declared == "no card":
        return (
            f"{suspect} has no card that could name {base}, and its configuration does"
            " not."
        )
    said = "names no base_model"
    if names:
        said = f"names {listing(names)} as its base_model and not {base}"
    return (
        f"Undeclared{'' if older else f', if {base} came first'}: {suspect}'s card"
        f" {said}; nor does its configuration name {base}. Names are compared, not"
        " models: one that was renamed since shows as another."
    )


def headline_words(verdict: Verdict) -> tuple[str, str]:
    """The sentence and the explanation where the origin is the base's."""
    suspect, base = verdict.suspect, verdict.base.name
    undeclared = ""
    if verdict.base_declared == "not named":
        undeclared = f", which {suspect}'s card does not name"
    facts = verdict.order.get(base)
    if facts is not None and facts.before:
        who = f"made from {base}, which is older, or both from a third model"
    else:
        who = "one was made from the other, or both from a third model"
    how = f"It was {who}" if facts is not None and facts.before else f"That is: {who}"
    return (
        f"{suspect} has the origin of {base}{undeclared}.",
        f"{how}. No donor was offered, so whether others were merged in was not looked"
        " for.",
    )


SENTENCES: Mapping[type[Reason], Callable[..., str]] = {
    CommonOrigin: common_origin,
    PartOfBase: part_of_base,
    WhichFirstOpen: which_first_open,
    BaseIsOlder: base_is_older,
    NoDonorOffered: no_donor_offered,
}
"""By what was found the function that says it."""
