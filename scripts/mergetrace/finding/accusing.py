"""The rules that accuse. Each needs exact elements, far beyond what chance and every
control reach; a cosine alone is never enough.
"""

from collections.abc import Mapping

from mergetrace.finding.traces import (
    Case,
    Decision,
    Summary,
    blended,
    moved_alone,
    rate_of,
    rates_beside,
    shuffled_chance,
    signatures,
    stands_out,
    traces_beside,
)
from mergetrace.finding.wording import left_over
from mergetrace.readable import percent, rate

FROZEN = "Each tensor is wholly one parent's."
UNKNOWN = "{stayed}: a pure blend, by a method not among the recipes."
SLIGHT = (
    "{stayed}: what came after the merge was too slight for that, or the blend's"
    " arithmetic is another one."
)


def merge(case: Case) -> Decision | None:
    """One stated recipe over at least two offered models gives the audited model back,
    bit for bit, where chance and the controls do not.
    """
    best = case.recipe["best"]
    limits = case.thresholds
    informative = case.recipe["informative_elements"]
    exact = rate_of(case.summary)
    exact_share = case.summary["exact_share"] or 0.0
    if (
        exact is None
        or informative < limits["min_informative"]
        or exact < limits["min_bit_exact"]
        or exact_share < limits["min_exact_slices"]
    ):
        return None
    blend = blended(case)
    shuffled = {
        f"{donor} with its elements shuffled": share
        for donor in blend or ()
        if (share := shuffled_chance(case, donor)) is not None
    }
    beside = rates_beside(case) | shuffled
    if (
        blend is None
        or not beside
        or max(beside.values()) > limits["max_control_bit_exact"]
    ):
        return None
    base_share = None if None in blend.values() else round(1 - sum(blend.values()), 12)
    base = (
        case.base
        if base_share is not None
        or case.base
        in (
            *best["parameters"]["weights"],
            best["parameters"]["base_model"],
        )
        else None
    )
    reasons = [
        (
            f"A {best['method']} merge of {_amounts(blend, base, base_share)} gives"
            f" back {rate(exact)} of {informative:,} informative elements bit for bit."
        ),
        (
            f"{rate(exact_share)} of the tensors that count each reach"
            f" {rate(limits['min_bit_exact'])}."
        ),
        (
            f"The same search reaches {_listed(beside)} (limit"
            f" {rate(limits['max_control_bit_exact'])})."
        ),
    ]
    if best["method"] == "passthrough":
        reasons.append(FROZEN)
    if alike := [
        method
        for method in case.recipe["indistinguishable"]
        if method != best["method"]
    ]:
        reasons.append(
            f"On these models {best['method']} and {' and '.join(alike)} give the same"
            " elements: which of them was used cannot be told."
        )
    rests_on = "whole" if best["method"] == "passthrough" else "recipe"
    return Decision(
        "merge",
        [*reasons, *_without_controls(case)],
        blend,
        base_share,
        best["method"],
        rests_on,
    )


def other_merge(case: Case) -> Decision | None:
    """Elements are exactly the base's, or the base plus a donor's change times one
    number, in the pattern of a method that chooses or drops.
    """
    return next(
        (
            decision
            for mark in signatures(case.summary)
            if (decision := _dropped(case, mark)) is not None
        ),
        None,
    )


def _dropped(case: Case, mark: Summary) -> Decision | None:
    """The same for the signature of one donor, or of two."""
    limits = case.thresholds
    donors = mark["donors"]
    survivors = mark["survivors"]
    if (
        mark["informative"] < limits["min_informative"]
        or mark["stayed"] < limits["min_stayed"]
    ):
        return None
    others = {
        name: max(other["survivors"] for other in found)
        for name, summary in case.controls.items()
        if (found := signatures(summary))
    }
    beside = {
        "shuffled elements": mark["survivors_shuffled"],
        **{f"control {name}": share for name, share in others.items()},
    }
    if (
        survivors < limits["min_survivors"]
        or max(beside.values()) > survivors - limits["min_survivors_over_null"]
    ):
        return None
    if (
        len(donors) == 1
        and (moved_alone(case, donors[0]) or 0.0) > limits["max_moved_alone"]
    ):
        return None
    reasons = [
        (
            f"{rate(mark['stayed'])} of {mark['informative']:,} informative elements"
            f" are exactly {case.base}'s although {' and '.join(donors)} moved them."
        ),
        (
            f"Of the others {rate(survivors)} are {case.base} plus the change of"
            f" {' or '.join(donors)} times one number; by comparison {_listed(beside)}."
        ),
        (
            f"Which elements stayed is the pattern of: {mark['family']}. A random"
            " choice cannot be replayed bit for bit."
        ),
    ]
    return Decision(
        "other_merge",
        [*reasons, *_without_controls(case)],
        dict.fromkeys(donors),
        family=mark["family"],
        rests_on="drop",
    )


