"""What stands out of one audited model's numbers: its share of exact elements, and what
chance and the controls reach beside it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from mergetrace.finding.case import Case, exact_rate
from mergetrace.merging.recipes import model_shares, recipe_from_json
from mergetrace.records.json_records import as_json
from mergetrace.records.recipe_search import RecipeNumbers

SHUFFLED = "its elements shuffled"


@dataclass(frozen=True)
class Lookalikes:
    """A named donor and an unnamed one that is like it."""

    named: str
    """The donor that the verdict names."""
    other: str
    """The donor that is like it."""
    cosine: float
    """The cosine between their changes."""
    only_named: int
    """The number of elements that only the named donor explains."""
    only_other: int
    """The number of elements that only the other donor explains."""


def exact_rates_of_controls(case: Case) -> dict[str, float]:
    """What the recipe search reaches for the controls."""
    rates = {}
    for name, summary in case.controls.items():
        rate = exact_rate(summary)
        if rate is not None:
            rates[f"control {name}"] = rate
    return rates


def holders(case: Case) -> dict[str, float | None]:
    """The models of the best recipe that matter to it, donors first, with their shares
    (None where no one number exists): as much as `smallest_share`, more than nothing
    or less.
    """
    smallest = smallest_share(case)
    shares = all_shares(case)
    return {
        model: share
        for model, share in shares.items()
        if share is None or abs(share) >= smallest
    }


def smallest_share(case: Case) -> float:
    """The least share with which a model counts in the best recipe: where every element
    comes back no share is too small to be shown.
    """
    limits = case.thresholds
    return limits.min_share_whole if case.exact_rate == 1 else limits.min_share


def all_shares(case: Case) -> dict[str, float | None]:
    """Every model of the best recipe with its share, the base last; None where no one
    number exists. Of task arithmetic the base has what the donors leave to one.
    """
    best = best_recipe(case)
    parameters = best.common
    shares = parameters.shares
    uses_base = case.base in (*parameters.weights, parameters.base_model)
    if shares is None:
        return dict.fromkeys([*case.recipe.donors, *([case.base] if uses_base else [])])
    known = [share for share in shares.values() if share is not None]
    if len(known) < len(shares):
        return {**shares, case.base: None} if uses_base else dict(shares)
    stated = model_shares(recipe_from_json(as_json(best)), case.base)
    rest = 1 - sum(known) if stated is None else stated.get(case.base, 0.0)
    return {**shares, case.base: round(rest, 12)}


def own_values(case: Case, donors: Iterable[str]) -> dict[str, float]:
    """By parent, the share of informative elements that are exactly its own; of the base
    the greatest beside any of the donors.
    """
    of_base = 0.0
    shares = {}
    for donor in donors:
        numbers = case.summary.donors[donor]
        of_base = max(of_base, numbers.coverage_base or 0.0)
        shares[donor] = numbers.coverage_donor or 0.0
    return {case.base: of_base, **shares}


def traces_beside(case: Case, donor: str) -> dict[str, float]:
    """What chance and the controls reach at their best weight: the null of a donor's
    traces.
    """
    shares = {SHUFFLED: case.summary.donors[donor].coverage_shuffled}
    for name, summary in case.controls.items():
        shares[f"control {name}"] = summary.donors[donor].coverage
    return {name: share for name, share in shares.items() if share is not None}


def shuffled_chance(case: Case, donor: str) -> float | None:
    """The shuffled donor's coverage beyond the elements at the base, which any donor
    covers; of packed ones a shuffled donor covers others. Whether those at the base are
    packed is not known of each: as many are taken to be as there are.
    """
    numbers = case.summary.donors[donor]
    if numbers.coverage_shuffled is None:
        return None
    of_base = numbers.coverage_base or 0.0
    recipe = case.recipe
    if recipe.packed:
        of_base -= recipe.packed_informative / max(recipe.informative_elements, 1)
    return max(numbers.coverage_shuffled - max(of_base, 0.0), 0.0)


def moved_alone(case: Case, donor: str) -> float | None:
    """The share moved of the elements on which donor and base agree: none in a merge of
    the two, some after training; None where too few agree.
    """
    numbers = case.summary.donors[donor]
    if numbers.parents_agree < case.thresholds.min_counted:
        return None
    return numbers.moved_alone


def untouched(case: Case, donor: str) -> bool:
    """Whether the elements on which donor and base agree stayed, as after a merge and
    never after training.
    """
    moved = moved_alone(case, donor)
    return moved is not None and moved <= case.thresholds.max_moved_alone


def lookalikes(case: Case, named: Collection[str]) -> list[Lookalikes]:
    """The pairs of a named and an unnamed donor that are alike, with what tells them
    apart.

    Elements are counted under the best recipe with one in the other's place; where that
    was not tried, or one donor alone is named with one weight for all tensors, each on
    its own at its own weight too. Of
    two such counts the one that speaks less for the named donor is given.
    """
    mixture = case.summary.mixture
    if mixture is None:
        return []
    smallest = 1 - 1 / case.thresholds.max_inflation
    pairs = []
    for donor in named:
        for other, cosine in mixture.cosines.get(donor, {}).items():
            if other in named or cosine is None or cosine**2 < smallest:
                continue
            alone = len(named) == 1 and _has_one_share(case, donor)
            only_donor, only_other = _told_apart_by(case, donor, other, alone)
            pairs.append(Lookalikes(donor, other, cosine, only_donor, only_other))
    return pairs


def _has_one_share(case: Case, donor: str) -> bool:
    """Whether the donor's own count, at one weight for all tensors, means anything: not
    where the best recipe gives it a weight for each.
    """
    best = case.recipe.best
    if best is None:
        return True
    shares = best.common.shares
    return shares is not None and shares.get(donor) is not None


def told_apart(case: Case, pair: Lookalikes) -> bool:
    """Whether the elements say which of two donors that are alike it was. A copy of the
    one alone needs no further count.
    """
    named_equals = case.summary.donors[pair.named].equals
    other_equals = case.summary.donors[pair.other].equals
    if named_equals or other_equals:
        return named_equals and not other_equals
    limits = case.thresholds
    return pair.only_named >= max(
        limits.min_counted, limits.min_told_apart * pair.only_other
    )


def best_recipe(case: Case) -> RecipeNumbers:
    """The best recipe of a case of which it is known that there is one."""
    best = case.recipe.best
    if best is None:
        raise ValueError(f"{case.model}: there is no recipe")
    return best


def _told_apart_by(case: Case, donor: str, other: str, alone: bool) -> tuple[int, int]:
    """The elements that only one of two donors explains, and those that only the other
    does. alone: whether no further donor is named.
    """
    swaps = case.summary.remainder.swaps if case.summary.remainder else ()
    counts = [
        (swap.only_donor, swap.only_other)
        for swap in swaps
        if (swap.donor, swap.other) == (donor, other)
    ]
    if alone or not counts:
        donors = case.summary.donors
        counts.append((donors[donor].only[other], donors[other].only[donor]))
    times = case.thresholds.min_told_apart
    return min(counts, key=lambda count: count[0] - times * count[1])
