"""Reasons of the rules that ask for the base alone."""

from dataclasses import dataclass

from mergetrace.finding.case import Reason
from mergetrace.finding.dates import Age
from mergetrace.finding.reasons_order import Pair


@dataclass(frozen=True)
class CommonOrigin(Reason):
    """Raw weights that point the same way, nearly everywhere."""

    model: str
    """The audited model."""
    base: str
    """The base."""
    cosine: float
    """The cosine between their raw weights."""
    equal: float | None
    """The share of elements that are equal in both."""


@dataclass(frozen=True)
class PartOfBase(Reason):
    """Raw weights that point the base's way in some slices only."""

    base: str
    """The base."""
    share: float
    """The share of slices in which they do."""
    cosine: float
    """The cosine from which a slice counts."""
    limit: float
    """The share from which the whole model has that origin."""


@dataclass(frozen=True)
class WhichFirstOpen(Reason):
    """No date says which of two models of one origin came first."""

    pair: Pair
    """The base and the audited model."""


@dataclass(frozen=True)
class BaseIsOlder(Reason):
    """A base that is the older by dates."""

    pair: Pair
    """The base and the audited model."""
    age: Age
    """Their dates."""


@dataclass(frozen=True)
class NoDonorOffered(Reason):
    """Nobody asked for a merge."""
