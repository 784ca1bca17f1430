"""What was measured of a donor's small singular directions, as the rule reads it."""

from dataclasses import dataclass

from mergetrace.finding.case import Case
from mergetrace.records.spectrum import Along, Evenness, Whitened


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


def measured(case: Case, donor: str) -> Measured | None:
    """One donor's plain numbers of the audited model; None where one is missing."""
    along = _along(case, case.model, donor)
    return _whole(along, along) if along is not None else None


def weighed(case: Case, donor: str) -> Measured | None:
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


def controls_of(case: Case, donor: str) -> dict[str, float]:
    """By control the weight of a donor's small directions in it."""
    found = {}
    for name in case.controls:
        along = _along(case, name, donor)
        if along is not None and along.weight is not None:
            found[name] = along.weight
    return found


def control_apart(case: Case, control: str, donor: str) -> float:
    """The least spread of a control's weights, over their mean; 0 where it was not
    measured.
    """
    along = _along(case, control, donor)
    numbers = None if along is None else along.whitened or along
    if numbers is None or not numbers.tail or not numbers.tail.value:
        return 0.0
    return (
        numbers.matrices.spread_low / abs(numbers.tail.value)
        if numbers.matrices
        else 0.0
    )


def scale(found: Measured) -> float:
    """By what a relative difference of rho moves the weight."""
    value = found.tail.value
    return abs(value * (1 - value))


def unevenness(found: Measured) -> float:
    """The greatest unevenness that the measurements allow."""
    spread = max(found.matrices.spread_high, found.cells.spread_high)
    by = scale(found)
    return spread / by if by else float("inf")


def apart(found: Measured) -> float:
    """The greatest spread of the weights, over their mean."""
    spread = max(found.matrices.spread_high, found.cells.spread_high)
    return spread / abs(found.tail.value)


def apart_turned(found: Measured) -> float:
    """The least spread of the weights turned round, over their mean; 0 where these were
    not measured.
    """
    turned = found.turned
    if turned is None or not turned.value:
        return 0.0
    return turned.spread_low / abs(turned.value)
