"""Fit every slice of a batch of layers: alpha, its standard error, cos_fit, replay, and
what a pure merge would have shown.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mergetrace.fit.fits import fit_slice
from mergetrace.fit.replays import replay_slice
from mergetrace.outputs import write_parquet
from mergetrace.planning.voting import votes
from mergetrace.running.log import say
from mergetrace.sums.block_sums import BlockSums
from mergetrace.sums.evidence import read_evidence
from mergetrace.sums.frames import Frame, Roles
from mergetrace.tables.schemas import FITS

IDENTITY = ("tensor", "slice", "layer", "component", "elements", "cols", "weight")
"""The columns of the plan that say which slice a fit is of."""


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    plan: Path
    """plan.parquet."""
    deltas: Path
    """The sums of the batch."""
    evidence: Path
    """The kept elements of the batch."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    roles: Roles
    min_vote_elements: int
    """A tensor with fewer elements is fitted and does not count in pooled numbers."""
    replay_width: float
    """An element is informative where its rounding allows no wider interval of alpha."""
    seed: int
    """Of the shuffled donor."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    fits: Path
    """Parquet: one row per slice and frame."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """No weights are read: the sums and the evidence are enough."""
    deltas = pd.read_parquet(inputs.deltas)
    sums = _Sums(deltas, params.roles)
    needed: list[int] = sorted(set(deltas["slice_id"].tolist()))
    plan = pd.read_parquet(inputs.plan, filters=[("slice_id", "in", needed)])
    slices: dict[Any, Any] = (
        plan.drop_duplicates("slice_id")
        .set_index("slice_id")[[*IDENTITY, "dimensions"]]
        .to_dict("index")
    )
    places: dict[Any, Any] = plan.set_index(["slice_id", "model"])[
        ["source", "start"]
    ].to_dict("index")
    frames = params.roles.frames()
    rows = []
    for slice_id, samples in read_evidence(inputs.evidence):
        about = slices[slice_id]
        identity = {name: about[name] for name in IDENTITY}
        voting = votes(
            about["component"],
            about["dimensions"],
            about["elements"],
            params.min_vote_elements,
        )
        for frame in frames:
            blocks = sums.of_slice(slice_id, frame)
            if blocks is None:
                continue
            row: dict[str, Any] = {
                "model": frame.audited,
                "base": frame.base,
                "slice_id": slice_id,
            }
            row |= identity | places[slice_id, frame.audited] | {"votes": voting}
            replayed = replay_slice(samples, frame, params.replay_width, params.seed)
            row |= fit_slice(blocks).columns(frame.donors)
            row |= replayed.columns(frame.donors)
            rows.append(row)
    table = pd.DataFrame(rows)
    FITS.check(table)
    write_parquet(outputs.fits, table)
    say(f"{len(rows)} fits of {len(needed)} slices")


class _Sums:
    """The sums of a batch, base candidate by base candidate: each has its own donors."""

    def __init__(self, deltas: pd.DataFrame, roles: Roles) -> None:
        self._rows_of: dict[Any, Any] = {}
        self._of_base: dict[str, BlockSums] = {}
        for base in roles.bases:
            own = deltas[deltas["base"] == base].reset_index(drop=True)
            self._of_base[base] = BlockSums.of(
                own, Frame(roles.suspect, base, roles.donors_beside(base)).donors
            )
            grouped: dict[Any, Any] = own.groupby(["slice_id", "model"]).indices
            self._rows_of[base] = grouped

    def of_slice(self, slice_id: int, frame: Frame) -> BlockSums | None:
        """The sums of a slice's blocks under a frame; None where there are none."""
        rows = self._rows_of[frame.base].get((slice_id, frame.audited))
        return None if rows is None else self._of_base[frame.base].rows(rows)
