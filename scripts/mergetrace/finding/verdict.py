"""The rules that turn numbers into one of a few words, with the reason for each.

A rule looks at one audited model and answers yes with reasons, or stays silent; the
first yes is the verdict, and where every rule is silent it is `inconclusive`. Accusing
rules need exactness: a high cosine alone never convicts, because an independent
finetune on the donor's own task reaches one too. The same rules judge the controls.
"""

from collections.abc import Callable, Collection
from dataclasses import replace

from mergetrace.finding.accusing import (
    chosen_elements,
    finetune_of_donor,
    merge,
    merge_of_several_then_trained,
    merge_then_trained,
    other_merge,
)
from mergetrace.finding.coverage import enough_read, held_of, not_whole, recast, sampled
from mergetrace.finding.order import from_an_older_base, in_order, orders
from mergetrace.finding.traces import (
    ACCUSING,
    Case,
    Decision,
    equals,
    lookalikes,
    rate_of,
    shared_step,
    told_apart,
    why_no_merge,
)
from mergetrace.readable import decimal, listing, rate


def decide(case: Case) -> Decision:
    """The first rule that answers, else `inconclusive` with what would settle it; and
    which of the models came first.

    An accusing verdict becomes `inconclusive` where a parent may be the younger one, and outside `accuse_with`: its traces are stated, and no
    parent is named.
    """
    answer = next(
        (decision for rule in RULES if (decision := rule(case)) is not None),
        _inconclusive(case),
    )
    answer = enough_read(case, answer)
    if case.layout:
        lines = [
            *(f"Undone: {line}" for line in case.layout["undone"]),
            *(f"Not undone: {line}" for line in case.layout["not_undone"]),
        ]
        answer = replace(answer, reasons=[*answer.reasons, *lines])
    decision = (
        _checked(case, answer)
        if answer.verdict in ACCUSING
        else from_an_older_base(case, answer)
    )
    found = orders(case, answer) if "turns" in case.summary else {}
    return replace(
        decision, order={parent: order.as_json() for parent, order in found.items()}
    )


def _checked(case: Case, answer: Decision) -> Decision:
    """An accusation where its donors are told from their like, came first, and the
    configuration gives such a verdict; else `inconclusive`.
    """
    told, notes = _beside_lookalikes(case, answer.named)
    if not told:
        return Decision("inconclusive", [*answer.reasons, *notes])
    decision = in_order(case, replace(answer, reasons=[*answer.reasons, *notes]))
    if (
        decision.verdict not in ACCUSING
        or decision.verdict in case.thresholds["accuse_with"]
    ):
        return decision
    note = (
        f"These are the traces of `{decision.verdict}`, a verdict that this"
        " configuration does not give (verdict.accuse_with)."
    )
    return Decision("inconclusive", [*decision.reasons, note])


def copy(case: Case) -> Decision | None:
    """Every element of every tensor equals one parent's, be it once that is rounded to
    the format in which the audited model is stored.

    Nothing of the audited model may be left out, and something that votes must be among it. Where numbers were rounded for the comparison, they
    may have been trained a little.
    """
    equal = _equal_parents(case)
    if not equal:
        return None
    parent, exact = equal[0]
    after = (
        ""
        if exact
        else f" once that is rounded to the format in which {case.model} is stored"
    )
    found = (
        f"Every compared element of {case.model} equals that of"
        f" {listing(parent for parent, _ in equal)}{after}"
    )
    if why := not_whole(case):
        return Decision("inconclusive", [f"{found}, {why[0]}.", *why[1:]])
    if against := _no_copy(case, [name for name, _ in equal]):
        return Decision("inconclusive", [f"{found}{against}"])
    named, base_share = ({}, 1.0) if parent == case.base else ({parent: 1.0}, 0.0)
    if case.layout and case.layout.get("rounded"):
        trained = (
            f"{found} once it is rounded as said below: noise on a copy, or a breath of"
            " training."
        )
        return Decision(
            "finetune_of_donor" if named else "inconclusive",
            [trained],
            named,
            base_share if named else None,
        )
    formats = recast(case, parent)
    reasons = [
        f"{found}{f': recast {formats}' if formats else ''}.",
        *filter(None, [sampled(case)]),
    ]
    family = None if exact and not formats else "recast"
    return Decision("copy", reasons, named, base_share, family, rests_on="values")


