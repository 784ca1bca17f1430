"""The rule that sees a blend under what was trained since, by the weight of the donor's
small singular directions; and what the same numbers say for those who are innocent.

Whatever is trained after a merge knows nothing of the donor's small directions, so that
one weight is left in every matrix and every bin of them. Two models of a common
ancestor share them too, but not by one weight: how much each moved since differs from
matrix to matrix. With rho the energy of the donor's own change over the ancestor's, the
weight is 1/(1 + rho), and differs by weight (1 - weight) times the relative difference
of rho: `unevenness` is that difference.
"""

from mergetrace.finding.case import Case, Decision, Reason
from mergetrace.finding.following import coarse_steps
from mergetrace.finding.reasons_descent import (
    AncestorNotOffered,
    AtMostOf,
    ChangesTakenBack,
    ControlHolds,
    ControlUneven,
    DonorIsNoChild,
    DonorsShareTail,
    FewMatrices,
    MayBeChild,
    MayBeCutOut,
    MayBePure,
    NoControlBeside,
    NoiseOverUneven,
    NotOfNumbersAlone,
    NotOneWeight,
    OneWeightEverywhere,
    OnItsTask,
    PartlyRoundTrip,
    Shown,
    StaysOpen,
    WeightAtOne,
    WeightObserved,
    WeightUneven,
    WrittenBackSince,
)
from mergetrace.finding.reasons_stops import CoarseSteps
from mergetrace.finding.small_directions import (
    Measured,
    apart,
    apart_turned,
    control_apart,
    controls_of,
    measured,
    scale,
    unevenness,
    weighed,
)

RESTS_ON = "spectrum"
"""What a decision of this rule rests on."""


