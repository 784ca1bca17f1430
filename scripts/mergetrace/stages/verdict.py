"""Decide: the verdict on the suspect and on every control, with reasons, as the JSON that
outsiders rely on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mergetrace.finding.receipt import Evidence, finding
from mergetrace.outputs import read_json, write_json
from mergetrace.records.coverage import read_coverages
from mergetrace.records.layout import read_layouts
from mergetrace.records.packed import packed_comparisons
from mergetrace.records.spectrum import Spectrum
from mergetrace.records.summary import Summary
from mergetrace.running.log import say
from mergetrace.thresholds import Thresholds


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    summary: Path
    """The pooled numbers."""
    plan: Path
    """plan.json."""
    layout: Path
    """What lies elsewhere than its name says, and how much is compared."""
    packed: Path
    """What is known of the bytes that were not decoded."""
    manifests: tuple[Path, ...]
    """manifest.json of every model of the audit."""
    scores: Path | None = None
    """Whom the answers name; where nobody was asked, none."""
    fetched: tuple[Path, ...] = ()
    """The records of weight files that were fetched whole."""
    spectrum: Path | None = None
    """The weights along every direction; None of an audit before they were measured."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    audit: str
    """The audit's name in the configuration."""
    thresholds: Mapping[str, Any]
    """The block `verdict` of the configuration."""
    published: Mapping[str, str] = field(default_factory=dict)
    """The dates of publication that the configuration states, by model."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    verdict: Path
    """JSON: the finding."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """No weights are read, and no sums: only pooled numbers."""
    manifests = {entry["model"]: entry for entry in map(read_json, inputs.manifests)}
    layout = read_json(inputs.layout)
    scores = None
    if inputs.scores is not None:
        # Half a second that an audit without a probe need not wait.
        import pandas as pd

        scores = pd.read_csv(inputs.scores)
    spectrum = None
    if inputs.spectrum is not None:
        spectrum = Spectrum.of(read_json(inputs.spectrum))
    verdict = finding(
        Evidence(
            audit=params.audit,
            summary=Summary.of(read_json(inputs.summary)),
            plan=read_json(inputs.plan),
            manifests=manifests,
            thresholds=Thresholds.of(params.thresholds),
            scores=scores,
            fetched=[read_json(record) for record in inputs.fetched],
            layouts=read_layouts(layout["models"]),
            stated=params.published,
            compared=read_coverages(layout["compared"]),
            packed=packed_comparisons(read_json(inputs.packed)),
            spectrum=spectrum,
        )
    )
    write_json(outputs.verdict, verdict.as_json())
    say(f"{params.audit}: {verdict.verdict}")
