"""alpha, cos_fit and their standard errors, from the sums of a slice's blocks.

A number that cannot be computed is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.numerics.arrays import Array
from mergetrace.tables.naming import Columns, of_donor, of_pair, pairs_with_self

MAX_CONDITION = 1e8
"""Of the donors' correlation matrix. Sums of 16-bit numbers are right to some 1e-8 (see
gram): beyond this condition number no digit of a solution is sure.
"""


@dataclass(frozen=True)
class Fit:
    """Least squares of u on the donors' deltas."""

    alpha: Array
    """float64 [k]: the weight of each donor."""
    alpha_se: Array
    """float64 [k]: its standard error; NaN where there is a single block."""
    cos_fit: float
    """The uncentred multiple correlation; signed where there is one donor."""

    @property
    def total_alpha(self) -> float:
        """The donors' weights added up."""
        return float(self.alpha.sum())

    @property
    def total_alpha_se(self) -> float:
        """The standard error of that, the donors' errors taken as independent."""
        return float(np.sqrt((self.alpha_se**2).sum()))


def fit(uu: Array, uv: Array, vv: Array) -> Fit:
    """Fit alpha with a delete-one-block jackknife.

    uu: [blocks], uv: [blocks, k], vv: [blocks, k, k], the block sums of <u,u>, <u,v_j>,
    <v_i,v_j>. For k = 1, alpha = <u,v>/<v,v> and cos_fit = <u,v>/(|u||v|), signed, as
    the public case defines them; for k > 1 the least-squares solution and the multiple
    correlation sqrt(alpha.<u,v>/<u,u>).
    Jackknife: se^2 = (B-1)/B sum_j (alpha_(-j) - mean)^2 (Efron & Tibshirani 1993,
    eq. 11.5).
    All NaN where u or a donor's delta is zero, or the donors are collinear to working
    precision.
    """
    total_uu = uu.sum()
    total_uv = uv.sum(0)
    total_vv = vv.sum(0)
    donors = total_uv.size
    alpha = solve(total_vv, total_uv)
    if total_uu <= 0 or not np.isfinite(alpha).all():
        unknown = np.full(donors, np.nan)
        return Fit(unknown, unknown, float("nan"))
    if donors == 1:
        cos_fit = total_uv[0] / np.sqrt(total_uu * total_vv[0, 0])
    else:
        cos_fit = multiple_correlation(alpha, total_uv, total_uu)
    standard_errors = _jackknife(uv, vv, total_uv, total_vv)
    return Fit(alpha, standard_errors, float(np.clip(cos_fit, -1, 1)))


def _jackknife(uv: Array, vv: Array, total_uv: Array, total_vv: Array) -> Array:
    """Standard errors of alpha from leaving out one block at a time: float64 [k]."""
    blocks = len(uv)
    if blocks == 1:
        return np.full(total_uv.size, np.nan)
    left_out = np.array(
        [solve(total_vv - vv[j], total_uv - uv[j]) for j in range(blocks)]
    )
    squares = ((left_out - left_out.mean(0)) ** 2).sum(0)
    errors: Array = np.sqrt((blocks - 1) / blocks * squares)
    return errors


def solve(vv: Array, uv: Array) -> Array:
    """Solve vv alpha = uv, float64 [k], after scaling vv to unit diagonal.

    NaN where a donor's delta is zero or the donors are collinear.
    """
    scale = np.sqrt(np.diag(vv))
    if not (scale > 0).all() or not len(uv):
        return np.full(len(uv), np.nan)
    correlation = vv / np.outer(scale, scale)
    if np.linalg.cond(correlation) > MAX_CONDITION:
        return np.full(len(uv), np.nan)
    return np.linalg.solve(correlation, uv / scale) / scale


def multiple_correlation(alpha: Array, uv: Array, uu: float) -> float:
    """sqrt(alpha.<u,v> / <u,u>), 0 where rounding makes the product negative."""
    explained = float(alpha @ uv)
    return float(np.sqrt(max(explained, 0.0) / uu))


def cosine(xy: float, xx: float, yy: float) -> float:
    """xy / sqrt(xx yy), NaN where either vector is zero."""
    if xx <= 0 or yy <= 0:
        return float("nan")
    return float(np.clip(xy / np.sqrt(xx * yy), -1, 1))


def donor_sums(table: Columns, donors: Sequence[str]) -> tuple[Array, Array]:
    """<u, v_j> and <v_i, v_j> of every row of a table of sums: float64 [rows, k] and
    [rows, k, k].
    """
    if not donors:
        rows = len(table["n"])
        return np.empty((rows, 0)), np.empty((rows, 0, 0))
    of_donors = [np.asarray(table[of_donor("uv", donor)]) for donor in donors]
    uv = np.stack(of_donors, axis=1).astype(np.float64)
    vv = np.empty((*uv.shape, len(donors)))
    for first, second in pairs_with_self(donors):
        i = donors.index(first)
        j = donors.index(second)
        vv[:, i, j] = vv[:, j, i] = table[of_pair("vv", first, second)]
    return uv, vv
