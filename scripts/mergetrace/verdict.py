"""The rules that turn numbers into one of a few words, with the reason for each.

A rule looks at one audited model and answers yes with reasons, or stays silent; the first yes is the verdict, and where every
rule is silent it is `inconclusive`. Accusing rules need exactness: a high cosine alone never convicts, because an independent
finetune on the donor's own task reaches one too. The same rules judge the controls.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from mergetrace.traces import Case, blended, moved_alone, rate_of, shuffled_chance, stands_out, traces_beside


@dataclass(frozen=True)
class Decision:
    """A verdict, why, the parents it names with their shares, the base's share (None where no one number exists), the method's family."""

    verdict: str
    reasons: list[str]
    named: Mapping[str, float | None] = field(default_factory=dict)
    base_share: float | None = None
    family: str | None = None


def decide(case: Case) -> Decision:
    """The first rule that answers, else `inconclusive` with what would settle it."""
    return next((decision for rule in RULES if (decision := rule(case)) is not None), _inconclusive(case))


def copy(case: Case) -> Decision | None:
    """Every element of every compared tensor equals one parent's."""
    if case.summary["all_equal_base"]:
        return Decision("copy", [f"Every compared element of {case.model} equals that of {case.base}."], {}, 1.0)
    for donor, numbers in case.summary["donors"].items():
        if numbers["all_equal"]:
            return Decision("copy", [f"Every compared element of {case.model} equals that of {donor}."], {donor: 1.0}, 0.0)
    return None


def too_little(case: Case) -> Decision | None:
    """Nothing large enough to vote was compared."""
    if case.summary["slices"]:
        return None
    return Decision("inconclusive", ["No tensor large enough to count was compared; offer parents that share the suspect's large matrices."])


def no_common_origin(case: Case) -> Decision | None:
    """The raw weights do not point the same way. Not yet a finding: a permuted or rescaled copy looks the same."""
    cosine = case.summary["base_cos"]
    if cosine is None or cosine >= case.thresholds["min_base_cos"]:
        return None
    return Decision(
        "inconclusive",
        [
            f"The weights of {case.model} and {case.base} show no common origin (cosine {cosine:.3f}, below {case.thresholds['min_base_cos']}).",
            "Disguises (permuted neurons, rescaled tensors) have not been ruled out; another base may settle it.",
        ],
    )


def merge(case: Case) -> Decision | None:
    """One stated recipe over at least two offered models gives the audited model back, bit for bit, where chance and the controls do not."""
    best, limits = case.recipe["best"], case.thresholds
    informative, rate = case.recipe["informative_elements"], rate_of(case.summary)
    if rate is None or informative < limits["min_informative"] or rate < limits["min_bit_exact"]:
        return None
    blend = blended(case)
    beside = {f"control {name}": other for name, summary in case.controls.items() if (other := rate_of(summary)) is not None}
    beside |= {f"{donor} with its elements shuffled": share for donor in (blend or ()) if (share := shuffled_chance(case, donor)) is not None}
    exact_share = case.summary["exact_share"] or 0.0
    if blend is None or exact_share < limits["min_exact_slices"] or not beside or max(beside.values()) > limits["max_control_bit_exact"]:
        return None
    base_share = None if None in blend.values() else round(1 - sum(blend.values()), 12)
    amounts = [f"{share:.6g} x {name}" for name, share in {**blend, case.base: base_share}.items() if share]
    of = " + ".join(amounts) if base_share is not None else " and ".join([*blend, case.base])
    reasons = [
        f"A {best['method']} merge of {of} gives back {rate:.4%} of {informative:,} informative elements bit for bit.",
        f"{exact_share:.1%} of the tensors that count each reach {limits['min_bit_exact']:.1%}.",
        "The same search reaches "
        + ", ".join(f"{other:.1%} for {name}" for name, other in beside.items())
        + f" (limit {limits['max_control_bit_exact']:.0%}).",
    ]
    alike = [method for method in case.recipe.get("indistinguishable", ()) if method != best["method"]]
    if alike:
        reasons.append(f"On these models {best['method']} and {' and '.join(alike)} give the same elements: which of them was used cannot be told.")
    return Decision("merge", [*reasons, *_without_controls(case)], blend, base_share, best["method"])


