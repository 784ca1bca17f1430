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
from mergetrace.sums.block_sums import SUMS
from mergetrace.tables.naming import number_of

NAN = float("nan")
GROUPS = ("model", "layer", "component")
ERROR_COLUMNS = ("alpha", "alpha_se", "alpha_low", "alpha_high", "blocks")


@dataclass(frozen=True)
class Estimate:
    """alpha and its sampling error."""

    alpha: Array
    """float64 [k]: of every donor."""
    se: Array
    """float64 [k]: its standard error."""
    se_of_sum: float
    """The standard error of the sum of the donors' alphas."""
    freedom: float
    """Degrees of freedom of that; infinite where all was read."""

    def interval(self, share: float = 0.95) -> tuple[float, float]:
        """The interval for the sum of the donors' alphas; both ends NaN where there is
        none.
        """
        reach = self.se_of_sum
        if reach > 0:
            reach *= float(stdtrit(self.freedom, (1 + share) / 2))
        alpha = float(self.alpha.sum())
        return alpha - reach, alpha + reach


def estimate(blocks: pd.DataFrame, donors: Sequence[str]) -> Estimate:
    """The estimate from blocks of any tensors.

    blocks: the table of sums (one row per block) with the block's `tensor` and the
    tensor's `weight`. All NaN where a donor's delta is zero or the donors are
    collinear.
    """
    uv, vv = donor_sums(blocks, donors)
    weight = blocks["weight"].to_numpy(np.float64)
    all_uv = weight @ uv
    all_vv = np.tensordot(weight, vv, 1)
    alpha = solve(all_vv, all_uv)
    if not np.isfinite(alpha).all():
        return Estimate(alpha, alpha, NAN, NAN)
    variance = np.zeros((len(donors), len(donors)))
    fourth = 0.0
    for rows in blocks.groupby("tensor", sort=False).indices.values():
        count = len(rows)
        scale = weight[rows[0]]
        if scale <= 1 or count < 2:
            continue
        # Without a block the others stand for all of the tensor: its sum is multiplied
        # by count / (count - 1).
        factor = scale / (count - 1)
        without_uv = all_uv + factor * (uv[rows].sum(0) - count * uv[rows])
        without_vv = all_vv + factor * (vv[rows].sum(0) - count * vv[rows])
        left_out = np.linalg.solve(without_vv, without_uv[..., None])[..., 0]
        spread = np.cov(left_out, rowvar=False, ddof=0).reshape(variance.shape)
        part = (1 - 1 / scale) * (count - 1) * spread
        variance += part
        fourth += float(part.sum()) ** 2 / (count - 1)
    of_sum = float(variance.sum())
    return Estimate(
        alpha=alpha,
        se=np.sqrt(np.diag(variance)),
        se_of_sum=float(np.sqrt(of_sum)),
        freedom=of_sum**2 / fourth if fourth else float("inf"),
    )


def expanded(fits: pd.DataFrame) -> pd.DataFrame:
    """The fits with every sum times its slice's `weight`: what all elements of the
    tensor would add up to. Counts stay what was counted.
    """
    sums = [name for name in fits.columns if number_of(name) in SUMS]
    return fits.assign(**{name: fits[name] * fits["weight"] for name in sums})


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
        numbers = (
            found.alpha.sum(),
            found.se_of_sum,
            *found.interval(),
            len(voting),
        )
        rows.append((*key, *numbers))
    return pd.DataFrame(rows, columns=[*by, *ERROR_COLUMNS])


def with_errors(table: pd.DataFrame, precision: pd.DataFrame) -> pd.DataFrame:
    """A pooled table with the sampling errors of its groups (see `errors`) in place of
    the slices' own; of no groups, the table itself.
    """
    keys = [name for name in precision.columns if name in GROUPS]
    if precision.empty:
        return table.assign(alpha_low=np.nan, alpha_high=np.nan)
    added = precision[[*keys, "alpha_se", "alpha_low", "alpha_high"]]
    merged = table.drop(columns="alpha_se").merge(added, on=keys, how="left")
    return merged[[*table.columns, "alpha_low", "alpha_high"]]


@dataclass(frozen=True)
class Reach:
    """How far the 95 % intervals of one model's layers and components reach to either
    side of alpha.
    """

    groups: int
    median: float
    most: float


def reach(precision: pd.DataFrame, model: str) -> Reach | None:
    """The reach of one model's intervals; None where all was read."""
    rows = precision[precision["model"] == model]
    half = (rows["alpha_high"] - rows["alpha_low"]).dropna() / 2
    if half.empty:
        return None
    return Reach(len(half), float(half.median()), float(half.max()))
