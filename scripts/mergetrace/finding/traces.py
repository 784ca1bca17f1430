"""What the rules look at: one audited model's share of exact elements, and what chance
and the controls reach beside it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

ACCUSING = ("copy", "merge", "other_merge", "merge_then_trained", "finetune_of_donor")
Summary = Mapping[str, Any]
"""One audited model of summary.json: the pooled numbers (summaries.pool) and `recipe`
(recipe_search.Search.result).
"""


@dataclass(frozen=True)
class Case:
    """What a rule may look at: the audited model, its base and donors, the other models judged beside it, the thresholds, and how its tensors
    lie (layout.facts; None where nobody looked).

    dates: by parent, whether its date is before the audited model's, and whose dates these are (see dates.earlier); said_of_dates: the same in words.
    compared: how much of every model was compared (see models.coverage; None where it is not known).
    """

    model: str
    base: str
    summary: Summary
    controls: Mapping[str, Summary]
    thresholds: Mapping[str, float]
    layout: Mapping[str, Any] | None = None
    dates: Mapping[str, tuple[bool | None, str | None]] = field(default_factory=dict)
    said_of_dates: Mapping[str, str] = field(default_factory=dict)
    compared: Mapping[str, Mapping[str, Any]] | None = None

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The result of the recipe search."""
        return self.summary["recipe"]


@dataclass(frozen=True)
class Decision:
    """A verdict, why, the parents it names with their shares, the base's share (None
    where no one number exists), the method's family.

    rests_on: what an accusation rests on: `recipe`, a `blend` of one donor, a `drop` of some of its change, elements taken `whole`, equal `values`.
    order: by parent, which of it and the audited model came first (see order.Order.as_json).
    """

    verdict: str
    reasons: list[str]
    named: Mapping[str, float | None] = field(default_factory=dict)
    base_share: float | None = None
    family: str | None = None
    rests_on: str | None = None
    order: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def rate_of(summary: Summary) -> float | None:
    """The share of informative elements that the best recipe gives back, None where
    there is none.
    """
    best = summary["recipe"]["best"]
    return best["bit_exact_rate"] if best else None


def signatures(summary: Summary) -> list[Summary]:
    """What a dropping merge of the strongest donor would have left, and of the two
    strongest, as far as it was measured.
    """
    marks = (summary["recipe"].get(key) for key in ("signature", "signature_of_two"))
    return [mark for mark in marks if mark is not None]


def rates_beside(case: Case) -> dict[str, float]:
    """What the recipe search reaches for the controls."""
    return {
        f"control {name}": rate
        for name, summary in case.controls.items()
        if (rate := rate_of(summary)) is not None
    }


def blended(case: Case) -> dict[str, float | None] | None:
    """The donors of the best recipe with their shares (None where no one number
    exists); None unless at least two offered models matter to it.
    """
    best = case.recipe["best"]
    smallest = case.thresholds["min_share"]
    if best is None:
        return None
    shares = best["parameters"]["shares"] or dict.fromkeys(case.recipe["donors"])
    named = {
        donor: share
        for donor, share in shares.items()
        if share is None or abs(share) >= smallest
    }
    alone = [
        case.summary["donors"][donor][key] or 0.0
        for donor in named
        for key in ("coverage_base", "coverage_donor")
    ]
    beyond = any(
        share > 1 - smallest or share < 0
        for share in named.values()
        if share is not None
    )
    return (
        None
        if not named or beyond or max(alone) > case.thresholds["max_single_parent"]
        else named
    )


def why_no_merge(case: Case) -> str:
    """What stands against a merge although a recipe gives the audited model back, as
    the end of a sentence.
    """
    best = case.recipe["best"]
    limits = case.thresholds
    shares = best["parameters"]["shares"] or {}
    outside = {
        donor: share
        for donor, share in shares.items()
        if share is not None and (share < 0 or share > 1 - limits["min_share"])
    }
    if outside:
        amounts = ", ".join(
            f"{share:.6g} x {donor}" for donor, share in outside.items()
        )
        return (
            f"it takes {amounts}, and a share that is not between 0 and"
            f" {1 - limits['min_share']:g} is not judged yet"
        )
    if shares and all(
        share is None or abs(share) < limits["min_share"] for share in shares.values()
    ):
        return "the share of every donor is next to nothing"
    alone = [
        case.summary["donors"][donor][key] or 0.0
        for donor in case.summary["donors"]
        for key in ("coverage_base", "coverage_donor")
    ]
    if max(alone, default=0.0) > limits["max_single_parent"]:
        return "one parent alone gives almost all of them"
    if (case.summary["exact_share"] or 0.0) < limits["min_exact_slices"]:
        return "some tensors are not given back"
    return "shuffled elements or a control come too close"


