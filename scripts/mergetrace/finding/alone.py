"""The rules of an audit to which no donor was offered: is the model the base, was it made
from it, or has it nothing to do with it?

No merge is looked for, and none is ruled out. What is measured is a common origin; who
was made from whom is said by dates alone.
"""

from collections.abc import Callable

from mergetrace.finding.case import Case, Decision, Reason
from mergetrace.finding.cells import parents_packed
from mergetrace.finding.copying import copy
from mergetrace.finding.origin import disguised, no_common_origin, too_little
from mergetrace.finding.reasons_alone import (
    BaseIsOlder,
    CommonOrigin,
    NoDonorOffered,
    PartOfBase,
    WhichFirstOpen,
)
from mergetrace.finding.reasons_order import Pair
from mergetrace.finding.reasons_origin import NoRuleApplies


def from_the_base(case: Case) -> Decision | None:
    """Raw weights that point where the base's do, nearly everywhere."""
    summary = case.summary
    cosine = summary.base_cos
    if cosine is None or summary.slices_of_base is None:
        return None
    share = summary.slices_of_base / summary.slices
    limits = case.thresholds
    if share < limits.min_in_place:
        part = PartOfBase(case.base, share, limits.min_same_cos, limits.min_in_place)
        return Decision("inconclusive", (part,))
    reasons = (
        CommonOrigin(case.model, case.base, cosine, summary.equal_base),
        _order(case),
        NoDonorOffered(),
    )
    return Decision("finetune_of_base", reasons)


def _order(case: Case) -> Reason:
    """What is known of which of the two came first: a younger base is dealt with where
    all orders are.
    """
    age = case.ages.get(case.base)
    pair = Pair(case.base, case.model)
    return WhichFirstOpen(pair) if age is None else BaseIsOlder(pair, age)


def open_question(_: Case) -> Decision:
    """The decision where every rule is silent."""
    return Decision("inconclusive", (NoRuleApplies(), NoDonorOffered()))


RULES: tuple[Callable[[Case], Decision | None], ...] = (
    copy,
    too_little,
    no_common_origin,
    parents_packed,
    disguised,
    from_the_base,
    open_question,
)
"""The rules in the order in which they are asked."""
