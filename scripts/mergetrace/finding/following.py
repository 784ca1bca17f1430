"""The rule for merges whose arithmetic nobody identified: the model's numbers follow from
its parents' numbers alone, which neither training nor chance brings about.
"""

from mergetrace.finding.case import Case, Decision, Reason
from mergetrace.finding.reasons_following import (
    ArithmeticUnknown,
    FinerNumbers,
    FollowsFromParents,
    NearestBlend,
)
from mergetrace.finding.reasons_merge import NoControl
from mergetrace.finding.reasons_stops import (
    BlendLeavesMore,
    CoarseSteps,
    ControlFollows,
    NoBlendOfAll,
    SharesOutside,
)
from mergetrace.records.recipe_search import (
    Dependence,
    LinearBlend,
    RecipeSearch,
)

BY_FOLLOWING = "following"
"""What such a finding rests on."""


def follows_from_parents(case: Case) -> Decision | None:
    """Wherever all parents hold the same numbers the model holds the same number, and
    that needs every one of them; no recipe gives the model back.
    """
    dependence = case.recipe.dependence
    if dependence is None or not is_pure(case):
        return None
    if against_following(case, dependence) is not None:
        return None
    shares = _shares(case, dependence)
    weights = [share for share in shares.values() if share is not None]
    alike = len(weights) == len(shares)
    found = found_following(case, dependence)
    tried = unknown_arithmetic(case)
    nearest = (NearestBlend(case.base, shares),) if alike else ()
    without_controls = () if case.controls else (NoControl(),)
    return Decision(
        "other_merge",
        (found, *nearest, tried, *without_controls),
        named=shares,
        base_share=1 - sum(weights) if alike else None,
        family="blend",
        rests_on=BY_FOLLOWING,
    )


def found_following(case: Case, dependence: Dependence) -> FollowsFromParents:
    """That the model follows from its parents."""
    return FollowsFromParents(
        dependence.parents,
        dependence.repeated,
        dependence.dissent,
        dependence.without,
        controls_beside(case),
        dependence.pooled,
    )


def of_finer_numbers(case: Case, donor: str) -> FinerNumbers:
    """That the model is a blend of finer numbers (see is_finer)."""
    finer = case.recipe.finer[donor]
    return FinerNumbers(donor, finer.informative, finer.beyond)


def unknown_arithmetic(case: Case) -> ArithmeticUnknown:
    """How much the best of the recipes gives back that were tried."""
    best = case.recipe.best
    method = best.method if best else None
    return ArithmeticUnknown(
        case.recipe.tried, method, case.exact_rate, case.recipe.ended_early
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


def is_finer(case: Case, donor: str) -> bool:
    """Whether the model is a blend of finer numbers than the donor was offered with,
    and no control is. In coarse steps a donor's relative would pass for it.
    """
    models = (case.recipe, *(control.recipe for control in case.controls.values()))
    own, *beside = (_holds_finer(case, recipe, donor) for recipe in models)
    return own and not any(beside) and coarse_steps(case) is None


def _holds_finer(case: Case, recipe: RecipeSearch, donor: str) -> bool:
    limits = case.thresholds
    finer = recipe.finer.get(donor)
    if finer is None or finer.informative < limits.min_informative:
        return False
    return finer.beyond <= limits.max_beyond_finer


def controls_beside(case: Case) -> dict[str, float]:
    """By control how many of its numbers do not follow from the same kind of parents."""
    beside = {}
    for name, summary in case.controls.items():
        other = summary.recipe.dependence
        if other is not None and other.repeated >= case.thresholds.min_informative:
            beside[name] = other.dissent
    return beside


def against_following(case: Case, dependence: Dependence) -> Reason | None:
    """What stands against a pure blend where the model's numbers follow from its
    parents'. From a model in which a share is no part of a whole a parent may have been
    computed. In coarse steps a parent's light finetune passes for the parent.
    """
    limits = case.thresholds
    coarse = coarse_steps(case)
    if coarse is not None:
        return CoarseSteps(case.model, coarse)
    for name, dissent in controls_beside(case).items():
        if dissent < limits.min_dissent_without:
            return ControlFollows(name, dissent)
    blend = case.recipe.blend
    if blend is None or set(blend.weights) != set(dependence.parents):
        return NoBlendOfAll(dependence.parents)
    if blend.within < limits.min_within_rounding:
        return BlendLeavesMore(blend.within, limits.min_within_rounding)
    outside = _outside(blend, limits.min_share)
    return SharesOutside(outside, 1 - limits.min_share) if outside else None


def coarse_steps(case: Case) -> str | None:
    """The dtype of most of what was compared of the model, where it is FP8, whose steps
    hide what a parent's light finetune differs by; None where it is another, or not
    known.
    """
    coverage = case.compared.get(case.model)
    dtype = next(iter(coverage.dtypes), None) if coverage else None
    return dtype if dtype is not None and dtype.startswith("F8_") else None


def _outside(blend: LinearBlend, least: float) -> dict[str, float]:
    """The models whose share is no part of a whole anywhere, with the share."""
    found = {
        model: weight
        for model, weight in blend.weights.items()
        if not least <= weight <= 1 - least
    }
    for model, (low, high) in (blend.ranges or {}).items():
        if low < -least:
            found.setdefault(model, low)
        if high > 1 + least:
            found.setdefault(model, high)
    return found


def _shares(case: Case, dependence: Dependence) -> dict[str, float | None]:
    """The donors' shares in the nearest blend, or no numbers where they differ between
    tensors.
    """
    donors = [name for name in dependence.parents if name != case.base]
    blend = case.recipe.blend
    if blend is None or blend.ranges is not None:
        return dict.fromkeys(donors)
    return {donor: blend.weights[donor] for donor in donors}
