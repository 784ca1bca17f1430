"""What the search for a recipe found, what the best recipe leaves, and what it gives back
when it is turned round.

`None` stands for a number that cannot be computed. Shares lie between 0 and 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mergetrace.records.json_records import from_json


@dataclass(frozen=True)
class RecipeParameters:
    """The settings of a recipe that every method has, and the method's own."""

    alpha: float | None
    """The sum of the donors' shares, where these are single numbers."""
    shares: Mapping[str, float | None] | None
    """The donors' shares, where these are single numbers."""
    weights: Mapping[str, Any]
    """By model, its weight in the tool's order: a number, or one per tensor."""
    base_model: str | None
    """The base that the method subtracts, if it does."""


@dataclass(frozen=True)
class RecipeNumbers:
    """One recipe, and how much of the audited model it gives back."""

    method: str
    """The merge method."""
    dtype: str
    """The arithmetic it was computed in."""
    parameters: Mapping[str, Any]
    """alpha, shares, weights, base_model (see RecipeParameters) and the method's own."""
    bit_exact_rate: float
    """The share of informative elements that it gives back bit for bit."""
    residual_share: float | None
    """The energy of what it does not give back, over that of the change."""
    informative: int = 0
    """The number of informative elements."""

    @property
    def common(self) -> RecipeParameters:
        """The parameters that every method has."""
        return from_json(RecipeParameters, self.parameters, self.method)


@dataclass(frozen=True)
class Signature:
    """What a merge leaves behind that drops or chooses some of a donor's changes."""

    family: str
    """The method whose pattern the choice shows."""
    density: float | None
    """The share of changes that was kept."""
    donors: tuple[str, ...]
    """The donors that it was measured for, the strongest first."""
    informative: int
    """The number of elements that tell a dropped change from a kept one."""
    stayed: float
    """The share of these elements that are exactly the base's."""
    survivors: float
    """The share of the others that are the base plus one weight times the change."""
    survivors_shuffled: float
    """The same share with the donor's changes at shuffled places."""
    weights: Mapping[str, float]
    """By donor, the weight of the changes that were kept."""
    auc: float
    """The chance that a kept change is larger than a dropped one."""
    kept_by_size: tuple[float, ...]
    """The share kept in ten classes of size, the smallest first."""
    unscaled_weight: float | None
    """The weight before what was kept was scaled up to make up for what was dropped."""


@dataclass(frozen=True)
class DeclaredReplay:
    """What became of a merge that the audited model's folder declares."""

    number: int
    """Which of the folder's declared merges it is, from 0."""
    matched: Mapping[str, str]
    """By declared name the offered model."""
    missing: tuple[str, ...]
    """The declared names that no offered model has, or several."""
    problem: str | None = None
    """Why it was not replayed (see search.declared.Hypothesis); None where it was."""
    detail: str = ""
    """What of it that is."""
    recipe: RecipeNumbers | None = None
    """The best recipe that it may stand for, and how much that gives back."""


@dataclass(frozen=True)
class Dependence:
    """Whether a model's numbers follow from its parents' numbers alone: places of one
    tensor where all parents hold the same numbers, up to a power of two and a sign, hold
    the same number after every merge that computes element by element.
    """

    parents: tuple[str, ...]
    """The parents whose numbers were looked at."""
    repeated: int
    """The number of places that have a like one, the parents not all being equal there."""
    dissent: float
    """The share of them that do not hold what most of their like hold."""
    without: Mapping[str, float]
    """By parent, the same share where that parent's numbers are not looked at."""
    pooled: bool = False
    """Whether a place's like may lie in another tensor."""
    turned: Mapping[str, float] | None = None
    """By parent, the same share of its own numbers where those of the audited model and
    of the other parents make places alike: a parent that was computed from these holds
    the same number there. None where it was not looked at, a parent left out where it
    has no place.
    """


