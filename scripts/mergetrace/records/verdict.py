"""verdict.json: the finding in the shape that outsiders rely on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self, TypedDict

from mergetrace.records.coverage import Coverage
from mergetrace.records.declared_merge import DeclaredMerge
from mergetrace.records.json_records import as_json, from_json
from mergetrace.records.recipe_search import (
    RecipeNumbers,
    RemainderPlaces,
    RemainderRank,
)

BaseDeclared = Literal["named", "not named", "no card"]
"""Whether a model's card or configuration names its base."""


class HubDates(TypedDict, total=False):
    """What the Hub lists of one repository, as timestamps writes it."""

    first: str | None  # the commit in which weight files first appeared
    last: str | None  # the last commit that changed one
    created: str | None  # the day on which the repository was made


class Dates(TypedDict, total=False):
    """When one model was published."""

    stated: str | None  # the date that the auditor states
    hub: HubDates | None  # what the Hub lists


@dataclass(frozen=True)
class ParentFinding:
    """What was found of one offered donor."""

    named: bool
    """Whether the verdict names it as a parent."""
    alpha: float | None
    """Its share; of a donor that is not named by least squares."""
    alpha_ci95: tuple[float, ...] | None
    """The interval of `alpha`, (low, high)."""
    alpha_ols: float | None
    """Its share by least squares."""
    cos_fit: float | None
    """The cosine between the audited model's change and the donor's."""
    share: float | None = None
    """Its share when all donors share the change and none takes less than nothing."""
    share_ci95: tuple[float, ...] | None = None
    """The 95 % interval of `share`, (low, high)."""
    inflation: float | None = None
    """By how much the other donors widen the variance of `share`; 1 means not."""
    at_most: float | None = None
    """The greatest share of it that the model can hold (95 %), by its small singular
    directions; None where these were not measured.
    """
    not_told_within: float | None = None
    """The part of its change from the base by which another model may differ from it and
    be named in its place; None of a donor that is not named, and of a merge that nothing
    changed.
    """


@dataclass(frozen=True)
class BaseShare:
    """The base, and what the audited model holds of it."""

    name: str
    """The base's name."""
    share: float | None
    """Its share; None where no one number exists."""


@dataclass(frozen=True)
class OrderFacts:
    """Which of a parent and the audited model came first."""

    before: bool | None
    """Whether the parent came first; None where that is not known."""
    by: str | None
    """What says so: `hub`, `stated`, `reverse replay`, `reverse regression` or
    `turned dependence`."""
    reverse: float | None = None
    """The share of the parent that comes back from the turned recipe."""
    expected: float | None = None
    """The share that would come back of a true parent."""


@dataclass(frozen=True)
class RecipeFinding:
    """The recipe of a merge that was established."""

    method: str
    """The merge method."""
    parameters: Mapping[str, Any]
    """Its settings (see summary.RecipeNumbers)."""
    dtype: str
    """The arithmetic it was computed in."""
    out_dtype: str | None
    """The formats that the audited model is stored in, joined by ` and `."""
    bit_exact_rate: float | None
    """The share of informative elements that it gives back bit for bit."""
    informative_elements: int
    """The number of informative elements."""
    mergekit_config: str
    """The recipe as mergekit's YAML."""
    alternatives: tuple[RecipeNumbers, ...]
    """The other recipes that were tried, the best first."""


@dataclass(frozen=True)
class SmallestChange:
    """The smallest later change that would have been seen with 95 % certainty."""

    share: float
    """The share of elements that it touches."""
    move: float
    """The size of a change of every weight."""


@dataclass(frozen=True)
class AfterMerge:
    """What was done after a merge; None everywhere where no merge is established."""

    residual_share: float | None = None
    """The energy of what the recipe does not give back, over that of the change."""
    trained: bool | None = None
    """Whether the model was trained after the merge."""
    elements: int | None = None
    """The number of elements that were looked at."""
    changed_share: float | None = None
    """The share of them that lies beyond rounding of the recipe."""
    where: RemainderPlaces | None = None
    """Where these lie."""
    rank: RemainderRank | None = None
    """The rank of the changed matrices."""
    rank_reason: str | None = None
    """Why there is no rank."""
    smallest_seen: SmallestChange | None = None
    """How little would have been seen."""
    cells: bool | None = None
    """Whether the model is packed, so that a change is seen where a number leaves its
    cell.
    """


@dataclass(frozen=True)
class Disguises:
    """What was looked for before anything was compared."""

    undone: tuple[str, ...] = ()
    """The disguises that were undone, a sentence each."""
    not_undone: tuple[str, ...] = ()
    """The disguises that show and could not be undone, a sentence each."""
    looked_for: tuple[str, ...] = ()
    """The kinds of disguise that were looked for."""


@dataclass(frozen=True)
class Judgement:
    """What the rules say of one audited model."""

    verdict: str
    """The verdict's word."""
    family: str | None
    """The method, or its kind."""
    reasons: tuple[str, ...]
    """Why, in sentences."""
    parents: Mapping[str, ParentFinding]
    """By offered donor what was found of it."""
    base: BaseShare
    """The base."""
    evidence: str | None = field(default=None, kw_only=True)
    """What an accusation rests on: `exact` numbers, numbers that are `exact through
    quantisation`, or `strong` traces, which leave an innocent explanation open; `strong`
    where somebody is acquitted by a donor's small directions, too.
    """
    order: Mapping[str, OrderFacts] = field(default_factory=dict, kw_only=True)
    """By parent, which of it and the audited model came first."""
    recipe: RecipeFinding | None = field(default=None, kw_only=True)
    """The recipe, where a merge was established."""
    after_merge: AfterMerge = field(default_factory=AfterMerge, kw_only=True)
    """What was done after the merge."""
    layout: Disguises = field(default_factory=Disguises, kw_only=True)
    """Which disguises were looked for."""
    compared: Mapping[str, Coverage] = field(default_factory=dict, kw_only=True)
    """By model how much of it was compared."""

    @property
    def named(self) -> list[str]:
        """The donors that the verdict names, in the order in which they were offered."""
        return [donor for donor, entry in self.parents.items() if entry.named]


