"""The report: one self-contained HTML page about one audit, readable without network
and without JavaScript, which adds a search.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from markupsafe import Markup

from mergetrace import readable
from mergetrace.finding import lineage, wording
from mergetrace.report import figures, maps, names, side_by_side, tables
from mergetrace.report.drilldown import encode
from mergetrace.report.rendering import TEMPLATES, render
from mergetrace.report.svg import Picture
from mergetrace.timestamps import told


@dataclass(frozen=True)
class Inputs:
    """What the page is made of: verdict.json, summary.json, plan.json, the tables, and
    per model its manifest and answers.

    mask: mask.json; probe: score.py's further tables by name; both empty where nobody asked. thresholds: (value, what it means) by name.
    identities: the spellings that count for each. curves: coverage.csv. licences: what is known of licences. error_rates: by verdict,
    measured; rebuild: rebuild.json; None where there is none.
    """

    verdict: Mapping[str, Any]
    summary: Mapping[str, Any]
    plan: Mapping[str, Any]
    manifests: Mapping[str, Mapping[str, Any]]
    mask: Mapping[str, Mapping[str, Any]]
    probe: Mapping[str, pd.DataFrame]
    answers: Mapping[str, list[Mapping[str, Any]]]
    identities: Mapping[str, list[str]]
    thresholds: Mapping[str, tuple[Any, str]]
    tensors: pd.DataFrame
    controls: pd.DataFrame
    layers: pd.DataFrame
    components: pd.DataFrame
    unpaired: pd.DataFrame
    curves: pd.DataFrame
    licences: Mapping[str, Mapping[str, Any]]
    error_rates: Mapping[str, Mapping[str, Any]] | None = None
    rebuild: Mapping[str, Any] | None = None


def draw(inputs: Inputs) -> dict[str, Picture]:
    """The pictures that there are numbers for: some of layers, expected, map, experts,
    coverage, names.
    """
    verdict, suspect, order = inputs.verdict, inputs.verdict["suspect"], _order(inputs)
    pictures = {}
    if inputs.layers["alpha"].notna().any():
        recipe = (
            verdict["recipe"]["parameters"].get("alpha") if verdict["recipe"] else None
        )
        donors = inputs.summary["donors"]
        ends = (
            f"all {inputs.summary['base']}",
            f"all {donors[0]}" if len(donors) == 1 else "all donors",
        )
        cells = tables.cells(inputs.tensors)
        pictures["layers"] = figures.alpha_by_layer(
            inputs.layers, order, suspect, recipe, ends
        )
        pictures["expected"] = figures.seen_and_expected(inputs.components, suspect)
        if cells["alpha"].notna().any():
            pictures["map"] = maps.by_layer_and_component(cells, order)
        if (experts := maps.expert_cells(inputs.tensors, order)) is not None:
            pictures["experts"] = maps.experts(experts)
    if inputs.curves["coverage"].notna().any():
        donor = inputs.summary["models"][suspect]["recipe"]["donor"]
        pictures["coverage"] = figures.coverage_curve(
            inputs.curves, donor, suspect, inputs.summary["base"]
        )
    if verdict["probe"] and any(
        cell["n"]
        for model in verdict["probe"].values()
        for tally in model.values()
        for cell in tally.values()
    ):
        roles = _roles(inputs.summary)
        probe = {
            model: verdict["probe"][model]
            for model in roles
            if model in verdict["probe"]
        }
        pictures["names"] = figures.names_given(probe, roles, wording.CONDITIONS)
    return pictures


def page(
    inputs: Inputs, pictures: Mapping[str, Picture], templates: Path = TEMPLATES
) -> str:
    """The page as HTML. pictures: of `draw`; templates: the folder of report.html.j2,
    its parts and style.css.
    """
    script = (templates / "drilldown.js").read_text(encoding="utf-8")
    return render(
        "report.html.j2", pictures, script, templates=templates, **_contents(inputs)
    )


def _contents(inputs: Inputs) -> dict[str, Any]:
    verdict, summary, plan, suspect = (
        inputs.verdict,
        inputs.summary,
        inputs.plan,
        inputs.verdict["suspect"],
    )
    roles = _roles(summary)
    cells = tables.cells(inputs.tensors)
    order = _order(inputs)
    unpaired, further = tables.unpaired(inputs.unpaired)
    verdicts = {
        suspect: verdict["verdict"],
        **{name: entry["verdict"] for name, entry in verdict["controls"].items()},
    }
    return {
        "verdict": verdict,
        "summary": summary,
        "plan": plan,
        "suspect": suspect,
        "roles": roles,
        "finding": wording.finding(verdict),
        "shares": wording.shares(verdict),
        "order": wording.order(verdict),
        "limits": wording.limits(verdict, plan["not_compared"], plan["elements"]),
        "controls_said": wording.controls(verdict),
        "unnamed": [
            donor
            for donor, entry in verdict["parents"].items()
            if not entry["named"] and readable.known(entry["alpha"])
        ],
        "after_merge": wording.after_merge(verdict),
        "names_said": wording.names_said(verdict),
        "parents": [wording.parent(verdict, donor) for donor in verdict["parents"]],
        "donors": side_by_side.donors(verdict["parents"]),
        "bases": side_by_side.bases(verdict.get("bases") or {}),
        "beside": tables.beside(summary, inputs.tensors, inputs.controls, verdicts),
        "control_names": [
            model for model in inputs.components["model"].unique() if model != suspect
        ],
        "layers": tables.pooled(inputs.layers, "layer", suspect),
        "components": tables.pooled(
            inputs.components.sort_values(["votes", "elements"], ascending=False),
            "component",
            suspect,
        ),
        "map": tables.map_rows(cells, order),
        "worst": tables.worst(inputs.tensors),
        "slices": len(inputs.tensors),
        "statuses": tables.statuses(inputs.tensors),
        "recipe": tables.recipes(verdict["recipe"]) if verdict["recipe"] else None,
        "best": summary["models"][suspect]["recipe"]["best"],
        "probe": _probe(inputs, roles),
        "declared": _declared(inputs),
        "source": _source,
        "published": {
            model: told(dates["stated"], dates["hub"])
            for model, dates in verdict.get("published", {}).items()
        },
        "packed": Markup(encode(inputs.tensors)),
        "experts": tables.expert_rows(maps.expert_cells(inputs.tensors, order)),
        "curves": tables.curve_rows(inputs.curves),
        "rebuild": inputs.rebuild,
        "error_rates": tables.error_rates(inputs.error_rates),
        "accusing": wording.ACCUSING,
        "layout": verdict.get("layout"),
        "models": [
            (model, role, inputs.manifests[model])
            for model, role in roles.items()
            if model in inputs.manifests
        ],
        "compared": tables.compared(_compared(inputs)),
        "unpaired": unpaired,
        "unpaired_further": further,
        "not_finite": tables.not_finite(inputs.tensors),
        "thresholds": inputs.thresholds,
    }


def _compared(inputs: Inputs) -> dict[str, Mapping[str, Any]]:
    """The coverage of every model, that of the controls from their own findings."""
    found = dict(inputs.verdict.get("compared") or {})
    for control in inputs.verdict["controls"].values():
        found |= control.get("compared") or {}
    return found


def _order(inputs: Inputs) -> list[str]:
    """The layers that have numbers, in the plan's order; after them what was found
    elsewhere than its name says.
    """
    present = list(dict.fromkeys(inputs.layers["layer"]))
    planned = [layer for layer in inputs.plan["layers"] if layer in present]
    return [*planned, *(layer for layer in present if layer not in planned)]


def _roles(summary: Mapping[str, Any]) -> dict[str, str]:
    """Every model's part in the audit, the suspect first."""
    roles = {summary["suspect"]: "suspect", summary["base"]: "base"} | dict.fromkeys(
        summary["donors"], "donor"
    )
    roles |= {
        name: "base that did not fit" for name in summary["bases"] if name not in roles
    }
    return roles | {name: "control" for name in summary["models"] if name not in roles}


