"""The rules that accuse. Each needs exact elements, far beyond what chance and every
control reach; a cosine alone is never enough.
"""

from mergetrace.finding.case import Case, Decision, Reason
from mergetrace.finding.reasons_merge import (
    Agreement,
    AgreementStayed,
    Blend,
    BlendExplains,
    Chance,
    ChangedSlightly,
    ChangesKept,
    DonorPersists,
    DropPattern,
    ElementsOfEach,
    ElementsStayed,
    LeftOver,
    MethodsAlike,
    MixedTensors,
    NoBlendExplainsMore,
    NoControl,
    OneWeight,
    PureByOtherMethod,
    PureInOtherOrder,
    RecipeGivesBack,
    SearchBeside,
    TensorsGivenBack,
    TrainedFromOther,
    WholeTensors,
)
from mergetrace.finding.traces import (
    best_recipe,
    blended,
    exact_rates_of_controls,
    moved_alone,
    shuffled_chance,
    stands_out,
    traces_beside,
    untouched,
)
from mergetrace.merging.owners import owners_of
from mergetrace.merging.recipes import recipe_from_json
from mergetrace.records.json_records import as_json
from mergetrace.records.recipe_search import RecipeNumbers, Signature
from mergetrace.records.summary import DonorSummary


def merge(case: Case) -> Decision | None:
    """One stated recipe over at least two offered models gives the audited model back,
    bit for bit, where chance and the controls do not.
    """
    limits = case.thresholds
    informative = case.recipe.informative_elements
    exact = case.exact_rate
    exact_share = case.summary.exact_share or 0.0
    if exact is None or informative < limits.min_informative:
        return None
    if exact < limits.min_bit_exact or exact_share < limits.min_exact_slices:
        return None
    shares = blended(case)
    if shares is None:
        return None
    beside = _search_beside(case, shares)
    if not beside or max(beside.values()) > limits.max_control_bit_exact:
        return None
    best = best_recipe(case)
    blend = _blend(case, best, shares)
    reasons: list[Reason] = [
        RecipeGivesBack(blend, exact, informative),
        TensorsGivenBack(exact_share, limits.min_bit_exact),
        SearchBeside(beside, limits.max_control_bit_exact),
    ]
    whole = best.method == "passthrough"
    if whole:
        reasons.append(_whole_tensors(case))
    alike = [name for name in case.recipe.indistinguishable if name != best.method]
    if alike:
        reasons.append(MethodsAlike(best.method, tuple(alike)))
    return Decision(
        "merge",
        (*reasons, *_without_controls(case)),
        named=shares,
        base_share=blend.base_share,
        family=best.method,
        rests_on="whole" if whole else "recipe",
    )


def other_merge(case: Case) -> Decision | None:
    """Elements are exactly the base's, or the base plus a donor's change times one
    number, in the pattern of a method that chooses or drops.
    """
    for mark in case.recipe.signatures:
        decision = _dropped(case, mark)
        if decision is not None:
            return decision
    return None


def chosen_elements(case: Case) -> Decision | None:
    """Every element is exactly the base's or the donor's, both are there beyond chance,
    and nothing moved on which the two agree.
    """
    for donor in case.summary.donors:
        decision = _chosen(case, donor)
        if decision is not None:
            return decision
    return None


def finetune_of_donor(case: Case) -> Decision | None:
    """A donor's exact values persist far beyond chance, and no blend with the base
    explains more.
    """
    for donor, numbers in case.summary.donors.items():
        decision = _trained_from(case, donor, numbers)
        if decision is not None:
            return decision
    return None


def merge_then_trained(case: Case) -> Decision | None:
    """The traces of one blend of base and donor on the number lattice, far beyond
    chance and controls, but too few for a reproduction.

    Where nothing moved that training would have moved, the blend is pure and its
    arithmetic unknown: `other_merge`. But where all but a few elements are the blend's,
    a change too slight to move any of those is the simpler account.
    """
    for donor, numbers in case.summary.donors.items():
        decision = _blend_then_trained(case, donor, numbers)
        if decision is not None:
            return decision
    return None


