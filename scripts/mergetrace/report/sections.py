"""The sections of the report: what each prints, in words and digits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from mergetrace.finding import lineage, wording
from mergetrace.finding.case import ACCUSING
from mergetrace.finding.wording_dates import beside_suspect
from mergetrace.finding.wording_headline import Headline, headline, parts
from mergetrace.finding.wording_remainder import after_merge_sentences
from mergetrace.readable import known, shown_path
from mergetrace.records.coverage import Coverage
from mergetrace.records.manifest import Manifest
from mergetrace.records.recipe_search import RecipeNumbers
from mergetrace.records.verdict import Declared, Disguises
from mergetrace.report import cells, coverage_tables, offered, recipes, tables
from mergetrace.report.declared import DeclaredTable, declared_tables
from mergetrace.report.drilldown import encode
from mergetrace.report.inputs import Inputs
from mergetrace.scan import wording as scan_wording
from mergetrace.timestamps import describe_dates


@dataclass(frozen=True)
class Head:
    """What the page says first."""

    headline: Headline
    """The verdict in plain words."""
    parts: list[tuple[str, float]]
    """(model, share) of what the suspect is a blend of; empty where it is none."""
    order: str
    """Which of the models came first."""
    limits: list[str]
    """What the finding does not say."""
    controls: str
    """What the same rules say of the controls."""
    control_accused: bool
    """Whether they accuse one."""


@dataclass(frozen=True)
class Because:
    """Why: what the suspect reaches beside the controls."""

    curves: list[tables.CurveRow]
    """The blend weight that explains most, by model and donor."""
    beside: list[tables.BesideRow]
    """What every audited model reaches."""
    chosen: str
    """How a scan chose the controls; empty where they were named."""


@dataclass(frozen=True)
class Shares:
    """How much of whom."""

    parents: list[str]
    """Each donor's share in words."""
    unnamed: list[str]
    """The donors with a share that the verdict does not name."""
    several_donors: bool
    """Whether more than one donor was offered."""
    donors: list[offered.DonorRow]
    """The donors beside each other."""
    bases: list[offered.BaseRow]
    """The base candidates beside each other."""
    control_names: list[str]
    """The controls, in the order of the columns."""
    layers: list[tables.PooledRow]
    """What was seen by layer."""
    components: list[tables.PooledRow]
    """What was seen by component."""
    map: tuple[list[str], list[tuple[str, list[str]]]]
    """The components, and by layer their numbers."""
    experts: list[tables.ExpertRow]
    """What was seen of the experts, by layer."""
    worst: list[tables.WorstRow]
    """The slices that fit worst."""
    slices: int
    """How many slices the search holds."""
    packed: Markup
    """All of them, for the search."""


@dataclass(frozen=True)
class Recipe:
    """The recipe, or that there is none."""

    found: recipes.RecipeRow | None
    """The recipe that was established."""
    equal: list[recipes.RecipeRow]
    """The recipes that give back exactly as much."""
    lesser: list[recipes.RecipeRow]
    """The recipes that give back less."""
    best: RecipeNumbers | None
    """The best recipe, whether or not it was established."""
    informative: int
    """The number of informative elements under it."""
    packed: tuple[str, ...]
    """The packed formats in which the suspect is stored."""


@dataclass(frozen=True)
class DeclaredAndFound:
    """The card's claims beside what was found."""

    claims: Declared
    """What the card says."""
    commit: str | None
    """The commit at which it was read."""
    parents: Mapping[str, bool]
    """By parent found whether the card lists it."""
    licences: list[lineage.LicenceTerms]
    """What the parents' licences ask."""
    card: str | None
    """What an honest card would say."""
    merges: list[DeclaredTable]
    """The merges that its folder declares, beside what was found."""


@dataclass(frozen=True)
class ModelRow:
    """One model of the audit."""

    model: str
    """Its name."""
    role: str
    """Its part in the audit."""
    source: str
    """Its repository, or the folder without the way to it."""
    published: str
    """When it was published; empty where nobody says."""
    beside: str
    """What that says of which was first, it or the suspect; empty of the suspect."""
    manifest: Manifest
    """Its manifest."""


@dataclass(frozen=True)
class Read:
    """What was read and what was not."""

    whole: bool
    """Whether every element was read."""
    slices: int
    """The number of slices that were read."""
    models: list[ModelRow]
    """The models."""
    disguises: Disguises
    """Which disguises were looked for."""
    compared: list[coverage_tables.ComparedRow]
    """How much of each model was compared."""
    unpaired: list[coverage_tables.UnpairedRow]
    """What was not compared, by model and reason."""
    unpaired_further: int
    """The number of reasons that are not shown."""
    not_finite: list[tuple[str, str]]
    """The tensors with elements that are no numbers, and how many."""
    statuses: list[tuple[str, str, str]]
    """The state of the slices: state, how many, how many of them vote."""


@dataclass(frozen=True)
class Rules:
    """The rules and how often they were wrong."""

    error_rates: list[tables.ErrorRateRow]
    """How often each verdict fell on somebody innocent."""
    thresholds: Mapping[str, tuple[Any, str]]
    """By threshold its value and what it means."""


