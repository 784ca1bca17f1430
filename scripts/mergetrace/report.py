"""The report: one self-contained HTML page about one audit, readable without network and without JavaScript."""

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mergetrace import figures, readable, report_tables, wording
from mergetrace.svg import Picture

POLICY = "default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True)
class Inputs:
    """What the page is made of: verdict.json, summary.json, plan.json, the tables, and per model its manifest, template and answers.

    thresholds: (value, what it means) by name. identities: the spellings that count for each.
    """

    verdict: Mapping[str, Any]
    summary: Mapping[str, Any]
    plan: Mapping[str, Any]
    manifests: Mapping[str, Mapping[str, Any]]
    chat_templates: Mapping[str, Mapping[str, Any]]
    answers: Mapping[str, list[Mapping[str, Any]]]
    identities: Mapping[str, list[str]]
    thresholds: Mapping[str, tuple[Any, str]]
    tensors: pd.DataFrame
    controls: pd.DataFrame
    layers: pd.DataFrame
    components: pd.DataFrame
    unpaired: pd.DataFrame


def draw(inputs: Inputs) -> dict[str, Picture]:
    """The pictures that there are numbers for: some of layers, expected, map, names."""
    verdict, suspect, order = inputs.verdict, inputs.verdict["suspect"], _order(inputs)
    pictures = {}
    if inputs.layers["alpha"].notna().any():
        recipe = verdict["recipe"]["parameters"].get("alpha") if verdict["recipe"] else None
        donors = inputs.summary["donors"]
        ends = (f"all {inputs.summary['base']}", f"all {donors[0]}" if len(donors) == 1 else "all donors")
        cells = report_tables.cells(inputs.tensors)
        pictures["layers"] = figures.alpha_by_layer(inputs.layers, order, suspect, recipe, ends)
        pictures["expected"] = figures.seen_and_expected(inputs.components, suspect)
        if cells["alpha"].notna().any():
            pictures["map"] = figures.alpha_map(cells, order)
    if verdict["probe"] and any(cell["n"] for model in verdict["probe"].values() for tally in model.values() for cell in tally.values()):
        roles = _roles(inputs.summary)
        probe = {model: verdict["probe"][model] for model in roles if model in verdict["probe"]}
        pictures["names"] = figures.names_given(probe, roles, wording.CONDITIONS)
    return pictures


def page(inputs: Inputs, pictures: Mapping[str, Picture], templates: Path) -> str:
    """The page as HTML. pictures: of `draw`; templates: the folder of report.html.j2, its parts and style.css."""
    rules = {name: rule for picture in pictures.values() for name, rule in picture.rules.items()}
    style = (templates / "style.css").read_text(encoding="utf-8")
    style += "\n".join(f".{name} {{ {rule} }}" for name, rule in sorted(rules.items())) + "\n"
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return (
        _environment(templates)
        .get_template("report.html.j2")
        .render(
            style=Markup(style),
            policy=Markup(POLICY.format(digest=digest)),
            pictures={name: picture.markup for name, picture in pictures.items()},
            readable=readable,
            **_contents(inputs),
        )
    )


@lru_cache
def _environment(templates: Path) -> Environment:
    return Environment(
        loader=FileSystemLoader(templates), autoescape=True, undefined=StrictUndefined, finalize=_printed, trim_blocks=True, lstrip_blocks=True
    )


def _printed(value: Any) -> Any:
    """What a template prints: text made visible, a missing value said to be missing."""
    if value is None or (isinstance(value, float) and not readable.known(value)):
        return readable.MISSING
    return value if isinstance(value, Markup) else readable.visible(value)