def merge_of_several_then_trained(case: Case) -> Decision | None:
    """The traces of one blend of several donors, which only a recipe sees together: it
    gives back far more than any of them alone.
    """
    limits = case.thresholds
    exact = case.exact_rate
    shares = blended(case)
    if exact is None or shares is None or len(shares) < 2 or None in shares.values():
        return None
    if case.recipe.informative_elements < limits.min_informative:
        return None
    beside = exact_rates_of_controls(case)
    for donor in shares:
        beside[f"{donor} alone"] = case.summary.donors[donor].coverage or 0.0
    chance = limits.min_trace_over_null * max(beside.values())
    if exact < max(limits.min_trace, chance):
        return None
    blend = _blend(case, best_recipe(case), shares)
    given_back = RecipeGivesBack(blend, exact, case.recipe.informative_elements, beside)
    left = case.summary.remainder
    pure = left is not None and left.changed <= limits.max_unexplained * left.elements
    rest = PureInOtherOrder() if pure else _left_over(case)
    return Decision(
        "other_merge" if pure else "merge_then_trained",
        (given_back, rest, *_without_controls(case)),
        named=shares,
        base_share=blend.base_share,
        family="blend" if pure else blend.method,
        rests_on="recipe",
    )


def _search_beside(case: Case, shares: dict[str, float | None]) -> dict[str, float]:
    """What the recipe search reaches for the controls and for shuffled donors."""
    beside = exact_rates_of_controls(case)
    for donor in shares:
        chance = shuffled_chance(case, donor)
        if chance is not None:
            beside[f"{donor} with its elements shuffled"] = chance
    return beside


def _blend(case: Case, best: RecipeNumbers, shares: dict[str, float | None]) -> Blend:
    """A recipe over donors with these shares, of which the base has the rest."""
    known = [share for share in shares.values() if share is not None]
    if len(known) == len(shares):
        return Blend(best.method, shares, case.base, round(1 - sum(known), 12))
    parameters = best.common
    uses_base = case.base in (*parameters.weights, parameters.base_model)
    return Blend(best.method, shares, case.base if uses_base else None, None)


def _dropped(case: Case, mark: Signature) -> Decision | None:
    """A merge that dropped changes of the donors of one signature."""
    limits = case.thresholds
    if mark.informative < limits.min_informative or mark.stayed < limits.min_stayed:
        return None
    beside = {"shuffled elements": mark.survivors_shuffled}
    for name, summary in case.controls.items():
        survivors = [other.survivors for other in summary.recipe.signatures]
        if survivors:
            beside[f"control {name}"] = max(survivors)
    highest = mark.survivors - limits.min_survivors_over_null
    if mark.survivors < limits.min_survivors or max(beside.values()) > highest:
        return None
    if len(mark.donors) == 1:
        moved = moved_alone(case, mark.donors[0]) or 0.0
        if moved > limits.max_moved_alone:
            return None
    return Decision(
        "other_merge",
        (
            ElementsStayed(mark.stayed, mark.informative, case.base, mark.donors),
            ChangesKept(mark.survivors, case.base, mark.donors, beside),
            DropPattern(mark.family),
            *_without_controls(case),
        ),
        named=dict.fromkeys(mark.donors),
        family=mark.family,
        rests_on="drop",
    )


def _chosen(case: Case, donor: str) -> Decision | None:
    """A merge that took each element from the base or from this donor."""
    limits = case.thresholds
    numbers = case.summary.donors[donor]
    of_base = numbers.coverage_base
    of_donor = numbers.coverage_donor
    if of_base is None or of_donor is None or not untouched(case, donor):
        return None
    if numbers.informative < limits.min_informative:
        return None
    shuffled = shuffled_chance(case, donor) or 0.0
    least = max(limits.min_stayed, limits.min_trace_over_null * shuffled)
    if of_base < limits.min_stayed or of_donor < least:
        return None
    if of_base + of_donor < limits.min_chosen:
        return None
    whole = (numbers.coverage or 0.0) >= limits.min_bit_exact
    within = _whole_tensors(case) if whole else MixedTensors(case.base, donor)
    return Decision(
        "other_merge",
        (
            ElementsOfEach(
                case.base, of_base, donor, of_donor, numbers.informative, shuffled
            ),
            AgreementStayed(_agreement(case, donor)),
            within,
            *_without_controls(case),
        ),
        named={donor: None},
        family="passthrough" if whole else "selection",
        rests_on="whole",
    )


