"""The rule that sees a blend under what was trained since, by the weight of the donor's
small singular directions; and what the same numbers say for those who are innocent.

Whatever is trained after a merge knows nothing of the donor's small directions, so that
one weight is left in every matrix and every bin of them. Two models of a common
ancestor share them too, but not by one weight: how much each moved since differs from
matrix to matrix. With rho the energy of the donor's own change over the ancestor's, the
weight is 1/(1 + rho), and differs by weight (1 - weight) times the relative difference
of rho: `unevenness` is that difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mergetrace.finding.case import Case, Decision, Reason
from mergetrace.finding.reasons_descent import (
    AncestorNotOffered,
    AtMostOf,
    ControlHolds,
    DonorIsNoChild,
    DonorsShareTail,
    FewMatrices,
    MayBeChild,
    MayBePure,
    NoControlBeside,
    NotOfNumbersAlone,
    NotOneWeight,
    OneWeightEverywhere,
    OnItsTask,
    Shown,
    StaysOpen,
    WeightAtOne,
    WeightObserved,
    WeightUneven,
)
from mergetrace.records.spectrum import Along, Evenness, Whitened

RESTS_ON = "spectrum"
"""What a decision of this rule rests on."""


@dataclass(frozen=True)
class Measured:
    """One donor's numbers, all of them there: weighed by what else the models hold,
    where the measurement knows it, or plain.
    """

    weight: float
    """The weight."""
    ends: tuple[float, float]
    """Its 95 % interval."""
    tail: Evenness
    """What was measured, matrix by matrix."""
    matrices: Evenness
    """The same without what rounding does."""
    cells: Evenness
    """In every bin of every matrix."""
    turned: Evenness | None
    """The donor's change along the directions of the model's."""
    along: Along
    """Everything else."""


def trained_blend(case: Case) -> Decision | None:
    """One weight of some donors in every matrix and bin, which no control shows, and
    which is none of the model's in them; and numbers that no arithmetic makes of theirs.
    """
    named = {
        donor: found
        for donor in case.summary.donors
        if (found := _weighed(case, donor)) and against_even(case, donor) is None
    }
    if not named or shared_tail(case, tuple(named)) is not None:
        return None
    left = 1 - sum(found.weight for found in named.values())
    if left < 0:
        return None
    reasons: list[Reason] = []
    weights: dict[str, float | None] = {}
    for donor, found in named.items():
        shown = _shown(case, donor, found)
        limit = case.thresholds.max_unevenness
        reasons.append(OneWeightEverywhere(shown, limit))
        over = _first_over(case, found)
        weights[donor] = found.weight if over is None else None
        if over is not None:
            reasons.append(OnItsTask(shown, over))
        reasons.append(DonorIsNoChild(shown, _apart_turned(found)))
    dependence = case.recipe.dependence
    if dependence is not None:
        reasons.append(NotOfNumbersAlone(tuple(named), dependence.dissent))
    known = None not in weights.values()
    return Decision(
        "merge_then_trained",
        (*reasons, StaysOpen(case.model, tuple(named))),
        named=weights,
        base_share=round(left, 12) if known else None,
        family="blend",
        rests_on=RESTS_ON,
    )


def against_even(case: Case, donor: str) -> Reason | None:
    """What stands against one weight of a donor that was measured; None where nothing
    does.
    """
    found = _weighed(case, donor)
    limits = case.thresholds
    if found is None or found.matrices.count < limits.min_spectrum_matrices:
        matrices = found.matrices.count if found else 0
        return FewMatrices(matrices, limits.min_spectrum_matrices)
    controls = _controls(case, donor)
    if not controls:
        return NoControlBeside()
    least = limits.min_spectrum_weight
    if not least <= found.weight <= 1 - least:
        return WeightAtOne(least)
    return (
        _against_controls(case, found, controls)
        or _against_spread(case, donor, found)
        or _against_training(case, donor)
    )


def _against_training(case: Case, donor: str) -> Reason | None:
    """That arithmetic may have made the model of its parents' numbers alone: nothing
    shows that anything came after, or that somebody else is in it.
    """
    dependence = case.recipe.dependence
    needed = case.thresholds.min_dissent_trained
    if dependence is None or donor not in dependence.parents:
        return MayBePure(None, needed)
    if dependence.dissent < needed:
        return MayBePure(dependence.dissent, needed)
    return None


def _first_over(case: Case, found: Measured) -> float | None:
    """How much more there is of the donor's large directions than of its small ones,
    where that is as much as training on its own task brings; else None.
    """
    first = found.along.bins[0].value
    if first is None or first <= found.weight * (1 + case.thresholds.max_first_over):
        return None
    return first / found.weight - 1


def _against_controls(
    case: Case, found: Measured, controls: Mapping[str, float]
) -> Reason | None:
    name, greatest = max(controls.items(), key=lambda pair: abs(pair[1]))
    limit = case.thresholds.max_control_weight * found.weight
    return ControlHolds(name, greatest, limit) if abs(greatest) > limit else None


def _against_spread(case: Case, donor: str, found: Measured) -> Reason | None:
    """A weight that is not shown to be one, or that is one turned round as well."""
    limits = case.thresholds
    uneven = _unevenness(found)
    if uneven > limits.max_unevenness:
        return WeightUneven(uneven, limits.max_unevenness)
    turned = _apart_turned(found)
    needed = limits.min_turned_over_even * _apart(found)
    if turned < needed:
        return MayBeChild(donor, turned, needed)
    return None


def shared_tail(case: Case, donors: tuple[str, ...]) -> Reason | None:
    """Two of these donors that hold each other's small directions, so that neither is
    told from the other; None where there are none.
    """
    alike = case.spectrum.donors if case.spectrum else {}
    for first in donors:
        for second in donors:
            weight = alike.get(first, {}).get(second, 0.0)
            if first != second and abs(weight) > case.thresholds.max_shared_tail:
                return DonorsShareTail(first, second, weight)
    return None


def acquitted(case: Case) -> bool:
    """Whether every donor was measured, and none can have more than a small share."""
    limits = [at_most(case, donor) for donor in case.summary.donors]
    return all(
        limit is not None and limit <= case.thresholds.max_innocent_tail
        for limit in limits
    )


def contradicted(case: Case) -> bool:
    """Whether a donor's small directions are in the model where they are in no control,
    which is no acquittal whatever the cosine says.
    """
    limits = case.thresholds
    for donor in case.summary.donors:
        found = _measured(case, donor)
        controls = _controls(case, donor)
        if found is None or not controls:
            continue
        beside = max(map(abs, controls.values()))
        if found.ends[0] > max(limits.min_shown_tail, beside / limits.max_control_tail):
            return True
    return False


def at_most(case: Case, donor: str) -> float | None:
    """The greatest weight of a donor that the model can hold (95 %), with room for what
    training takes away; None where it was not measured, or where the model's own change
    has no small directions.
    """
    found = _measured(case, donor)
    limits = case.thresholds
    if found is None or found.matrices.count < limits.min_spectrum_matrices:
        return None
    over = found.along.over_rounding
    if over is None or over < limits.min_over_rounding:
        return None
    half = (found.ends[1] - found.ends[0]) / 2
    highest = (abs(found.weight) + half) / (1 - limits.max_unlearned_tail)
    if found.along.least is not None:
        smallest = max(found.along.least, half) / (1 - limits.max_unlearned)
        highest = min(highest, smallest)
    return min(1.0, highest)


def bounds(case: Case) -> list[Reason]:
    """The greatest share of every donor that was measured, of a model that is
    acquitted.
    """
    reasons: list[Reason] = []
    for donor in case.summary.donors:
        limit = at_most(case, donor)
        found = _measured(case, donor)
        if limit is not None and found is not None:
            reasons.append(AtMostOf(case.model, donor, found.weight, limit))
    return reasons


def observed(case: Case) -> list[Reason]:
    """What the small directions say where nothing is decided."""
    reasons: list[Reason] = []
    for donor in case.summary.donors:
        found = _measured(case, donor)
        if (
            found is None
            or found.matrices.count < case.thresholds.min_spectrum_matrices
        ):
            continue
        reasons.append(_observed(case, donor, found))
        ancestor = _ancestor(case, donor, found)
        if ancestor is not None:
            reasons.append(ancestor)
    return reasons


def interval(case: Case, donor: str) -> tuple[float, float] | None:
    """What a donor's weight may be: its 95 % interval, with room for what training
    moves. Training on the donor's own task raises it, most in the larger directions, so
    that the weight falls along the bins; other training takes a few per cent; and what
    the controls hold everybody may.
    """
    found = _weighed(case, donor)
    if found is None:
        return None
    low, high = found.ends
    moved = case.thresholds.max_faded * abs(found.weight)
    beside = max([0.0, *_controls(case, donor).values()])
    if beside > case.thresholds.max_innocent_tail:
        # All that is trained from this base may have so much of it.
        low = min(low, (low - beside) / (1 - beside)) if beside < 1 else 0.0
    room = case.thresholds.spectrum_bin_room * _fallen(found)
    return max(0.0, low - moved - room), min(1.0, high + moved)


def _fallen(found: Measured) -> float:
    """How far the weight falls along the bins beyond the first."""
    bins = found.along.whitened.bins if found.along.whitened else found.along.bins
    values = [entry.value for entry in bins[1:-1] if entry.value is not None]
    return max(0.0, values[0] - values[-1]) if values else 0.0


def _observed(case: Case, donor: str, found: Measured) -> Reason:
    limit = at_most(case, donor)
    if limit is not None and limit <= case.thresholds.max_innocent_tail:
        return AtMostOf(case.model, donor, found.weight, limit)
    weighed = _weighed(case, donor) or found
    shown = _shown(case, donor, weighed)
    certain = max(found.matrices.spread_low, found.cells.spread_low)
    if certain > case.thresholds.max_unevenness * _scale(found):
        return NotOneWeight(shown, limit)
    return WeightObserved(shown, against_even(case, donor))


def _ancestor(case: Case, donor: str, found: Measured) -> Reason | None:
    """That all controls share the donor's small directions, which those do that descend
    from a model that was not offered.
    """
    controls = _controls(case, donor)
    least = case.thresholds.max_control_tail * abs(found.weight)
    floor = case.thresholds.max_innocent_tail
    if not controls or min(controls.values()) <= max(least, floor):
        return None
    return AncestorNotOffered(case.base, donor, controls)


def _measured(case: Case, donor: str) -> Measured | None:
    """One donor's plain numbers of the audited model; None where one is missing."""
    along = _along(case, case.model, donor)
    return _whole(along, along) if along is not None else None


