"""Tables for people: fits by slice, by layer, by component; and the base that fits."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.fit.pooling import pool
from mergetrace.fit.weighting import mean
from mergetrace.tables.naming import of_donor

CONTRACT = [
    "tensor",
    "slice",
    "layer",
    "component",
    "elements",
    "alpha",
    "alpha_se",
    "cos_fit",
    "alpha_replay",
    "coverage",
    "alpha_expected",
    "cos_expected",
    "bit_exact_rate",
    "status",
]
FROM_EVIDENCE = ("alpha_replay", "coverage", "alpha_expected", "cos_expected")


def with_rates(fits: pd.DataFrame, recipe_slices: pd.DataFrame) -> pd.DataFrame:
    """The fits with the best recipe's counts and `bit_exact_rate` per slice (NaN where
    nothing was informative).
    """
    table = fits.merge(recipe_slices, on=["model", "base", "slice_id"], how="left")
    informative = table["recipe_informative"]
    rate = table["recipe_exact"] / informative.where(informative > 0)
    return table.assign(bit_exact_rate=rate)


def group(fits: pd.DataFrame, donors: Sequence[str], by: str) -> pd.DataFrame:
    """One row per model and layer or component (`by`): slices, elements, alpha,
    alpha_se, cos_fit, expected values, coverage, rate.

    Where a group has no voting slice, its numbers come from all its slices, and `votes`
    is false.
    """
    rows = [
        {"model": model, by: key, **_pooled_row(members, donors)}
        for (model, key), members in fits.groupby(["model", by], sort=False)
    ]
    return pd.DataFrame(rows)


def _pooled_row(members: pd.DataFrame, donors: Sequence[str]) -> dict[str, Any]:
    votes = bool(members["votes"].any())
    chosen = members[members["votes"]] if votes else members
    pooled = pool(chosen.assign(votes=True), donors)
    alphas = [entry.alpha_ols for entry in pooled.donors.values()]
    errors = [entry.alpha_se for entry in pooled.donors.values()]
    return {
        "votes": votes,
        "slices": len(chosen),
        "elements": pooled.elements,
        "alpha": sum(_numbers(alphas)),
        "alpha_se": np.sqrt(sum(error**2 for error in _numbers(errors))),
        "cos_fit": pooled.cos_fit,
        **{name: mean(chosen[name], chosen["n"]) for name in FROM_EVIDENCE},
        "bit_exact_rate": pooled.bit_exact_rate,
    }


def _numbers(values: Sequence[float | None]) -> list[float]:
    """NaN in place of None."""
    return [float("nan") if value is None else value for value in values]


def tensor_table(
    fits: pd.DataFrame, donors: Sequence[str], by_model: bool = False
) -> pd.DataFrame:
    """The published table, one row per slice. Where there are several donors, it has a
    column for the alpha of each.

    by_model: put the model's name first, for tables that hold several.
    """
    of_each = [
        of_donor(name, donor) for donor in donors for name in ("alpha", "alpha_se")
    ]
    columns = [
        *(["model"] if by_model else []),
        *CONTRACT,
        "alpha_replay_low",
        "alpha_replay_high",
        *(of_each if len(donors) > 1 else []),
        "votes",
        "nonfinite",
    ]
    return fits[columns]


def choose_base(
    candidates: Mapping[str, Mapping[str, Any]], min_bit_exact: float
) -> str:
    """The base candidate that fits: one whose best recipe reproduces the suspect, else
    the one the suspect moved least from.

    candidates: per base the pooled numbers with `recipe`. Exactness comes first: only
    the true base gives it.
    """

    def rank(base: str) -> tuple[bool, float]:
        best = candidates[base]["recipe"]["best"]
        exact = best is not None and best["bit_exact_rate"] >= min_bit_exact
        return not exact, candidates[base]["delta_energy"]

    return min(candidates, key=rank)
