"""Shares of all donors together, none of them negative, each with an interval; and how
alike the donors are.

The shares are least squares, so they carry the rounding bias (docs/method.md, "Rounding
biases both"): they rank donors and show unused ones at zero. What a verdict says of a
named donor rests on the stored numbers, not on these.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.fit.estimators import donor_sums, fit
from mergetrace.numerics.arrays import Array

MIN_GROUPS = 5  # fewer say nothing about how a share varies
# from so many layers on, they are the groups: tensors of one layer were trained
# together
MIN_LAYERS = 8
# smallest eigenvalue of the donors' correlations over the greatest, below which float64
# sums separate nothing
SINGULAR = 1e-10


def mixture(fits: pd.DataFrame, donors: Sequence[str]) -> dict[str, Any]:
    """Split the change of one audited model among all donors at once.

    fits: rows of one model and base. Returns `donors`: by donor its `share` (non-negative least squares, Lawson & Hanson 1974, ch. 23), `ci95`,
    `inflation` (variance inflation factor: by how much the other donors widen the variance of its share; 1 where it stands alone); and
    `groups`, `group_kind`, `reason`. The interval is that of the unconstrained share, a delete-one-group jackknife with Student's t, cut at
    zero: a confidence interval stays one when what cannot be is cut off. It is null with `reason` where there are too few groups, and so is
    all of a donor whose direction is a sum of others'.
    """
    voting = fits[fits["votes"]]
    uv, vv = donor_sums(voting, donors)
    total_uv = uv.sum(0)
    total_vv = vv.sum(0)
    found: dict[str, Any] = {
        "donors": {},
        "cosines": {},
        "groups": 0,
        "group_kind": None,
        "reason": None,
    }
    scale = np.sqrt(np.diag(total_vv)) if len(voting) else np.zeros(len(donors))
    if not len(voting) or not (scale > 0).all() or not voting["uu"].sum() > 0:
        nothing = (
            "The suspect or a donor equals the base in everything that counts."
            if len(voting)
            else "Nothing that counts was compared."
        )
        return {
            **found,
            "donors": {
                donor: dict.fromkeys(("share", "ci95", "inflation")) for donor in donors
            },
            "reason": nothing,
        }
    cosines = total_vv / np.outer(scale, scale)
    found["cosines"] = {
        one: {other: float(cosines[i, j]) for j, other in enumerate(donors) if j != i}
        for i, one in enumerate(donors)
    }
    inflation = inflations(total_vv)
    share = nonnegative(total_vv, total_uv)
    by = "layer" if voting["layer"].nunique() >= MIN_LAYERS else "slice_id"
    codes, names = pd.factorize(voting[by])
    grouped = [np.zeros((len(names), *values.shape[1:])) for values in (uv, vv)]
    for into, values in zip(grouped, (uv, vv), strict=True):
        np.add.at(into, codes, values)
    free = fit(np.bincount(codes, voting["uu"].to_numpy(), len(names)), *grouped)
    enough = len(names) >= MIN_GROUPS
    from scipy.special import stdtrit

    reach = (
        stdtrit(len(names) - 1, 0.975) * free.alpha_se
        if enough
        else np.full(len(donors), np.nan)
    )
    for i, donor in enumerate(donors):
        known = np.isfinite(inflation[i])
        ends = [
            min(max(free.alpha[i] - reach[i], 0.0), share[i]),
            max(free.alpha[i] + reach[i], share[i]),
        ]
        found["donors"][donor] = {
            "share": float(share[i]) if known else None,
            "ci95": (
                [float(end) for end in ends]
                if known and np.isfinite(ends).all()
                else None
            ),
            "inflation": float(inflation[i]) if known else None,
        }
    reason = None if enough else f"Only {len(names)} groups: no interval."
    if not np.isfinite(inflation).all():
        reason = "Donors whose changes are a sum of others' have no share of their own."
    return {
        **found,
        "groups": len(names),
        "group_kind": "layers" if by == "layer" else "tensors",
        "reason": reason,
    }


def nonnegative(vv: Array, uv: Array) -> Array:
    """Minimise a.vv.a - 2 a.uv over a >= 0: float64 [k]. vv: [k, k], positive diagonal;
    uv: [k].
    """
    if len(uv) == 1:
        return np.maximum(uv / vv[0], 0.0)
    from scipy.optimize import nnls

    scale = np.sqrt(np.diag(vv))
    values, vectors = np.linalg.eigh(vv / np.outer(scale, scale))
    kept = values > SINGULAR * values[-1]
    root = np.sqrt(values[kept])
    matrix = root[:, None] * vectors[:, kept].T
    target = vectors[:, kept].T @ (uv / scale) / root
    return nnls(matrix, target)[0] / scale


def inflations(vv: Array) -> Array:
    """Variance inflation factors: the diagonal of the inverse of the donors' uncentred
    correlations (Belsley, Kuh & Welsch 1980, ch. 3).

    float64 [k], at least 1; infinite for a donor whose delta is a sum of the others' to
    working precision.
    """
    scale = np.sqrt(np.diag(vv))
    values, vectors = np.linalg.eigh(vv / np.outer(scale, scale))
    lost = values <= SINGULAR * values[-1]
    found = (vectors[:, ~lost] ** 2 / values[~lost]).sum(1)
    found[(vectors[:, lost] ** 2).sum(1) > 1e-6] = np.inf
    return found


def alike(
    fits: pd.DataFrame, donors: Sequence[str], limit: float
) -> list[tuple[str, str]]:
    """Pairs of donors whose deltas inflate each other's variance by at least `limit`: 1
    / (1 - cos^2).
    """
    vv = donor_sums(fits[fits["votes"]], donors)[1].sum(0)
    pairs = combinations(range(len(donors)), 2)
    return [
        (donors[i], donors[j])
        for i, j in pairs
        if vv[i, j] ** 2 >= (1 - 1 / limit) * vv[i, i] * vv[j, j] > 0
    ]
