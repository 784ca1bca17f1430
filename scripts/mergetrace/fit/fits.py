"""From sums and evidence to the numbers of one slice under one frame."""

from collections.abc import Mapping
from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mergetrace.fit.estimators import cosine, donor_sums, fit
from mergetrace.numerics.arithmetic import to_float32
from mergetrace.numerics.rounding import (
    NOTHING,
    replay,
    replay_intervals,
    shuffled_coverage,
)
from mergetrace.sums.as_stored import round_as_stored
from mergetrace.sums.evidence import Sample, only_usable
from mergetrace.sums.frames import Frame

KEYS = ("slice_id", "block", "model", "base")
COUNTS = ("n", "equal_base", "rounded_base")
DONOR_COUNTS = (
    "equal_donor",
    "rounded_donor",
    "parents_agree",
    "moved_alone",
    "stayed_alone",
    "same_sign",
    "both_moved",
)
PURE = (
    "alpha_replay",
    "alpha_replay_low",
    "alpha_replay_high",
    "coverage",
    "alpha_expected",
    "cos_expected",
)


def fit_slice(
    blocks: Mapping[str, ArrayLike], donors: tuple[str, ...]
) -> dict[str, Any]:
    """Least squares and counts of one slice.

    blocks: the columns of the deltas table for one slice, model and base (a data frame, or arrays by name).
    Returns totals of all sums, per donor `alpha.{donor}` and `alpha_se.{donor}`, `alpha` (the donors' total share; its error `alpha_se`
    only where there is one donor or all errors are known), `cos_fit`, and `status`: ok, unchanged (the audited model equals the base),
    parents_equal (a donor equals the base), or collinear; numbers that do not exist are NaN.
    """
    uu = np.asarray(blocks["uu"])
    uv, vv = donor_sums(blocks, donors)
    result = fit(uu, uv, vv)
    totals = {
        name: np.sum(values) for name, values in blocks.items() if name not in KEYS
    }
    row: dict[str, Any] = {
        name: int(value) if _is_count(name) else float(value)
        for name, value in totals.items()
    }
    for i, donor in enumerate(donors):
        row |= {
            f"alpha.{donor}": result.alpha[i],
            f"alpha_se.{donor}": result.alpha_se[i],
        }
    row |= {
        "alpha": result.alpha.sum(),
        "alpha_se": np.sqrt((result.alpha_se**2).sum()),
        "cos_fit": result.cos_fit,
    }
    return {**row, "status": _status(row, vv.sum(0), result.alpha)}


def replay_slice(
    samples: Mapping[str, Sample], frame: Frame, width: float, seed: int
) -> dict[str, Any]:
    """Replay intervals of one slice's evidence, for every donor on its own.

    Of two donors, `only.{donor}.{other}` counts the elements that the one explains at its weight and the other does not at its own.
    Returns per donor `replay.{donor}`, `replay_low.{donor}`, `replay_high.{donor}`, `coverage.{donor}` (and at the base, at the donor, with a
    shuffled donor), `informative.{donor}`; and for the donor of greatest coverage `alpha_replay` with the ends `alpha_replay_low` and `_high`
    between which that coverage lasts, `coverage`, and `alpha_expected` and `cos_expected`: what a pure merge at that weight would have shown on
    the same elements.
    """
    samples = only_usable(samples, frame.models)
    audited = samples[frame.audited].on_lattice()
    base = samples[frame.base].values()
    values = {donor: samples[donor].values() for donor in frame.donors}
    row: dict[str, Any] = {}
    best = None
    best_coverage = -1.0
    explained = dict.fromkeys(values, np.zeros(len(base), bool))
    for donor, donor_values in values.items():
        found = NOTHING
        null = float("nan")
        if audited.dtype != "F64":  # no lattice finer than float64 to confine anything
            low, high = audited.midpoints()
            start, end = replay_intervals(low, high, base, donor_values)
            found = replay(start, end, width)
            explained[donor] = (
                (end - start < width) & (start <= found.alpha) & (found.alpha <= end)
            )
            null = shuffled_coverage(low, high, base, donor_values, width, seed)
        row |= {
            f"replay.{donor}": found.alpha,
            f"replay_low.{donor}": found.low,
            f"replay_high.{donor}": found.high,
        }
        row |= {
            f"coverage.{donor}": found.coverage,
            f"coverage_base.{donor}": found.coverage_base,
            f"coverage_donor.{donor}": found.coverage_donor,
        }
        row |= {
            f"coverage_shuffled.{donor}": null,
            f"informative.{donor}": found.informative,
        }
        if found.coverage > best_coverage:
            best = donor
            best_coverage = found.coverage
    row |= {
        f"only.{one}.{other}": int((explained[one] & ~explained[other]).sum())
        for one, other in permutations(values, 2)
    }
    if best is None:
        return row | dict.fromkeys(PURE, float("nan"))
    alpha = row[f"replay.{best}"]
    replica = round_as_stored(
        to_float32((1 - alpha) * base + alpha * values[best]), audited
    )
    u = replica - base
    v = values[best] - base
    finite = np.isfinite(u) & np.isfinite(v)
    u = u[finite]
    v = v[finite]
    row |= {"alpha_replay": alpha, "coverage": best_coverage}
    row |= {
        f"alpha_replay_{end}": row[f"replay_{end}.{best}"] for end in ("low", "high")
    }
    return row | {
        "alpha_expected": float(u @ v / (v @ v)) if v.any() else float("nan"),
        "cos_expected": cosine(u @ v, u @ u, v @ v),
    }


def _is_count(name: str) -> bool:
    return (
        name == "nonfinite"
        or name in COUNTS
        or name.split(".", maxsplit=1)[0] in DONOR_COUNTS
    )


def _status(row: Mapping[str, Any], vv: np.ndarray, alpha: np.ndarray) -> str:
    if row["n"] == 0:
        return "not finite"
    if row["uu"] == 0:
        return "unchanged"
    if (np.diag(vv) == 0).any():
        return "parents equal"
    return "ok" if np.isfinite(alpha).all() else "collinear donors"
