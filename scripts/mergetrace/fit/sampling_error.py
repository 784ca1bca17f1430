"""How far a sample's alpha may lie from the one that all elements would give.

Of every tensor some blocks were read, at random. alpha = <u,v>/<v,v> is a ratio of sums
over all tensors, each sum estimated from its tensor's blocks times its weight (the
elements of the tensor for each that was read): the combined ratio estimator of a
stratified sample (Cochran 1977, Sampling Techniques, 6.11). Its variance is the
delete-one-block jackknife's, tensor by tensor, each part less the share of the tensor
that was read and so cannot vary (Wolter 2007, Introduction to Variance Estimation,
4.5); the degrees of freedom are Satterthwaite's. A tensor that was read whole adds
nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from mergetrace.fit.estimators import donor_sums, solve
from mergetrace.numerics.arrays import Array

EXPANDED = ("uu", "ub", "bb", "rounding")
EXPANDED_BY_DONOR = ("uv.", "bv.", "vv.")


@dataclass(frozen=True)
class Estimate:
    """alpha of every donor and its sampling error, float64 [k], the error of their sum,
    and the degrees of freedom (inf: all was read).
    """

    alpha: Array
    se: Array
    se_of_sum: float
    freedom: float

    def interval(self, share: float = 0.95) -> tuple[float, float]:
        """The interval for the sum of the donors' alphas; both ends NaN where there is
        none.
        """
        reach = (
            self.se_of_sum * float(stdtrit(self.freedom, (1 + share) / 2))
            if self.se_of_sum > 0
            else self.se_of_sum
        )
        return float(self.alpha.sum() - reach), float(self.alpha.sum() + reach)


def estimate(blocks: pd.DataFrame, donors: Sequence[str]) -> Estimate:
    """The estimate from blocks of any tensors.

    blocks: one row per block with the sums `uv.{donor}` and `vv.{first}.{second}`, its `tensor`, and the tensor's `weight`.
    All NaN where a donor's delta is zero or the donors are collinear.
    """
    uv, vv = donor_sums(blocks, donors)
    weight = blocks["weight"].to_numpy(np.float64)
    all_uv = weight @ uv
    all_vv = np.tensordot(weight, vv, 1)
    alpha = solve(all_vv, all_uv)
    if not np.isfinite(alpha).all():
        return Estimate(alpha, alpha, float("nan"), float("nan"))
    variance = np.zeros((len(donors), len(donors)))
    fourth = 0.0
    for rows in blocks.groupby("tensor", sort=False).indices.values():
        count = len(rows)
        scale = weight[rows[0]]
        if scale <= 1 or count < 2:
            continue
        # Without a block the others stand for all of the tensor: its sum is multiplied
        # by count / (count - 1).
        without_uv = all_uv + scale / (count - 1) * (uv[rows].sum(0) - count * uv[rows])
        without_vv = all_vv + scale / (count - 1) * (vv[rows].sum(0) - count * vv[rows])
        left_out = np.linalg.solve(without_vv, without_uv[..., None])[..., 0]
        part = (
            (1 - 1 / scale)
            * (count - 1)
            * np.cov(left_out, rowvar=False, ddof=0).reshape(variance.shape)
        )
        variance += part
        fourth += float(part.sum()) ** 2 / (count - 1)
    of_sum = float(variance.sum())
    return Estimate(
        alpha,
        np.sqrt(np.diag(variance)),
        np.sqrt(of_sum),
        of_sum**2 / fourth if fourth else np.inf,
    )


def expanded(fits: pd.DataFrame) -> pd.DataFrame:
    """The fits with every sum times its slice's `weight`: what all elements of the
    tensor would add up to. Counts stay what was counted.
    """
    sums = [
        name
        for name in fits.columns
        if name in EXPANDED or name.startswith(EXPANDED_BY_DONOR)
    ]
    return fits.assign(**{name: fits[name] * fits["weight"] for name in sums})


def with_errors(table: pd.DataFrame, found: pd.DataFrame) -> pd.DataFrame:
    """A pooled table with the sampling errors found for its groups in place of the
    slices' own; the table itself where there are none.
    """
    keys = [name for name in found.columns if name in ("model", "layer", "component")]
    if found.empty:
        return table.assign(alpha_low=np.nan, alpha_high=np.nan)
    return table.drop(columns="alpha_se").merge(
        found[[*keys, "alpha_se", "alpha_low", "alpha_high"]], on=keys, how="left"
    )[[*table.columns, "alpha_low", "alpha_high"]]


def reach(precision: pd.DataFrame, model: str) -> dict[str, float] | None:
    """How far the 95 % intervals of one model's layers and components reach to either
    side, in the median and at most; None where all was read.
    """
    half = (
        precision.loc[precision["model"] == model, "alpha_high"]
        - precision.loc[precision["model"] == model, "alpha_low"]
    ).dropna() / 2
    return (
        {"groups": len(half), "median": float(half.median()), "most": float(half.max())}
        if len(half)
        else None
    )


def errors(
    blocks: pd.DataFrame, donors: Sequence[str], by: Sequence[str]
) -> pd.DataFrame:
    """One row per group of `by`: `alpha`, its sampling error `alpha_se`, `alpha_low`
    and `alpha_high` (95 %), blocks read.

    blocks: as for `estimate`, and with the columns of `by` and `votes`; where a group
    votes, what does not vote is left out.
    """
    rows = []
    for key, members in blocks.groupby(list(by), sort=False):
        voting = members[members["votes"]] if members["votes"].any() else members
        found = estimate(voting, donors)
        low, high = found.interval()
        numbers = {
            "alpha": found.alpha.sum(),
            "alpha_se": found.se_of_sum,
            "alpha_low": low,
            "alpha_high": high,
            "blocks": len(voting),
        }
        rows.append({**dict(zip(by, key, strict=True)), **numbers})
    return pd.DataFrame(
        rows, columns=[*by, "alpha", "alpha_se", "alpha_low", "alpha_high", "blocks"]
    )