def other_merge(case: Case) -> Decision | None:
    """Elements are exactly the base's or the base plus a scaled delta of the donor, in the pattern of a method that chooses or drops."""
    mark, limits = case.recipe.get("signature"), case.thresholds
    if not mark or mark["family"] is None or mark["informative"] < limits["min_informative"]:
        return None
    others = {name: other["survivors"] for name, summary in case.controls.items() if (other := summary["recipe"].get("signature"))}
    beside = {"the donor's elements shuffled": mark["survivors_shuffled"], **{f"control {name}": share for name, share in others.items()}}
    if mark["survivors"] < limits["min_survivors"] or max(beside.values()) > mark["survivors"] - limits["min_survivors_over_null"]:
        return None
    if mark["stayed"] < limits["min_stayed"] or (
        len(mark["donors"]) == 1 and (moved_alone(case, mark["donors"][0]) or 0.0) > limits["max_moved_alone"]
    ):
        return None
    reasons = [
        f"{mark['stayed']:.1%} of {mark['informative']:,} informative elements are exactly {case.base}'s although {' and '.join(mark['donors'])} moved them; of the "
        f"others {mark['survivors']:.1%} are {case.base} plus the change of {' or '.join(mark['donors'])} times one number.",
        "By chance: " + ", ".join(f"{share:.1%} for {name}" for name, share in beside.items()) + ".",
        f"Which elements stayed is the pattern of: {mark['family']}. A random choice cannot be replayed bit for bit.",
    ]
    return Decision("other_merge", [*reasons, *_without_controls(case)], dict.fromkeys(mark["donors"]), family=mark["family"])


def finetune_of_donor(case: Case) -> Decision | None:
    """A donor's exact values persist far beyond chance, and no blend with the base explains more."""
    for donor, numbers in case.summary["donors"].items():
        kept, beside = numbers["coverage_donor"], traces_beside(case, donor)
        if not stands_out(case, donor, kept) or kept < case.thresholds["min_peak_share"] * numbers["coverage"]:
            continue
        if numbers["coverage_base"] > case.thresholds["max_base_trace"] or _untouched(case, donor):
            continue
        return Decision(
            "finetune_of_donor",
            [
                f"{kept:.1%} of {numbers['informative']:,} informative elements are exactly {donor}'s; {_listed(beside)} (at least "
                f"{case.thresholds['min_trace_over_null']:g} times as many are needed).",
                f"No blend of {donor} and {case.base} explains noticeably more ({numbers['coverage']:.1%}), and {numbers['coverage_base']:.1%} are {case.base}'s.",
                f"One of {case.model} and {donor} was trained from the other. The weights do not say which came first: this takes {donor} to be the "
                "older; check the dates.",
                *_without_controls(case),
            ],
            {donor: numbers["alpha_ols"]},
            0.0,
        )
    return None


def merge_then_trained(case: Case) -> Decision | None:
    """The lattice traces of one blend of at least two parents, far beyond chance and controls, but too few for a reproduction."""
    return _trained_blend_of_one(case) or _trained_blend_of_several(case)


