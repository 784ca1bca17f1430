"""What stops each rule that accuses. The rules ask here before they answer, and where
none answers `inconclusive` says the same: so its reasons are those that decided.
"""

from collections.abc import Iterable, Sequence

from mergetrace.finding.case import Case, Reason
from mergetrace.finding.coverage import sampled
from mergetrace.finding.following import is_finer, is_pure
from mergetrace.finding.reasons_cells import CellsMissed, FewInCells
from mergetrace.finding.reasons_origin import FewInformative
from mergetrace.finding.reasons_stops import (
    BaseQuantised,
    BlendExplainsMore,
    ChanceTooClose,
    DropByChance,
    FewAgree,
    NeverRounded,
    NothingBeside,
    NothingMoved,
    OneParentEnough,
    RateTooLow,
    SearchReachesOthers,
    SharesOutside,
    SharesTiny,
    TensorsMissing,
    TooMuchMoved,
    TraceTooThin,
    ValuesOfOneParent,
    WeightAtEnd,
    WeightsDiffer,
)
from mergetrace.finding.traces import (
    all_shares,
    exact_rates_of_controls,
    holders,
    moved_alone,
    own_values,
    shuffled_chance,
    smallest_share,
    traces_beside,
    untouched,
)
from mergetrace.numerics.levels import FEW_DECIDE
from mergetrace.records.recipe_search import Leaning, Signature

Against = Reason | None
"""What stops a rule; None where nothing does."""


def against_merge(case: Case) -> Against:
    """What stands against a merge that is given back bit for bit."""
    limits = case.thresholds
    informative = case.recipe.informative_elements
    exact = case.exact_rate
    if informative < limits.min_informative or exact is None:
        return FewInformative(informative, limits.min_informative)
    if exact < limits.min_bit_exact:
        return RateTooLow(exact, limits.min_bit_exact)
    tensors = case.summary.exact_share or 0.0
    if tensors < limits.min_exact_slices:
        return TensorsMissing(tensors, limits.min_bit_exact, limits.min_exact_slices)
    return _against_cells(case) or against_shares(case) or _against_search(case)


def _against_cells(case: Case) -> Against:
    """Why the packed tensors of a model do not carry an accusation themselves: embeddings
    and norms in 16 bits may be those of another model, as a frozen embedding is, and of
    a finetune near to the true parent few numbers lie outside their cells.
    """
    if not case.recipe.packed:
        return None
    packed = case.recipe.packed_informative
    missed = case.recipe.packed_missed
    most = case.thresholds.max_missed_cells
    limit = _least_packed(case)
    if missed > most * packed:
        return CellsMissed(missed, packed, most)
    if packed >= limit:
        return None
    whole = case.recipe.informative_elements - packed
    return FewInCells(packed, whole, limit, case.recipe.packed, bool(sampled(case)))


def _least_packed(case: Case) -> int:
    """How many of the informative elements have to be packed ones."""
    limits = case.thresholds
    if not set(case.recipe.packed) & set(FEW_DECIDE):
        return limits.min_informative_cells
    findings = case.layout.findings if case.layout else ()
    if any(finding.get("following") for finding in findings):
        return limits.min_informative_following
    return limits.min_informative_columns


def _against_search(case: Case) -> Against:
    """What the same search reaches where nothing was merged, where that is too much."""
    limit = most_beside(case)
    beside = search_beside(case, named_donors(case))
    if not beside:
        return NothingBeside()
    name, rate = _greatest(beside.items())
    return SearchReachesOthers(name, rate, limit) if rate > limit else None


def most_beside(case: Case) -> float:
    """What the search may reach where nothing was merged: more of a packed model, of
    which an element is informative for one recipe and not for another.
    """
    limits = case.thresholds
    return (
        limits.max_control_cells if case.recipe.packed else limits.max_control_bit_exact
    )


def against_shares(case: Case) -> Against:
    """Why the best recipe is no blend of at least two offered models."""
    limits = case.thresholds
    donors = named_donors(case)
    if not donors or len(holders(case)) < 2:
        return SharesTiny(all_shares(case), smallest_share(case))
    parent, share = _greatest(own_values(case, donors).items())
    if share > limits.max_single_parent:
        return OneParentEnough(parent, share, limits.max_single_parent)
    return None