def stands_out(case: Case, donor: str, share: float | None) -> bool:
    """Whether a share of exact elements is far beyond the shuffled donor and every
    control, and the elements that should have stayed mostly did.
    """
    limits = case.thresholds
    numbers = case.summary["donors"][donor]
    if (
        share is None
        or numbers["informative"] < limits["min_informative"]
        or (moved_alone(case, donor) or 0.0) > limits["max_moved_trained"]
    ):
        return False
    return share >= max(
        limits["min_trace"],
        limits["min_trace_over_null"]
        * max(traces_beside(case, donor).values(), default=1.0),
    )


def traces_beside(case: Case, donor: str) -> dict[str, float]:
    """What chance and the controls reach at their best weight: the null of a donor's
    traces.
    """
    own = {"its elements shuffled": case.summary["donors"][donor]["coverage_shuffled"]}
    found = own | {
        f"control {name}": summary["donors"][donor]["coverage"]
        for name, summary in case.controls.items()
    }
    return {name: share for name, share in found.items() if share is not None}


def shuffled_chance(case: Case, donor: str) -> float | None:
    """The shuffled donor's coverage beyond the elements at the base, which any donor
    covers.
    """
    numbers = case.summary["donors"][donor]
    return (
        None
        if numbers["coverage_shuffled"] is None
        else max(numbers["coverage_shuffled"] - numbers["coverage_base"], 0.0)
    )


def moved_alone(case: Case, donor: str) -> float | None:
    """The share moved of the elements on which donor and base agree: none in a merge of
    the two, some after training; None where too few agree.
    """
    numbers = case.summary["donors"][donor]
    return (
        numbers["moved_alone"]
        if numbers["parents_agree"] >= case.thresholds["min_counted"]
        else None
    )


def lookalikes(
    case: Case, named: Collection[str]
) -> dict[tuple[str, str], tuple[int, int]]:
    """(named donor, unnamed donor alike): elements that only the one explains, and only
    the other.

    Under the best recipe with one in the other's place, and where one donor is named each on its own at its own weight too: of the two counts
    the one that speaks less for the named donor.
    """
    summary, cosines = (
        case.summary,
        (case.summary.get("mixture") or {}).get("cosines", {}),
    )
    swaps = {
        (swap["donor"], swap["other"]): (swap["only_donor"], swap["only_other"])
        for swap in (summary.get("remainder") or {}).get("swaps", ())
    }
    least = 1 - 1 / case.thresholds["max_inflation"]
    times = case.thresholds["min_told_apart"]
    found = {}
    for own in named:
        for other, cosine in cosines.get(own, {}).items():
            if other in named or cosine is None or cosine**2 < least:
                continue
            counts = [swaps[own, other]] if (own, other) in swaps else []
            if len(named) == 1 or not counts:
                counts.append(
                    (
                        summary["donors"][own]["only"][other],
                        summary["donors"][other]["only"][own],
                    )
                )
            found[own, other] = min(
                counts, key=lambda count: count[0] - times * count[1]
            )
    return found


def shared_step(case: Case) -> str | None:
    """What points to a wrong base where no other was offered: the controls, or else all
    donors, move alike from it. None where nothing does.
    """
    pairs = (case.summary.get("mixture") or {}).get("cosines", {})
    donors = [
        cosine
        for row in pairs.values()
        for cosine in row.values()
        if cosine is not None
    ]
    controls = {
        name: summary["cos_fit"]
        for name, summary in case.controls.items()
        if summary["cos_fit"] is not None
    }
    shared = case.thresholds["min_shared_step"]
    if controls and min(controls.values()) >= shared:
        who = (
            "The controls move in the donors' direction too (cos_fit"
            f" {', '.join(f'{cosine:.2f} for {name}' for name, cosine in controls.items())})"
        )
    elif not controls and donors and min(donors) >= shared:
        who = (
            f"All donors move alike from {case.base} (cosine {min(donors):.2f} and"
            " more)"
        )
    else:
        return None
    return (
        f"{who}, as all that descends from another model than {case.base} would:"
        f" {case.base} may be the wrong base. Offer other candidates."
    )


def equals(numbers: Mapping[str, Any]) -> bool:
    """Whether every element equals this donor's, be it once that is rounded to the
    audited model's format.
    """
    return numbers["all_equal"] or numbers.get("all_rounded", False)


def told_apart(case: Case, own: str, other: str, counts: tuple[int, int]) -> bool:
    """Whether the elements say which of two donors that are alike it was. A copy of the
    one alone needs no further count.
    """
    (ours, theirs), ones, others = (
        counts,
        *(equals(case.summary["donors"][donor]) for donor in (own, other)),
    )
    if ones or others:
        return ones and not others
    return ours >= max(
        case.thresholds["min_counted"], case.thresholds["min_told_apart"] * theirs
    )
