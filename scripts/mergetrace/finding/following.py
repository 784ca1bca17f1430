"""The rule for merges whose arithmetic nobody identified: the model's numbers follow from
its parents' numbers alone, which neither training nor chance brings about.
"""

from mergetrace.finding.case import Case, Decision
from mergetrace.finding.reasons_following import (
    ArithmeticUnknown,
    FollowsFromParents,
    NearestBlend,
)
from mergetrace.finding.reasons_merge import NoControl
from mergetrace.records.recipe_search import Dependence, LinearBlend


def follows_from_parents(case: Case) -> Decision | None:
    """Wherever all parents hold the same numbers the model holds the same number, and
    that needs every one of them; no recipe gives the model back.
    """
    dependence = case.recipe.dependence
    if dependence is None or not is_pure(case):
        return None
    beside = _controls_beside(case)
    if beside and min(beside.values()) < case.thresholds.min_dissent_without:
        return None
    shares = _shares(case, dependence)
    if shares is None:
        return None
    weights = [share for share in shares.values() if share is not None]
    alike = len(weights) == len(shares)
    best = case.recipe.best
    found = FollowsFromParents(
        dependence.parents,
        dependence.repeated,
        dependence.dissent,
        dependence.without,
        beside,
    )
    tried = ArithmeticUnknown(
        case.recipe.tried, best.method if best else None, case.exact_rate
    )
    nearest = (NearestBlend(case.base, shares),) if alike else ()
    without_controls = () if case.controls else (NoControl(),)
    return Decision(
        "other_merge",
        (found, *nearest, tried, *without_controls),
        named=shares,
        base_share=1 - sum(weights) if alike else None,
        family="blend",
        rests_on="blend",
    )


def is_pure(case: Case) -> bool:
    """Whether the model's numbers follow from its parents', and from no fewer of them."""
    dependence = case.recipe.dependence
    limits = case.thresholds
    if dependence is None or dependence.repeated < limits.min_informative:
        return False
    if dependence.dissent > limits.max_dissent:
        return False
    return min(dependence.without.values()) >= limits.min_dissent_without


def is_trained(case: Case) -> bool:
    """Whether the model's numbers are known not to follow from its parents' alone."""
    dependence = case.recipe.dependence
    limits = case.thresholds
    if dependence is None or dependence.repeated < limits.min_informative:
        return False
    return dependence.dissent > limits.max_dissent


def _controls_beside(case: Case) -> dict[str, float]:
    """By control how many of its numbers do not follow from the same kind of parents."""
    beside = {}
    for name, summary in case.controls.items():
        other = summary.recipe.dependence
        if other is not None and other.repeated >= case.thresholds.min_informative:
            beside[name] = other.dissent
    return beside


def _shares(case: Case, dependence: Dependence) -> dict[str, float | None] | None:
    """The donors' shares in the nearest blend, or no numbers where they differ between
    tensors. None where it leaves more than rounding, or where a share is no part of a
    whole: from such a model a parent may have been computed.
    """
    donors = [name for name in dependence.parents if name != case.base]
    blend = case.recipe.blend
    if blend is None or not _leaves_rounding(case, blend, dependence):
        return None
    least = case.thresholds.min_share
    if any(not least <= weight <= 1 - least for weight in blend.weights.values()):
        return None
    if blend.ranges is None:
        return {donor: blend.weights[donor] for donor in donors}
    within = [
        -least <= low and high <= 1 + least for low, high in blend.ranges.values()
    ]
    return dict.fromkeys(donors) if all(within) else None


def _leaves_rounding(case: Case, blend: LinearBlend, dependence: Dependence) -> bool:
    if set(blend.weights) != set(dependence.parents):
        return False
    return blend.within >= case.thresholds.min_within_rounding