def _contents(inputs: Inputs) -> dict[str, Any]:
    verdict, summary, plan, suspect = inputs.verdict, inputs.summary, inputs.plan, inputs.verdict["suspect"]
    roles = _roles(summary)
    cells = report_tables.cells(inputs.tensors)
    order = _order(inputs)
    unpaired, further = report_tables.unpaired(inputs.unpaired)
    verdicts = {suspect: verdict["verdict"], **{name: entry["verdict"] for name, entry in verdict["controls"].items()}}
    return {
        "verdict": verdict,
        "summary": summary,
        "plan": plan,
        "suspect": suspect,
        "roles": roles,
        "finding": wording.finding(verdict),
        "shares": wording.shares(verdict),
        "limits": wording.limits(verdict, plan["not_compared"], plan["elements"]),
        "controls_said": wording.controls(verdict),
        "unnamed": [donor for donor, entry in verdict["parents"].items() if not entry["named"] and readable.known(entry["alpha"])],
        "after_merge": wording.after_merge(verdict),
        "names_said": wording.names_said(verdict),
        "parents": [wording.parent(verdict, donor) for donor in verdict["parents"]],
        "beside": report_tables.beside(summary, inputs.tensors, inputs.controls, verdicts),
        "control_names": [model for model in inputs.components["model"].unique() if model != suspect],
        "layers": report_tables.pooled(inputs.layers, "layer", suspect),
        "components": report_tables.pooled(inputs.components.sort_values(["votes", "elements"], ascending=False), "component", suspect),
        "map": report_tables.map_rows(cells, order),
        "worst": report_tables.worst(inputs.tensors),
        "slices": len(inputs.tensors),
        "statuses": report_tables.statuses(inputs.tensors),
        "recipe": report_tables.recipes(verdict["recipe"]) if verdict["recipe"] else None,
        "best": summary["models"][suspect]["recipe"]["best"],
        "probe": _probe(inputs, roles),
        "declared": _declared(inputs),
        "models": [(model, role, inputs.manifests[model]) for model, role in roles.items() if model in inputs.manifests],
        "unpaired": unpaired,
        "unpaired_further": further,
        "not_finite": report_tables.not_finite(inputs.tensors),
        "thresholds": inputs.thresholds,
    }


def _order(inputs: Inputs) -> list[str]:
    """The layers that have numbers, in the plan's order."""
    present = set(inputs.layers["layer"])
    return [layer for layer in inputs.plan["layers"] if layer in present]


def _roles(summary: Mapping[str, Any]) -> dict[str, str]:
    """Every model's part in the audit, the suspect first."""
    roles = {summary["suspect"]: "suspect", summary["base"]: "base"} | dict.fromkeys(summary["donors"], "donor")
    roles |= {name: "base that did not fit" for name in summary["bases"] if name not in roles}
    return roles | {name: "control" for name in summary["models"] if name not in roles}


def _probe(inputs: Inputs, roles: Mapping[str, str]) -> dict[str, Any] | None:
    """Tallies, injected texts and sample answers of the models that were asked; None where nobody asked."""
    probe = inputs.verdict["probe"]
    if not probe:
        return None
    asked = [model for model in roles if model in probe]
    conditions = list(dict.fromkeys(condition for model in asked for condition in probe[model]))
    records = {
        (model, condition): [record for record in inputs.answers.get(model, []) if record["condition"] == condition]
        for model in asked
        for condition in conditions
    }
    reasons = {key: record["skipped"] for key, found in records.items() for record in found if "skipped" in record}
    return {
        "conditions": {condition: wording.CONDITIONS.get(condition, condition) for condition in conditions},
        "names": report_tables.names({model: probe[model] for model in asked}, conditions, reasons),
        "identities": inputs.identities,
        "templates": {model: inputs.chat_templates[model] for model in asked if model in inputs.chat_templates},
        "samples": {
            model: {condition: report_tables.samples(records[model, condition], inputs.identities) for condition in conditions} for model in asked
        },
        "reasons": reasons,
    }


def _declared(inputs: Inputs) -> dict[str, Any]:
    """The card's claims and, beside them, the parents found, each with whether an entry of its name stands on the card."""
    verdict, claims = inputs.verdict, inputs.verdict["declared"]
    entries = {part.casefold() for entry in claims["base_model"] or [] for part in (entry, entry.rsplit("/", 1)[-1])}
    parents = [*wording.named(verdict), *([verdict["base"]["name"]] if verdict["base"]["share"] else [])]
    on_card = {}
    for model in parents:
        source = inputs.manifests[model]["source"] if model in inputs.manifests else {}
        repo = source.get("repo") or model
        known_as = {name.casefold() for name in (model, repo, repo.rsplit("/", 1)[-1])}
        on_card[model] = bool(known_as & entries)
    licences = {model: inputs.manifests[model]["declared"]["license"] for model in parents if model in inputs.manifests}
    return {"claims": claims, "parents": on_card, "licences": licences}
