"""Reasons that say which of two models came first, or why that is not known."""

from collections.abc import Mapping
from dataclasses import dataclass

from mergetrace.finding.case import Reason
from mergetrace.finding.dates import Age


@dataclass(frozen=True)
class Pair:
    """A parent and the audited model."""

    parent: str
    """The parent."""
    model: str
    """The audited model."""


@dataclass(frozen=True)
class Return:
    """How much of a parent comes back from a recipe that was turned round."""

    reverse: float | None
    """The share that comes back."""
    expected: float | None
    """The share that would come back of a true parent."""


@dataclass(frozen=True)
class ParentYounger(Reason):
    """A parent that is younger by dates."""

    pair: Pair
    """The two models."""
    age: Age
    """Their dates."""


@dataclass(frozen=True)
class ParentOlder(Reason):
    """A parent that is older by dates."""

    pair: Pair
    """The two models."""
    age: Age
    """Their dates."""


@dataclass(frozen=True)
class BaseYounger(Reason):
    """A base that a finetune of it cannot start at, since it is the younger."""

    pair: Pair
    """The base and the audited model."""
    age: Age
    """Their dates."""


@dataclass(frozen=True)
class OfferCommonBase(Reason):
    """What would settle it: the base that both models descend from."""


@dataclass(frozen=True)
class ParentComesBackWhole(Reason):
    """A parent that comes back as one does that was computed from the audited model."""

    pair: Pair
    """The two models."""
    returned: Return
    """How much comes back."""
    others: tuple[str, ...] = ()
    """Further parents of the recipe that nothing shows to be older: one that was
    computed from the audited model brings every other back with it.
    """


@dataclass(frozen=True)
class ParentComesBackBetween(Reason):
    """A parent that comes back neither as a true one nor as a computed one."""

    pair: Pair
    """The two models."""
    returned: Return
    """How much comes back."""


@dataclass(frozen=True)
class TwoStories(Reason):
    """Weights that do not say which was made from which."""

    pair: Pair
    """The two models."""
    returned: Return
    """How much of the parent comes back, where that could be measured."""


@dataclass(frozen=True)
class TwoStoriesOfParts(Reason):
    """Elements that two models share number for number, which either may have taken
    from the other.
    """

    pair: Pair
    """The two models."""
    base: str
    """The base."""


@dataclass(frozen=True)
class CopyOrderUnknown(Reason):
    """Two models with equal numbers, of which either may be the first."""

    pair: Pair
    """The two models."""


@dataclass(frozen=True)
class BaseTakenForOlder(Reason):
    """A copy of the base, which was offered as the older."""

    pair: Pair
    """The base and the audited model."""


@dataclass(frozen=True)
class OlderByWeights(Reason):
    """A donor that is the older by its weights alone."""

    pair: Pair
    """The two models."""
    returned: Return
    """How much comes back."""


@dataclass(frozen=True)
class OlderByLikePlaces(Reason):
    """Parents that do not follow from the audited model, which follows from them."""

    model: str
    """The audited model."""
    dissents: Mapping[str, float]
    """By parent that no date says to be older, the share of like places at which it
    holds another number.
    """


@dataclass(frozen=True)
class ParentFollows(Reason):
    """A parent that follows from the audited model as much as that does from it."""

    pair: Pair
    """The two models."""
    dissent: float
    """The share of like places at which the parent holds another number."""


@dataclass(frozen=True)
class BaseByWeights(Reason):
    """A base of which no date says that it is the older either."""

    base: str
    """The base."""
    returned: Return
    """How much comes back."""
