"""Shares of all donors together, none of them negative, each with an interval; and how
alike the donors are.

The shares are least squares, so they carry the rounding bias (docs/method.md, "Rounding
biases both"): they rank donors and show unused ones at zero. What a verdict says of a
named donor rests on the stored numbers, not on these.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from mergetrace.fit.estimators import donor_sums, fit
from mergetrace.numerics.arrays import Array
from mergetrace.tables.naming import pairs

MIN_GROUPS = 5  # fewer say nothing about how a share varies
MIN_LAYERS = 8
"""From so many layers on, they are the groups: tensors of one layer were trained
together.
"""
MIN_EIGENVALUE = 1e-10
"""The smallest eigenvalue of the donors' correlations over the greatest; below it
float64 sums separate nothing.
"""
MAX_LOST = 1e-6
"""The part of a donor's direction (squared) that may lie along eigenvectors that are
lost before its inflation counts as infinite.
"""

GroupKind = Literal["layers", "tensors"]


@dataclass(frozen=True)
class Share:
    """One donor's part of the audited model's change; all None where its direction is a
    sum of other donors', or nothing is known.
    """

    share: float | None = None
    """Non-negative least squares (Lawson & Hanson 1974, ch. 23)."""
    ci95: tuple[float, float] | None = None
    """The interval of the unconstrained share, a delete-one-group jackknife with
    Student's t, cut at zero: a confidence interval stays one when what cannot be is cut
    off. None where there are too few groups.
    """
    inflation: float | None = None
    """Variance inflation factor: by how much the other donors widen the variance of its
    share; 1 where it stands alone.
    """


@dataclass(frozen=True)
class Mixture:
    """The change of one audited model split among all donors at once."""

    donors: dict[str, Share]
    cosines: dict[str, dict[str, float]] = field(default_factory=dict)
    """Of the donors' changes, by donor and other donor."""
    groups: int = 0
    """What the jackknife left out, one at a time."""
    group_kind: GroupKind | None = None
    reason: str | None = None
    """Why something is missing."""

    def as_json(self) -> dict[str, Any]:
        """The entry of summary.json."""
        return asdict(self)


def mixture(fits: pd.DataFrame, donors: Sequence[str]) -> Mixture:
    """Split the change of one audited model. fits: rows of one model and base."""
    voting = fits[fits["votes"]]
    nothing = {donor: Share() for donor in donors}
    if voting.empty:
        return Mixture(nothing, reason="Nothing that counts was compared.")
    uv, vv = donor_sums(voting, donors)
    total_uv = uv.sum(0)
    total_vv = vv.sum(0)
    if not (np.diag(total_vv) > 0).all() or not voting["uu"].sum() > 0:
        return Mixture(
            nothing,
            reason="The suspect or a donor equals the base in everything that counts.",
        )
    by_layer = voting["layer"].nunique() >= MIN_LAYERS
    groups = voting["layer" if by_layer else "slice_id"]
    inflation = inflations(total_vv)
    shares = nonnegative(total_vv, total_uv)
    intervals = _intervals(groups, voting["uu"].to_numpy(), uv, vv)
    found = [
        _share(*numbers) for numbers in zip(shares, intervals, inflation, strict=True)
    ]
    group_count = groups.nunique()
    return Mixture(
        donors=dict(zip(donors, found, strict=True)),
        cosines=_cosines(total_vv, donors),
        groups=group_count,
        group_kind="layers" if by_layer else "tensors",
        reason=_reason(group_count, inflation),
    )


def _cosines(vv: Array, donors: Sequence[str]) -> dict[str, dict[str, float]]:
    cosines = _correlations(vv)
    return {
        one: {other: float(cosines[i, j]) for j, other in enumerate(donors) if j != i}
        for i, one in enumerate(donors)
    }


def _intervals(groups: pd.Series, uu: Array, uv: Array, vv: Array) -> Array:
    """The 95 % interval of every donor's unconstrained share, [k, 2]; NaN where there
    are too few groups.
    """
    from scipy.special import stdtrit  # a third of a second, which few stages need

    codes, names = pd.factorize(groups)
    group_uu = np.bincount(codes, uu, len(names)).astype(np.float64)
    group_uv = np.zeros((len(names), *uv.shape[1:]))
    group_vv = np.zeros((len(names), *vv.shape[1:]))
    np.add.at(group_uv, codes, uv)
    np.add.at(group_vv, codes, vv)
    free = fit(group_uu, group_uv, group_vv)
    if len(names) < MIN_GROUPS:
        return np.full((free.alpha.size, 2), np.nan)
    reach = stdtrit(len(names) - 1, 0.975) * free.alpha_se
    return np.stack([free.alpha - reach, free.alpha + reach], axis=1)


def _share(share: float, interval: Array, inflation: float) -> Share:
    if not np.isfinite(inflation):
        return Share()
    low = min(max(float(interval[0]), 0.0), float(share))
    high = max(float(interval[1]), float(share))
    known = bool(np.isfinite(interval).all())
    return Share(float(share), (low, high) if known else None, float(inflation))


def _reason(groups: int, inflation: Array) -> str | None:
    if not np.isfinite(inflation).all():
        return "Donors whose changes are a sum of others' have no share of their own."
    return None if groups >= MIN_GROUPS else f"Only {groups} groups: no interval."


def nonnegative(vv: Array, uv: Array) -> Array:
    """Minimise a.vv.a - 2 a.uv over a >= 0: float64 [k]. vv: [k, k], positive diagonal;
    uv: [k].
    """
    if len(uv) == 1:
        single: Array = np.maximum(uv / vv[0], 0.0)
        return single
    from scipy.optimize import nnls  # half a second, which one donor does not need

    scale = np.sqrt(np.diag(vv))
    values, vectors = np.linalg.eigh(_correlations(vv))
    kept = values > MIN_EIGENVALUE * values[-1]
    root = np.sqrt(values[kept])
    matrix = root[:, None] * vectors[:, kept].T
    target = vectors[:, kept].T @ (uv / scale) / root
    weights: Array = nnls(matrix, target)[0]
    shares: Array = weights / scale
    return shares


def inflations(vv: Array) -> Array:
    """Variance inflation factors: the diagonal of the inverse of the donors' uncentred
    correlations (Belsley, Kuh & Welsch 1980, ch. 3).

    float64 [k], at least 1; infinite for a donor whose delta is a sum of the others' to
    working precision.
    """
    values, vectors = np.linalg.eigh(_correlations(vv))
    lost = values <= MIN_EIGENVALUE * values[-1]
    factors: Array = (vectors[:, ~lost] ** 2 / values[~lost]).sum(1)
    factors[(vectors[:, lost] ** 2).sum(1) > MAX_LOST] = np.inf
    return factors


def _correlations(vv: Array) -> Array:
    """The donors' uncentred correlations, [k, k]."""
    scale = np.sqrt(np.diag(vv))
    correlations: Array = vv / np.outer(scale, scale)
    return correlations


def alike(
    fits: pd.DataFrame, donors: Sequence[str], limit: float
) -> list[tuple[str, str]]:
    """Pairs of donors whose deltas inflate each other's variance by at least `limit`: 1
    / (1 - cos^2).
    """
    _, vv = donor_sums(fits[fits["votes"]], donors)
    total = vv.sum(0)
    found = []
    for first, second in pairs(donors):
        i = donors.index(first)
        j = donors.index(second)
        if total[i, j] ** 2 >= (1 - 1 / limit) * total[i, i] * total[j, j] > 0:
            found.append((first, second))
    return found