@dataclass(frozen=True)
class BaseCandidate:
    """One base candidate, and what it shows."""

    chosen: bool
    """Whether it was chosen."""
    delta_energy: float
    """The sum of the suspect's squared changes from it."""
    times: float | None
    """`delta_energy` over that of the chosen base."""
    cos_fit: float | None
    """The suspect's cos_fit beside it."""
    control_cos_fit: float | None
    """The greatest cos_fit of a control beside it."""
    bit_exact_rate: float | None
    """The share of informative elements that the best recipe gives back with it."""
    verdict: str | None
    """The verdict that the rules would give with it."""


@dataclass(frozen=True)
class NameCount:
    """How many answers give one name."""

    hits: int
    """The number of answers that give it."""
    n: int
    """The number of answers."""
    ci95: tuple[float, ...] | None
    """The 95 % interval of their share, (low, high)."""


@dataclass(frozen=True)
class BytesRead:
    """What was read of the models."""

    mode: str
    """`full` or `sample`."""
    bytes: int
    """The number of bytes read."""
    elements: int
    """The number of elements read of the suspect."""
    full_hash_verified: bool
    """Whether every weight file that was read has the published hash."""
    files: Mapping[str, Mapping[str, str]]
    """By model and weight file, what was done with it (see finding.reading)."""


@dataclass(frozen=True)
class Declared:
    """What a model card claims."""

    base_model: tuple[str, ...] | None = None
    """The parents that it lists."""
    relation: str | None = None
    """How the model was made of them, in the Hub's words."""
    license: str | None = None
    """The licence."""
    merge_tool: str | None = None
    """The version of mergekit that the weight files name."""
    has_card: bool | None = None
    """Whether there is a card; None in findings made before that was recorded."""
    config_names: str | None = None
    """The model or folder that config.json was read from (`_name_or_path`)."""
    merges: tuple[DeclaredMerge, ...] = ()
    """The merges that its folder declares."""


@dataclass(frozen=True)
class DeclaredItem:
    """One thing that a folder declares of its merge, beside what was found."""

    what: str
    """`method`, `model`, `parameter` or `dtype`."""
    name: str
    """The parameter, or the model as it is called there; empty for the others."""
    declared: Any
    """What is declared; of a model the offered model that it means."""
    found: Any
    """What was found; None where nothing was."""
    agrees: bool | None
    """Whether both agree; None where nothing was found that it could agree with."""


@dataclass(frozen=True)
class DeclaredBeside:
    """A merge that the suspect's folder declares, beside what was found."""

    file: str
    """The file that declares it."""
    items: tuple[DeclaredItem, ...]
    """What it declares, one thing after another."""
    missing: tuple[str, ...]
    """The models that it names and that were not offered, or not by one name."""
    problem: str | None
    """Why it was not replayed, as a code; None where it was."""
    detail: str
    """What of it that is."""
    given_back: float | None
    """The share of informative elements that it gives back bit for bit."""
    informative: int
    """The number of these elements."""
    holds: bool | None
    """Whether that is enough for a merge; None where it was not replayed."""


@dataclass(frozen=True)
class Verdict(Judgement):
    """The finding of an audit: what the rules say of the suspect, and beside it."""

    audit: str = field(kw_only=True)
    """The audit's name."""
    suspect: str = field(kw_only=True)
    """The model under audit."""
    bases: Mapping[str, BaseCandidate] = field(default_factory=dict, kw_only=True)
    """The base candidates."""
    controls: Mapping[str, Judgement] = field(default_factory=dict, kw_only=True)
    """What the same rules say of the controls."""
    probe: Mapping[str, Mapping[str, Mapping[str, NameCount]]] | None = field(
        default=None, kw_only=True
    )
    """By model, condition and name, how many answers give it; None where nobody asked."""
    read: BytesRead = field(kw_only=True)
    """What was read."""
    published: Mapping[str, Dates] = field(default_factory=dict, kw_only=True)
    """By model when it was published."""
    adapters: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """By model that is an adapter merged into another, what that one is called."""
    declared: Declared = field(default_factory=Declared, kw_only=True)
    """What the suspect's card claims."""
    declared_merges: tuple[DeclaredBeside, ...] = field(default=(), kw_only=True)
    """The merges that the suspect's folder declares, beside what was found."""
    base_declared: BaseDeclared | None = field(default=None, kw_only=True)
    """Where no donor was offered and the origin is the base's, whether the suspect's
    card or configuration names the base; else None.
    """
    versions: Mapping[str, str] = field(default_factory=dict, kw_only=True)
    """By package its version."""

    @classmethod
    def of(cls, value: Any) -> Self:
        """The finding in the JSON value of verdict.json."""
        return from_json(cls, value, "verdict.json")

    def as_json(self) -> dict[str, Any]:
        """The JSON value of verdict.json."""
        found = as_json(self)
        return {"audit": found.pop("audit"), "suspect": found.pop("suspect"), **found}
