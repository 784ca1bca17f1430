"""The report's tables of measurements: everything is put into words and digits here,
the template only lays it out.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.readable import (
    count,
    decimal,
    interval,
    known,
    missing,
    percent,
    plus_minus,
    rate,
    visible,
)
from mergetrace.records.summary import Summary
from mergetrace.report.inputs import ErrorRate

WORST_SLICES = 10

NO_DIFFERENCE = "a difference to the base is zero"
NOT_INFORMATIVE = "no informative element"
NOT_THERE = {
    "alpha": NO_DIFFERENCE,
    "cos_fit": NO_DIFFERENCE,
    "alpha_expected": NOT_INFORMATIVE,
    "cos_expected": NOT_INFORMATIVE,
    "coverage": NOT_INFORMATIVE,
    "bit_exact_rate": NOT_INFORMATIVE,
}
"""Why a number of a pooled row, or of a slice that is otherwise fine, does not exist."""

Numbers = Mapping[Any, Any]
"""A row of a table, by column."""


@dataclass(frozen=True)
class Measured:
    """The numbers that pooled rows and slices have in common, in words."""

    alpha: str
    """alpha with half its interval."""
    alpha_expected: str
    """alpha of a pure merge."""
    cos_fit: str
    """cos_fit."""
    cos_expected: str
    """cos_fit of a pure merge."""
    coverage: str
    """The share of informative elements that one blend weight explains."""
    bit_exact: str
    """The share of informative elements that the best recipe gives back."""


@dataclass(frozen=True)
class PooledRow:
    """One layer or component."""

    name: str
    """Its name."""
    votes: bool
    """Whether any of its slices votes."""
    slices: str
    """The number of its slices."""
    elements: str
    """The number of their elements."""
    measured: Measured
    """What was measured of the suspect."""
    controls: list[tuple[str, str]]
    """alpha and cos_fit of each control."""


@dataclass(frozen=True)
class WorstRow:
    """One slice that fits badly."""

    name: str
    """The tensor, and which part of it."""
    exact: bool
    """Whether the best recipe gives all of it back."""
    elements: str
    """The number of its elements."""
    measured: Measured
    """What was measured of it."""


@dataclass(frozen=True)
class ExpertRow:
    """The experts of one layer."""

    layer: str
    """The layer."""
    experts: str
    """The number of its experts."""
    least: str
    """The least alpha."""
    median: str
    """The median alpha."""
    most: str
    """The greatest alpha."""
    lowest: str
    """The expert with the least."""
    highest: str
    """The expert with the greatest."""


@dataclass(frozen=True)
class CurveRow:
    """The top of one coverage curve."""

    model: str
    """The audited model."""
    donor: str
    """The donor."""
    alpha: str
    """The blend weight that explains most."""
    coverage: str
    """How much it explains."""
    shuffled: str
    """How much a shuffled donor reaches at any weight."""


@dataclass(frozen=True)
class BesideRow:
    """What one audited model reaches under the rules."""

    model: str
    """The audited model."""
    verdict: str
    """Its outcome."""
    bit_exact: str
    """What its best recipe gives back."""
    single: str
    """The least and the most that this is in single tensors."""
    coverage: str
    """The share of informative elements that one blend weight explains."""
    shuffled: str
    """The same share by chance."""
    cos_fit: str
    """cos_fit."""
    same_sign: str
    """The share of elements that moved the donor's way."""


@dataclass(frozen=True)
class ErrorRateRow:
    """How often one verdict fell on somebody innocent."""

    verdict: str
    """The verdict."""
    innocents: str
    """The number of innocent models."""
    false: str
    """The number of them that were accused."""
    interval: str
    """The interval of the true rate."""


def pooled(table: pd.DataFrame, by: str, suspect: str) -> list[PooledRow]:
    """Rows of layers.csv or components.csv (`by`) in words, each with its controls'
    alpha and cos_fit.
    """
    records = table.to_dict("records")
    others = [model for model in table["model"].unique() if model != suspect]
    by_place = {(row["model"], row[by]): row for row in records}
    rows = []
    for row in records:
        if row["model"] != suspect:
            continue
        controls = [by_place.get((model, row[by]), {}) for model in others]
        rows.append(
            PooledRow(
                str(row[by]).replace("_", " "),
                row["votes"],
                count(row["slices"]),
                count(row["elements"]),
                _measured(row, ""),
                [
                    (_alpha(control, ""), _decimal(control, "cos_fit", ""))
                    for control in controls
                ],
            )
        )
    return rows


