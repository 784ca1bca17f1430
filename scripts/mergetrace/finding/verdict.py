"""The rules that turn numbers into one of a few words, with the reason for each.

A rule looks at one audited model and answers yes with reasons, or stays silent; the
first yes is the verdict, and where every rule is silent it is `inconclusive`. Accusing
rules need exactness, or one weight along all of a donor's small directions: a high
cosine alone never convicts, because an independent finetune on the donor's own task
reaches one too. The same rules judge the controls.
"""

from collections.abc import Callable
from dataclasses import replace

from mergetrace.finding.accusing import (
    chosen_elements,
    finetune_of_donor,
    merge,
    merge_of_several_then_trained,
    merge_then_trained,
    other_merge,
)
from mergetrace.finding.alone import RULES as WITHOUT_DONORS
from mergetrace.finding.case import ACCUSING, Case, Decision, Reason
from mergetrace.finding.cells import (
    carried_by_16_bits,
    on_grid,
    parents_packed,
    through_cells,
)
from mergetrace.finding.copying import copy
from mergetrace.finding.coverage import enough_read
from mergetrace.finding.descent import RESTS_ON, trained_blend
from mergetrace.finding.following import follows_from_parents
from mergetrace.finding.inconclusive import inconclusive
from mergetrace.finding.order import from_an_older_base, in_order, orders
from mergetrace.finding.origin import (
    disguised,
    finetune_of_base,
    no_common_origin,
    too_little,
)
from mergetrace.finding.reasons_merge import TokensOfOne
from mergetrace.finding.reasons_origin import (
    DonorsAlike,
    NotUndone,
    OtherBaseAccuses,
    Undone,
    VerdictNotGiven,
)
from mergetrace.finding.relatives import with_relatives
from mergetrace.finding.round_trip import blend_of_round_trip
from mergetrace.finding.traces import lookalikes, told_apart

RULES: tuple[Callable[[Case], Decision | None], ...] = (
    copy,
    too_little,
    no_common_origin,
    parents_packed,
    merge,
    carried_by_16_bits,
    blend_of_round_trip,
    other_merge,
    chosen_elements,
    follows_from_parents,
    finetune_of_donor,
    merge_then_trained,
    merge_of_several_then_trained,
    disguised,
    trained_blend,
    finetune_of_base,
)
"""The rules in the order in which they are asked."""


def decide(case: Case) -> Decision:
    """The first rule that answers, else `inconclusive` with what would settle it; and
    which of the models came first.

    An accusing verdict becomes `inconclusive` where a parent may be the younger one, and
    outside `accuse_with`: its traces are stated, and no parent is named.
    """
    answer = enough_read(case, through_cells(case, _first_answer(case)))
    answer = on_grid(case, answer)
    if case.layout:
        lines = (
            *(Undone(line) for line in case.layout.undone),
            *(NotUndone(line) for line in case.layout.not_undone),
        )
        answer = replace(answer, reasons=(*answer.reasons, *lines))
    if answer.verdict in ACCUSING and case.recipe.own_rows:
        tokens = TokensOfOne(case.recipe.own_rows)
        answer = replace(answer, reasons=(*answer.reasons, tokens))
    if answer.verdict in ACCUSING:
        decision = _checked(case, answer)
    else:
        decision = _beside_other_bases(case, from_an_older_base(case, answer))
    if case.summary.turns is None:
        return decision
    order_of = orders(case, answer)
    return replace(
        decision, order={parent: order.facts() for parent, order in order_of.items()}
    )


def _beside_other_bases(case: Case, decision: Decision) -> Decision:
    """No acquittal where the rules accuse on another base candidate: the nearest one,
    which is chosen where no recipe fits, may lie on a donor's way.
    """
    accusing = {
        base: verdict for base, verdict in case.seen_from.items() if verdict in ACCUSING
    }
    if decision.verdict != "finetune_of_base" or not accusing:
        return decision
    stop = OtherBaseAccuses(case.base, accusing)
    return Decision("inconclusive", (*decision.reasons, stop))


def _first_answer(case: Case) -> Decision:
    for rule in RULES if case.summary.donors else WITHOUT_DONORS:
        decision = rule(case)
        if decision is not None:
            return decision
    return inconclusive(case)


def _checked(case: Case, answer: Decision) -> Decision:
    """An accusation where its donors are told from their like, came first, and the
    configuration gives such a verdict; else `inconclusive`.
    """
    # Elements do not tell donors apart where none is exact; that rule did it itself.
    by_spectrum = answer.rests_on == RESTS_ON
    apart, notes = (True, ()) if by_spectrum else _beside_lookalikes(case, answer)
    if not apart:
        return Decision("inconclusive", (*answer.reasons, *notes))
    decision = in_order(case, replace(answer, reasons=(*answer.reasons, *notes)))
    limits = case.thresholds
    if decision.verdict not in ACCUSING:
        return decision
    if by_spectrum and not limits.accuse_by_small_directions:
        return _not_given(decision, "accuse_by_small_directions")
    if decision.verdict in limits.accuse_with:
        said = (*decision.reasons, *with_relatives(case, decision))
        return replace(decision, reasons=said)
    return _not_given(decision, "accuse_with")


def _not_given(decision: Decision, setting: str) -> Decision:
    """What the configuration does not give: traces stated, and nobody named."""
    not_given = VerdictNotGiven(decision.verdict, setting)
    return Decision("inconclusive", (*decision.reasons, not_given))


def _beside_lookalikes(
    case: Case, decision: Decision
) -> tuple[bool, tuple[Reason, ...]]:
    """Whether every named donor is told apart from the donors that are like it, and
    what is to be said of them.
    """
    notes = []
    for pair in lookalikes(case, decision.named):
        note = DonorsAlike(
            pair.named,
            pair.other,
            pair.cosine,
            pair.only_named,
            pair.only_other,
            told_apart(case, pair),
        )
        notes.append(note)
    return all(note.told_apart for note in notes), tuple(notes)