def _whole_tensors(case: Case) -> WholeTensors:
    """That tensors are wholly one parent's, and whose where the best recipe says so."""
    best = case.recipe.best
    if best is None or best.method != "passthrough":
        return WholeTensors()
    return WholeTensors(owners_of(recipe_from_json(as_json(best))))


def _trained_from(case: Case, donor: str, numbers: DonorSummary) -> Decision | None:
    """Training that started from this donor."""
    limits = case.thresholds
    of_base = numbers.coverage_base or 0.0
    of_donor = numbers.coverage_donor
    coverage = numbers.coverage or 0.0
    if of_donor is None or not stands_out(case, donor, of_donor):
        return None
    if of_donor < limits.min_peak_share * coverage or of_base > limits.max_base_trace:
        return None
    if untouched(case, donor):
        return None
    return Decision(
        "finetune_of_donor",
        (
            DonorPersists(donor, of_donor, numbers.informative, _chance(case, donor)),
            NoBlendExplainsMore(donor, case.base, coverage, of_base),
            TrainedFromOther(case.model, donor),
            *_without_controls(case),
        ),
        named={donor: numbers.alpha_ols},
        base_share=0.0,
        rests_on="values",
    )


def _blend_then_trained(
    case: Case, donor: str, numbers: DonorSummary
) -> Decision | None:
    """A blend of the base and this donor that does not give everything back."""
    limits = case.thresholds
    coverage = numbers.coverage
    alpha = numbers.alpha_replay
    spread = numbers.alpha_spread
    if coverage is None or not stands_out(case, donor, coverage):
        return None
    if alpha is None or spread is None or spread > limits.max_alpha_spread:
        return None
    if not limits.min_share <= alpha <= 1 - limits.min_share:
        return None
    single = max(numbers.coverage_base or 0.0, numbers.coverage_donor or 0.0)
    if single > limits.max_single_of_blend * coverage:
        return None
    slight = coverage >= limits.min_slightly_changed
    stayed = untouched(case, donor)
    pure = stayed and not slight
    reasons: list[Reason] = [
        BlendExplains(
            donor,
            alpha,
            case.base,
            coverage,
            numbers.informative,
            _chance(case, donor),
        ),
        OneWeight(spread, single),
        PureByOtherMethod(_agreement(case, donor)) if pure else _left_over(case),
    ]
    if stayed and slight:
        reasons.append(ChangedSlightly(_agreement(case, donor)))
    return Decision(
        "other_merge" if pure else "merge_then_trained",
        (*reasons, *_without_controls(case)),
        named={donor: alpha},
        base_share=round(1 - alpha, 12),
        family="blend",
        rests_on="blend",
    )


def _agreement(case: Case, donor: str) -> Agreement:
    """How many of the elements moved that a merge leaves and training moves."""
    return Agreement(
        donor,
        case.base,
        case.summary.donors[donor].parents_agree,
        moved_alone(case, donor) or 0.0,
    )


def _chance(case: Case, donor: str) -> Chance:
    """What a donor's traces are compared with, and by how much they have to exceed it."""
    return Chance(traces_beside(case, donor), case.thresholds.min_trace_over_null)


def _left_over(case: Case) -> LeftOver:
    """What the best recipe leaves."""
    best = case.recipe.best
    return LeftOver(best.residual_share if best else None, case.summary.remainder)


def _without_controls(case: Case) -> tuple[Reason, ...]:
    return () if case.controls else (NoControl(),)
