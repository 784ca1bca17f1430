"""Reasons of the rule that sees a blend under what was trained since: strong evidence,
never exact.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mergetrace.finding.case import Reason


@dataclass(frozen=True)
class Shown:
    """What was measured of one donor along its small singular directions."""

    model: str
    """The audited model."""
    donor: str
    """The donor."""
    weight: float
    """The weight."""
    low: float
    """The lower end of what it may be."""
    high: float
    """The upper end of what it may be."""
    unevenness: float | None
    """How far the ratio of a shared ancestor's part to the donor's own would have to
    differ between matrices or bins, at most; None where that says nothing.
    """
    matrices: int
    """The number of matrices."""
    first: float | None
    """The weight in the first bin."""
    last: float | None
    """The weight in the last bin."""
    controls: Mapping[str, float]
    """By control its own weight."""


@dataclass(frozen=True)
class OneWeightEverywhere(Reason):
    """One weight in every matrix and every bin of small directions."""

    shown: Shown
    """What was measured."""
    limit: float
    """The greatest unevenness of a blend."""


@dataclass(frozen=True)
class DonorIsNoChild(Reason):
    """Turned round, the donor's change holds no one weight of the model's."""

    shown: Shown
    """What was measured."""
    apart: float
    """The least spread of the weights turned round, over their mean."""


@dataclass(frozen=True)
class OnItsTask(Reason):
    """More of the donor's large directions than of its small ones, as after training on
    what is like its task, which raises the weight.
    """

    shown: Shown
    """What was measured."""
    over: float
    """How much more, of the weight."""


@dataclass(frozen=True)
class ChangesTakenBack(Reason):
    """Many numbers are the base's where a blend would have moved them: changes were
    taken back, and part of the weight with them.
    """

    shown: Shown
    """What was measured."""
    share: float
    """Their share of what a blend would have moved."""


@dataclass(frozen=True)
class ControlUneven(Reason):
    """A control holds the donor's small directions too, but not with one weight, as the
    model does.
    """

    shown: Shown
    """What was measured."""
    name: str
    """The control."""
    differs: float
    """The least spread of its weights between matrices, over their mean."""
    even: float
    """The greatest spread of the model's."""


@dataclass(frozen=True)
class NotOfNumbersAlone(Reason):
    """The numbers do not follow from those of base and donors."""

    donors: tuple[str, ...]
    """The donors whose numbers were looked at."""
    dissent: float
    """At which share of places where all of them are alike the model is not."""


@dataclass(frozen=True)
class StaysOpen(Reason):
    """What innocent explanation strong evidence leaves."""

    model: str
    """The audited model."""
    donors: tuple[str, ...]
    """The donors that are named."""


@dataclass(frozen=True)
class WeightObserved(Reason):
    """A donor's weight along its small directions, from which no accusation follows."""

    shown: Shown
    """What was measured."""
    against: Reason | None
    """What stands against an accusation; None where that is not this measurement."""


@dataclass(frozen=True)
class AtMostOf(Reason):
    """The greatest share of a donor that the model can hold."""

    model: str
    """The audited model."""
    donor: str
    """The donor."""
    weight: float
    """The weight that was measured."""
    at_most: float
    """The upper limit."""


@dataclass(frozen=True)
class NotOneWeight(Reason):
    """The weight differs so much that no blend of one weight explains it; and what it is
    at most.
    """

    shown: Shown
    """What was measured."""
    at_most: float | None
    """The upper limit; None where it is not known."""
    differs: float | None = None
    """The least standard deviation of the weights between matrices; None in old
    findings.
    """


@dataclass(frozen=True)
class AncestorNotOffered(Reason):
    """The controls hold the donor's small directions too."""

    base: str
    """The base."""
    donor: str
    """The donor."""
    controls: Mapping[str, float]
    """By control how far it lies along the donor's small directions."""


@dataclass(frozen=True)
class NoControlBeside(Reason):
    """No control was measured."""


@dataclass(frozen=True)
class FewMatrices(Reason):
    """Too few matrices to say whether a weight is even."""

    matrices: int
    """Their number."""
    needed: int
    """The number that is needed."""


@dataclass(frozen=True)
class WeightUneven(Reason):
    """The weight is not shown to be one."""

    unevenness: float
    """As in Shown."""
    limit: float
    """The greatest unevenness of a blend."""


@dataclass(frozen=True)
class NoiseOverUneven(Reason):
    """Noise lies over the model, and the weight is not as even as it must be then."""

    donor: str
    """The donor."""
    participation: float
    """Over how much of all directions what the weight leaves is spread: 1 is noise."""
    unevenness: float
    """As in Shown."""
    limit: float
    """The greatest unevenness of a blend under noise."""


@dataclass(frozen=True)
class ControlHolds(Reason):
    """A control holds the donor's small directions too."""

    name: str
    """The control."""
    weight: float
    """Its weight."""
    limit: float
    """The greatest weight of a control."""


@dataclass(frozen=True)
class MayBeChild(Reason):
    """The donor may have been made from the model: turned round it is even as well."""

    donor: str
    """The donor."""
    apart: float
    """The least spread of the weights turned round, over their mean."""
    needed: float
    """The spread that is needed."""


@dataclass(frozen=True)
class MayBeCutOut(Reason):
    """The donor may be what stayed of the model when a part of its change was taken
    away: what is left lies in other directions.
    """

    donor: str
    """The donor."""
    overlap: float | None
    """How far it lies in the donor's: 1 is chance; None where it was not measured."""
    needed: float
    """The least that is needed."""


@dataclass(frozen=True)
class WrittenBackSince(Reason):
    """Many of the model's numbers still lie on a coarse grid."""

    model: str
    """The audited model."""
    repeated: float
    """The share of numbers side by side that are as large as another (see
    descent.repeated).
    """
    limit: float
    """What numbers that nobody quantised stay below."""


@dataclass(frozen=True)
class MayBePure(Reason):
    """Nothing shows that the model is more than arithmetic on its parents' numbers."""

    dissent: float | None
    """The share of places where the parents are alike and the model is not; None where
    that was not measured.
    """
    needed: float
    """The share that is needed."""


@dataclass(frozen=True)
class PartlyRoundTrip(Reason):
    """Parents that were quantised and written back give most of the model's numbers, but
    not those that true parents give.
    """

    kind: str
    """The format that they went through."""
    donor: str
    """The donor."""
    rate: float
    """The share of informative elements that comes back."""
    needed: float
    """The share that true parents give."""


@dataclass(frozen=True)
class WeightAtOne(Reason):
    """A weight of nearly nothing or nearly all: an earlier checkpoint, or a finetune of
    the donor.
    """

    least: float
    """The least weight; the greatest is 1 less this."""


@dataclass(frozen=True)
class DonorsShareTail(Reason):
    """Two donors that would both be named hold each other's small directions."""

    first: str
    """A donor."""
    second: str
    """The other."""
    weight: float
    """How much of the first the second holds."""
