"""Reasons of the rule for merges whose arithmetic nobody identified."""

from collections.abc import Mapping
from dataclasses import dataclass

from mergetrace.finding.case import Reason


@dataclass(frozen=True)
class FollowsFromParents(Reason):
    """The model's numbers follow from its parents' numbers at the same places."""

    parents: tuple[str, ...]
    """The parents."""
    repeated: int
    """The number of places that have a like one."""
    dissent: float
    """The share of them that do not hold what most of their like hold."""
    without: Mapping[str, float]
    """By parent, the same share where that parent is not looked at."""
    controls: Mapping[str, float]
    """By control, the same share of its numbers."""
    pooled: bool = False
    """Whether the like places may lie in different tensors."""


@dataclass(frozen=True)
class NearestBlend(Reason):
    """The weighted sum that is nearest to the model leaves no more than rounding."""

    base: str
    """The base."""
    shares: Mapping[str, float | None]
    """By donor its share."""


@dataclass(frozen=True)
class BlendOfRoundTrip(Reason):
    """Parents that were quantised and written back give the model."""

    kind: str
    """The format that they went through."""
    parents: tuple[str, ...]
    """The models that did."""
    base: str
    """The base."""
    shares: Mapping[str, float]
    """By donor its share."""
    informative: int
    """The elements that could refute it."""
    rate: float
    """The share of them that comes back."""
    tensors: int
    """The tensors that hold them."""
    controls: Mapping[str, float]
    """By control what comes back of it."""


@dataclass(frozen=True)
class WithinLastBits(Reason):
    """What the nearest weighted sum leaves is no more than narrow arithmetic leaves, and
    no place shows more.
    """

    within: float
    """The share of elements within two last bits of the sum."""
    alike: int
    """The number of places that have a like one: all hold what their like hold."""


@dataclass(frozen=True)
class FinerNumbers(Reason):
    """Every number lies within what storing the parents and the model rounds off."""

    donor: str
    """The donor."""
    informative: int
    """The number of elements that were asked."""
    beyond: float
    """The share of them that lies farther off."""


@dataclass(frozen=True)
class StrayFromParents(Reason):
    """The model's numbers differ where all its parents' numbers are the same."""

    parents: tuple[str, ...]
    """The parents."""
    repeated: int
    """The number of places that have a like one."""
    dissent: float
    """The share of them that do not hold what most of their like hold."""
    pooled: bool = False
    """Whether the like places may lie in different tensors."""


@dataclass(frozen=True)
class ArithmeticUnknown(Reason):
    """No recipe that was tried gives the model back."""

    tried: int
    """The number of recipes that were tried."""
    method: str | None
    """The method of the best of them."""
    rate: float | None
    """The share of informative elements that the best gives back."""
    ended_early: bool = False
    """Whether the search ended because it had tried `max_recipes`."""