def against_shares_of_traces(case: Case) -> Against:
    """Why traces of the best recipe, of which not every element comes back, are no
    blend: without exactness also where a donor is taken away or taken more than whole,
    as it is where suspect and donor are exchanged.
    """
    stop = against_shares(case)
    if stop is not None:
        return stop
    greatest = 1 - case.thresholds.min_share
    outside = {
        donor: share
        for donor, share in named_donors(case).items()
        if share is not None and not 0 <= share <= greatest
    }
    return SharesOutside(outside, greatest) if outside else None


def named_donors(case: Case) -> dict[str, float | None]:
    """The donors of the best recipe that matter to it, with their shares."""
    return {
        model: share for model, share in holders(case).items() if model != case.base
    }


def search_beside(case: Case, donors: Iterable[str]) -> dict[str, float]:
    """What the recipe search reaches for the controls and for shuffled donors."""
    beside = exact_rates_of_controls(case)
    for donor in donors:
        chance = shuffled_chance(case, donor)
        if chance is not None:
            beside[f"{donor} with its elements shuffled"] = chance
    return beside


def against_trace(case: Case, donor: str, share: float) -> Against:
    """Why a share of exact elements is not far beyond the shuffled donor and every
    control, or why elements moved that should have stayed.
    """
    limits = case.thresholds
    informative = case.summary.donors[donor].informative
    if informative < limits.min_informative:
        return FewInformative(informative, limits.min_informative)
    if share < limits.min_trace:
        return TraceTooThin(limits.min_trace)
    moved = moved_alone(case, donor) or 0.0
    if moved > limits.max_moved_trained:
        return TooMuchMoved(donor, case.base, moved, limits.max_moved_trained, True)
    beside = traces_beside(case, donor)
    if not beside:
        return NothingBeside()
    name, chance = _greatest(beside.items())
    if share < limits.min_trace_over_null * chance:
        return ChanceTooClose(name, chance, limits.min_trace_over_null)
    return against_common_numbers(case, donor, share)


def against_common_numbers(case: Case, donor: str, share: float) -> Against:
    """Why a share of exact elements shows no donor: they may be the base's, quantised and
    written back, where those would do for a trace, or too few others are left for one.
    """
    common = case.recipe.requantised.get(donor, 0.0)
    if not common:
        return None
    outside = max(share - common, 0.0) / (1 - common) if common < 1 else 0.0
    limit = case.thresholds.min_trace
    if common < limit <= outside:
        return None
    return BaseQuantised(donor, case.base, common, outside, limit)


def against_blend(case: Case, donor: str) -> Against:
    """What stands against one blend of base and donor that does not give everything
    back.
    """
    limits = case.thresholds
    numbers = case.summary.donors[donor]
    coverage = numbers.coverage or 0.0
    stop = against_trace(case, donor, coverage)
    if stop is not None:
        return stop
    alpha = numbers.alpha_replay
    spread = numbers.alpha_spread
    if alpha is None or spread is None or spread > limits.max_alpha_spread:
        return WeightsDiffer(spread, limits.max_alpha_spread)
    if not limits.min_share <= alpha <= 1 - limits.min_share:
        return WeightAtEnd(limits.min_share)
    parent, single = _greatest(own_values(case, [donor]).items())
    if single > limits.max_single_of_blend * coverage:
        return ValuesOfOneParent(parent, single, limits.max_single_of_blend * coverage)
    leanings = [case.recipe.leanings.get(donor)]
    recipe = case.recipe.leaning
    if recipe is not None and set(recipe.parents) == {case.base, donor}:
        leanings.append(recipe)
    stop = _against_leanings(case, leanings)
    return None if stop is not None and is_finer(case, donor) else stop


def against_leaning(case: Case) -> Against:
    """Why the model was never rounded as the best recipe's blend."""
    return _against_leanings(case, [case.recipe.leaning])