def chosen_elements(case: Case) -> Decision | None:
    """Every element is exactly the base's or the donor's, both are there beyond chance,
    and nothing moved on which the two agree.
    """
    limits = case.thresholds
    for donor, numbers in case.summary["donors"].items():
        base_share = numbers["coverage_base"]
        donor_share = numbers["coverage_donor"]
        if (
            donor_share is None
            or numbers["informative"] < limits["min_informative"]
            or not _untouched(case, donor)
        ):
            continue
        least = max(
            limits["min_stayed"],
            limits["min_trace_over_null"] * (shuffled_chance(case, donor) or 0.0),
        )
        if (
            base_share + donor_share < limits["min_chosen"]
            or base_share < limits["min_stayed"]
            or donor_share < least
        ):
            continue
        whole = numbers["coverage"] >= limits["min_bit_exact"]
        reasons = [
            (
                f"{rate(base_share)} of {numbers['informative']:,} informative elements"
                f" are exactly {case.base}'s, {rate(donor_share)} exactly {donor}'s;"
                f" with {donor}'s elements shuffled"
                f" {rate(shuffled_chance(case, donor) or 0.0)} would be."
            ),
            f"{_stayed(case, donor)}.",
            (
                FROZEN
                if whole
                else (
                    f"Within tensors some elements are {case.base}'s and some"
                    f" {donor}'s."
                )
            ),
        ]
        family = "passthrough" if whole else "selection"
        return Decision(
            "other_merge",
            [*reasons, *_without_controls(case)],
            {donor: None},
            family=family,
            rests_on="whole",
        )
    return None


def finetune_of_donor(case: Case) -> Decision | None:
    """A donor's exact values persist far beyond chance, and no blend with the base
    explains more.
    """
    limits = case.thresholds
    for donor, numbers in case.summary["donors"].items():
        kept = numbers["coverage_donor"]
        if (
            not stands_out(case, donor, kept)
            or kept < limits["min_peak_share"] * numbers["coverage"]
        ):
            continue
        if numbers["coverage_base"] > limits["max_base_trace"] or _untouched(
            case, donor
        ):
            continue
        reasons = [
            (
                f"{rate(kept)} of {numbers['informative']:,} informative elements are"
                f" exactly {donor}'s; {_needed(case, donor)}"
            ),
            (
                f"No blend of {donor} and {case.base} explains noticeably more"
                f" ({rate(numbers['coverage'])}); {rate(numbers['coverage_base'])} are"
                f" {case.base}'s."
            ),
            (
                f"One of {case.model} and {donor} was trained from the other. Weights"
                " do not say which came first."
            ),
        ]
        return Decision(
            "finetune_of_donor",
            [*reasons, *_without_controls(case)],
            {donor: numbers["alpha_ols"]},
            0.0,
            rests_on="values",
        )
    return None


def merge_then_trained(case: Case) -> Decision | None:
    """The traces of one blend of base and donor on the number lattice, far beyond
    chance and controls, but too few for a reproduction.

    Where nothing moved that training would have moved, the blend is pure and its arithmetic unknown: `other_merge`. But where all but a few
    elements are the blend's, a change too slight to move any of those is the simpler account.
    """
    limits = case.thresholds
    smallest = case.thresholds["min_share"]
    for donor, numbers in case.summary["donors"].items():
        if not stands_out(case, donor, numbers["coverage"]):
            continue
        single = max(numbers["coverage_base"], numbers["coverage_donor"])
        alpha = numbers["alpha_replay"]
        spread = numbers["alpha_spread"]
        if single > limits["max_single_of_blend"] * numbers["coverage"]:
            continue
        if not smallest <= alpha <= 1 - smallest or spread > limits["max_alpha_spread"]:
            continue
        reasons = [
            (
                f"At {alpha:.3f} x {donor} and {1 - alpha:.3f} x {case.base},"
                f" {rate(numbers['coverage'])} of {numbers['informative']:,}"
                " informative elements are those of a rounded blend;"
                f" {_needed(case, donor)}"
            ),
            (
                "The weight is the same in the large tensors (median distance"
                f" {spread:.4f}); neither parent alone explains more than"
                f" {rate(single)}."
            ),
        ]
        untouched = _untouched(case, donor)
        slight = numbers["coverage"] >= limits["min_slightly_changed"]
        pure = untouched and not slight
        found = [
            *reasons,
            UNKNOWN.format(stayed=_stayed(case, donor)) if pure else _remainder(case),
        ]
        found += (
            [SLIGHT.format(stayed=_stayed(case, donor))] if untouched and slight else []
        )
        found += _without_controls(case)
        return Decision(
            "other_merge" if pure else "merge_then_trained",
            found,
            {donor: alpha},
            round(1 - alpha, 12),
            "blend",
            "blend",
        )
    return None