def _probe(inputs: Inputs, roles: Mapping[str, str]) -> dict[str, Any] | None:
    """Tallies, comparisons, masks and sample answers of the models that were asked;
    None where nobody asked.
    """
    probe = inputs.verdict["probe"]
    suspect = inputs.verdict["suspect"]
    if not probe:
        return None
    asked = [model for model in roles if model in probe]
    conditions = list(
        dict.fromkeys(condition for model in asked for condition in probe[model])
    )
    words = {
        condition: wording.CONDITIONS.get(condition, condition)
        for condition in conditions
    }
    records = {
        (model, condition): [
            record
            for record in inputs.answers.get(model, [])
            if record["condition"] == condition
        ]
        for model in asked
        for condition in conditions
    }
    reasons = {
        key: record["skipped"]
        for key, found in records.items()
        for record in found
        if "skipped" in record
    }
    counted = inputs.probe
    bare = next(
        (condition for condition in ("stripped", "shipped") if condition in conditions),
        conditions[0],
    )
    return {
        "conditions": words,
        "names": names.names(
            {model: probe[model] for model in asked}, conditions, reasons
        ),
        "identities": inputs.identities,
        "strata": {
            model: names.strata(counted["strata"], model, conditions) for model in asked
        },
        "compared": names.models_compared(counted["comparisons"], suspect, bare),
        "compared_under": words[bare],
        "changes": names.conditions_compared(counted["comparisons"], suspect, words),
        "conduct": names.conduct(counted["conduct"], words),
        "watermarks": names.watermarks(counted["watermarks"], conditions),
        "phrases": counted["watermarks"]["phrase"].nunique(),
        "reasoning": names.reasoning(counted["reasoning"], words),
        "masks": names.masks(inputs.mask, asked),
        "samples": {
            model: {
                condition: names.samples(records[model, condition], inputs.identities)
                for condition in conditions
            }
            for model in asked
        },
        "reasons": reasons,
    }


def _declared(inputs: Inputs) -> dict[str, Any]:
    """The card's claims and, beside them, the parents found (and whether the card has
    them), their licences, and what an honest card would say.
    """
    verdict = inputs.verdict
    manifests = inputs.manifests
    return {
        "claims": verdict["declared"],
        "commit": manifests[verdict["suspect"]]["source"]["commit"],
        "parents": lineage.on_card(verdict, manifests),
        "licences": lineage.licences(verdict, manifests, inputs.licences),
        "card": lineage.honest_card(verdict, manifests),
    }


def _source(manifest: Mapping[str, Any]) -> str:
    """Where a model came from: its repository, or a local folder without the way to it."""
    return manifest["source"]["repo"] or readable.shown_path(manifest["source"]["path"])
