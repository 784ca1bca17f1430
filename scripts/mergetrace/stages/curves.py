"""Draw how much of the evidence every blend weight explains, of every audited model and
of a shuffled donor, for the report's picture of it.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from mergetrace.fit.curves import COVERAGE_TO_SHOW, Curve, grid
from mergetrace.outputs import read_json, whole
from mergetrace.running.log import say
from mergetrace.sums.evidence import only_usable, read_evidence
from mergetrace.sums.frames import Roles
from mergetrace.tables.schemas import CURVES

COLUMNS = [column.name for column in CURVES.columns]


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    fits: tuple[Path, ...]
    """The fits of all batches."""
    evidence: tuple[Path, ...]
    """The kept elements of all batches."""
    summary: Path
    """The pooled numbers."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    roles: Roles
    replay_width: float
    """An element is informative where its rounding allows no wider interval of alpha."""
    seed: int
    """Of the shuffled donor."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    curves: Path
    """CSV: the share of informative elements that each alpha explains."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """One slice is in memory at a time."""
    summary = read_json(inputs.summary)
    base = summary["base"]
    voting = _voting(inputs.fits, base)
    found = [
        (numbers["donors"][donor]["alpha_replay"], numbers["donors"][donor]["coverage"])
        for numbers in summary["models"].values()
        for donor in summary["donors"]
    ]
    peaks = [peak for peak, _ in found if peak is not None]
    to_show = [
        peak
        for peak, coverage in found
        if peak is not None and (coverage or 0.0) >= COVERAGE_TO_SHOW
    ]
    alphas = grid(peaks, to_show)
    frames = [
        frame
        for frame in params.roles.frames()
        if frame.base == base and not frame.alone
    ]
    curves = {
        (frame.audited, donor): Curve(alphas, params.replay_width, params.seed)
        for frame in frames
        for donor in frame.donors
    }
    for path in inputs.evidence:
        for slice_id, samples in read_evidence(path):
            if slice_id not in voting:
                continue
            for frame in frames:
                usable = only_usable(samples, frame.models)
                stored = usable[frame.audited].on_lattice()
                if stored.dtype == "F64":
                    continue
                parent = usable[frame.base].values()
                for donor in frame.donors:
                    values = usable[donor].values()
                    curve = curves[frame.audited, donor]
                    curve.add(stored, parent, values)
    _write(outputs.curves, curves, alphas)
    for (model, donor), curve in curves.items():
        explained = np.nanmax(curve.seen, initial=0)
        chance = np.nanmax(curve.by_chance, initial=0)
        say(
            f"{model} towards {donor}: one weight explains {explained:.2%} of"
            f" {curve.informative:,} elements, by chance {chance:.2%}"
        )


def _voting(fits: Sequence[Path], base: str) -> set[int]:
    """The slices that count in pooled numbers."""
    voting: set[int] = set()
    for path in fits:
        with pq.ParquetFile(path) as file:  # read_table would load pandas
            rows = file.read(["slice_id", "base", "votes"]).to_pylist()
        voting.update(
            row["slice_id"] for row in rows if row["votes"] and row["base"] == base
        )
    return voting


def _write(
    path: Path, curves: Mapping[tuple[str, str], Curve], alphas: "np.ndarray"
) -> None:
    with (
        whole(path) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for (model, donor), curve in curves.items():
            numbers = np.column_stack([alphas, curve.seen, curve.by_chance])
            for row in numbers.tolist():
                fields = ("" if isnan(value) else f"{value:.8g}" for value in row)
                table.writerow([model, donor, *fields])
