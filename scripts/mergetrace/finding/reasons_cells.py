"""What the rules answer of packed models, whose stored numbers are known by cells."""

from collections.abc import Mapping
from dataclasses import dataclass

from mergetrace.finding.case import Reason


@dataclass(frozen=True)
class ThroughCells(Reason):
    """What a finding rests on whose model is stored in few bits."""

    model: str
    """The audited model."""
    formats: tuple[str, ...]
    """The packed formats in which it is stored."""
    informative: int
    """The packed elements that a slightly other number would have moved into another
    cell; 0 of a copy.
    """
    whole: int
    """The informative elements that are stored in 16 bits or more."""
    accuses: bool
    """Whether a merge or a copy is called."""


@dataclass(frozen=True)
class OnGrid(Reason):
    """Numbers of 16 bits or more that lie on a coarse grid."""

    model: str
    """The audited model."""
    formats: tuple[str, ...]
    """The grids."""


@dataclass(frozen=True)
class FewInCells(Reason):
    """Too few of the elements that could refute a recipe are packed ones: what is stored
    in 16 bits follows it, and of the packed tensors little is known.
    """

    informative: int
    """The packed elements that could refute the recipe."""
    whole: int
    """Those that are stored in 16 bits or more."""
    limit: int
    """The least number of packed ones that is needed."""
    formats: tuple[str, ...]
    """The packed formats in which the model is stored."""
    sampled: bool
    """Whether a sample of its elements was read."""


@dataclass(frozen=True)
class CellsMissed(Reason):
    """More packed elements lie outside their cells than a pure merge leaves there."""

    missed: int
    """The packed elements that refute the recipe."""
    informative: int
    """Those that could."""
    limit: float
    """The share of them that may."""


@dataclass(frozen=True)
class ParentsPacked(Reason):
    """Parents that are stored in few bits themselves."""

    formats: Mapping[str, tuple[str, ...]]
    """By such a parent its packed formats."""


@dataclass(frozen=True)
class NotThroughCells(Reason):
    """A verdict that is not given of a packed model."""

    verdict: str
    """The verdict that the numbers would have given."""
    formats: tuple[str, ...]
    """The packed formats in which the model is stored."""


@dataclass(frozen=True)
class MovedBefore(Reason):
    """Formats whose numbers a calibration changes before it rounds them."""

    model: str
    """The audited model."""
    formats: tuple[str, ...]
    """These formats."""


@dataclass(frozen=True)
class QuantisationHides(Reason):
    """The energy that quantising adds drowns the changes that an acquittal looks at."""

    model: str
    """The audited model."""
    share: float
    """That energy over the energy of the change from the base."""
    limit: float
    """The most that an acquittal allows."""
