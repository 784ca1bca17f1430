"""The report's tables: everything is put into words and digits here, the template only
lays it out.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.planning import unread
from mergetrace.readable import (
    count,
    decimal,
    interval,
    known,
    missing,
    percent,
    plural,
    plus_minus,
    rate,
    visible,
)

WORST_SLICES = 10
MOST_UNPAIRED = 40
MOST_NAMES = 3

Row = dict[str, Any]

# Why a number of a pooled row, or of a slice that is otherwise fine, does not exist.
_ABSENT = {
    "alpha": "a difference to the base is zero",
    "cos_fit": "a difference to the base is zero",
    "alpha_expected": "no informative element",
    "cos_expected": "no informative element",
    "coverage": "no informative element",
    "bit_exact_rate": "no informative element",
}


def pooled(table: pd.DataFrame, by: str, suspect: str) -> list[Row]:
    """Rows of layers.csv or components.csv (`by`) in words, each with its controls'
    alpha and cos_fit (model: text).
    """
    others = [model for model in table["model"].unique() if model != suspect]
    beside = {(row["model"], row[by]): row for row in table.to_dict("records")}
    rows = []
    for row in table[table["model"] == suspect].to_dict("records"):
        controls = [beside.get((model, row[by]), {}) for model in others]
        rows.append(
            {
                "name": str(row[by]).replace("_", " "),
                "votes": row["votes"],
                "slices": count(row["slices"]),
                "elements": count(row["elements"]),
            }
            | _numbers(row, "")
            | {
                "controls": [
                    (_alpha(control, ""), _decimal(control, "cos_fit", ""))
                    for control in controls
                ]
            }
        )
    return rows


def cells(tensors: pd.DataFrame) -> pd.DataFrame:
    """layer, component, votes, slices and the means of alpha, cos_fit, alpha_expected,
    cos_expected and misfit, weighted by elements, for the map.

    misfit: the share of informative elements that the best recipe does not give back. Where
    any slice of a cell votes, only those count.
    """
    keys = ["layer", "component"]
    votes = tensors.groupby(keys, sort=False)["votes"].transform("any")
    chosen = tensors[tensors["votes"] | ~votes].assign(
        misfit=lambda table: 1 - table["bit_exact_rate"]
    )
    result = (
        chosen.groupby(keys, sort=False)
        .agg(votes=("votes", "any"), slices=("votes", "size"))
        .reset_index()
    )
    for name in ("alpha", "cos_fit", "alpha_expected", "cos_expected", "misfit"):
        weights = chosen["elements"].where(chosen[name].notna())
        sums = (
            (chosen[name] * weights)
            .groupby([chosen[key] for key in keys], sort=False)
            .sum()
        )
        totals = weights.groupby([chosen[key] for key in keys], sort=False).sum()
        result[name] = (sums / totals.where(totals > 0)).to_numpy()
    return result


def map_rows(
    table: pd.DataFrame, order: list[str]
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The map as a table: components, and per layer its alphas, misfit in brackets (an
    empty text where a layer has no such component).
    """
    components = list(dict.fromkeys(table["component"]))
    at = {
        (row.layer, row.component): _cell(row.alpha, row.misfit)
        for row in table.itertuples()
    }
    rows = [
        (layer, [at.get((layer, part), "") for part in components]) for layer in order
    ]
    return [part.replace("_", " ") for part in components], rows


def _cell(alpha: float, misfit: float) -> str:
    return decimal(alpha) + (f" ({decimal(misfit)})" if known(misfit) else "")


def expert_rows(cells: pd.DataFrame | None) -> list[Row]:
    """The experts' map as a table: per layer how many, the range of their alphas, the
    middle one, and which two lie furthest out.
    """
    rows = []
    for layer, values in [] if cells is None else cells.iterrows():
        own = values.dropna()
        lowest = own.idxmin()
        highest = own.idxmax()
        numbers = {
            "least": decimal(own[lowest]),
            "median": decimal(own.median()),
            "most": decimal(own[highest]),
        }
        rows.append(
            {
                "layer": str(layer),
                "experts": count(len(own)),
                **numbers,
                "lowest": str(lowest),
                "highest": str(highest),
            }
        )
    return rows


