"""What a report is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict

import pandas as pd

from mergetrace.finding.lineage import KnownLicence
from mergetrace.probe.records import Record
from mergetrace.records.manifest import Manifests, Plan
from mergetrace.records.scan import Siblings
from mergetrace.records.spectrum import Spectrum
from mergetrace.records.summary import ModelSummary, Summary
from mergetrace.records.verdict import NameCount, Verdict


class ErrorRate(TypedDict):
    """How often one verdict fell on somebody innocent (data/error_rates.json)."""

    innocents: int
    """The number of innocent models."""
    false: int
    """The number of them that were accused."""
    ci95: list[float]
    """The 95 % interval of the true rate, (low, high)."""


Counts = Mapping[str, Mapping[str, NameCount]]
"""By condition and name, how many answers give it."""


@dataclass(frozen=True)
class Inputs:
    """What a report is made of."""

    verdict: Verdict
    """The finding."""
    summary: Summary
    """Every number of the audit."""
    plan: Plan
    """plan.json."""
    manifests: Manifests
    """By model its manifest."""
    mask: Mapping[str, Mapping[str, Any]]
    """mask.json: by model whom its small files name; empty where nobody was asked."""
    probe: Mapping[str, pd.DataFrame]
    """The further tables of the answers by name; empty where nobody was asked."""
    answers: Mapping[str, Sequence[Record]]
    """By model its answers."""
    identities: Mapping[str, Sequence[str]]
    """By identity the spellings that count for it."""
    thresholds: Mapping[str, tuple[Any, str]]
    """By threshold its value and what it means."""
    tensors: pd.DataFrame
    """tensors.csv: the suspect, slice by slice."""
    controls: pd.DataFrame
    """controls.csv: the controls, slice by slice."""
    layers: pd.DataFrame
    """layers.csv."""
    components: pd.DataFrame
    """components.csv."""
    unpaired: pd.DataFrame
    """unpaired.csv: what was not compared."""
    curves: pd.DataFrame
    """coverage.csv: how much every blend weight explains."""
    licences: Mapping[str, KnownLicence]
    """What is known of licences."""
    siblings: Siblings | None = None
    """The controls that a scan chose; None where they were named."""
    error_rates: Mapping[str, ErrorRate] | None = None
    """By verdict how often it was wrong; None where that was not measured."""
    rebuild: Mapping[str, Any] | None = None
    """rebuild.json; None where the suspect was not rebuilt."""
    spectrum: Spectrum | None = None
    """The weights along singular directions; None where nobody measured them."""

    @property
    def suspect(self) -> str:
        """The model under audit."""
        return self.verdict.suspect

    @property
    def suspect_numbers(self) -> ModelSummary:
        """The suspect's numbers."""
        return self.summary.models[self.suspect]

    @cached_property
    def roles(self) -> dict[str, str]:
        """Every model's part in the audit, the suspect first."""
        summary = self.summary
        roles = {summary.suspect: "suspect", summary.base: "base"}
        roles |= dict.fromkeys(summary.donors, "donor")
        for base in summary.bases:
            roles.setdefault(base, "base that did not fit")
        for model in summary.models:
            roles.setdefault(model, "control")
        return roles

    @cached_property
    def layer_order(self) -> list[str]:
        """The layers that have numbers, in the plan's order; after them what was found
        elsewhere than its name says.
        """
        present = list(dict.fromkeys(self.layers["layer"]))
        planned = [layer for layer in self.plan["layers"] if layer in present]
        return [*planned, *(layer for layer in present if layer not in planned)]

    def counts_by_role(self) -> dict[str, Counts]:
        """By model that was asked, in the order of the roles, how many of its answers
        give each name.
        """
        probe = self.verdict.probe or {}
        return {model: probe[model] for model in self.roles if model in probe}