def _no_copy(case: Case, parents: list[str]) -> str:
    """Why a model that equals these parents in every weight is no copy, as the end of a
    sentence; empty where nothing stands against it.
    """
    if not case.summary["slices"]:
        return ", but no tensor large enough to count is among them."
    if (held := held_of(case, parents[0])) < case.thresholds["min_compared"]:
        return (
            f", but only {rate(held)} of {parents[0]}'s weights were compared with it:"
            " a part is no copy."
        )
    if len(parents) > 1:
        return (
            ": these parents cannot be told apart. Offer only one of them, or the"
            " numbers before rounding."
        )
    return ""


def _equal_parents(case: Case) -> list[tuple[str, bool]]:
    """The parents whose elements the audited model holds, and whether exactly: the base, else the first donor, where any is equal as it is stored;
    else every one that is equal once it is rounded.
    """
    donors = case.summary["donors"]
    exact = (
        [case.base]
        if case.summary["all_equal_base"]
        else [donor for donor, numbers in donors.items() if numbers["all_equal"]]
    )
    if exact:
        return [(exact[0], True)]
    rounded = [case.base] if case.summary.get("all_rounded_base") else []
    return [
        (parent, False)
        for parent in [
            *rounded,
            *(donor for donor, numbers in donors.items() if equals(numbers)),
        ]
    ]


def too_little(case: Case) -> Decision | None:
    """Nothing large enough to vote was compared."""
    if case.summary["slices"]:
        return None
    return Decision(
        "inconclusive",
        [
            "No tensor large enough to count was compared; offer parents that share the"
            " suspect's large matrices."
        ],
    )


def no_common_origin(case: Case) -> Decision | None:
    """The raw weights do not point the same way. A finding only where every disguise
    was looked for: a permuted copy looks the same.
    """
    cosine = case.summary["base_cos"]
    layout = case.layout
    if cosine is None or cosine >= case.thresholds["min_base_cos"]:
        return None
    if (rate_of(case.summary) or 0.0) >= case.thresholds["min_bit_exact"]:
        # what a recipe gives back has that origin: one huge weight is enough to turn a
        # cosine
        return None
    apart = (
        f"The weights of {case.model} and {case.base} show no common origin (cosine"
        f" {cosine:.3f}, below {case.thresholds['min_base_cos']})."
    )
    if layout is None:
        return Decision(
            "inconclusive",
            [
                apart,
                (
                    "Nobody looked for disguises (permuted neurons, moved layers): only"
                    " local models are looked at."
                ),
            ],
        )
    if layout["not_undone"]:
        return Decision(
            "inconclusive", [apart, "A disguise is visible and not undone."]
        )
    if layout["kin"] >= case.thresholds["max_chance_in_place"]:
        where = (
            f"{layout['kin']:.0%} of its matrices lie where those of"
            f" {layout['reference']} do: a parent that was not offered may be the base."
        )
        return Decision("inconclusive", [apart, where])
    return Decision(
        "unrelated",
        [
            (
                f"{apart} Nor does it with a donor: {layout['kin']:.1%} of its matrices"
                " lie where one of theirs does."
            ),
            f"Looked for and not found: {'; '.join(layout['looked_for'])}.",
        ],
    )


def disguised(case: Case) -> Decision | None:
    """Too much lies nowhere in the parents for an acquittal, or a disguise is seen on
    what does.
    """
    layout = case.layout
    if layout is None or (
        layout["kin"] >= case.thresholds["min_in_place"] and not layout.get("visible")
    ):
        return None
    if layout["kin"] >= case.thresholds["min_in_place"]:
        return Decision(
            "inconclusive",
            ["A disguise is visible and not undone; what it hides is open."],
        )
    return Decision(
        "inconclusive",
        [
            f"Only {layout['kin']:.0%} of the matrices lie where {layout['reference']}"
            " has its own; the others may be disguised."
        ],
    )