def curve_rows(curves: pd.DataFrame) -> list[Row]:
    """The coverage curves as a table: the weight that explains most, how much it
    explains, how much a shuffled donor reaches at any weight.
    """
    rows = []
    for (model, donor), curve in curves.groupby(["model", "donor"], sort=False):
        if curve["coverage"].notna().any():
            top = curve.loc[curve["coverage"].idxmax()]
            found = {
                "alpha": percent(top["alpha"]),
                "coverage": rate(top["coverage"]),
                "shuffled": rate(curve["shuffled"].max()),
            }
            rows.append({"model": model, "donor": donor, **found})
    return rows


def worst(tensors: pd.DataFrame) -> list[Row]:
    """The slices that vote and fit the finding worst: fewest bits given back, then the
    largest cos_fit missing against a pure merge's.
    """
    ranked = tensors[tensors["votes"]].assign(
        gap=lambda table: (table["cos_expected"] - table["cos_fit"]).fillna(np.inf)
    )
    ranked = ranked.sort_values(
        ["bit_exact_rate", "gap", "tensor"],
        ascending=[True, False, True],
        kind="stable",
        na_position="first",
    )
    rows = []
    for row in ranked.head(WORST_SLICES).to_dict("records"):
        status = "" if row["status"] == "ok" else row["status"]
        part = (
            f" [{row['slice']}]" if pd.notna(row["slice"]) and str(row["slice"]) else ""
        )
        rows.append(
            {
                "name": visible(row["tensor"], 200) + part,
                "exact": row["bit_exact_rate"] == 1,
                "elements": count(row["elements"]),
            }
            | _numbers(row, status)
        )
    return rows


