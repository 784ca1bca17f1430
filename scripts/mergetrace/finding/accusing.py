"""The rules that accuse. Each needs exact elements, far beyond what chance and every
control reach; a cosine alone is never enough.
"""

from mergetrace.finding.case import Case, Decision, Reason
from mergetrace.finding.following import is_finer, of_finer_numbers
from mergetrace.finding.leftover import left_over, pure_left
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
    MethodsAlike,
    MixedTensors,
    NoBlendExplainsMore,
    NoControl,
    OneWeight,
    PureByOtherMethod,
    RecipeGivesBack,
    SearchBeside,
    TensorsGivenBack,
    TrainedFromOther,
    WholeTensors,
)
from mergetrace.finding.stops import (
    against_blend,
    against_chosen,
    against_common_numbers,
    against_drop,
    against_finetune,
    against_leaning,
    against_merge,
    against_shares_of_traces,
    drops_beside,
    most_beside,
    named_donors,
    search_beside,
    shows_chosen,
    shows_drop,
)
from mergetrace.finding.traces import (
    all_shares,
    best_recipe,
    exact_rates_of_controls,
    moved_alone,
    own_values,
    shuffled_chance,
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
    if against_merge(case) is not None:
        return None
    limits = case.thresholds
    shares = named_donors(case)
    best = best_recipe(case)
    blend = _blend(case, best, shares)
    reasons: list[Reason] = [
        RecipeGivesBack(
            blend,
            best.bit_exact_rate,
            case.recipe.informative_elements,
            cells=bool(case.recipe.packed),
        ),
        TensorsGivenBack(case.summary.exact_share or 0.0, limits.min_bit_exact),
        SearchBeside(search_beside(case, shares), most_beside(case)),
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
    if exact is None or against_shares_of_traces(case) or against_leaning(case):
        return None
    shares = named_donors(case)
    if len(shares) < 2 or None in shares.values():
        return None
    if case.recipe.informative_elements < limits.min_informative:
        return None
    beside = exact_rates_of_controls(case)
    for donor in shares:
        beside[f"{donor} alone"] = case.summary.donors[donor].coverage or 0.0
    chance = limits.min_trace_over_null * max(beside.values())
    if exact < max(limits.min_trace, chance):
        return None
    if any(against_common_numbers(case, donor, exact) for donor in shares):
        return None
    blend = _blend(case, best_recipe(case), shares)
    given_back = RecipeGivesBack(blend, exact, case.recipe.informative_elements, beside)
    pure = pure_left(case)
    return Decision(
        "other_merge" if pure else "merge_then_trained",
        (given_back, *(pure or left_over(case)), *_without_controls(case)),
        named=shares,
        base_share=blend.base_share,
        family="blend" if pure else blend.method,
        rests_on="recipe",
    )


def _blend(case: Case, best: RecipeNumbers, shares: dict[str, float | None]) -> Blend:
    """A recipe over donors with these shares, and what it takes of the base."""
    every = all_shares(case)
    base = case.base if case.base in every else None
    return Blend(best.method, shares, base, every.get(case.base))


def _dropped(case: Case, mark: Signature) -> Decision | None:
    """A merge that dropped changes of the donors of one signature."""
    if not shows_drop(case, mark) or against_drop(case, mark) is not None:
        return None
    beside = drops_beside(case, mark)
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
    if not shows_chosen(case, donor) or against_chosen(case, donor) is not None:
        return None
    numbers = case.summary.donors[donor]
    of_base = numbers.coverage_base or 0.0
    of_donor = numbers.coverage_donor or 0.0
    shuffled = shuffled_chance(case, donor) or 0.0
    whole = (numbers.coverage or 0.0) >= case.thresholds.min_bit_exact
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
    if against_finetune(case, donor) is not None:
        return None
    of_base = numbers.coverage_base or 0.0
    of_donor = numbers.coverage_donor or 0.0
    coverage = numbers.coverage or 0.0
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
    if against_blend(case, donor) is not None:
        return None
    coverage = numbers.coverage or 0.0
    alpha = numbers.alpha_replay or 0.0
    spread = numbers.alpha_spread or 0.0
    single = max(own_values(case, [donor]).values())
    slight = coverage >= case.thresholds.min_slightly_changed
    stayed = untouched(case, donor)
    other = (PureByOtherMethod(_agreement(case, donor)),)
    pure = other if stayed and not slight else _pure_of_one(case, donor)
    if is_finer(case, donor):
        pure = (of_finer_numbers(case, donor),)
    explained: Reason = BlendExplains(
        donor, alpha, case.base, coverage, numbers.informative, _chance(case, donor)
    )
    by_recipe = _by_recipe(case, donor, coverage)
    if by_recipe is not None:
        explained = by_recipe
        alpha = by_recipe.blend.shares[donor] or 0.0
    reasons: list[Reason] = [
        explained,
        OneWeight(spread, single),
        *(pure or left_over(case)),
    ]
    if stayed and slight and not pure:
        reasons.append(ChangedSlightly(_agreement(case, donor)))
    return Decision(
        "other_merge" if pure else "merge_then_trained",
        (*reasons, *_without_controls(case)),
        named={donor: alpha},
        base_share=round(1 - alpha, 12),
        family="blend",
        rests_on="blend",
    )


def _pure_of_one(case: Case, donor: str) -> tuple[Reason, ...]:
    """Why what a blend with one donor leaves is no more than another arithmetic would
    leave, where the nearest blend is of this donor and the base alone.
    """
    blend = case.recipe.blend
    if blend is None or set(blend.weights) != {case.base, donor}:
        return ()
    return pure_left(case)


def _by_recipe(case: Case, donor: str, coverage: float) -> RecipeGivesBack | None:
    """What the best recipe gives back, where it is a blend with this donor alone that
    explains more than a blend rounded once: narrow arithmetic bends the latter's weight.
    """
    rate = case.exact_rate
    if rate is None or rate <= coverage:
        return None
    best = best_recipe(case)
    shares = dict(best.common.shares or {})
    if set(shares) != {donor} or shares[donor] is None:
        return None
    return RecipeGivesBack(
        _blend(case, best, shares),
        rate,
        case.recipe.informative_elements,
        traces_beside(case, donor),
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


def _without_controls(case: Case) -> tuple[Reason, ...]:
    return () if case.controls else (NoControl(),)
