"""Write the report of one audit: a single HTML page that needs no network, and no
JavaScript but for its search.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergetrace.outputs import read_json, read_yaml, write_text
from mergetrace.probe.answers import read_answers
from mergetrace.probe.records import Record
from mergetrace.records.csv_tables import read_csv_table
from mergetrace.records.json_records import from_json
from mergetrace.records.scan import Siblings
from mergetrace.records.spectrum import Spectrum
from mergetrace.records.summary import Summary
from mergetrace.records.verdict import Verdict
from mergetrace.report.inputs import Inputs as Contents
from mergetrace.report.page import draw, page
from mergetrace.running.log import say
from mergetrace.thresholds import threshold_descriptions

DATA = Path(__file__).parents[1] / "data"
ERROR_RATES = DATA / "error_rates.json"
"""How often each verdict was wrong, measured by the zoo."""
LICENCES = DATA / "licences.yaml"
"""What licences of models ask."""


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    verdict: Path
    """verdict.json."""
    summary: Path
    """The pooled numbers."""
    plan: Path
    """plan.json."""
    unpaired: Path
    """What is not compared, with reasons."""
    tensors: Path
    """The suspect, tensor by tensor."""
    controls: Path
    """The controls, tensor by tensor."""
    layers: Path
    """Pooled by layer."""
    components: Path
    """Pooled by component."""
    curves: Path
    """How much every blend weight explains."""
    manifests: tuple[Path, ...]
    """manifest.json of every model of the audit."""
    mask: Path | None = None
    """Whom the small files name; where nobody was asked, none."""
    probe: tuple[Path, ...] = ()
    """The tables of the answers."""
    answers: tuple[Path, ...] = ()
    """The answers, each in a folder with the name of its model."""
    rebuild: Path | None = None
    """rebuild.json, where the suspect was rebuilt."""
    spectrum: Path | None = None
    """spectrum.json, where singular directions were measured."""
    siblings: Path | None = None
    """siblings.json, where a scan chose the controls."""


@dataclass(frozen=True)
class Params:
    """What else the page says."""

    thresholds: Mapping[str, Any]
    """The block `verdict` of the configuration."""
    identities: Mapping[str, tuple[str, ...]]
    """The spellings that count for each identity."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    report: Path
    """HTML."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """The page is escaped throughout: models and answers are strangers' text."""
    descriptions = threshold_descriptions()
    answers: dict[str, list[Record]] = {}
    for path in inputs.answers:
        answers.setdefault(path.parent.name, []).extend(read_answers(path))
    contents = Contents(
        verdict=Verdict.of(read_json(inputs.verdict)),
        summary=Summary.of(read_json(inputs.summary)),
        plan=read_json(inputs.plan),
        manifests={entry["model"]: entry for entry in map(read_json, inputs.manifests)},
        mask=read_json(inputs.mask) if inputs.mask else {},
        probe={path.stem: read_csv_table(path) for path in inputs.probe},
        answers=answers,
        identities=params.identities,
        thresholds={
            name: (value, descriptions[name])
            for name, value in params.thresholds.items()
        },
        licences=read_yaml(LICENCES),
        error_rates=read_json(ERROR_RATES) if ERROR_RATES.is_file() else None,
        rebuild=read_json(inputs.rebuild) if inputs.rebuild else None,
        spectrum=Spectrum.of(read_json(inputs.spectrum)) if inputs.spectrum else None,
        siblings=_siblings(inputs.siblings),
        tensors=read_csv_table(inputs.tensors),
        controls=read_csv_table(inputs.controls),
        layers=read_csv_table(inputs.layers),
        components=read_csv_table(inputs.components),
        unpaired=read_csv_table(inputs.unpaired),
        curves=read_csv_table(inputs.curves),
    )
    html = page(contents, draw(contents))
    write_text(outputs.report, html)
    say(f"{outputs.report}: {len(html.encode()) / 1e3:,.0f} kB")


def _siblings(path: Path | None) -> Siblings | None:
    """The controls that a scan chose."""
    return from_json(Siblings, read_json(path), path.name) if path else None
