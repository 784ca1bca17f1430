"""Which of two models came first. Nobody is named as a parent before that is answered.

Dates decide where they are known. Else the recipe turned round does (see search.reversal): a parent that was computed from the audited model comes
back from it whole, a true one only by the share that rounding leaves. What lies between is a reason to stop.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mergetrace.finding.traces import Case, Decision, rate_of
from mergetrace.readable import listing, rate

OLDER, YOUNGER, BETWEEN, SILENT = "older", "younger", "between", "silent"


@dataclass(frozen=True)
class Order:
    """Whether a parent came before the audited model (None: not known), what says so (`hub`, `stated`, `reverse replay`), and what turning the recipe
    round gives back of it beside what is expected of a true parent. weights: what that share says, of OLDER, YOUNGER, BETWEEN, SILENT."""

    before: bool | None
    by: str | None
    reverse: float | None
    expected: float | None
    weights: str

    def as_json(self) -> dict[str, Any]:
        """The fields that verdict.json promises."""
        return {"before": self.before, "by": self.by, "reverse": self.reverse, "expected": self.expected}


def orders(case: Case, decision: Decision) -> dict[str, Order]:
    """The order of every donor, and of the base."""
    return {parent: _order(case, decision, parent) for parent in (*case.summary["donors"], case.base)}


def in_order(case: Case, decision: Decision) -> Decision:
    """The decision where its parents came first, with what that rests on; else `inconclusive`, with the other story told.

    A finding that was packed before recipes were turned round is left as it is.
    """
    if "turns" not in case.summary:
        return decision
    found = orders(case, decision)
    parents = [*decision.named, *([case.base] if _rests_on_base(case, decision) else [])]
    stops = [reason for parent in parents if (reason := _stop(case, decision, parent, found[parent]))]
    if stops:
        return Decision("inconclusive", [*decision.reasons, *stops])
    return replace(decision, reasons=[*decision.reasons, *_standing(case, decision, found)])


def _order(case: Case, decision: Decision, parent: str) -> Order:
    turned, forward = _turn(case, decision, parent)
    entry = (turned or {}).get(parent)
    weights = _by_weights(case.thresholds, entry, forward)
    reverse, expected = (entry[key] if entry else None for key in ("reverse", "expected"))
    before, by = case.dates.get(parent, (None, None))
    if before is False:
        return Order(False, by, reverse, expected, weights)
    if weights == YOUNGER:  # whatever the dates say: no true parent comes back whole
        return Order(False if before is None else None, "reverse replay" if before is None else None, reverse, expected, weights)
    if before is None and weights == OLDER:
        return Order(True, "reverse replay", reverse, expected, weights)
    return Order(before, by, reverse, expected, weights)


def _turn(case: Case, decision: Decision, parent: str) -> tuple[Mapping[str, Any] | None, float | None]:
    """The recipe turned round that the decision rests on, by parent, and the share of elements that it gives back forwards."""
    turns, donors = case.summary["turns"], case.summary["donors"]
    owner = parent if parent in donors else next(iter(decision.named), None)
    rests_on = decision.rests_on
    if rests_on in ("whole", "values"):
        return None, None
    if rests_on == "drop" and f"drop {owner}" in turns:
        return turns[f"drop {owner}"]["parents"], case.recipe["signature"]["survivors"]
    if rests_on == "blend" and f"blend {owner}" in turns:
        return turns[f"blend {owner}"]["parents"], donors[owner]["coverage"]
    if "recipe" in turns:
        return turns["recipe"]["parents"], rate_of(case.summary)
    return None, None


def _by_weights(limits: Mapping[str, Any], entry: Mapping[str, Any] | None, forward: float | None) -> str:
    """What the share that comes back says; SILENT where a true and a made parent would look alike, or too little was tested."""
    if entry is None or entry["reverse"] is None or entry["expected"] is None or entry["elements"] < limits["min_informative"]:
        return SILENT
    reverse, expected, margin = entry["reverse"], entry["expected"], limits["max_reverse_over_expected"]
    if expected <= limits["max_expected_reverse"]:
        if reverse <= expected + margin:
            return OLDER
        return YOUNGER if reverse >= 1 - margin else BETWEEN
    forged = entry["forged"]
    if forged is not None and forward is not None and forward >= forged + limits["min_over_forged"]:
        return OLDER
    return SILENT


def _rests_on_base(case: Case, decision: Decision) -> bool:
    """Whether the decision says that the audited model was made of the base too: then a base made from it frames it just as well."""
    return decision.verdict != "copy" or not decision.named


def _stop(case: Case, decision: Decision, parent: str, order: Order) -> str | None:
    """Why nobody is accused, None where the order allows it."""
    model = case.model
    if order.before is False and order.by in ("hub", "stated"):
        return f"{parent} is younger than {model} ({case.said_of_dates.get(parent, order.by)}), so it cannot be its parent; it may have been made from {model}."
    if order.weights == YOUNGER:
        return (
            f"Order: {parent} comes back whole from {model} and the other models by the same recipe turned round ({_shares(order)}), as a model does "
            f"that was computed from {model}. {parent} looks like its child; nobody is accused."
        )
    if order.weights == BETWEEN and order.before is None:
        return (
            f"Order: not established. Turned round, the recipe gives back more of {parent} than rounding leaves of a true parent and less than all "
            f"({_shares(order)}): it may have been made from {model}. {_would_settle(parent, model)}"
        )
    if parent == case.base or order.before is True or decision.verdict == "copy":
        return None
    others = f"{parent} may as well be a finetune of {model} in which some of it was left as it was"
    if decision.rests_on == "whole":
        return (
            f"Order: not established. What {model} shares with {parent} it shares number for number, so two stories fit: {model} was put together from "
            f"{parent} and {case.base}, or {others}. {_would_settle(parent, model)}"
        )
    return (
        f"Order: not established. The weights fit two stories: {model} was made from {parent}, or {parent} was made from {model}"
        f"{f' ({_shares(order)})' if order.reverse is not None else ''}. {_would_settle(parent, model)}"
    )


def _standing(case: Case, decision: Decision, found: Mapping[str, Order]) -> list[str]:
    """What the order of an accusation rests on, in sentences."""
    model, said = case.model, []
    for donor in decision.named:
        order = found[donor]
        if order.before and order.by != "reverse replay":
            said.append(f"Order: {donor} is the older ({case.said_of_dates.get(donor, order.by)}).")
        elif order.before:
            said.append(
                f"Order: not established by dates. By the weights alone {donor} is the older: a model computed from {model} in the plain way would come back "
                f"whole, {donor} does by {_shares(order)}. That is no proof: a forger who draws at random among the numbers that round to {model}'s cannot "
                f"be told from a true parent. {_would_settle(donor, model)}"
            )
        elif decision.verdict == "copy":
            said.append(f"Order: which of {model} and {donor} was first is not known: two equal models do not say it. {_would_settle(donor, model)}")
    if decision.verdict == "copy" and not decision.named and found[case.base].before is None:
        said.append(
            f"Order: which of {model} and {case.base} was first is not known; {case.base} is taken for the older because it was offered as the base."
        )
    return said


def _shares(order: Order) -> str:
    if order.reverse is None:
        return "nothing to measure"
    return f"{rate(order.reverse)}, expected of a true parent {rate(order.expected)}"


def _would_settle(parent: str, model: str) -> str:
    return f"The dates of their first publication would settle it: the Hub's, or stated as {listing([f'models.{name}.published' for name in (parent, model)])}."
