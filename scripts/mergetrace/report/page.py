"""The report: one self-contained HTML page about one audit, readable without network
and without JavaScript, which adds a search.
"""

from collections.abc import Mapping
from typing import Any

from mergetrace.finding.wording import CONDITION_WORDS
from mergetrace.report import (
    cells,
    figures,
    maps,
    names_figure,
    sections,
    spectrum,
)
from mergetrace.report.inputs import Inputs
from mergetrace.report.names_section import names_section
from mergetrace.report.rendering import TEMPLATES, render
from mergetrace.report.svg import Picture


def draw(inputs: Inputs) -> dict[str, Picture]:
    """The pictures that there are numbers for: some of layers, expected, map, experts,
    coverage, spectrum, names.
    """
    pictures: dict[str, Picture] = {}
    if inputs.summary.donors and inputs.layers["alpha"].notna().any():
        pictures |= _drawn_shares(inputs)
    if inputs.curves["coverage"].notna().any():
        pictures["coverage"] = figures.coverage_curve(
            inputs.curves,
            inputs.suspect_numbers.recipe.donor,
            inputs.suspect,
            inputs.summary.base,
        )
    if inputs.spectrum is not None:
        directions = spectrum.weights_along(inputs.spectrum, inputs.suspect)
        if directions is not None:
            pictures["spectrum"] = directions
    if _asked(inputs):
        pictures["names"] = names_figure.names_given(
            inputs.counts_by_role(), inputs.roles, CONDITION_WORDS
        )
    return pictures


def page(inputs: Inputs, pictures: Mapping[str, Picture]) -> str:
    """The page as HTML. pictures: of `draw`."""
    script = (TEMPLATES / "drilldown.js").read_text(encoding="utf-8")
    return render("report.html.j2", pictures, script, **_contents(inputs))


def _contents(inputs: Inputs) -> dict[str, Any]:
    """What the templates print, by section."""
    return {
        "verdict": inputs.verdict,
        "suspect": inputs.suspect,
        "roles": inputs.roles,
        "head": sections.head(inputs),
        "because": sections.because(inputs),
        "spectrum": spectrum.section(inputs.spectrum, inputs.verdict),
        "shares": sections.shares(inputs),
        "recipe": sections.recipe(inputs),
        "after_merge": sections.after_merge(inputs),
        "names": names_section(inputs),
        "declared": sections.declared(inputs),
        "read": sections.read(inputs),
        "rebuild": inputs.rebuild,
        "rules": sections.rules(inputs),
    }


def _drawn_shares(inputs: Inputs) -> dict[str, Picture]:
    """The pictures of shares by layer, component and expert."""
    suspect = inputs.suspect
    order = inputs.layer_order
    recipe = inputs.verdict.recipe
    donors = inputs.summary.donors
    ends = (
        f"all {inputs.summary.base}",
        f"all {donors[0]}" if len(donors) == 1 else "all donors",
    )
    pictures = {
        "layers": figures.alpha_by_layer(
            inputs.layers,
            order,
            suspect,
            recipe.parameters.get("alpha") if recipe else None,
            ends,
        ),
        "expected": figures.seen_and_expected(inputs.components, suspect),
    }
    means = cells.by_layer_and_component(inputs.tensors)
    if means["alpha"].notna().any():
        pictures["map"] = maps.layers_and_components(means, order)
    experts = cells.by_expert(inputs.tensors, order)
    if experts is not None:
        pictures["experts"] = maps.experts(experts)
    return pictures


def _asked(inputs: Inputs) -> bool:
    """Whether any model answered at all."""
    counts = inputs.verdict.probe or {}
    return any(
        cell.n
        for by_condition in counts.values()
        for by_name in by_condition.values()
        for cell in by_name.values()
    )
