"""Which of two models came first. Nobody is named as a parent before that is answered.

Dates decide where they are known. Else the recipe turned round does (see
search.reversal): a parent that was computed from the audited model comes back from it
whole, a true one only by the share that rounding leaves. What lies between is a reason
to stop.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mergetrace.finding.traces import Case, Decision, signatures
from mergetrace.readable import listing, rate

OLDER = "older"
YOUNGER = "younger"
BETWEEN = "between"
SILENT = "silent"


@dataclass(frozen=True)
class Order:
    """Whether a parent came before the audited model (None: not known), what says so (`hub`, `stated`, `reverse replay`), and what turning the recipe
    round gives back of it beside what is expected of a true parent. weights: what that share says, of OLDER, YOUNGER, BETWEEN, SILENT.
    """

    before: bool | None
    by: str | None
    reverse: float | None
    expected: float | None
    weights: str

    def as_json(self) -> dict[str, Any]:
        """The fields that verdict.json promises."""
        return {
            "before": self.before,
            "by": self.by,
            "reverse": self.reverse,
            "expected": self.expected,
        }


def orders(case: Case, decision: Decision) -> dict[str, Order]:
    """The order of every donor, and of the base."""
    return {
        parent: _order(case, decision, parent)
        for parent in (*case.summary["donors"], case.base)
    }


def in_order(case: Case, decision: Decision) -> Decision:
    """The decision where its parents came first, with what that rests on; else
    `inconclusive`, with the other story told.

    A finding that was packed before recipes were turned round is left as it is.
    """
    if "turns" not in case.summary:
        return decision
    found = orders(case, decision)
    parents = [
        *decision.named,
        *([case.base] if _rests_on_base(case, decision) else []),
    ]
    stops = [
        reason
        for parent in parents
        if (reason := _stop(case, decision, parent, found[parent]))
    ]
    if stops:
        return Decision("inconclusive", [*decision.reasons, *stops])
    return replace(
        decision, reasons=[*decision.reasons, *_standing(case, decision, found)]
    )


def from_an_older_base(case: Case, decision: Decision) -> Decision:
    """A finetune of the base, unless the base is the younger; any other decision as it
    is.
    """
    before, by = case.dates.get(case.base, (None, None))
    if decision.verdict != "finetune_of_base" or before is not False:
        return decision
    younger = (
        f"Order: {case.base} is younger than {case.model}"
        f" ({case.said_of_dates.get(case.base, by)}), so {case.model} does not start"
        " at it."
    )
    return Decision(
        "inconclusive",
        [*decision.reasons[1:], younger, "Offer the base that both descend from."],
    )


def _order(case: Case, decision: Decision, parent: str) -> Order:
    said = [
        (entry, _by_weights(case.thresholds, entry, forward))
        for entry, forward in _turned(case, decision, parent)
    ]
    weights = next(
        (
            word
            for word in (YOUNGER, BETWEEN, OLDER)
            if word in {word for _, word in said}
        ),
        SILENT,
    )
    reverse, expected = (
        said[0][0][key] if said else None for key in ("reverse", "expected")
    )
    before, by = case.dates.get(parent, (None, None))
    if before is False:
        return Order(False, by, reverse, expected, weights)
    if weights == YOUNGER:  # whatever the dates say: no true parent comes back whole
        return Order(
            False if before is None else None,
            "reverse replay" if before is None else None,
            reverse,
            expected,
            weights,
        )
    if (
        before is None and weights == OLDER and decision.rests_on
    ):  # of models that nothing relates it says nothing
        return Order(True, "reverse replay", reverse, expected, weights)
    return Order(before, by, reverse, expected, weights)


def _turned(
    case: Case, decision: Decision, parent: str
) -> list[tuple[Mapping[str, Any], float]]:
    """What turning round gave of a parent, for what the decision rests on, and the
    share of moved elements which that gives back forwards.

    A drop is turned twice, with and without room for narrow arithmetic. Several donors
    may share its survivors.
    """
    if decision.rests_on in ("whole", "values"):
        return []
    turns = case.summary["turns"]
    owner = (
        parent if parent in case.summary["donors"] else next(iter(decision.named), None)
    )
    found = {
        kind: turns[f"{kind} {owner}"]
        for kind in ("blend", "drop", "exact drop")
        if f"{kind} {owner}" in turns
    }
    if decision.rests_on == "drop" and "drop" in found:
        near = found["drop"]
        exact = found["exact drop"]
        strictly = (
            exact["given_back"] / near["given_back"] if near["given_back"] else 0.0
        )
        mark = next(
            mark
            for mark in signatures(case.summary)
            if set(mark["donors"]) == set(decision.named)
        )
        pairs = [(near, mark["survivors"]), (exact, mark["survivors"] * strictly)]
    else:
        blends = [
            found.get("blend") if decision.rests_on == "blend" else None,
            turns.get("recipe"),
        ]
        usable = [turn for turn in blends if turn and parent in turn["parents"]]
        best = max(usable, key=lambda turn: turn["given_back"] or 0.0, default=None)
        pairs = [(best, best["given_back"] or 0.0)] if best else []
    return [
        (turn["parents"][parent], forward)
        for turn, forward in pairs
        if parent in turn["parents"]
    ]


def _by_weights(
    limits: Mapping[str, Any], entry: Mapping[str, Any], forward: float
) -> str:
    """What the share that comes back says; SILENT where a true and a made parent would
    look alike, or too little was tested.

    They do where elements were chosen and hardly any taken whole (nearswap by a step
    smaller than all changes): of the others only signs are known.
    """
    reverse = entry["reverse"]
    expected = entry["expected"]
    if (
        reverse is None
        or expected is None
        or entry["elements"] < limits["min_informative"]
    ):
        return SILENT
    if expected <= limits["max_expected_reverse"]:
        margin = min(limits["max_reverse_over_expected"], (1 - expected) / 2)
        if (
            expected - limits["max_reverse_under_expected"]
            <= reverse
            <= expected + margin
        ):
            return (
                SILENT
                if entry["kind"] == "chosen" and expected < limits["min_stayed"]
                else OLDER
            )
        return YOUNGER if reverse >= 1 - margin else BETWEEN
    forged = entry["forged"]
    if forged is not None and forward >= forged + limits["min_over_forged"]:
        return OLDER
    return SILENT


def _rests_on_base(case: Case, decision: Decision) -> bool:
    """Whether the decision says that the audited model was made of the base too: then a
    base made from it frames it just as well.
    """
    return decision.verdict != "copy" or not decision.named


def _stop(case: Case, decision: Decision, parent: str, order: Order) -> str | None:
    """Why nobody is accused, None where the order allows it."""
    model = case.model
    if order.before is False and order.by in ("hub", "stated"):
        dates = case.said_of_dates.get(parent, order.by)
        return (
            f"Order: {parent} is younger than {model} ({dates}), so it cannot be its"
            f" parent. It may have been made from {model}."
        )
    if order.weights == YOUNGER:
        return (
            f"Order: turned round, the recipe gives {parent} back whole from {model}"
            f" ({_shares(order)}), as it does a model that was computed from {model}."
            f" {parent} looks like its child; nobody is accused."
        )
    if order.before is True:
        return None
    if order.weights == BETWEEN:
        return (
            f"Order: not established. Turned round, the recipe gives back of {parent}"
            " neither what rounding leaves of a true parent nor all of it"
            f" ({_shares(order)}): {parent} may have been made from {model}."
            f" {_would_settle(parent, model)}"
        )
    if decision.verdict == "copy" or (
        parent == case.base and decision.rests_on != "drop"
    ):
        # of a base that enters with next to nothing nothing can come back; a drop of
        # half of a change takes the base minus once
        return None
    return (
        f"Order: not established. {_stories(case, decision, parent, order)}"
        f" {_would_settle(parent, model)}"
    )


def _stories(case: Case, decision: Decision, parent: str, order: Order) -> str:
    """The two accounts that the weights leave open."""
    model = case.model
    if decision.rests_on == "whole":
        return (
            f"What {model} shares with {parent} it shares number for number, so two"
            f" stories fit: {model} was put together from {parent} and {case.base}, or"
            f" {parent} is a finetune of {model} in which some of it was left as it"
            " was."
        )
    shares = (
        ""
        if order.reverse is None
        else f" ({parent} comes back from it by {_shares(order)})"
    )
    return (
        f"Two stories fit: {model} was made from {parent}, or {parent} was made from"
        f" {model}{shares}."
    )


def _standing(case: Case, decision: Decision, found: Mapping[str, Order]) -> list[str]:
    """What the order of an accusation rests on, in sentences."""
    said = [_stands(case, decision, donor, found[donor]) for donor in decision.named]
    if (
        decision.verdict == "copy"
        and not decision.named
        and found[case.base].before is None
    ):
        said.append(
            f"Order: not established. Which of {case.model} and {case.base} was first"
            f" is not known; {case.base} is taken for the older because it was offered"
            " as base."
        )
    base = found[case.base]
    if (
        decision.named
        and decision.verdict != "copy"
        and base.by not in ("hub", "stated")
        and base.weights == OLDER
    ):
        said.append(
            f"Nor is it established of {case.base} by dates: it comes back by"
            f" {_shares(base)}, and may have been drawn so as well."
        )
    return said


def _stands(case: Case, decision: Decision, donor: str, order: Order) -> str:
    model = case.model
    if order.before and order.by != "reverse replay":
        return (
            f"Order: {donor} is older than {model}"
            f" ({case.said_of_dates.get(donor, order.by)})."
        )
    if decision.verdict == "copy":
        unknown = (
            f"Order: not established. Which of {model} and {donor} was first is not"
            " known; equal numbers do not say it."
        )
        return f"{unknown} {_would_settle(donor, model)}"
    return (
        f"Order: not established by dates. By its weights {donor} is the older:"
        f" computed from {model} in the plain way it would come back whole from"
        f" {model}, and it does by {_shares(order)}. That is no proof: of a donor drawn"
        f" at random among the numbers whose blend rounds to {model}, weights cannot"
        f" tell. {_would_settle(donor, model)}"
    )


def _shares(order: Order) -> str:
    return f"{rate(order.reverse)}, expected of a true parent {rate(order.expected)}"


def _would_settle(parent: str, model: str) -> str:
    keys = listing([f"models.{name}.published" for name in (parent, model)])
    return (
        "The dates of their first publication would settle it: the Hub's, or stated"
        f" ({keys})."
    )