def finetune_of_base(case: Case) -> Decision | None:
    """Close to the base, and nothing in the donors' direction."""
    summary, limits = case.summary, case.thresholds
    cos_fit, signs = summary["cos_fit"], [donor["same_sign"] for donor in summary["donors"].values()]
    if any(donor["is_base"] for donor in summary["donors"].values()) or cos_fit is None or None in signs:
        return None
    if abs(cos_fit) >= limits["max_innocent_cos"] or max(signs) >= limits["max_innocent_same_sign"]:
        return None
    if (rate := rate_of(summary)) is not None and rate > limits["max_control_bit_exact"]:
        return None
    return Decision(
        "finetune_of_base",
        [
            f"{case.model} starts at {case.base} (cosine of the raw weights {summary['base_cos']:.4f}).",
            f"Its changes do not follow any donor's: cos_fit {cos_fit:.3f} (limit {limits['max_innocent_cos']}), "
            f"equal signs {max(signs):.1%} (limit {limits['max_innocent_same_sign']:.0%}; chance is 50 %).",
            "No recipe over the offered models gives it back" + (f" (best {rate:.1%} of informative elements)." if rate is not None else "."),
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
    finetune_of_donor,
    merge_then_trained,
    finetune_of_base,
)


def _trained_blend_of_one(case: Case) -> Decision | None:
    limits = case.thresholds
    for donor, numbers in case.summary["donors"].items():
        if not stands_out(case, donor, numbers["coverage"]):
            continue
        single = max(numbers["coverage_base"], numbers["coverage_donor"])
        alpha, spread = numbers["alpha_replay"], numbers["alpha_spread"]
        if single > numbers["coverage"] / 2 or not limits["min_share"] <= alpha <= 1 - limits["min_share"] or spread > limits["max_alpha_spread"]:
            continue
        reasons = [
            f"At {alpha:.3f} x {donor} and {1 - alpha:.3f} x {case.base}, {numbers['coverage']:.1%} of {numbers['informative']:,} informative elements are "
            f"those of a rounded blend; {_listed(traces_beside(case, donor))} (at least {limits['min_trace_over_null']:g} times as many are needed).",
            f"The weight is the same in the large tensors (median distance {spread:.4f}); neither parent alone explains more than {single:.1%}.",
        ]
        if _untouched(case, donor):
            reasons.append(
                f"No element moved on which {donor} and {case.base} agree, as training would: a pure blend, by arithmetic that is not among the recipes."
            )
            return Decision("other_merge", [*reasons, *_without_controls(case)], {donor: alpha}, round(1 - alpha, 12), "blend")
        return Decision("merge_then_trained", [*reasons, _remainder(case), *_without_controls(case)], {donor: alpha}, round(1 - alpha, 12), "blend")
    return None


def _trained_blend_of_several(case: Case) -> Decision | None:
    """Only a recipe sees a blend of several donors; each of them must have a share of it."""
    limits, rate, blend = case.thresholds, rate_of(case.summary), blended(case)
    if rate is None or blend is None or len(blend) < 2 or None in blend.values() or case.recipe["informative_elements"] < limits["min_informative"]:
        return None
    beside = {f"control {name}": other for name, summary in case.controls.items() if (other := rate_of(summary)) is not None}
    beside |= {f"{donor} alone": case.summary["donors"][donor]["coverage"] for donor in blend}
    if rate < max(limits["min_trace"], limits["min_trace_over_null"] * max(beside.values())):
        return None
    base_share = round(1 - sum(blend.values()), 12)
    reasons = [
        f"A {case.recipe['best']['method']} merge of {' + '.join(f'{share:.3f} x {name}' for name, share in {**blend, case.base: base_share}.items())} gives back "
        f"{rate:.1%} of {case.recipe['informative_elements']:,} informative elements bit for bit; {_listed(beside)}.",
        _remainder(case),
    ]
    return Decision("merge_then_trained", [*reasons, *_without_controls(case)], blend, base_share, case.recipe["best"]["method"])


def _untouched(case: Case, donor: str) -> bool:
    """Whether every element on which donor and base agree stayed, as after a merge and never after training."""
    moved = moved_alone(case, donor)
    return moved is not None and moved <= case.thresholds["max_moved_alone"]


def _remainder(case: Case) -> str:
    left = case.recipe["best"]["residual_share"] if case.recipe["best"] else None
    return (
        "What is left is more than rounding"
        + (f": {left:.2%} of the change's energy. " if left is not None else ". ")
        + "Training after the merge explains it."
    )


def _without_controls(case: Case) -> list[str]:
    return [] if case.controls else ["No control was given: that an innocent sibling would fail is known from the shuffled donor only."]


def _listed(beside: Mapping[str, float]) -> str:
    return "by comparison " + ", ".join(f"{share:.1%} for {name}" for name, share in beside.items())


def _inconclusive(case: Case) -> Decision:
    summary, limits = case.summary, case.thresholds
    reasons = []
    for donor, numbers in summary["donors"].items():
        if numbers["is_base"]:
            reasons.append(f"{donor} equals {case.base} in every compared element: the two cannot be told apart. Offer another donor or base.")
    cos_fit, rate, informative = summary["cos_fit"], rate_of(summary), summary["recipe"]["informative_elements"]
    if cos_fit is not None and abs(cos_fit) >= limits["max_innocent_cos"]:
        reasons.append(f"{case.model} moves in the donors' direction (cos_fit {cos_fit:.3f}), which independent finetunes on the same task do too.")
    if informative < limits["min_informative"]:
        reasons.append(
            f"Only {informative:,} elements are informative (at least {limits['min_informative']:,} are needed): the differences are too few or too fine."
        )
    elif rate is not None:
        reasons.append(
            f"No exact trace: the best recipe gives back {rate:.1%} of {informative:,} informative elements, {summary['exact_share'] or 0:.1%} of "
            f"the tensors reach {limits['min_bit_exact']:.1%}. Another base, a parent that was not offered or another merge method may explain it."
        )
    return Decision("inconclusive", reasons or ["No rule applies to these numbers."])