def finetune_of_base(case: Case) -> Decision | None:
    """Close to the base, and nothing in the donors' direction."""
    summary = case.summary
    limits = case.thresholds
    cos_fit = summary["cos_fit"]
    signs = [donor["same_sign"] for donor in summary["donors"].values()]
    if (
        any(donor["is_base"] for donor in summary["donors"].values())
        or summary["base_cos"] is None
        or cos_fit is None
        or None in signs
    ):
        return None
    if (
        abs(cos_fit) >= limits["max_innocent_cos"]
        or max(signs) >= limits["max_innocent_same_sign"]
    ):
        return None
    if (exact := rate_of(summary)) is not None and exact > limits[
        "max_control_bit_exact"
    ]:
        return None
    return Decision(
        "finetune_of_base",
        [
            (
                f"{case.model} starts at {case.base} (cosine of the raw weights"
                f" {summary['base_cos']:.4f})."
            ),
            (
                f"Its changes do not follow any donor's: cos_fit {cos_fit:.3f} (limit"
                f" {limits['max_innocent_cos']}), equal signs {rate(max(signs))} (limit"
                f" {rate(limits['max_innocent_same_sign'])}; chance is 50 %)."
            ),
            "No recipe over the offered models gives it back"
            + (
                f" (best {rate(exact)} of informative elements)."
                if exact is not None
                else "."
            ),
        ],
        {},
        1.0,
    )


RULES: tuple[Callable[[Case], Decision | None], ...] = (
    copy,
    too_little,
    no_common_origin,
    merge,
    other_merge,
    chosen_elements,
    finetune_of_donor,
    merge_then_trained,
    merge_of_several_then_trained,
    disguised,
    finetune_of_base,
)


def _beside_lookalikes(case: Case, named: Collection[str]) -> tuple[bool, list[str]]:
    """Whether every named donor is told apart from the donors that are like it, and
    what is to be said of them.
    """
    told = True
    notes = []
    cosines = (case.summary.get("mixture") or {}).get("cosines", {})
    for (own, other), (ours, theirs) in lookalikes(case, named).items():
        counted = (
            f"their changes have a cosine of {decimal(cosines[own][other])}, {ours:,}"
            f" elements speak for {own} alone and {theirs:,} for {other} alone"
        )
        if told_apart(case, own, other, (ours, theirs)):
            notes.append(f"{own} and {other} are alike but told apart: {counted}.")
            continue
        told = False
        notes.append(
            f"{own} and {other} cannot be told apart: {counted}. These are the traces"
            " of one of them, or of a relative of both, so neither is named. Offering"
            " only one of them would settle the rest; which of the two it was is not"
            " in the weights."
        )
    return told, notes


def _inconclusive(case: Case) -> Decision:
    summary = case.summary
    limits = case.thresholds
    reasons = []
    for donor, numbers in summary["donors"].items():
        if numbers["is_base"]:
            reasons.append(
                f"{donor} equals {case.base} in every compared element: the two cannot"
                " be told apart. Offer another donor or base."
            )
    cos_fit = summary["cos_fit"]
    exact = rate_of(summary)
    informative = summary["recipe"]["informative_elements"]
    if cos_fit is not None and abs(cos_fit) >= limits["max_innocent_cos"]:
        reasons.append(
            f"{case.model} moves in the donors' direction (cos_fit {cos_fit:.3f}),"
            " which independent finetunes on the same task do too."
        )
        if step := shared_step(case):
            reasons.append(step)
    if informative < limits["min_informative"]:
        reasons.append(
            f"Only {informative:,} elements are informative (at least"
            f" {limits['min_informative']:,} are needed): the differences are too few"
            " or too fine."
        )
    elif exact is not None and exact >= limits["min_bit_exact"]:
        reasons.append(
            f"A recipe gives back {rate(exact)} of {informative:,} informative"
            f" elements, but no merge is called: {why_no_merge(case)}."
        )
    elif exact is not None:
        reasons.append(
            f"No exact trace: the best recipe gives back {rate(exact)} of"
            f" {informative:,} informative elements,"
            f" {rate(summary['exact_share'] or 0.0)} of the tensors reach"
            f" {rate(limits['min_bit_exact'])}. Another base, a parent that was not"
            " offered or another merge method may explain it."
        )
    return Decision("inconclusive", reasons or ["No rule applies to these numbers."])
