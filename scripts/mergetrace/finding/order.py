"""Which of two models came first. Nobody is named as a parent before that is answered.

Dates decide where they are known. Else the recipe turned round does (see
search.reversal): a parent that was computed from the audited model comes back from it
whole, a true one only by the share that rounding leaves. What lies between is a reason
to stop.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from mergetrace.finding.case import Case, Decision, Reason
from mergetrace.finding.descent import RESTS_ON
from mergetrace.finding.following import BY_FOLLOWING
from mergetrace.finding.reasons_alone import BaseIsOlder
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
from mergetrace.finding.reasons_origin import StartsAtBase
from mergetrace.records.recipe_search import Turn, TurnedParent
from mergetrace.records.verdict import OrderFacts
from mergetrace.thresholds import Thresholds

# What the share says that comes back from a turned recipe.
OLDER = "older"
YOUNGER = "younger"
BETWEEN = "between"
SILENT = "silent"

BY_WEIGHTS = "reverse replay"
"""What says who came first, where no date does."""
BY_LIKE_PLACES = "turned dependence"
"""What says it of a model whose numbers follow from its parents' in an arithmetic that
nobody identified: theirs do not follow from its.
"""
BY_SPECTRUM = "reverse regression"
"""What says it of a blend that was seen by the donor's small directions: the donor's
change holds no one weight of the model's.
"""


@dataclass(frozen=True)
class Order:
    """Which of a parent and the audited model came first."""

    before: bool | None
    """Whether the parent did; None where that is not known."""
    by: str | None
    """What says so: `hub`, `stated`, `reverse replay`, `reverse regression` or `turned
    dependence`.
    """
    returned: Return
    """How much of the parent comes back from the turned recipe."""
    weights: str
    """What that says: OLDER, YOUNGER, BETWEEN or SILENT."""
    dissent: float | None = None
    """The share of like places at which the parent does not follow from the audited
    model, where the decision rests on that.
    """

    @property
    def by_dates(self) -> bool:
        """Whether dates say so."""
        return self.by in ("hub", "stated")

    def facts(self) -> OrderFacts:
        """The fields that verdict.json promises."""
        returned = self.returned
        return OrderFacts(self.before, self.by, returned.reverse, returned.expected)


def orders(case: Case, decision: Decision) -> dict[str, Order]:
    """The order of every donor, and of the base."""
    parents = (*case.summary.donors, case.base)
    return {parent: _order(case, decision, parent) for parent in parents}


def in_order(case: Case, decision: Decision) -> Decision:
    """The decision where its parents came first, with what that rests on; else
    `inconclusive`, with the other story told.

    A finding that was packed before recipes were turned round is left as it is.
    """
    if case.summary.turns is None:
        return decision
    order_of = orders(case, decision)
    parents = [*decision.named]
    if _rests_on_base(decision) and decision.rests_on != RESTS_ON:
        parents.append(case.base)
    stops = []
    for parent in parents:
        stop = _stop(case, decision, parent, order_of[parent])
        if stop is not None:
            stops.append(stop)
    if stops:
        told = [_beside_others(stop, order_of, parents) for stop in stops]
        return Decision("inconclusive", (*decision.reasons, *told))
    standing = _standing(case, decision, order_of)
    return replace(decision, reasons=(*decision.reasons, *standing))


def from_an_older_base(case: Case, decision: Decision) -> Decision:
    """A finetune of the base, unless the base is the younger; any other decision as it
    is.
    """
    age = case.ages.get(case.base)
    if decision.verdict != "finetune_of_base" or age is None or age.before:
        return decision
    # what says that the model starts at the base, or who came first, is not so
    said = [
        reason
        for reason in decision.reasons
        if not isinstance(reason, (StartsAtBase, BaseIsOlder))
    ]
    reasons = (
        *said,
        BaseYounger(Pair(case.base, case.model), age),
        OfferCommonBase(),
    )
    return Decision("inconclusive", reasons)


def _order(case: Case, decision: Decision, parent: str) -> Order:
    turned = _turned(case, decision, parent)
    said = {_by_weights(case.thresholds, entry, forward) for entry, forward in turned}
    ranked = [word for word in (YOUNGER, BETWEEN, OLDER) if word in said]
    weights = ranked[0] if ranked else SILENT
    returned = Return(None, None)
    if turned:
        first = turned[0][0]
        returned = Return(first.reverse, first.expected)
    dissent = _turned_dissent(case, decision, parent)
    if dissent is not None and weights != YOUNGER:
        apart = dissent >= case.thresholds.min_turned_dissent
        weights = OLDER if apart else BETWEEN
    age = case.ages.get(parent)
    if age is not None:
        # No true parent comes back whole, whatever the dates say.
        contradicted = age.before and weights == YOUNGER
        before = None if contradicted else age.before
        by = None if contradicted else age.by
        return Order(before, by, returned, weights, dissent)
    if decision.rests_on == RESTS_ON and parent in decision.named:
        return Order(True, BY_SPECTRUM, returned, weights)
    if weights == YOUNGER:
        return Order(False, BY_WEIGHTS, returned, weights)
    # Of models that nothing relates what comes back says nothing.
    if weights == OLDER and decision.rests_on:
        by = BY_WEIGHTS if dissent is None else BY_LIKE_PLACES
        return Order(True, by, returned, weights, dissent)
    return Order(None, None, returned, weights, dissent)


def _turned_dissent(case: Case, decision: Decision, parent: str) -> float | None:
    """Of a finding that rests on numbers that follow from the parents', how far the
    parent's follow from the others'; None where that was not measured.
    """
    dependence = case.recipe.dependence
    if decision.rests_on != BY_FOLLOWING or dependence is None:
        return None
    return (dependence.turned or {}).get(parent)


def _turned(
    case: Case, decision: Decision, parent: str
) -> list[tuple[TurnedParent, float]]:
    """What turning round gave of a parent, for what the decision rests on, and the
    share of moved elements which that gives back forwards.

    A drop is turned twice, with and without room for narrow arithmetic. Several donors
    may share its survivors.
    """
    if decision.rests_on in ("whole", "values", RESTS_ON):
        return []
    turns = case.summary.turns or {}
    owner = parent
    if parent not in case.summary.donors:
        owner = next(iter(decision.named), "")
    if decision.rests_on == "drop" and f"drop {owner}" in turns:
        return _turned_drop(case, decision, parent, owner)
    candidates = [turns.get("recipe")]
    if decision.rests_on in ("blend", BY_FOLLOWING):
        candidates.insert(0, turns.get(f"blend {owner}"))
    usable = [turn for turn in candidates if turn and parent in turn.parents]
    if not usable:
        return []
    best = max(usable, key=lambda turn: turn.given_back or 0.0)
    return [(best.parents[parent], best.given_back or 0.0)]


def _turned_drop(
    case: Case, decision: Decision, parent: str, owner: str
) -> list[tuple[TurnedParent, float]]:
    """What the turns of a drop of `owner`'s changes gave of a parent, with room for
    arithmetic that is not known and without; beside the arithmetic in which a true
    parent would come back as this one does.
    """
    near = _nearest_turn(case, parent, f"drop {owner}", f"narrow drop {owner}")
    exact = _nearest_turn(
        case, parent, f"exact drop {owner}", f"exact narrow drop {owner}"
    )
    survivors = next(
        mark.survivors
        for mark in case.recipe.signatures
        if set(mark.donors) == set(decision.named)
    )
    strictly = 0.0
    if near.given_back:
        strictly = (exact.given_back or 0.0) / near.given_back
    turned = ((near, survivors), (exact, survivors * strictly))
    return [
        (turn.parents[parent], forward)
        for turn, forward in turned
        if parent in turn.parents
    ]


def _nearest_turn(case: Case, parent: str, *names: str) -> Turn:
    """Of the turns of these names, the one of which what comes back of a parent lies
    nearest to what does of a true one. Old findings have only the first.
    """
    turns = case.summary.turns or {}
    return min(
        (turns[name] for name in names if name in turns),
        key=lambda turn: _strays(turn, parent),
    )


def _strays(turn: Turn, parent: str) -> float:
    """How far what comes back of a parent lies from what does of a true one."""
    entry = turn.parents.get(parent)
    if entry is None or entry.reverse is None or entry.expected is None:
        return 1.0
    return abs(entry.reverse - entry.expected)


def _by_weights(limits: Thresholds, entry: TurnedParent, forward: float) -> str:
    """What the share that comes back says; SILENT where a true and a made parent would
    look alike, or too little was tested.

    They do where elements were only chosen, each taken whole or not at all: a child
    that left a sparse finetune's numbers as they were and moved others by less holds
    the same numbers as the parent of a trimmed merge.
    """
    reverse = entry.reverse
    expected = entry.expected
    if reverse is None or expected is None or entry.elements < limits.min_informative:
        return SILENT
    if expected > limits.max_expected_reverse:
        told = _beyond_forged(limits, entry.forged, forward)
        return OLDER if told else SILENT
    margin = min(limits.max_reverse_over_expected, (1 - expected) / 2)
    least = expected - limits.max_reverse_under_expected
    if least <= reverse <= expected + margin:
        return SILENT if entry.kind == "chosen" else OLDER
    return YOUNGER if reverse >= 1 - margin else BETWEEN


def _beyond_forged(limits: Thresholds, forged: float | None, forward: float) -> bool:
    """Whether a recipe misses far less than it would with any parent that was computed
    from the audited model. How much more it gives back does not tell: of a model that
    moved most numbers by a step or two a computed parent gives more than of others.
    """
    if forged is None or forged > limits.max_expected_reverse:
        return False
    return forward >= 1 - limits.max_forged_misses * (1 - forged)


def _rests_on_base(decision: Decision) -> bool:
    """Whether the decision says that the audited model was made of the base too: then a
    base made from it frames it just as well.
    """
    return decision.verdict != "copy" or not decision.named


def _stop(case: Case, decision: Decision, parent: str, order: Order) -> Reason | None:
    """Why nobody is accused, None where the order allows it."""
    pair = Pair(parent, case.model)
    age = case.ages.get(parent)
    if age is not None and order.before is False and order.by_dates:
        return ParentYounger(pair, age)
    if order.weights == YOUNGER:
        return ParentComesBackWhole(pair, order.returned)
    if order.before is True:
        return None
    if order.weights == BETWEEN and order.dissent is not None:
        return ParentFollows(pair, order.dissent)
    if order.weights == BETWEEN:
        return ParentComesBackBetween(pair, order.returned)
    return _two_stories(case, decision, pair, order)


def _beside_others(
    stop: Reason, order_of: Mapping[str, Order], parents: Sequence[str]
) -> Reason:
    """A parent that comes back whole, with the others that may be why: from the model
    and a parent that was computed from it, any true one is computed as well.
    """
    if not isinstance(stop, ParentComesBackWhole):
        return stop
    others = [
        parent
        for parent in parents
        if parent != stop.pair.parent
        and order_of[parent].before is not True
        and order_of[parent].weights in (YOUNGER, SILENT)
    ]
    return replace(stop, others=tuple(others))


def _two_stories(
    case: Case, decision: Decision, pair: Pair, order: Order
) -> Reason | None:
    """That either model may have been made from the other, where that matters."""
    # Nothing can come back of a base that enters with next to nothing, or whose elements
    # were chosen; a drop of half of a change takes the base minus once. One that enters
    # with more than its whole would come back whole, true or forged.
    expected = order.returned.expected or 0.0
    alike = expected > case.thresholds.max_expected_reverse
    entered_little = (
        pair.parent == case.base and decision.rests_on != "drop" and not alike
    )
    if decision.verdict == "copy" or entered_little:
        return None
    kinds = {entry.kind for entry, _ in _turned(case, decision, pair.parent)}
    if decision.rests_on == "whole" or "chosen" in kinds:
        return TwoStoriesOfParts(pair, case.base)
    return TwoStories(pair, order.returned)


def _standing(
    case: Case, decision: Decision, order_of: Mapping[str, Order]
) -> list[Reason]:
    """What the order of an accusation rests on."""
    reasons = [
        _stands(case, decision, donor, order_of[donor])
        for donor in decision.named
        if order_of[donor].by not in (BY_SPECTRUM, BY_LIKE_PLACES)
    ]
    unlike = {
        parent: order.dissent
        for parent, order in order_of.items()
        if order.by == BY_LIKE_PLACES and order.dissent is not None
    }
    if unlike:
        reasons.append(OlderByLikePlaces(case.model, unlike))
    base = order_of[case.base]
    if decision.verdict == "copy":
        if not decision.named and base.before is None:
            reasons.append(BaseTakenForOlder(Pair(case.base, case.model)))
    elif decision.named and base.by == BY_WEIGHTS:
        reasons.append(BaseByWeights(case.base, base.returned))
    return reasons


def _stands(case: Case, decision: Decision, donor: str, order: Order) -> Reason:
    pair = Pair(donor, case.model)
    age = case.ages.get(donor)
    if age is not None and order.before and order.by != BY_WEIGHTS:
        return ParentOlder(pair, age)
    if decision.verdict == "copy":
        return CopyOrderUnknown(pair)
    return OlderByWeights(pair, order.returned)