def merge_of_several_then_trained(case: Case) -> Decision | None:
    """The same for several donors, which only a recipe sees together: it gives back far
    more than any of them alone.
    """
    limits = case.thresholds
    exact = rate_of(case.summary)
    blend = blended(case)
    informative = case.recipe["informative_elements"]
    if (
        exact is None
        or blend is None
        or len(blend) < 2
        or None in blend.values()
        or informative < limits["min_informative"]
    ):
        return None
    beside = rates_beside(case) | {
        f"{donor} alone": case.summary["donors"][donor]["coverage"] for donor in blend
    }
    if exact < max(
        limits["min_trace"], limits["min_trace_over_null"] * max(beside.values())
    ):
        return None
    method = case.recipe["best"]["method"]
    base_share = round(1 - sum(blend.values()), 12)
    found = (
        f"A {method} merge of {_amounts(blend, case.base, base_share)} gives back"
        f" {rate(exact)} of {informative:,} informative elements bit for bit; by"
        f" comparison {_listed(beside)}."
    )
    left = case.summary.get("remainder")
    if left and left["changed"] <= limits["max_unexplained"] * left["elements"]:
        pure = (
            "The others lie within rounding of it, which leaves training nothing to"
            " explain: a pure blend whose sums were done in another order."
        )
        return Decision(
            "other_merge",
            [found, pure, *_without_controls(case)],
            blend,
            base_share,
            "blend",
            "recipe",
        )
    return Decision(
        "merge_then_trained",
        [found, _remainder(case), *_without_controls(case)],
        blend,
        base_share,
        method,
        "recipe",
    )


def _untouched(case: Case, donor: str) -> bool:
    """Whether the elements on which donor and base agree stayed, as after a merge and
    never after training.
    """
    moved = moved_alone(case, donor)
    return moved is not None and moved <= case.thresholds["max_moved_alone"]


def _stayed(case: Case, donor: str) -> str:
    """How many of the elements moved that a merge leaves and training moves."""
    moved = moved_alone(case, donor)
    part = f"only {percent(moved, digits=2)}" if moved else "none"
    agree = case.summary["donors"][donor]["parents_agree"]
    return (
        f"Of {agree:,} elements on which {donor} and {case.base} agree {part} moved,"
        " where training moves many"
    )


def _amounts(
    blend: Mapping[str, float | None], base: str | None, base_share: float | None
) -> str:
    """Who was merged, with shares where they are numbers. base: None where the recipe
    does without.
    """
    if base_share is None:
        return " and ".join([*blend, *([base] if base else [])])
    return " + ".join(
        f"{share:.6g} x {name}"
        for name, share in {**blend, base: base_share}.items()
        if share
    )


def _needed(case: Case, donor: str) -> str:
    """What the traces are compared with, and by how much they have to exceed it."""
    times = (
        f"at least {case.thresholds['min_trace_over_null']:g} times as many are needed"
    )
    return f"by comparison {_listed(traces_beside(case, donor))} ({times})."


def _listed(beside: Mapping[str, float]) -> str:
    return ", ".join(f"{rate(share)} for {name}" for name, share in beside.items())


def _remainder(case: Case) -> str:
    left = case.recipe["best"]["residual_share"] if case.recipe["best"] else None
    energy = (
        f": {percent(left, digits=2)} of the change's energy"
        if left is not None
        else ""
    )
    found = (
        " ".join(left_over(case.summary["remainder"]))
        if case.summary.get("remainder")
        else ""
    )
    return (
        f"What is left is more than rounding{energy}. Training after the merge explains"
        f" it. {found}".rstrip()
    )


def _without_controls(case: Case) -> list[str]:
    return (
        []
        if case.controls
        else [
            "No control was given: that an innocent sibling would fail is known from"
            " the shuffled donor only."
        ]
    )