def head(inputs: Inputs) -> Head:
    """What the page says first."""
    verdict = inputs.verdict
    plan = inputs.plan
    accused = [
        name for name, entry in verdict.controls.items() if _accuses(entry.verdict)
    ]
    return Head(
        headline(verdict),
        parts(verdict),
        wording.order(verdict),
        wording.limits(verdict, plan["not_compared"], plan["elements"]),
        wording.controls(verdict),
        bool(accused),
    )


def because(inputs: Inputs) -> Because:
    """Why the verdict is what it is."""
    verdict = inputs.verdict
    verdicts = {inputs.suspect: verdict.verdict}
    verdicts |= {name: entry.verdict for name, entry in verdict.controls.items()}
    beside = tables.beside(inputs.summary, inputs.tensors, inputs.controls, verdicts)
    chosen = scan_wording.chosen(inputs.siblings) if inputs.siblings else ""
    return Because(tables.curve_rows(inputs.curves), beside, chosen)


def shares(inputs: Inputs) -> Shares:
    """How much of whom, and where."""
    verdict = inputs.verdict
    suspect = inputs.suspect
    order = inputs.layer_order
    components = inputs.components.sort_values(["votes", "elements"], ascending=False)
    models = inputs.components["model"].unique()
    return Shares(
        parents=[wording.parent(verdict, donor) for donor in verdict.parents],
        unnamed=[
            donor
            for donor, entry in verdict.parents.items()
            if not entry.named and known(entry.alpha)
        ],
        several_donors=len(inputs.summary.donors) > 1,
        donors=offered.donors(verdict.parents),
        bases=offered.bases(verdict.bases),
        control_names=[model for model in models if model != suspect],
        layers=tables.pooled(inputs.layers, "layer", suspect),
        components=tables.pooled(components, "component", suspect),
        map=tables.map_rows(cells.by_layer_and_component(inputs.tensors), order),
        experts=tables.expert_rows(cells.by_expert(inputs.tensors, order)),
        worst=tables.worst(inputs.tensors),
        slices=len(inputs.tensors),
        # base64 of our own making: nothing of it needs escaping
        packed=Markup(encode(inputs.tensors)),
    )


def recipe(inputs: Inputs) -> Recipe:
    """The recipe and the others that were tried."""
    search = inputs.suspect_numbers.recipe
    found = inputs.verdict.recipe
    best = (search.best, search.informative_elements, search.packed)
    if found is None:
        return Recipe(None, [], [], *best)
    row, equal, lesser = recipes.recipe_rows(found)
    return Recipe(row, equal, lesser, *best)


def after_merge(inputs: Inputs) -> list[str]:
    """What was done after the merge, in sentences."""
    return after_merge_sentences(inputs.verdict.after_merge)


def declared(inputs: Inputs) -> DeclaredAndFound:
    """The card's claims and, beside them, the parents found (and whether the card has
    them), their licences, and what an honest card would say.
    """
    verdict = inputs.verdict
    manifests = inputs.manifests
    return DeclaredAndFound(
        verdict.declared,
        manifests[verdict.suspect]["source"]["commit"],
        lineage.on_card(verdict, manifests),
        lineage.licences(verdict, manifests, inputs.licences),
        lineage.honest_card(verdict, manifests),
        declared_tables(verdict),
    )


def read(inputs: Inputs) -> Read:
    """What was read and what was not."""
    plan = inputs.plan
    whole = plan["mode"] == "full"
    slices = plan["slices"] if whole else plan.get("sampled_slices", plan["slices"])
    unpaired, further = coverage_tables.unpaired(inputs.unpaired)
    return Read(
        whole=whole,
        slices=slices,
        models=_models(inputs),
        disguises=inputs.verdict.layout,
        compared=coverage_tables.compared(_coverages(inputs)),
        unpaired=unpaired,
        unpaired_further=further,
        not_finite=coverage_tables.not_finite(inputs.tensors),
        statuses=coverage_tables.statuses(inputs.tensors),
    )


def rules(inputs: Inputs) -> Rules:
    """The rules and how often they were wrong."""
    return Rules(tables.error_rates(inputs.error_rates), inputs.thresholds)


def _accuses(verdict: str) -> bool:
    return verdict in ACCUSING


def _coverages(inputs: Inputs) -> dict[str, Coverage]:
    """The coverage of every model, that of the controls from their own findings."""
    coverages = dict(inputs.verdict.compared)
    for control in inputs.verdict.controls.values():
        coverages |= control.compared
    return coverages


def _models(inputs: Inputs) -> list[ModelRow]:
    rows = []
    for model, role in inputs.roles.items():
        if model not in inputs.manifests:
            continue
        manifest = inputs.manifests[model]
        source = manifest["source"]
        dates = inputs.verdict.published.get(model, {})
        published = describe_dates(dates.get("stated"), dates.get("hub"))
        place = source["repo"] or shown_path(source["path"] or "")
        beside = ""
        if model != inputs.suspect:
            own = inputs.verdict.published.get(inputs.suspect, {})
            beside = beside_suspect(own, dates)
        rows.append(ModelRow(model, role, place, published, beside, manifest))
    return rows