def trained_blend(case: Case) -> Decision | None:
    """One weight of some donors in every matrix and bin, which no control shows, and
    which is none of the model's in them; and numbers that no arithmetic makes of theirs.
    """
    named = {
        donor: found
        for donor in case.summary.donors
        if (found := weighed(case, donor)) and against_even(case, donor) is None
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
        reasons.append(OneWeightEverywhere(shown, _most_uneven(case, found)))
        over = _first_over(case, found)
        stayed = _stayed(case, found)
        beside = _holding(case, donor, found)
        known = over is None and not stayed and not beside
        weights[donor] = found.weight if known else None
        reasons += [_uneven_beside(case, shown, name, found) for name in beside]
        if over is not None:
            reasons.append(OnItsTask(shown, over))
        if stayed:
            reasons.append(ChangesTakenBack(shown, stayed))
        reasons.append(DonorIsNoChild(shown, apart_turned(found)))
    dependence = case.recipe.dependence
    if dependence is not None:
        others = tuple(name for name in dependence.parents if name != case.base)
        reasons.append(NotOfNumbersAlone(others, dependence.dissent))
    more = _more_shown(case, tuple(named))
    all_known = None not in weights.values() and not more
    return Decision(
        "merge_then_trained",
        (*reasons, *more, StaysOpen(case.model, tuple(named))),
        named=weights,
        base_share=round(left, 12) if all_known else None,
        family="blend",
        rests_on=RESTS_ON,
    )


def _more_shown(case: Case, named: tuple[str, ...]) -> list[Reason]:
    """What is seen of donors that are not named and show all the same."""
    return [
        _observed(case, donor, found)
        for donor in case.summary.donors
        if donor not in named
        and (found := measured(case, donor))
        and _shows(case, found)
    ]


def against_even(case: Case, donor: str) -> Reason | None:
    """What stands against one weight of a donor that was measured; None where nothing
    does.
    """
    found = weighed(case, donor)
    limits = case.thresholds
    if found is None or found.matrices.count < limits.min_spectrum_matrices:
        matrices = found.matrices.count if found else 0
        return FewMatrices(matrices, limits.min_spectrum_matrices)
    if not controls_of(case, donor):
        return NoControlBeside()
    least = limits.min_spectrum_weight
    if not least <= found.weight <= 1 - least:
        return WeightAtOne(least)
    return (
        _against_controls(case, donor, found)
        or _against_spread(case, donor, found)
        or _against_training(case, donor)
        or _against_round_trip(case, donor)
        or _against_coarse_steps(case, found)
    )


def _against_coarse_steps(case: Case, found: Measured) -> Reason | None:
    """That FP8 stores the model, or that many of its numbers still lie where a format of
    few bits put them: such steps make a checkpoint on the donor's way as even as a blend.
    """
    coarse = coarse_steps(case)
    if coarse is not None:
        return CoarseSteps(case.model, coarse)
    repeated = found.along.repeated
    limit = case.thresholds.max_repeated
    if repeated is not None and repeated > limit:
        return WrittenBackSince(case.model, repeated, limit)
    return None


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


def _against_round_trip(case: Case, donor: str) -> Reason | None:
    """That most numbers are those of parents which were loaded in few bits, but not so
    many as a true donor gives: it may be a near relative of that donor.
    """
    found = case.recipe.round_trip
    limits = case.thresholds
    if found is None or donor not in found.shares:
        return None
    if found.informative < limits.min_informative:
        return None
    given_back = found.exact / found.informative
    if given_back < limits.min_partly_round_trip:
        return None
    needed = 1 - limits.max_missed_round_trip
    return PartlyRoundTrip(found.kind, donor, given_back, needed)


def _first_over(case: Case, found: Measured) -> float | None:
    """How much more there is of the donor's large directions than of its small ones,
    where that is as much as training on its own task brings; else None.
    """
    first = found.along.bins[0].value
    if first is None or first <= found.weight * (1 + case.thresholds.max_first_over):
        return None
    return first / found.weight - 1


def _stayed(case: Case, found: Measured) -> float:
    """The share of numbers that stayed the base's where a blend would have moved them,
    where it is more than chance leaves; else 0.
    """
    stayed = found.along.stayed or 0.0
    return stayed if stayed > case.thresholds.max_stayed else 0.0


def _holding(case: Case, donor: str, found: Measured) -> list[str]:
    """The controls that hold more of the donor's small directions than a control may,
    the greatest part of the model's weight first.
    """
    limit = case.thresholds.max_control_weight * found.weight
    held = {
        name: abs(weight)
        for name, weight in controls_of(case, donor).items()
        if abs(weight) > limit
    }
    return sorted(held, key=lambda name: (-held[name], name))


def _against_controls(case: Case, donor: str, found: Measured) -> Reason | None:
    """A control that holds the donor's small directions too, as evenly as the model or
    no less of them: what all hold that was made from somebody who was not offered.
    """
    limits = case.thresholds
    needed = limits.min_control_over_even * apart(found)
    for name in _holding(case, donor, found):
        weight = controls_of(case, donor)[name]
        is_as_even = control_apart(case, name, donor) < needed
        if is_as_even or abs(weight) >= found.weight:
            return ControlHolds(name, weight, limits.max_control_weight * found.weight)
    return None


def _uneven_beside(case: Case, shown: Shown, name: str, found: Measured) -> Reason:
    differs = control_apart(case, name, shown.donor)
    return ControlUneven(shown, name, differs, apart(found))


def _against_spread(case: Case, donor: str, found: Measured) -> Reason | None:
    """A weight that is not shown to be one, that is one turned round as well, or that
    leaves what chance does not leave.
    """
    limits = case.thresholds
    uneven = unevenness(found)
    if uneven > limits.max_unevenness:
        return WeightUneven(uneven, limits.max_unevenness)
    if uneven > _most_uneven(case, found):
        spread = found.along.participation or 0.0
        return NoiseOverUneven(donor, spread, uneven, limits.max_unevenness_light)
    turned = apart_turned(found)
    is_light = uneven <= limits.max_unevenness_light
    times = limits.min_turned_light if is_light else limits.min_turned_over_even
    needed = times * apart(found)
    if turned < needed:
        return MayBeChild(donor, turned, needed)
    overlap = found.along.overlap
    if overlap is None or overlap < limits.min_overlap:
        return MayBeCutOut(donor, overlap, limits.min_overlap)
    return None


def _most_uneven(case: Case, found: Measured) -> float:
    """The greatest unevenness of a blend: less under noise, where the donor turned round
    says nothing.
    """
    limits = case.thresholds
    is_noise = (found.along.participation or 0.0) > limits.max_participation
    return limits.max_unevenness_light if is_noise else limits.max_unevenness


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
    """Whether the model shows a donor's small directions, which is no acquittal whatever
    the cosine says, and whoever else shows them: a control of the donor's task has some
    of them beside a blend that has fewer.
    """
    found = [measured(case, donor) for donor in case.summary.donors]
    return any(each is not None and _shows(case, each) for each in found)


def _shows(case: Case, found: Measured) -> bool:
    return found.ends[0] > case.thresholds.min_shown_tail


def at_most(case: Case, donor: str) -> float | None:
    """The greatest weight of a donor that the model can hold (95 %), with room for what
    training takes away; None where it was not measured, or where the model's own change
    has no small directions.
    """
    found = measured(case, donor)
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
        found = measured(case, donor)
        if limit is not None and found is not None:
            reasons.append(AtMostOf(case.model, donor, found.weight, limit))
    return reasons


def observed(case: Case) -> list[Reason]:
    """What the small directions say where nothing is decided."""
    reasons: list[Reason] = []
    for donor in case.summary.donors:
        found = measured(case, donor)
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
    found = weighed(case, donor)
    if found is None:
        return None
    low, high = found.ends
    moved = case.thresholds.max_faded * abs(found.weight)
    beside = max([0.0, *controls_of(case, donor).values()])
    if beside > case.thresholds.max_innocent_tail:
        # All that is trained from this base may have so much of it.
        low = min(low, (low - beside) / (1 - beside)) if beside < 1 else 0.0
    room = case.thresholds.spectrum_bin_room * _fallen(found)
    low = max(0.0, low - moved - room)
    if found.weight > 1:  # no share of a whole, but what was measured
        return low, high + moved
    # Of what was taken back nothing is left to measure, whichever elements it was.
    high = high / max(1 - _stayed(case, found), high)
    return low, min(1.0, high + moved)


def _fallen(found: Measured) -> float:
    """How far the weight falls along the bins beyond the first."""
    bins = found.along.whitened.bins if found.along.whitened else found.along.bins
    values = [entry.value for entry in bins[1:-1] if entry.value is not None]
    return max(0.0, values[0] - values[-1]) if values else 0.0


def _observed(case: Case, donor: str, found: Measured) -> Reason:
    limit = at_most(case, donor)
    if limit is not None and limit <= case.thresholds.max_innocent_tail:
        return AtMostOf(case.model, donor, found.weight, limit)
    shown = _shown(case, donor, weighed(case, donor) or found)
    certain = max(found.matrices.spread_low, found.cells.spread_low)
    if certain > case.thresholds.max_unevenness * scale(found):
        return NotOneWeight(shown, limit, found.matrices.spread_low)
    return WeightObserved(shown, against_even(case, donor))


def _ancestor(case: Case, donor: str, found: Measured) -> Reason | None:
    """That all controls share the donor's small directions, which those do that descend
    from a model that was not offered.
    """
    controls = controls_of(case, donor)
    least = case.thresholds.max_control_tail * abs(found.weight)
    floor = case.thresholds.max_innocent_tail
    if not controls or min(controls.values()) <= max(least, floor):
        return None
    return AncestorNotOffered(case.base, donor, controls)


def _shown(case: Case, donor: str, found: Measured) -> Shown:
    ends = interval(case, donor) or found.ends
    uneven = unevenness(found)
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
        controls=controls_of(case, donor),
    )
