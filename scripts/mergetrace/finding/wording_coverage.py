"""The reasons that say how much was compared, as sentences."""

from collections.abc import Callable, Mapping

from mergetrace.finding.case import Reason
from mergetrace.finding.reasons_coverage import (
    EqualButHeldTwice,
    EqualButNotFinite,
    EqualButUnread,
    NotJudged,
    ParentComparedInPart,
    TooLittleCompared,
    WouldMakeReadable,
)
from mergetrace.finding.wording_origin import equals
from mergetrace.planning import unread
from mergetrace.readable import count, rate


def too_little_compared(reason: TooLittleCompared) -> str:
    text = unread.said(reason.model, reason.coverage)
    if reason.finite_share < reason.coverage.share:
        text += f" Less what is NaN or infinite it is {rate(reason.finite_share)}."
    if reason.share < reason.finite_share:
        text += (
            " With what it holds a second time, and other numbers in it, it is"
            f" {rate(reason.share)}."
        )
    return (
        f"{text} Below {rate(reason.limit)} (verdict.min_compared) nobody is accused and"
        " nobody acquitted."
    )


def would_make_readable(reason: WouldMakeReadable) -> list[str]:
    return unread.remedies(reason.model, reason.coverage)


def not_judged(reason: NotJudged) -> list[str]:
    return unread.beside(reason.coverage)


def parent_compared_in_part(reason: ParentComparedInPart) -> str:
    return (
        f"Of {reason.parent} itself only {unread.share_of(reason.coverage)} of the"
        " parameters were compared; the rest has no counterpart in"
        f" {reason.model}."
    )


def equal_but_unread(reason: EqualButUnread) -> str:
    missing = rate(1 - reason.coverage.share)
    text = f"{equals(reason.equal)}, but {missing} of its parameters were not read"
    if reason.with_parts:
        text += f": {unread.missing(reason.coverage)}"
    return f"{text}."


def equal_but_held_twice(reason: EqualButHeldTwice) -> str:
    return (
        f"{equals(reason.equal)}, but it holds {unread.amount(reason.parameters)}"
        " parameters a second time, with other numbers that some loaders may take."
    )


def equal_but_not_finite(reason: EqualButNotFinite) -> str:
    return (
        f"{equals(reason.equal)}, but {count(reason.lost)} of {count(reason.read)}"
        " elements are NaN or infinite in some model and could not be compared."
    )


SENTENCES: Mapping[type[Reason], Callable[..., str | list[str]]] = {
    TooLittleCompared: too_little_compared,
    WouldMakeReadable: would_make_readable,
    NotJudged: not_judged,
    ParentComparedInPart: parent_compared_in_part,
    EqualButUnread: equal_but_unread,
    EqualButHeldTwice: equal_but_held_twice,
    EqualButNotFinite: equal_but_not_finite,
}
