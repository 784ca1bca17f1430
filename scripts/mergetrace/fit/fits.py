"""The fit of one slice under one frame: totals of its sums, least squares, status."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mergetrace.fit.estimators import Fit, fit
from mergetrace.numerics.arrays import Array
from mergetrace.sums.block_sums import BlockSums
from mergetrace.tables.naming import of_donor

Status = Literal["ok", "not finite", "unchanged", "parents equal", "collinear donors"]
"""Why a slice has no alpha: nothing finite was compared, the audited model equals the
base, a donor equals the base, or the donors' deltas are multiples of one another.
"""


@dataclass(frozen=True)
class SliceFit:
    """What the sums of a slice's blocks give."""

    totals: BlockSums
    """Sums and counts of the whole slice."""
    least_squares: Fit
    status: Status

    def columns(self, donors: Sequence[str]) -> dict[str, Any]:
        """The slice's row of the table of fits: the totals, alpha and its standard
        error of each donor and of all together, cos_fit, status.
        """
        found = self.least_squares
        row = {
            name: value.item() for name, value in self.totals.columns(donors).items()
        }
        for i, donor in enumerate(donors):
            row[of_donor("alpha", donor)] = found.alpha[i]
            row[of_donor("alpha_se", donor)] = found.alpha_se[i]
        row["alpha"] = found.total_alpha
        row["alpha_se"] = found.total_alpha_se
        row["cos_fit"] = found.cos_fit
        row["status"] = self.status
        return row


def fit_slice(blocks: BlockSums) -> SliceFit:
    """Least squares and totals of one slice. blocks: its sums, [blocks]."""
    least_squares = fit(blocks.uu, blocks.uv, blocks.vv)
    totals = blocks.total()
    status = _status(totals, blocks.vv.sum(0), least_squares.alpha)
    return SliceFit(totals, least_squares, status)


def _status(totals: BlockSums, vv: Array, alpha: Array) -> Status:
    if totals.n == 0:
        return "not finite"
    if totals.uu == 0:
        return "unchanged"
    if (np.diag(vv) == 0).any():
        return "parents equal"
    return "ok" if np.isfinite(alpha).all() else "collinear donors"
