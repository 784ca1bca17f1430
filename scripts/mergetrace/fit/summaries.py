"""Fits of all slices pooled: by layer, by component, over everything that votes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.fit.estimators import cosine, donor_sums, solve

CONTRACT = [
    "tensor",
    "slice",
    "layer",
    "component",
    "elements",
    "alpha",
    "alpha_se",
    "cos_fit",
]
CONTRACT += [
    "alpha_replay",
    "coverage",
    "alpha_expected",
    "cos_expected",
    "bit_exact_rate",
    "status",
]


def with_rates(fits: pd.DataFrame, recipe_slices: pd.DataFrame) -> pd.DataFrame:
    """The fits with the best recipe's `bit_exact_rate` per slice (NaN where nothing was
    informative).
    """
    table = fits.merge(recipe_slices, on=["model", "base", "slice_id"], how="left")
    table["bit_exact_rate"] = table["recipe_exact"] / table["recipe_informative"].where(
        table["recipe_informative"] > 0
    )
    return table


def pool(
    fits: pd.DataFrame, donors: list[str], min_bit_exact: float = 1.0
) -> dict[str, Any]:
    """Pool the voting slices of one audited model and base.

    `exact_share` is the share of informative slices whose bit-exact rate reaches `min_bit_exact`. None stands for what cannot be
    computed. Sums are pooled before anything is divided, so large tensors weigh as much as they hold. se^2 = sum (w_i se_i)^2 with w_i
    the share of <v,v>: blocks are taken as independent within slices; it says nothing about differences between slices.
    """
    voting = fits[fits["votes"]]
    total = {
        key: float(voting[key].sum())
        for key in ("uu", "ub", "bb", "rounding", "n", "equal_base", "nonfinite")
    }
    uv, vv = (values.sum(0) for values in donor_sums(voting, donors))
    alpha = (
        solve(vv, uv) if total["uu"] > 0 else np.full(len(donors), np.nan)
    )  # what did not move has no direction
    explained = float(alpha @ uv)
    many = np.sqrt(max(explained, 0.0) / total["uu"]) if total["uu"] > 0 else np.nan
    cos_fit = cosine(uv[0], total["uu"], vv[0, 0]) if len(donors) == 1 else many
    sb = total["ub"] + total["bb"]
    ss = total["uu"] + 2 * total["ub"] + total["bb"]
    informative = voting["recipe_informative"].sum()
    exact = voting["recipe_exact"].sum()
    known = voting[voting["recipe_informative"] > 0]
    return {
        "slices": len(voting),
        "elements": int(total["n"]),
        "elements_read": int(fits["n"].sum() + fits["nonfinite"].sum()),
        "nonfinite": int(fits["nonfinite"].sum()),
        "nonfinite_tensors": sorted(set(fits.loc[fits["nonfinite"] > 0, "tensor"])),
        "delta_energy": total["uu"],
        "rounding_share": (
            number(total["rounding"] / total["uu"]) if total["uu"] > 0 else None
        ),
        "cos_fit": number(cos_fit),
        "base_cos": number(cosine(sb, ss, total["bb"])),
        "equal_base": number(total["equal_base"] / total["n"]) if total["n"] else None,
        "all_equal_base": _all_equal(fits, "equal_base"),
        "all_rounded_base": _all_equal(fits, "rounded_base"),
        "elements_voting": int(voting["elements"].sum()),
        "donors": {
            donor: _donor(voting, fits, donor, alpha[i])
            for i, donor in enumerate(donors)
        },
        "informative": int(informative),
        "bit_exact_rate": number(exact / informative) if informative else None,
        "exact_share": (
            number((known["bit_exact_rate"] >= min_bit_exact).mean())
            if len(known)
            else None
        ),
    }


def group(fits: pd.DataFrame, donors: list[str], by: str) -> pd.DataFrame:
    """One row per model and layer or component (`by`): slices, elements, alpha,
    alpha_se, cos_fit, expected values, coverage, rate.

    Where a group has no voting slice, its numbers come from all its slices, and `votes`
    is false.
    """
    rows = []
    for (model, key), members in fits.groupby(["model", by], sort=False):
        voting = members[members["votes"]] if members["votes"].any() else members
        pooled = pool(voting.assign(votes=True), donors)
        alphas = [entry["alpha_ols"] for entry in pooled["donors"].values()]
        errors = [entry["alpha_se"] for entry in pooled["donors"].values()]
        weights = voting["n"]
        rows.append(
            {
                "model": model,
                by: key,
                "votes": bool(members["votes"].any()),
                "slices": len(voting),
                "elements": pooled["elements"],
                "alpha": sum(alphas) if None not in alphas else np.nan,
                "alpha_se": (
                    np.sqrt(sum(se**2 for se in errors))
                    if None not in errors
                    else np.nan
                ),
                "cos_fit": pooled["cos_fit"],
                **{
                    name: _mean(voting[name], weights)
                    for name in (
                        "alpha_replay",
                        "coverage",
                        "alpha_expected",
                        "cos_expected",
                    )
                },
                "bit_exact_rate": pooled["bit_exact_rate"],
            }
        )
    return pd.DataFrame(rows)


def tensor_table(
    fits: pd.DataFrame, donors: list[str], by_model: bool = False
) -> pd.DataFrame:
    """The published table, one row per slice: the contract's columns, the ends of `alpha_replay`, each donor's alpha where there are several,
    `votes`.

    `by_model` puts the model's name first, for tables that hold several.
    """
    extra = (
        [f"{name}.{donor}" for donor in donors for name in ("alpha", "alpha_se")]
        if len(donors) > 1
        else []
    )
    ends = ["alpha_replay_low", "alpha_replay_high"]
    return fits[
        [
            *(["model"] if by_model else []),
            *CONTRACT,
            *ends,
            *extra,
            "votes",
            "nonfinite",
        ]
    ]


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


COUNTED = ("equal_donor", "parents_agree", "moved_alone", "stayed_alone")


def number(value: float) -> float | None:
    """A JSON number, or None for what is not finite."""
    return float(value) if np.isfinite(value) else None


def _donor(
    voting: pd.DataFrame, fits: pd.DataFrame, donor: str, alpha: float
) -> dict[str, Any]:
    vv = voting[f"vv.{donor}.{donor}"]
    weighted = (
        (vv / vv.sum() * voting[f"alpha_se.{donor}"]).dropna()
        if vv.sum() > 0
        else pd.Series(dtype=float)
    )
    informative = voting[f"informative.{donor}"]
    counts = {
        name: float(voting[f"{name}.{donor}"].sum())
        for name in (*COUNTED, "both_moved", "same_sign")
    }
    both = counts["both_moved"]
    same = counts["same_sign"]
    agree = counts["parents_agree"]
    differ = float(voting["n"].sum()) - agree
    median, spread = _replay_spread(voting[f"replay.{donor}"], informative)
    return {
        "alpha_ols": number(alpha),
        "alpha_se": (
            number(float(np.sqrt((weighted**2).sum()))) if len(weighted) else None
        ),
        "cos": number(
            cosine(
                float(voting[f"uv.{donor}"].sum()),
                float(voting["uu"].sum()),
                float(vv.sum()),
            )
        ),
        "coverage": number(_mean(voting[f"coverage.{donor}"], informative)),
        "coverage_base": number(_mean(voting[f"coverage_base.{donor}"], informative)),
        "coverage_donor": number(_mean(voting[f"coverage_donor.{donor}"], informative)),
        "coverage_shuffled": number(
            _mean(voting[f"coverage_shuffled.{donor}"], informative)
        ),
        "informative": int(informative.sum()),
        "alpha_replay": number(median),
        "alpha_spread": number(spread),
        "parents_agree": int(agree),
        "moved_alone": number(counts["moved_alone"] / agree) if agree else None,
        "stayed_alone": number(counts["stayed_alone"] / differ) if differ else None,
        "equal_donor": (
            number((counts["equal_donor"] - agree + counts["moved_alone"]) / differ)
            if differ
            else None
        ),
        "same_sign": number(same / both) if both else None,
        "only": {
            name.split(".", 2)[2]: int(voting[name].sum())
            for name in voting.columns
            if name.startswith(f"only.{donor}.")
        },
        "all_equal": _all_equal(fits, f"equal_donor.{donor}"),
        "all_rounded": _all_equal(fits, f"rounded_donor.{donor}"),
        "is_base": _all_equal(fits, f"parents_agree.{donor}"),
    }


def replayed(fits: pd.DataFrame, donor: str) -> tuple[float, float]:
    """The blend weight that a donor's replay finds in the voting slices, and its
    coverage; NaN where no element is informative.
    """
    voting = fits[fits["votes"]]
    informative = voting[f"informative.{donor}"]
    return _replay_spread(voting[f"replay.{donor}"], informative)[0], _mean(
        voting[f"coverage.{donor}"], informative
    )


def _all_equal(fits: pd.DataFrame, count: str) -> bool:
    """Whether a count of equal elements is that of all elements, of which there is one
    at least.
    """
    return bool((fits[count] == fits["n"]).all() and fits["n"].sum() > 0)


def _replay_spread(alphas: pd.Series, weights: pd.Series) -> tuple[float, float]:
    """The weighted median of the slices' replay weights and the weighted median of
    their distances from it.
    """
    known = alphas.notna() & (weights > 0)
    if not known.any():
        return float("nan"), float("nan")
    median = _weighted_median(alphas[known], weights[known])
    return median, _weighted_median((alphas[known] - median).abs(), weights[known])


def _weighted_median(values: pd.Series, weights: pd.Series) -> float:
    order = values.argsort()
    running = weights.iloc[order].cumsum()
    return float(
        values.iloc[order].iloc[
            int((running >= running.iloc[-1] / 2).to_numpy().argmax())
        ]
    )


def _mean(values: pd.Series, weights: pd.Series) -> float:
    known = values.notna() & (weights > 0)
    return (
        float(np.average(values[known], weights=weights[known]))
        if known.any()
        else float("nan")
    )
