"""summary.json: every number of an audit, as the rules judge them and the report shows
them.

`None` stands for a number that cannot be computed. Shares lie between 0 and 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from mergetrace.records.json_records import as_json, from_json
from mergetrace.records.recipe_search import (
    RecipeNumbers,
    RecipeSearch,
    Remainder,
    Turn,
)


@dataclass(frozen=True)
class DonorSummary:
    """One audited model beside one donor, over all slices that vote."""

    alpha_ols: float | None
    """The donor's share of the change, by least squares over all donors together."""
    alpha_se: float | None
    """The standard error of `alpha_ols`: se^2 = sum (w_i se_i)^2 with w_i the slice's
    share of the donor's change. Blocks are taken as independent within slices; it says
    nothing of differences between slices.
    """
    cos: float | None
    """The cosine between the audited model's change and the donor's."""
    coverage: float | None
    """The share of informative elements that the best single blend weight explains."""
    coverage_base: float | None
    """The share of informative elements that are exactly the base's."""
    coverage_donor: float | None
    """The share of informative elements that are exactly the donor's."""
    coverage_shuffled: float | None
    """The coverage with the donor's changes at shuffled places."""
    informative: int
    """The number of informative elements."""
    alpha_replay: float | None
    """The blend weight that most stored numbers allow: the median over tensors."""
    alpha_spread: float | None
    """The median distance of the tensors' blend weights from `alpha_replay`."""
    parents_agree: int
    """The number of elements on which donor and base agree."""
    moved_alone: float | None
    """The share of these on which the audited model differs from both."""
    stayed_alone: float | None
    """The share of the elements that the donor changed and the audited model did not."""
    equal_donor: float | None
    """The share of the elements that the donor changed and that equal the donor's."""
    same_sign: float | None
    """The share of the elements moved in both that move in the same direction."""
    only: Mapping[str, int]
    """By other donor, the number of elements that this donor explains and that one does
    not.
    """
    all_equal: bool
    """Whether every compared element equals the donor's."""
    all_rounded: bool = False
    """Whether every compared element equals the donor's, rounded to the audited model's
    format.
    """
    is_base: bool = False
    """Whether the donor equals the base in every compared element."""

    @property
    def equals(self) -> bool:
        """Whether every element equals the donor's, rounded or as it is."""
        return self.all_equal or self.all_rounded


@dataclass(frozen=True)
class DonorShare:
    """One donor's share when all donors share the change and none takes less than
    nothing.
    """

    share: float | None
    """The share, by least squares that are not negative."""
    ci95: tuple[float, ...] | None
    """Its 95 % interval over layers or tensors, (low, high)."""
    inflation: float | None
    """By how much the other donors widen the variance of this share; 1 means not."""


@dataclass(frozen=True)
class Mixture:
    """The change of one audited model, shared out among all donors at once."""

    donors: Mapping[str, DonorShare]
    """By donor, its share."""
    cosines: Mapping[str, Mapping[str, float | None]]
    """By two donors, the cosine between their changes."""
    groups: int
    """The number of groups that the intervals were computed over."""
    group_kind: str | None
    """What a group is: `layers` or `tensors`."""
    reason: str | None
    """Why there are no shares or intervals."""


@dataclass(frozen=True)
class PooledNumbers:
    """What the fits of one audited model give together, with one base."""

    slices: int
    """The number of slices that vote."""
    elements: int
    """The number of elements in them that were compared."""
    elements_read: int
    """The number of elements that were read, of all slices."""
    nonfinite: int
    """The number of these that are NaN or infinite in some model."""
    nonfinite_tensors: tuple[str, ...]
    """The tensors that hold them."""
    delta_energy: float
    """The sum of the squared changes from the base."""
    rounding_share: float | None
    """The energy that rounding has, over that of the change."""
    cos_fit: float | None
    """The cosine between the change and the best blend of the donors' changes."""
    base_cos: float | None
    """The cosine between the raw weights of the audited model and the base."""
    equal_base: float | None
    """The share of elements that equal the base's."""
    all_equal_base: bool
    """Whether every compared element equals the base's."""
    all_rounded_base: bool
    """Whether every compared element equals the base's, rounded to the audited model's
    format.
    """
    elements_voting: int
    """The number of elements of the slices that vote."""
    donors: Mapping[str, DonorSummary]
    """By donor, the numbers beside it."""
    informative: int
    """The number of informative elements under the best recipe."""
    bit_exact_rate: float | None
    """The share of them that the best recipe gives back bit for bit."""
    exact_share: float | None
    """The share of tensors that it gives back as a reproduced merge needs it."""


@dataclass(frozen=True)
class ModelSummary(PooledNumbers):
    """All numbers of one audited model, with one base."""

    mixture: Mixture | None
    """The change shared out among all donors."""
    recipe: RecipeSearch
    """What the recipe search found."""
    remainder: Remainder | None
    """What the best recipe leaves, where it gives back enough."""
    slices_of_base: int | None = None
    """The number of slices that vote whose raw weights point the base's way. None in
    findings made before that was counted.
    """
    turns: Mapping[str, Turn] | None = None
    """The recipes that were turned round, by `recipe`, `blend DONOR`, `drop DONOR`,
    `narrow drop DONOR`, `exact drop DONOR` and `exact narrow drop DONOR`. None in
    findings made before recipes were turned round.
    """


@dataclass(frozen=True)
class BaseSummary:
    """One base candidate."""

    delta_energy: float
    """The sum of the suspect's squared changes from it."""
    recipe: RecipeNumbers | None
    """The best recipe with it."""
    models: Mapping[str, ModelSummary] = field(default_factory=dict)
    """By audited model, its numbers with this base; empty for the base that was chosen,
    whose numbers are the summary's.
    """


@dataclass(frozen=True)
class SamplingReach:
    """How far the sample's shares may lie from those of all elements."""

    groups: int
    """The number of places: components in layers."""
    median: float
    """Half the width of the 95 % interval in the median place."""
    most: float
    """Half the width of the widest interval."""


@dataclass(frozen=True)
class Summary:
    """Every number of an audit."""

    suspect: str
    """The model under audit."""
    base: str
    """The base candidate that was chosen."""
    bases: Mapping[str, BaseSummary]
    """All base candidates."""
    donors: tuple[str, ...]
    """The donors beside that base: of all that were offered, those that are not it."""
    sampling: SamplingReach | None
    """The reach of a sample audit; None where everything was read."""
    models: Mapping[str, ModelSummary]
    """The audited models, the suspect and the controls, with the chosen base."""
    in_both_roles: tuple[str, ...] = ()
    """The base candidates that were offered as donors too."""

    @classmethod
    def of(cls, value: Any) -> Self:
        """The summary in the JSON value of summary.json."""
        return from_json(cls, value, "summary.json")

    def as_json(self) -> dict[str, Any]:
        """The JSON value of summary.json."""
        found: dict[str, Any] = as_json(self)
        return found
