"""Reasons that say how much of the models was compared, and what follows from that."""

from dataclasses import dataclass

from mergetrace.finding.case import Reason
from mergetrace.finding.reasons_origin import EqualElements
from mergetrace.records.coverage import Coverage


@dataclass(frozen=True)
class TooLittleCompared(Reason):
    """Too little of the audited model was compared for any verdict."""

    model: str
    """The audited model."""
    coverage: Coverage
    """How much of it was compared."""
    finite_share: float
    """The share that was compared, less what is NaN or infinite."""
    share: float
    """The share that the limit is held against: of all that is stored, if somebody would
    be acquitted.
    """
    limit: float
    """The least share that must be compared."""


@dataclass(frozen=True)
class WouldMakeReadable(Reason):
    """What would make readable what was not read; a sentence for each kind of cause."""

    model: str
    """The audited model."""
    coverage: Coverage
    """What of it was not compared, and why."""


@dataclass(frozen=True)
class NotJudged(Reason):
    """What the files hold and no loader uses; a sentence for each cause."""

    coverage: Coverage
    """What that is, and why it counts nowhere."""


@dataclass(frozen=True)
class TracesOfPart(Reason):
    """An accusation that holds for the part that was compared alone."""

    verdict: str
    """The verdict that the part would get."""
    reasons: tuple[Reason, ...]
    """Its reasons."""


@dataclass(frozen=True)
class ParentComparedInPart(Reason):
    """A parent of which much was not compared."""

    parent: str
    """The parent."""
    coverage: Coverage
    """How much of it was compared."""
    model: str
    """The audited model, which has no counterpart of the rest."""


@dataclass(frozen=True)
class EqualButUnread(Reason):
    """Equal in all that was compared, but some parameters were not."""

    equal: EqualElements
    """Which models are equal."""
    coverage: Coverage
    """How much of the audited model was compared."""
    with_parts: bool
    """Whether to say which parts are missing; else another reason says so."""


@dataclass(frozen=True)
class EqualButHeldTwice(Reason):
    """Equal, but the files hold other numbers beside it."""

    equal: EqualElements
    """Which models are equal."""
    parameters: int
    """The number of parameters that are held a second time."""


@dataclass(frozen=True)
class EqualButNotFinite(Reason):
    """Equal, but too many elements are NaN or infinite."""

    equal: EqualElements
    """Which models are equal."""
    lost: int
    """The number of such elements."""
    read: int
    """The number of elements that were read."""
