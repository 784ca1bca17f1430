"""alpha, cos_fit and their standard errors, from the Gram sums of a slice's blocks.

Conventions: one row per block; a number that cannot be computed is NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from mergetrace.numerics.arrays import Array


@dataclass(frozen=True)
class Fit:
    """Least squares of u on the donors' deltas: alpha and alpha_se float64 [k], cos_fit
    the uncentred multiple correlation.
    """

    alpha: Array
    alpha_se: Array
    cos_fit: float


def fit(uu: Array, uv: Array, vv: Array) -> Fit:
    """Fit alpha with a delete-one-block jackknife.

    uu: [blocks], uv: [blocks, k], vv: [blocks, k, k], the block sums of <u,u>, <u,v_j>, <v_i,v_j>.
    For k = 1, alpha = <u,v>/<v,v> and cos_fit = <u,v>/(|u||v|), signed, as the public case defines them; for k > 1 the
    least-squares solution and the multiple correlation sqrt(alpha.<u,v>/<u,u>).
    Jackknife: se^2 = (B-1)/B sum_j (alpha_(-j) - mean)^2 (Efron & Tibshirani 1993, eq. 11.5).
    All NaN where u or a donor delta is zero, or the donors are collinear to working precision.
    """
    total_uu = uu.sum()
    total_uv = uv.sum(0)
    total_vv = vv.sum(0)
    donors = total_uv.size
    alpha = solve(total_vv, total_uv)
    if total_uu <= 0 or not np.isfinite(alpha).all():
        return Fit(np.full(donors, np.nan), np.full(donors, np.nan), float("nan"))
    blocks = len(uu)
    left_out = np.array(
        [solve(total_vv - vv[j], total_uv - uv[j]) for j in range(blocks)]
    )
    se = (
        np.sqrt((blocks - 1) / blocks * ((left_out - left_out.mean(0)) ** 2).sum(0))
        if blocks > 1
        else np.full(donors, np.nan)
    )
    explained = float(alpha @ total_uv)
    cos_fit = (
        total_uv[0] / np.sqrt(total_uu * total_vv[0, 0])
        if donors == 1
        else np.sqrt(max(explained, 0.0) / total_uu)
    )
    return Fit(alpha, se, float(np.clip(cos_fit, -1, 1)))


def solve(vv: Array, uv: Array) -> Array:
    """Solve vv alpha = uv after scaling vv to unit diagonal; NaN where a donor delta is
    zero or the donors are collinear.
    """
    scale = np.sqrt(np.diag(vv))
    if not (scale > 0).all():
        return np.full(len(uv), np.nan)
    correlation = vv / np.outer(scale, scale)
    # Sums of 16-bit numbers are right to some 1e-8 (see gram.py): beyond 1e8 no digit
    # of the solution is sure.
    if np.linalg.cond(correlation) > 1e8:
        return np.full(len(uv), np.nan)
    return np.linalg.solve(correlation, uv / scale) / scale


def donor_sums(
    table: Mapping[str, ArrayLike], donors: Sequence[str]
) -> tuple[Array, Array]:
    """<u, v_j> and <v_i, v_j> of every row: float64 [rows, k] and [rows, k, k]. table:
    columns uv.{donor} and vv.{first}.{second}.
    """
    uv = np.stack(
        [np.asarray(table[f"uv.{donor}"], np.float64) for donor in donors], axis=1
    )
    vv = np.empty((*uv.shape, len(donors)))
    for i, first in enumerate(donors):
        for j, second in enumerate(donors[i:], start=i):
            vv[:, i, j] = vv[:, j, i] = table[f"vv.{first}.{second}"]
    return uv, vv


def cosine(xy: float, xx: float, yy: float) -> float:
    """xy / sqrt(xx yy), NaN where either vector is zero."""
    return (
        float(np.clip(xy / np.sqrt(xx * yy), -1, 1))
        if xx > 0 and yy > 0
        else float("nan")
    )
