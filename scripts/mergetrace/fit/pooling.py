"""The fits of one audited model and base, pooled over all slices that vote.

Sums are pooled before anything is divided, so a large tensor weighs as much as it
holds. None stands for a number that cannot be computed.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mergetrace.fit.estimators import cosine, donor_sums, multiple_correlation, solve
from mergetrace.fit.weighting import mean, median_and_spread
from mergetrace.records.summary import DonorSummary, PooledNumbers
from mergetrace.tables.naming import numbers_of, of_pair

SUMS = ("uu", "ub", "bb", "rounding", "n", "equal_base")


def pool(
    fits: pd.DataFrame, donors: Sequence[str], min_bit_exact: float = 1.0
) -> PooledNumbers:
    """Pool the slices of one audited model and base.

    fits: rows of the table of fits with the best recipe's counts (see
    summaries.with_rates). min_bit_exact: the rate from which a slice counts as exact.
    """
    voting = fits[fits["votes"]]
    total = {name: float(voting[name].sum()) for name in SUMS}
    uv, vv = (values.sum(0) for values in donor_sums(voting, donors))
    alpha = solve(vv, uv)
    cos_fit = float("nan")
    if total["uu"] <= 0 or not len(donors):  # nothing moved, or nowhere to look
        alpha = np.full(len(donors), np.nan)
    elif len(donors) == 1:
        cos_fit = cosine(uv[0], total["uu"], vv[0, 0])
    else:
        cos_fit = multiple_correlation(alpha, uv, total["uu"])
    audited_base = total["ub"] + total["bb"]
    audited_audited = total["uu"] + 2 * total["ub"] + total["bb"]
    exact = int(voting["recipe_exact"].sum())
    informative = int(voting["recipe_informative"].sum())
    rates = voting.loc[voting["recipe_informative"] > 0, "bit_exact_rate"]
    nonfinite = fits["nonfinite"] > 0
    return PooledNumbers(
        slices=len(voting),
        elements=int(total["n"]),
        elements_read=int(fits["n"].sum() + fits["nonfinite"].sum()),
        nonfinite=int(fits["nonfinite"].sum()),
        nonfinite_tensors=tuple(sorted(set(fits.loc[nonfinite, "tensor"]))),
        delta_energy=total["uu"],
        rounding_share=ratio(total["rounding"], total["uu"]),
        cos_fit=number(cos_fit),
        base_cos=number(cosine(audited_base, audited_audited, total["bb"])),
        equal_base=ratio(total["equal_base"], total["n"]),
        all_equal_base=_are_all(fits, fits["equal_base"]),
        all_rounded_base=_are_all(fits, fits["rounded_base"]),
        elements_voting=int(voting["elements"].sum()),
        donors={
            donor: _pool_donor(fits, donor, donors, alpha[i])
            for i, donor in enumerate(donors)
        },
        informative=informative,
        bit_exact_rate=ratio(exact, informative),
        exact_share=number(float((rates >= min_bit_exact).mean())),
    )


def slices_of_base(fits: pd.DataFrame, least: float) -> int:
    """The number of slices that vote whose raw weights point the base's way, by a
    cosine of `least`. fits: of one audited model and base.
    """
    voting = fits[fits["votes"]]
    audited_base = voting["ub"] + voting["bb"]
    audited = voting["uu"] + 2 * voting["ub"] + voting["bb"]
    products = (audited * voting["bb"]).clip(lower=0)
    return int((audited_base >= least * np.sqrt(products)).sum())


def _pool_donor(
    fits: pd.DataFrame, donor: str, donors: Sequence[str], alpha: float
) -> DonorSummary:
    everywhere = numbers_of(fits, donor)
    voting = everywhere[fits["votes"]]
    of_all = fits[fits["votes"]]
    vv = of_all[of_pair("vv", donor, donor)]
    informative = voting["informative"]
    agree = float(voting["parents_agree"].sum())
    moved_alone = float(voting["moved_alone"].sum())
    differ = float(of_all["n"].sum()) - agree
    equal_and_moved = float(voting["equal_donor"].sum()) - agree + moved_alone
    weight, spread = median_and_spread(voting["replay"], informative)
    only = {
        other: int(of_all[of_pair("only", donor, other)].sum())
        for other in donors
        if other != donor
    }
    return DonorSummary(
        alpha_ols=number(alpha),
        alpha_se=_standard_error(vv, voting["alpha_se"]),
        cos=number(
            cosine(
                float(voting["uv"].sum()), float(of_all["uu"].sum()), float(vv.sum())
            )
        ),
        coverage=number(mean(voting["coverage"], informative)),
        coverage_base=number(mean(voting["coverage_base"], informative)),
        coverage_donor=number(mean(voting["coverage_donor"], informative)),
        coverage_shuffled=number(mean(voting["coverage_shuffled"], informative)),
        informative=int(informative.sum()),
        alpha_replay=number(weight),
        alpha_spread=number(spread),
        parents_agree=int(agree),
        moved_alone=ratio(moved_alone, agree),
        stayed_alone=ratio(float(voting["stayed_alone"].sum()), differ),
        equal_donor=ratio(equal_and_moved, differ),
        same_sign=ratio(
            float(voting["same_sign"].sum()), float(voting["both_moved"].sum())
        ),
        only=only,
        all_equal=_are_all(fits, everywhere["equal_donor"]),
        all_rounded=_are_all(fits, everywhere["rounded_donor"]),
        is_base=_are_all(fits, everywhere["parents_agree"]),
    )


def _standard_error(vv: pd.Series, errors: pd.Series) -> float | None:
    """The pooled standard error of a donor's alpha (see DonorSummary.alpha_se). Slices
    without one are left out; None where none has one.
    """
    if vv.sum() <= 0:
        return None
    parts = (vv / vv.sum() * errors).dropna()
    return number(float(np.sqrt((parts**2).sum()))) if len(parts) else None


def _are_all(fits: pd.DataFrame, count: pd.Series) -> bool:
    """Whether a count of elements is that of all elements, of which there is one at
    least.
    """
    return bool((count == fits["n"]).all() and fits["n"].sum() > 0)


def replayed(fits: pd.DataFrame, donor: str) -> tuple[float, float]:
    """The blend weight that a donor's replay finds in the voting slices, and its
    coverage; NaN where no element is informative.
    """
    voting = numbers_of(fits[fits["votes"]], donor)
    informative = voting["informative"]
    weight, _ = median_and_spread(voting["replay"], informative)
    return weight, mean(voting["coverage"], informative)


def number(value: float) -> float | None:
    """A JSON number, or None for what is not finite."""
    return float(value) if np.isfinite(value) else None


def ratio(part: float, whole: float) -> float | None:
    """part / whole as a JSON number; None where `whole` is zero."""
    return number(part / whole) if whole else None