@dataclass(frozen=True)
class Leaning:
    """How a model's numbers miss those of a blend by one step: to the side where the
    blend lies between two of them, or to either side.
    """

    parents: tuple[str, ...]
    """The models that the blend is of."""
    misses: int
    """The number of elements that could show it: the blend lies off the middle."""
    share: float | None
    """The share of them that are missed to the side where the blend lies: a half where
    training moved them off a stored blend. None where there are none.
    """


@dataclass(frozen=True)
class FinerBlend:
    """The blend of base and donor that most numbers hold, if the parents' may lie
    anywhere between those that round to what was offered.
    """

    weight: float
    """The donor's."""
    informative: int
    """The elements whose interval of weights is narrow."""
    beyond: float
    """The share of them that lies farther from the blend than both roundings leave."""


@dataclass(frozen=True)
class LinearBlend:
    """The weighted sum of models that is nearest to the audited one."""

    weights: Mapping[str, float]
    """By model that shows, its weight by least squares."""
    errors: Mapping[str, float]
    """By model, the standard error of its weight."""
    within: float
    """The share of elements within two last bits of the sum: what narrow arithmetic
    leaves.
    """
    ranges: Mapping[str, tuple[float, ...]] | None = None
    """By model, its least and greatest weight where every tensor has weights of its own;
    `weights` are then their means. None where one weight holds for all tensors.
    """


@dataclass(frozen=True)
class RoundTrip:
    """The blend of parents that were quantised and written back, and what it gives back
    of the tensors on which recipes are tried.
    """

    kind: str
    """The tool's format."""
    parents: tuple[str, ...]
    """The models that went through it."""
    shares: Mapping[str, float]
    """By donor its share."""
    informative: int
    """The elements that could refute it."""
    exact: int
    """Those that it gives back."""
    tensors: int
    """The tensors that hold such elements."""


@dataclass(frozen=True)
class RecipeSearch:
    """What the search for a recipe found for one audited model and base."""

    model: str
    """The audited model."""
    base: str
    """The base that recipes were tried with."""
    donor: str
    """The strongest donor."""
    donors: tuple[str, ...]
    """The donors of the best recipe."""
    interval: tuple[float, ...] | None
    """The weights of the strongest donor that all tensors allow, (low, high)."""
    out_dtype: str | None
    """The formats that the audited model is stored in, joined by ` and `."""
    informative_elements: int
    """The number of informative elements under the best recipe."""
    best: RecipeNumbers | None
    """The recipe that gives back most."""
    alternatives: tuple[RecipeNumbers, ...]
    """The others, the best first."""
    indistinguishable: tuple[str, ...]
    """Methods that give the same elements here as the best recipe's."""
    tried: int
    """How many recipes were tried."""
    signature: Signature | None
    """What a dropping merge of the strongest donor would have left."""
    signature_of_two: Signature | None = None
    """What a dropping merge of the two strongest donors would have left."""
    ended_early: bool = False
    """Whether the search ended because it had tried `max_recipes`."""
    stored_dtypes: tuple[str, ...] = ()
    """The dtypes that the audited model's numbers were rounded to, by name, in order."""
    declared: tuple[DeclaredReplay, ...] = ()
    """What became of the merges that its folder declares."""
    dependence: Dependence | None = None
    """Whether the model's numbers follow from its parents' alone."""
    blend: LinearBlend | None = None
    """The weighted sum that is nearest to the model."""
    round_trip: RoundTrip | None = None
    """The blend of parents that were quantised and written back, where one leaves far
    less than the parents as they are.
    """
    packed: tuple[str, ...] = ()
    """The packed formats in which the audited model is stored, by name, in order."""
    packed_informative: int = 0
    """How many of the informative elements are packed; the others are stored in 16 bits
    or more.
    """
    packed_missed: int = 0
    """How many of the packed ones the best recipe does not give back."""
    grid_share: float | None = None
    """The energy that rounding to coarse grids adds, over that of the change from the
    base, of a model that was quantised and written back; None of any other.
    """
    leanings: Mapping[str, Leaning] = field(default_factory=dict)
    """By donor, how the model's numbers miss the best blend of base and donor, where
    that explains anything.
    """
    leaning: Leaning | None = None
    """How they miss the best recipe's."""
    finer: Mapping[str, FinerBlend] = field(default_factory=dict)
    """By donor the blend with finer numbers than it was offered with, where the stored
    ones explain anything.
    """
    own_rows: Mapping[str, int] = field(default_factory=dict)
    """By parent, the rows of the embedding and the head that are its own, number for
    number: they were left out of what a recipe has to give back.
    """
    requantised: Mapping[str, float] = field(default_factory=dict)
    """By donor, the share of its numbers other than the base's that are the base's,
    quantised and written back.
    """
    completed: RecipeNumbers | None = None
    """The best recipe with the weights that tensors which do not vote have, where those
    are others; its rates are the best recipe's.
    """

    @property
    def signatures(self) -> tuple[Signature, ...]:
        """The signatures that could be measured."""
        measured = (self.signature, self.signature_of_two)
        return tuple(mark for mark in measured if mark is not None)


