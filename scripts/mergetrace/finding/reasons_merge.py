"""Reasons of the rules that accuse: what was given back, how much chance gives, and what
is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mergetrace.finding.case import Reason
from mergetrace.merging.owners import Owners
from mergetrace.records.recipe_search import Remainder


@dataclass(frozen=True)
class Blend:
    """A merge method and the models that it put together."""

    method: str
    """The merge method."""
    shares: Mapping[str, float | None]
    """By donor its share; None where no one number exists."""
    base: str | None
    """The base; None where the method does without it."""
    base_share: float | None
    """The base's share; None where no one number exists."""


@dataclass(frozen=True)
class Agreement:
    """The elements on which a donor and the base agree, and how many of them moved."""

    donor: str
    """The donor."""
    base: str
    """The base."""
    elements: int
    """The number of elements on which the two agree."""
    moved: float
    """The share of these on which the audited model differs."""


@dataclass(frozen=True)
class Chance:
    """What a trace has to exceed."""

    shares: Mapping[str, float]
    """By what it is compared with the share that is reached there."""
    times: float
    """How many times the greatest of them the trace has to reach."""


@dataclass(frozen=True)
class RecipeGivesBack(Reason):
    """One recipe gives the audited model back."""

    blend: Blend
    """The recipe."""
    rate: float
    """The share of informative elements that it gives back bit for bit."""
    informative: int
    """The number of informative elements."""
    beside: Mapping[str, float] | None = None
    """What other models and single donors reach, where that is part of the reason."""
    cells: bool = False
    """Whether the elements are packed ones, which come back where the recipe's number
    lies in their cell.
    """


@dataclass(frozen=True)
class TensorsGivenBack(Reason):
    """The recipe gives back the single tensors too."""

    share: float
    """The share of the tensors that vote and that it gives back."""
    limit: float
    """The bit-exact rate that each of them reaches."""


@dataclass(frozen=True)
class SearchBeside(Reason):
    """What the same search reaches where it must not."""

    rates: Mapping[str, float]
    """By control or shuffled donor the bit-exact rate."""
    limit: float
    """The greatest rate that is allowed."""


@dataclass(frozen=True)
class WholeTensors(Reason):
    """Each tensor is wholly one parent's."""

    owners: Owners | None = None
    """Whose they are, where a recipe says so."""


@dataclass(frozen=True)
class MixedTensors(Reason):
    """Tensors hold elements of both parents."""

    base: str
    """The base."""
    donor: str
    """The donor."""


@dataclass(frozen=True)
class MethodsAlike(Reason):
    """Other methods give the same elements on these models."""

    method: str
    """The method of the recipe."""
    others: tuple[str, ...]
    """The other methods."""


@dataclass(frozen=True)
class NotToldApart(Reason):
    """A near relative of a donor would be named in its place."""

    donor: str
    """The donor."""
    base: str
    """The base."""
    part: float
    """How far from it, as a part of its change from the base."""


@dataclass(frozen=True)
class TokensOfOne(Reason):
    """Tokens whose rows are one parent's own."""

    rows: Mapping[str, int]
    """By parent, how many rows of the embedding and the head."""


@dataclass(frozen=True)
class NoControl(Reason):
    """An accusation without a control beside it."""


@dataclass(frozen=True)
class ElementsStayed(Reason):
    """Elements that the donors moved are exactly the base's."""

    share: float
    """Their share of the informative elements."""
    informative: int
    """The number of informative elements."""
    base: str
    """The base."""
    donors: tuple[str, ...]
    """The donors that moved them."""


@dataclass(frozen=True)
class ChangesKept(Reason):
    """The other elements hold a donor's change times one number."""

    share: float
    """The share of the others that does."""
    base: str
    """The base."""
    donors: tuple[str, ...]
    """The donors whose changes they hold."""
    beside: Mapping[str, float]
    """What shuffled elements and the controls reach."""


@dataclass(frozen=True)
class DropPattern(Reason):
    """Which elements stayed shows a method."""

    family: str
    """The method whose pattern it is."""


@dataclass(frozen=True)
class ElementsOfEach(Reason):
    """Elements are exactly the base's or exactly the donor's."""

    base: str
    """The base."""
    base_share: float
    """The share of informative elements that is exactly the base's."""
    donor: str
    """The donor."""
    donor_share: float
    """The share of informative elements that is exactly the donor's."""
    informative: int
    """The number of informative elements."""
    shuffled: float
    """The share that would be the donor's with its elements shuffled."""


@dataclass(frozen=True)
class AgreementStayed(Reason):
    """The elements on which donor and base agree stayed."""

    agreement: Agreement
    """How many of them did."""


@dataclass(frozen=True)
class DonorPersists(Reason):
    """A donor's exact values are there."""

    donor: str
    """The donor."""
    share: float
    """The share of informative elements that is exactly the donor's."""
    informative: int
    """The number of informative elements."""
    chance: Chance
    """What it has to exceed."""


@dataclass(frozen=True)
class NoBlendExplainsMore(Reason):
    """No blend of donor and base explains more than the donor alone."""

    donor: str
    """The donor."""
    base: str
    """The base."""
    coverage: float
    """The share of informative elements that the best blend explains."""
    base_share: float
    """The share of informative elements that is exactly the base's."""


@dataclass(frozen=True)
class TrainedFromOther(Reason):
    """One of two models was made from the other."""

    model: str
    """The audited model."""
    donor: str
    """The donor."""


@dataclass(frozen=True)
class BlendExplains(Reason):
    """Elements are those of a rounded blend of donor and base."""

    donor: str
    """The donor."""
    alpha: float
    """Its blend weight."""
    base: str
    """The base, which has the rest."""
    share: float
    """The share of informative elements that the blend explains."""
    informative: int
    """The number of informative elements."""
    chance: Chance
    """What it has to exceed."""


@dataclass(frozen=True)
class OneWeight(Reason):
    """The blend weight is the same everywhere, and neither parent alone explains much."""

    spread: float
    """The median distance of the large tensors' blend weights from their median."""
    single: float
    """The greatest share of informative elements that one parent alone explains."""


@dataclass(frozen=True)
class PureByOtherMethod(Reason):
    """Nothing was trained, so the blend was made by a method that was not tried."""

    agreement: Agreement
    """The elements that training would have moved."""


@dataclass(frozen=True)
class PureInOtherOrder(Reason):
    """What the recipe does not give back lies within rounding of it."""


@dataclass(frozen=True)
class ChangedSlightly(Reason):
    """Elements that training moves stayed, although the blend is not pure."""

    agreement: Agreement
    """The elements that training would have moved."""


@dataclass(frozen=True)
class LeftOver(Reason):
    """What is left of the audited model once the recipe is taken away."""

    energy: float | None
    """Its energy over that of the change."""
    remainder: Remainder | None
    """How much of it there is and where, where that was measured."""
