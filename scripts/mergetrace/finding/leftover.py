"""What the best blend leaves, and whether that shows training: where the model's numbers
do not follow from its parents'. What lies within rounding shows none.
"""

from mergetrace.finding.case import Case, Reason
from mergetrace.finding.following import (
    found_following,
    is_pure,
    unknown_arithmetic,
)
from mergetrace.finding.reasons_following import (
    StrayFromParents,
    WithinLastBits,
)
from mergetrace.finding.reasons_merge import LeftOver, PureInOtherOrder


def pure_left(case: Case) -> tuple[Reason, ...]:
    """Why what the best recipe leaves is no more than another arithmetic would leave;
    nothing where it shows more.
    """
    dependence = case.recipe.dependence
    if dependence is not None and is_pure(case):
        return (found_following(case, dependence), unknown_arithmetic(case))
    if strays(case):
        return ()
    left = case.summary.remainder
    most = case.thresholds.max_unexplained
    if left is not None and left.changed <= most * left.elements:
        return (PureInOtherOrder(),)
    blend = case.recipe.blend
    if blend is None or blend.within < case.thresholds.min_within_rounding:
        return ()
    alike = 0
    if dependence is not None and dependence.parents == tuple(blend.weights):
        alike = dependence.repeated
    return (WithinLastBits(blend.within, alike), unknown_arithmetic(case))


def strays(case: Case) -> bool:
    """Whether the model's numbers differ at places where its parents' are the same: no
    arithmetic does that to the parents that the nearest blend is of, or to fewer.
    """
    dependence = case.recipe.dependence
    blend = case.recipe.blend
    if dependence is None or blend is None:
        return False
    if not set(blend.weights) <= set(dependence.parents):
        return False
    return dependence.dissent > case.thresholds.max_dissent


def left_over(case: Case) -> tuple[Reason, ...]:
    """What the best recipe leaves that is more than rounding, or as training leaves it."""
    best = case.recipe.best
    left = LeftOver(best.residual_share if best else None, case.summary.remainder)
    dependence = case.recipe.dependence
    if dependence is None or not strays(case):
        return (left,)
    stray = StrayFromParents(
        dependence.parents,
        dependence.repeated,
        dependence.dissent,
        dependence.pooled,
    )
    return (stray, left)