def map_rows(
    table: pd.DataFrame, order: Sequence[str]
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The map as a table: components, and per layer its alphas, misfit in brackets (an
    empty text where a layer has no such component). table: see
    cells.by_layer_and_component.
    """
    components = list(dict.fromkeys(table["component"]))
    texts = {
        (row["layer"], row["component"]): _map_cell(row["alpha"], row["misfit"])
        for row in table.to_dict("records")
    }
    rows = [
        (layer, [texts.get((layer, part), "") for part in components])
        for layer in order
    ]
    return [part.replace("_", " ") for part in components], rows


def expert_rows(means: pd.DataFrame | None) -> list[ExpertRow]:
    """The experts' map as a table: per layer how many, the range of their alphas, the
    middle one, and which two lie furthest out. means: see cells.by_expert.
    """
    if means is None:
        return []
    rows = []
    for layer, alphas in means.iterrows():
        present = alphas.dropna()
        lowest = present.idxmin()
        highest = present.idxmax()
        rows.append(
            ExpertRow(
                str(layer),
                count(len(present)),
                decimal(float(present.min())),
                decimal(float(present.median())),
                decimal(float(present.max())),
                str(lowest),
                str(highest),
            )
        )
    return rows


def curve_rows(curves: pd.DataFrame) -> list[CurveRow]:
    """The coverage curves as a table: the weight that explains most, how much it
    explains, how much a shuffled donor reaches at any weight.
    """
    rows = []
    for key, curve in curves.groupby(["model", "donor"], sort=False):
        model, donor = map(str, key)
        explained = curve.dropna(subset=["coverage"]).to_dict("records")
        if not explained:
            continue
        top = max(explained, key=lambda row: row["coverage"])
        rows.append(
            CurveRow(
                model,
                donor,
                percent(top["alpha"]),
                rate(top["coverage"]),
                rate(curve["shuffled"].max()),
            )
        )
    return rows


def worst(tensors: pd.DataFrame) -> list[WorstRow]:
    """The slices that vote and fit the finding worst: fewest bits given back, then the
    largest cos_fit missing against a pure merge's.
    """
    voting = tensors[tensors["votes"]].copy()
    voting["gap"] = (voting["cos_expected"] - voting["cos_fit"]).fillna(np.inf)
    ranked = voting.sort_values(
        ["bit_exact_rate", "gap", "tensor"],
        ascending=[True, False, True],
        kind="stable",
        na_position="first",
    )
    rows = []
    for row in ranked.head(WORST_SLICES).to_dict("records"):
        status = "" if row["status"] == "ok" else row["status"]
        part = row["slice"]
        suffix = f" [{part}]" if isinstance(part, str) and part else ""
        rows.append(
            WorstRow(
                visible(row["tensor"], 200) + suffix,
                row["bit_exact_rate"] == 1,
                count(row["elements"]),
                _measured(row, status),
            )
        )
    return rows


def beside(
    summary: Summary,
    tensors: pd.DataFrame,
    controls: pd.DataFrame,
    verdicts: Mapping[str, str],
) -> list[BesideRow]:
    """What the suspect reaches beside the controls, and beside its donor with the
    elements shuffled: overall and in single tensors.

    tensors, controls: tensors.csv and controls.csv. verdicts: each model's outcome
    under the same rules.
    """
    rows = []
    for model, numbers in summary.models.items():
        donor = numbers.donors.get(numbers.recipe.donor)
        if donor is None:
            return []  # no donor was offered
        slices = controls[controls["model"] == model]
        if model == summary.suspect:
            slices = tensors
        single = slices.loc[slices["votes"], "bit_exact_rate"].dropna()
        spread = missing(NOT_INFORMATIVE)
        if len(single):
            spread = f"{rate(single.min())} to {rate(single.max())}"
        rows.append(
            BesideRow(
                model,
                verdicts[model],
                rate(numbers.bit_exact_rate, NOT_INFORMATIVE),
                spread,
                rate(donor.coverage, NOT_INFORMATIVE),
                rate(donor.coverage_shuffled, NOT_INFORMATIVE),
                decimal(numbers.cos_fit, NO_DIFFERENCE),
                percent(donor.same_sign, "no element moved in both"),
            )
        )
    return rows


def error_rates(measured: Mapping[str, ErrorRate] | None) -> list[ErrorRateRow]:
    """How often each verdict was given to somebody innocent, in words; none where
    nothing was measured.

    `openworld` is no verdict: it counts any accusation, of folders as people publish
    them (benchmarks/openworld).
    """
    rows = []
    for verdict, entry in (measured or {}).items():
        words = verdict.replace("_", " ")
        if verdict == "openworld":
            words = "any, on folders as people publish them"
        rows.append(
            ErrorRateRow(
                words,
                count(entry["innocents"]),
                count(entry["false"]),
                interval(entry.get("ci95"), most_digits=1),
            )
        )
    return rows


def _measured(row: Numbers, status: str) -> Measured:
    """The numbers of a row; `status` says why one is missing, where it is not ok."""
    return Measured(
        alpha=_alpha(row, status),
        alpha_expected=_decimal(row, "alpha_expected", status),
        cos_fit=_decimal(row, "cos_fit", status),
        cos_expected=_decimal(row, "cos_expected", status),
        coverage=rate(row.get("coverage"), status or NOT_INFORMATIVE),
        bit_exact=rate(row.get("bit_exact_rate"), status or NOT_INFORMATIVE),
    )


def _alpha(row: Numbers, status: str) -> str:
    alpha = row.get("alpha")
    if not known(alpha):
        return missing(status or NOT_THERE["alpha"])
    return f"{decimal(alpha)} {plus_minus(row.get('alpha_se'))}"


def _decimal(row: Numbers, name: str, status: str) -> str:
    return decimal(row.get(name), status or NOT_THERE[name])


def _map_cell(alpha: float, misfit: float) -> str:
    if not known(misfit):
        return decimal(alpha)
    return f"{decimal(alpha)} ({decimal(misfit)})"