def _weighed(case: Case, donor: str) -> Measured | None:
    """The same, weighed by what else the models hold; plain in old records."""
    along = _along(case, case.model, donor)
    if along is None:
        return None
    return _whole(along.whitened or along, along)


def _whole(numbers: Along | Whitened, along: Along) -> Measured | None:
    if numbers.tail is None or numbers.weight is None:
        return None
    ends, matrices, cells = numbers.weight_ci95, numbers.matrices, numbers.cells
    if ends is None or matrices is None or cells is None:
        return None
    within = min(ends[0], numbers.weight), max(ends[1], numbers.weight)
    turned = numbers.reverse
    return Measured(
        numbers.weight, within, numbers.tail, matrices, cells, turned, along
    )


def _along(case: Case, model: str, donor: str) -> Along | None:
    if case.spectrum is None or case.spectrum.base != case.base:
        return None
    return case.spectrum.models.get(model, {}).get(donor)


def _controls(case: Case, donor: str) -> dict[str, float]:
    """By control the weight of a donor's small directions in it."""
    found = {}
    for name in case.controls:
        along = _along(case, name, donor)
        if along is not None and along.weight is not None:
            found[name] = along.weight
    return found


def _scale(found: Measured) -> float:
    """By what a relative difference of rho moves the weight."""
    value = found.tail.value
    return abs(value * (1 - value))


def _unevenness(found: Measured) -> float:
    """The greatest unevenness that the measurements allow."""
    spread = max(found.matrices.spread_high, found.cells.spread_high)
    scale = _scale(found)
    return spread / scale if scale else float("inf")


def _apart(found: Measured) -> float:
    """The greatest spread of the weights, over their mean."""
    spread = max(found.matrices.spread_high, found.cells.spread_high)
    return spread / abs(found.tail.value)


def _apart_turned(found: Measured) -> float:
    """The least spread of the weights turned round, over their mean; 0 where these were
    not measured.
    """
    turned = found.turned
    if turned is None or not turned.value:
        return 0.0
    return turned.spread_low / abs(turned.value)


def _shown(case: Case, donor: str, found: Measured) -> Shown:
    ends = interval(case, donor) or found.ends
    uneven = _unevenness(found)
    bins = found.along.bins
    return Shown(
        model=case.model,
        donor=donor,
        weight=found.weight,
        low=ends[0],
        high=ends[1],
        unevenness=uneven if uneven < float("inf") else None,
        matrices=found.matrices.count,
        first=bins[0].value,
        last=bins[-1].value,
        controls=_controls(case, donor),
    )