def _against_leanings(case: Case, leanings: Sequence[Leaning | None]) -> Against:
    """Why a model was never rounded as any of these accounts of one blend says; None
    where one of them does not lean, where none has misses enough to tell, or where the
    model's numbers follow from the parents' alone, in whatever arithmetic.
    """
    limits = case.thresholds
    told = [
        (leaning.share, leaning)
        for leaning in leanings
        if leaning
        and leaning.share is not None
        and leaning.misses >= limits.min_counted
    ]
    if not told or is_pure(case):
        return None
    share, least = min(told, key=lambda pair: pair[0])
    if share <= limits.max_leaning:
        return None
    return NeverRounded(least.parents, least.misses, share, limits.max_leaning)


def against_finetune(case: Case, donor: str) -> Against:
    """What stands against training that started from a donor."""
    limits = case.thresholds
    numbers = case.summary.donors[donor]
    of_base = numbers.coverage_base or 0.0
    of_donor = numbers.coverage_donor or 0.0
    coverage = numbers.coverage or 0.0
    stop = against_trace(case, donor, of_donor)
    if stop is not None:
        return stop
    if of_donor < limits.min_peak_share * coverage:
        return BlendExplainsMore(coverage)
    if of_base > limits.max_base_trace:
        return ValuesOfOneParent(case.base, of_base, limits.max_base_trace)
    if untouched(case, donor):
        return NothingMoved(donor, case.base)
    return None


def against_drop(case: Case, mark: Signature) -> Against:
    """What stands against a merge that dropped changes, where elements stayed and the
    others hold a donor's changes.
    """
    limits = case.thresholds
    beside = drops_beside(case, mark)
    name, chance = _greatest(beside.items())
    if chance > mark.survivors - limits.min_survivors_over_null:
        return DropByChance(name, chance, limits.min_survivors_over_null)
    if len(mark.donors) == 1:
        donor = mark.donors[0]
        moved = moved_alone(case, donor) or 0.0
        if moved > limits.max_moved_alone:
            return TooMuchMoved(donor, case.base, moved, limits.max_moved_alone, False)
    return None


def shows_drop(case: Case, mark: Signature) -> bool:
    """Whether elements stayed and the others hold a donor's changes, as after a drop."""
    limits = case.thresholds
    return (
        mark.informative >= limits.min_informative
        and mark.stayed >= limits.min_stayed
        and mark.survivors >= limits.min_survivors
    )


def drops_beside(case: Case, mark: Signature) -> dict[str, float]:
    """The share of changes that shuffled elements and the controls hold."""
    beside = {"shuffled elements": mark.survivors_shuffled}
    for name, summary in case.controls.items():
        survivors = [other.survivors for other in summary.recipe.signatures]
        if survivors:
            beside[f"control {name}"] = max(survivors)
    return beside


def against_chosen(case: Case, donor: str) -> Against:
    """What stands against a merge that took each element from base or donor, where the
    elements are theirs.
    """
    limits = case.thresholds
    moved = moved_alone(case, donor)
    if moved is None:
        agreeing = case.summary.donors[donor].parents_agree
        return FewAgree(donor, case.base, agreeing, limits.min_counted)
    if moved > limits.max_moved_alone:
        return TooMuchMoved(donor, case.base, moved, limits.max_moved_alone, False)
    return None


def shows_chosen(case: Case, donor: str) -> bool:
    """Whether almost every element is exactly the base's or the donor's, and both are
    there beyond chance.
    """
    limits = case.thresholds
    numbers = case.summary.donors[donor]
    of_base = numbers.coverage_base or 0.0
    of_donor = numbers.coverage_donor or 0.0
    shuffled = shuffled_chance(case, donor) or 0.0
    least = max(limits.min_stayed, limits.min_trace_over_null * shuffled)
    return (
        numbers.informative >= limits.min_informative
        and of_base >= limits.min_stayed
        and of_donor >= least
        and of_base + of_donor >= limits.min_chosen
    )


def _greatest(shares: Iterable[tuple[str, float]]) -> tuple[str, float]:
    """The greatest share with its name, the first of equals."""
    return max(shares, key=lambda pair: pair[1])
