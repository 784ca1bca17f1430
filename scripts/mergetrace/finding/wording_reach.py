"""How far a finding reaches, in sentences: what was not read, not asked, not measured."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mergetrace.finding.case import copied_by, siblings
from mergetrace.records.coverage import Coverage
from mergetrace.records.summary import SamplingReach, Summary
from mergetrace.tensors.views import ADAPTER

if TYPE_CHECKING:
    import pandas as pd

MOST_TENSORS = 3
"""Tensors that are named of those with elements that are no numbers."""


def reach_sentences(
    summary: Summary, mode: str, scores: "pd.DataFrame | None", accused: bool
) -> list[str]:
    """What a reader must know about the finding's reach, and why numbers are missing.

    mode: `sample` or `full`. scores: scores.csv, None where nobody asked. accused:
    whether the verdict accuses; then its own reasons say what no control means.
    """
    suspect = summary.models[summary.suspect]
    sentences = _sample(summary.sampling) if mode == "sample" else []
    if suspect.nonfinite:
        sentences.append(
            f"{suspect.nonfinite:,} elements of {_tensors(suspect.nonfinite_tensors)}"
            f" are NaN or infinite in {summary.suspect} or a parent, too large to be"
            " weights, or under a scale that is none, and were left out."
        )
    sentences += _copies(summary)
    if not siblings(summary.models, summary.suspect) and not accused:
        sentences.append(
            "No independent control was given, so it is unknown how close an innocent sibling of"
            " these models would come to these limits."
        )
    if suspect.recipe.best is None and summary.donors:
        sentences.append(
            "No recipe: no element confines a blend weight (the deltas are zero or"
            " below the number lattice)."
        )
    return [*sentences, *_probe(scores)]


def adapter_sentences(suspect: str, compared: Mapping[str, Coverage]) -> list[str]:
    """That a model was compared without the adapters that its files hold beside it."""
    coverage = compared.get(suspect)
    entries = coverage.not_compared if coverage else ()
    return [
        f"{suspect}, {entry.tensors} tensors: {entry.reason}."
        for entry in entries
        if entry.reason == ADAPTER
    ]


def _copies(summary: Summary) -> list[str]:
    """The controls that are none."""
    return [
        f"Control {name} equals {copied or summary.base} in every compared element. A"
        " copy is no independent sibling: nothing was measured against it."
        for name, numbers in summary.models.items()
        if name != summary.suspect and (copied := copied_by(numbers)) is not None
    ]


def _sample(reach: SamplingReach | None) -> list[str]:
    sentences = ["Only the evidence sample was read: what lies outside it is inferred."]
    if reach is not None:
        sentences.append(
            "What all elements would give for the share of one component in one layer"
            f" lies within {reach.median:.2g} of what the sample gives in half of"
            f" {reach.groups} such places, and within {reach.most:.2g} in all (95 %"
            " intervals, precision.csv)."
        )
    return sentences


def _tensors(names: tuple[str, ...]) -> str:
    listed = ", ".join(names[:MOST_TENSORS])
    further = len(names) - MOST_TENSORS
    return f"{listed} and {further} more tensors" if further > 0 else listed


def _probe(scores: "pd.DataFrame | None") -> list[str]:
    """Why models were not asked who they are."""
    if scores is None:
        return ["The probe is switched off: nobody asked the models who they are."]
    unasked = scores[scores["reason"].notna()]
    return sorted(
        {
            f"Probe, {row['model']} {row['condition']}: {row['reason']}"
            for row in unasked.to_dict("records")
        }
    )
