"""What stands out of one audited model's numbers: its share of exact elements, and what
chance and the controls reach beside it.
"""

from collections.abc import Collection
from dataclasses import dataclass

from mergetrace.finding.case import Case, exact_rate
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


def blended(case: Case) -> dict[str, float | None] | None:
    """The donors of the best recipe with their shares (None where no one number
    exists); None unless at least two offered models matter to it.
    """
    best = case.recipe.best
    if best is None:
        return None
    smallest = case.thresholds.min_share
    shares = best.common.shares or dict.fromkeys(case.recipe.donors)
    named = {
        donor: share
        for donor, share in shares.items()
        if share is None or abs(share) >= smallest
    }
    if not named or shares_outside(case, named):
        return None
    if single_parent(case, named) > case.thresholds.max_single_parent:
        return None
    return named


def shares_outside(case: Case, shares: dict[str, float | None]) -> dict[str, float]:
    """The shares that are negative or leave next to nothing for the other parents."""
    greatest = 1 - case.thresholds.min_share
    return {
        donor: share
        for donor, share in shares.items()
        if share is not None and (share < 0 or share > greatest)
    }


def single_parent(case: Case, donors: Collection[str]) -> float:
    """The greatest share of informative elements that one parent alone gives."""
    shares = [0.0]
    for donor in donors:
        numbers = case.summary.donors[donor]
        shares += [numbers.coverage_base or 0.0, numbers.coverage_donor or 0.0]
    return max(shares)


def stands_out(case: Case, donor: str, share: float | None) -> bool:
    """Whether a share of exact elements is far beyond the shuffled donor and every
    control, and the elements that should have stayed mostly did.
    """
    limits = case.thresholds
    if share is None:
        return False
    if case.summary.donors[donor].informative < limits.min_informative:
        return False
    if (moved_alone(case, donor) or 0.0) > limits.max_moved_trained:
        return False
    chance = max(traces_beside(case, donor).values(), default=1.0)
    return share >= max(limits.min_trace, limits.min_trace_over_null * chance)


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
    covers.
    """
    numbers = case.summary.donors[donor]
    if numbers.coverage_shuffled is None:
        return None
    return max(numbers.coverage_shuffled - (numbers.coverage_base or 0.0), 0.0)


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
    was not tried, or one donor alone is named, each on its own at its own weight too. Of
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
            only_donor, only_other = _told_apart_by(case, donor, other, len(named) == 1)
            pairs.append(Lookalikes(donor, other, cosine, only_donor, only_other))
    return pairs


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