@dataclass(frozen=True)
class RemainderPlaces:
    """Where the elements lie that a recipe does not give back."""

    slices: int
    """The number of slices that were looked at."""
    changed_slices: int
    """The number of slices that hold more such elements than a few."""
    layers: Mapping[str, float]
    """By layer, its share of the remainder's energy, the greatest first."""
    components: Mapping[str, float]
    """By component, its share of the remainder's energy, the greatest first."""


@dataclass(frozen=True)
class RemainderRank:
    """The rank of the changed matrices above rounding."""

    matrices: int
    """The number of matrices that were measured."""
    median: float
    """The median rank."""
    largest: int
    """The largest rank."""
    possible: float
    """The median of the greatest rank that was possible."""


@dataclass(frozen=True)
class Swap:
    """The best recipe with one donor in another's place."""

    donor: str
    """The donor of the recipe."""
    other: str
    """The donor that was put in its place."""
    only_donor: int
    """The number of elements that only the recipe gives back."""
    only_other: int
    """The number of elements that only the other recipe gives back."""


@dataclass(frozen=True)
class Remainder:
    """What is left of one audited model once its best recipe is taken away."""

    elements: int
    """The number of elements that were looked at."""
    changed: int
    """The number of elements beyond rounding of the recipe."""
    residual_share: float | None
    """The energy of what is left, over that of the change from the base."""
    where: RemainderPlaces
    """Where it lies."""
    rank: RemainderRank | None
    """The rank of the changed matrices."""
    rank_reason: str | None
    """Why there is no rank."""
    halves: Mapping[str, int]
    """By exponent of two, the number of elements whose change must exceed that power to
    be seen.
    """
    share_intervals: Mapping[str, tuple[float, ...]]
    """By donor, the shares that the stored numbers allow it, (low, high)."""
    swaps: tuple[Swap, ...] = ()
    """The recipe with a donor's lookalike in its place."""
    model: str = ""
    """The audited model."""
    base: str = ""
    """The base of the recipe."""


@dataclass(frozen=True)
class TurnedParent:
    """What a recipe that was turned round gives back of one parent."""

    kind: str
    """Which elements were looked at: `blended`, or `chosen` by the method."""
    elements: int
    """The number of elements that were looked at."""
    reverse: float | None
    """The share of these elements that comes back from the audited model."""
    expected: float | None
    """The share that comes back of a true parent, whose digits rounding took."""
    forged: float | None
    """The share of a model that nobody merged that the recipe would give back with a
    parent computed from it.
    """


@dataclass(frozen=True)
class Turn:
    """One recipe turned round."""

    method: str
    """The merge method."""
    given_back: float | None
    """The share of the moved elements that the recipe gives back, turned forwards."""
    parents: Mapping[str, TurnedParent]
    """By parent, what comes back of it."""