def statuses(tensors: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(status, slices, of them voting)."""
    by = tensors.groupby("status", dropna=False)["votes"].agg(["size", "sum"])
    return [
        (str(status), count(row["size"]), count(row["sum"]))
        for status, row in by.iterrows()
    ]


def compared(coverages: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """How much of each model was compared, of its parameters and of its bytes, what of
    that cannot count, and what was not compared.
    """
    return [
        {
            "model": model,
            "parameters": unread.amount(entry["parameters"]),
            "share": unread.share_of(entry),
            "bytes": rate(entry["bytes_share"]),
            "silent": unread.amount(entry["cannot_vote"]),
            "not": [
                f"{unread.parts(part)}: {unread.amount(part['parameters'])} in"
                f" {plural(part['tensors'], 'tensor')}, {visible(part['reason'], 300)}"
                for part in entry["not_compared"]
            ],
        }
        for model, entry in coverages.items()
    ]


def unpaired(table: pd.DataFrame) -> tuple[list[Row], int]:
    """What was not compared, by model and reason, with examples; and how many further
    groups are not shown.
    """
    groups = []
    for (model, reason), members in table.groupby(["model", "reason"], sort=False):
        names = [visible(name, 200) for name in members["tensor"].head(MOST_NAMES)]
        groups.append(
            {
                "model": model,
                "reason": visible(reason, 300),
                "tensors": count(len(members)),
                "size": len(members),
                "names": names,
            }
        )
    groups.sort(key=lambda group: -group["size"])
    return groups[:MOST_UNPAIRED], max(0, len(groups) - MOST_UNPAIRED)


def not_finite(tensors: pd.DataFrame) -> list[tuple[str, str]]:
    """The first tensors with NaN or infinite elements, and how many."""
    rows = tensors[tensors["nonfinite"] > 0].nlargest(MOST_NAMES * 3, "nonfinite")
    return [
        (visible(row.tensor, 200), count(row.nonfinite)) for row in rows.itertuples()
    ]


def recipes(recipe: Mapping[str, Any]) -> tuple[Row, list[Row], list[Row]]:
    """The recipe in words; the others that cannot be told apart from it; those tried
    that gave less back.
    """
    found = _recipe(recipe)
    others = {
        row["text"]: row
        for entry in recipe["alternatives"]
        if (row := _recipe(entry))["text"] != found["text"]
    }
    return (
        found,
        [row for row in others.values() if row["value"] == found["value"]],
        [row for row in others.values() if row["value"] != found["value"]],
    )


def beside(
    summary: Mapping[str, Any],
    tensors: pd.DataFrame,
    controls: pd.DataFrame,
    verdicts: Mapping[str, str],
) -> list[Row]:
    """What the suspect reaches beside the controls, and beside its donor with the
    elements shuffled: overall and in single tensors.

    verdicts: each model's outcome under the same rules.
    """
    rows = []
    for model, numbers in summary["models"].items():
        donor = numbers["donors"][numbers["recipe"]["donor"]]
        slices = (
            tensors
            if model == summary["suspect"]
            else controls[controls["model"] == model]
        )
        single = slices.loc[slices["votes"], "bit_exact_rate"].dropna()
        rows.append(
            {
                "model": model,
                "verdict": verdicts[model],
                "bit_exact": rate(numbers["bit_exact_rate"], _ABSENT["bit_exact_rate"]),
                "single": (
                    f"{rate(single.min())} to {rate(single.max())}"
                    if len(single)
                    else missing(_ABSENT["bit_exact_rate"])
                ),
                "coverage": rate(donor["coverage"], _ABSENT["coverage"]),
                "shuffled": rate(donor["coverage_shuffled"], _ABSENT["coverage"]),
                "cos_fit": decimal(numbers["cos_fit"], _ABSENT["cos_fit"]),
                "same_sign": percent(donor["same_sign"], "no element moved in both"),
            }
        )
    return rows


def error_rates(measured: Mapping[str, Any] | None) -> list[Row]:
    """How often each verdict was given to somebody innocent, in words; none where
    nothing was measured.

    `openworld` is no verdict: it counts any accusation, of folders as people publish
    them (benchmarks/openworld).
    """
    rows = []
    for verdict, entry in (measured or {}).items():
        told = {"innocents": count(entry["innocents"]), "false": count(entry["false"])}
        spoken = (
            "any, on folders as people publish them"
            if verdict == "openworld"
            else verdict.replace("_", " ")
        )
        rows.append(
            {
                "verdict": spoken,
                **told,
                "interval": interval(entry.get("ci95"), most_digits=1),
            }
        )
    return rows


_SAID_ELSEWHERE = (
    "alpha",
    "shares",
    "fused",
)  # the shares in the headline, the rounding at the end


def _recipe(entry: Mapping[str, Any]) -> Row:
    stated = {
        key: value
        for key, value in entry["parameters"].items()
        if value is not None and key not in _SAID_ELSEWHERE
    }
    parameters = ", ".join(
        _parameter(key.replace("_", " "), value) for key, value in stated.items()
    )
    if not entry["parameters"].get("fused", True):
        parameters += ", every product rounded before it is added"
    return {
        "text": f"{entry['method']} ({parameters}) in {entry['dtype']} arithmetic",
        "rate": rate(entry["bit_exact_rate"]),
        "value": entry["bit_exact_rate"],
    }


def _parameter(name: str, value: Any) -> str:
    if isinstance(value, dict):
        return f"{name} " + " and ".join(
            _parameter(str(key), item) for key, item in value.items()
        )
    if isinstance(value, bool):
        return name if value else f"not {name}"
    return (
        f"{name} {value:.10g}"
        if isinstance(value, float)
        else f"{name} {visible(value, 200)}"
    )


def _numbers(row: Mapping[str, Any], status: str) -> Row:
    """The numbers that pooled rows and slices have in common; `status` says why one is
    missing, where it is not ok.
    """
    names = ("alpha_expected", "cos_fit", "cos_expected")
    return {
        "alpha": _alpha(row, status),
        **{name: _decimal(row, name, status) for name in names},
        "coverage": rate(row.get("coverage"), status or _ABSENT["coverage"]),
        "bit_exact": rate(
            row.get("bit_exact_rate"), status or _ABSENT["bit_exact_rate"]
        ),
    }


def _alpha(row: Mapping[str, Any], status: str) -> str:
    alpha = row.get("alpha")
    return (
        f"{decimal(alpha)} {plus_minus(row.get('alpha_se'))}"
        if known(alpha)
        else missing(status or _ABSENT["alpha"])
    )


def _decimal(row: Mapping[str, Any], name: str, status: str) -> str:
    return decimal(row.get(name), status or _ABSENT[name])
