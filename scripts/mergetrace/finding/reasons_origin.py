"""Reasons of the rules that do not accuse of a merge: equal weights, common origin,
disguises, innocence, and what keeps a verdict open.
"""

from dataclasses import dataclass

from mergetrace.finding.case import Reason


@dataclass(frozen=True)
class EqualElements:
    """Every compared element of a model equals that of some parents."""

    model: str
    """The audited model."""
    parents: tuple[str, ...]
    """The parents, which cannot be told apart."""
    exact: bool
    """Whether they are equal as they are stored; else once they are rounded to the
    format of the audited model.
    """


@dataclass(frozen=True)
class Recast:
    """Formats that differ between a parent and the audited model."""

    source: tuple[str, ...]
    """The parent's formats."""
    target: tuple[str, ...]
    """The audited model's formats."""


@dataclass(frozen=True)
class EqualInAll(Reason):
    """Nothing stands against a copy."""

    equal: EqualElements
    """Which models are equal."""
    recast: Recast | None
    """The formats, where they differ."""


@dataclass(frozen=True)
class EqualOnceRounded(Reason):
    """Equal only once the numbers of the audited model were rounded."""

    equal: EqualElements
    """Which models are equal."""


@dataclass(frozen=True)
class EqualButNothingVotes(Reason):
    """Equal, but only in tensors that are too small."""

    equal: EqualElements
    """Which models are equal."""


@dataclass(frozen=True)
class EqualInPart(Reason):
    """Equal, but much of the parent is not there."""

    equal: EqualElements
    """Which models are equal."""
    held: float
    """The share of the parent's parameters that the audited model has."""


@dataclass(frozen=True)
class EqualToSeveral(Reason):
    """Equal to several parents, of which none can be named."""

    equal: EqualElements
    """Which models are equal."""


@dataclass(frozen=True)
class RestsOnSample(Reason):
    """Not every element was read."""

    read: int
    """The number of elements that were read."""
    compared: int
    """The number of elements that the sample stands for."""


@dataclass(frozen=True)
class NothingVotes(Reason):
    """No tensor was large enough."""


@dataclass(frozen=True)
class NoCommonOrigin(Reason):
    """Raw weights that do not point the same way."""

    model: str
    """The audited model."""
    base: str
    """The base."""
    cosine: float
    """The cosine between their raw weights."""
    limit: float
    """The least cosine of a common origin."""
    in_place: float | None = None
    """The share of matrices that lie where one of a donor's does, where that is part of
    the reason.
    """


@dataclass(frozen=True)
class DisguisesNotLookedFor(Reason):
    """The models are not on this machine, so nobody looked."""


@dataclass(frozen=True)
class DisguiseHides(Reason):
    """A disguise that shows and was not undone."""

    origin: bool
    """Whether it hides where the model comes from; else what lies behind it."""


@dataclass(frozen=True)
class MatricesOfOther(Reason):
    """Matrices lie where those of a model that was not offered may lie."""

    in_place: float
    """The share of matrices that lie where those of `reference` do."""
    reference: str | None
    """The parent that most of them were found in."""


@dataclass(frozen=True)
class LookedFor(Reason):
    """The disguises that were looked for and not found."""

    kinds: tuple[str, ...]
    """What they are called."""


@dataclass(frozen=True)
class FewInPlace(Reason):
    """Matrices that lie nowhere in the parents."""

    in_place: float
    """The share of matrices that lie where `reference` has its own."""
    reference: str | None
    """The parent that most of them were found in."""


@dataclass(frozen=True)
class Undone(Reason):
    """A disguise that was undone before anything was compared."""

    what: str
    """What was done to the weights."""


@dataclass(frozen=True)
class NotUndone(Reason):
    """A disguise that shows and was not undone."""

    what: str
    """What was done to the weights."""


@dataclass(frozen=True)
class StartsAtBase(Reason):
    """Raw weights that point the same way as the base's."""

    model: str
    """The audited model."""
    base: str
    """The base."""
    cosine: float
    """The cosine between their raw weights."""


@dataclass(frozen=True)
class FollowsNoDonor(Reason):
    """Changes that follow no donor's."""

    cos_fit: float
    """The cosine between the changes and the donors' best blend."""
    max_cos_fit: float
    """The greatest cosine of an innocent."""
    same_sign: float
    """The greatest share of changes that point the same way as a donor's."""
    max_same_sign: float
    """The greatest such share of an innocent."""


@dataclass(frozen=True)
class NoRecipeFits(Reason):
    """No recipe gives the model back."""

    best: float | None
    """The best recipe's bit-exact rate, where there is one."""


@dataclass(frozen=True)
class DonorsAlike(Reason):
    """A named donor and another that is like it."""

    named: str
    """The donor that is named."""
    other: str
    """The donor that is like it."""
    cosine: float
    """The cosine between their changes."""
    only_named: int
    """The number of elements that speak for the named donor alone."""
    only_other: int
    """The number of elements that speak for the other alone."""
    told_apart: bool
    """Whether that tells them apart."""


@dataclass(frozen=True)
class VerdictNotGiven(Reason):
    """A verdict that this configuration does not give."""

    verdict: str
    """The verdict's word."""
    setting: str
    """The key of `verdict` that leaves it out."""


@dataclass(frozen=True)
class DonorIsBase(Reason):
    """A donor that cannot be told from the base."""

    donor: str
    """The donor."""
    base: str
    """The base."""


@dataclass(frozen=True)
class MovesLikeDonors(Reason):
    """Changes in the donors' direction."""

    model: str
    """The audited model."""
    cos_fit: float
    """The cosine between the changes and the donors' best blend."""


@dataclass(frozen=True)
class ControlsMoveToo(Reason):
    """Controls that move in the donors' direction, as seen from a wrong base."""

    base: str
    """The base that may be wrong."""
    cosines: dict[str, float]
    """By control its cos_fit."""


@dataclass(frozen=True)
class DonorsMoveAlike(Reason):
    """Donors that all move alike, as seen from a wrong base."""

    base: str
    """The base that may be wrong."""
    cosine: float
    """The smallest cosine between the changes of two donors."""


@dataclass(frozen=True)
class FewInformative(Reason):
    """Too few informative elements for anything exact."""

    informative: int
    """Their number."""
    needed: int
    """The number that is needed."""


@dataclass(frozen=True)
class RecipeButNoMerge(Reason):
    """A recipe gives the model back, and something else stands against a merge."""

    rate: float
    """The share of informative elements that it gives back."""
    informative: int
    """The number of informative elements."""
    against: Reason
    """What stands against it."""


@dataclass(frozen=True)
class NoExactTrace(Reason):
    """No recipe gives enough back."""

    rate: float
    """The share of informative elements that the best recipe gives back."""
    informative: int
    """The number of informative elements."""
    tensors: float
    """The share of tensors that reach `limit`."""
    limit: float
    """The bit-exact rate of a reproduced merge."""


@dataclass(frozen=True)
class OtherBaseAccuses(Reason):
    """An acquittal on one base candidate where the rules accuse on another."""

    base: str
    """The base that was chosen."""
    verdicts: dict[str, str]
    """By other base candidate the accusing verdict."""


@dataclass(frozen=True)
class NoRuleApplies(Reason):
    """Numbers that no rule is made for."""
