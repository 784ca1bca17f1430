"""Decompose some whole rows of every kind of matrix: how far one weight explains an
audited model's change along each direction of a donor's (see mergetrace.descent).
"""

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.descent.directions import BINS
from mergetrace.descent.lattice import Rows
from mergetrace.descent.measuring import Measured, measure
from mergetrace.descent.pooling import Seen, along, pure_alphas, tail_of
from mergetrace.outputs import read_json, whole, write_json
from mergetrace.planning.slices import PlannedSlice, slice_of
from mergetrace.planning.submatrices import FIRST, ROWS
from mergetrace.records.spectrum import Along, Spectrum
from mergetrace.running.log import say
from mergetrace.sums.frames import Roles
from mergetrace.tables.schemas import SPECTRUM
from mergetrace.tensors.weights import Weights


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    plan: Path
    """plan.parquet."""
    summary: Path
    """The pooled numbers, which say which base was chosen."""
    folders: Mapping[str, Path]
    """The folder of every model, or the file of its sampled ranges."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    roles: Roles


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    spectrum: Path
    """JSON: the weight of every donor in every audited model, and how even it is."""
    table: Path
    """CSV: the same by matrix and bin of directions."""


@dataclass(frozen=True)
class Matrix:
    """One matrix, measured."""

    planned: PlannedSlice
    """Which it is."""
    found: list[Measured]
    """What was measured in it."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """One matrix is in memory at a time. Raises AuditError for weights that cannot be
    read.
    """
    roles = params.roles
    base = read_json(inputs.summary)["base"]
    donors = list(roles.donors_beside(base))
    plan = pd.read_parquet(inputs.plan)
    chosen = plan[plan[ROWS] > 0] if ROWS in plan and donors else plan.iloc[:0]
    began = time.monotonic()
    matrices = []
    elements = 0
    with Weights(dict(inputs.folders)) as weights:
        for _, rows in chosen.groupby("slice_id"):
            records = rows.to_dict("records")
            planned = slice_of(records)
            first, count = int(records[0][FIRST]), int(records[0][ROWS])
            read = {
                model: _read(weights, planned, model, first, count)
                for model in (base, *donors, *roles.audited)
                if model in planned.members
            }
            found = measure(read, base, donors, roles.audited)
            matrices.append(Matrix(planned, found))
            elements += read[base].values.size
    spectrum = _pooled(matrices, base, donors, roles.audited, elements)
    write_json(outputs.spectrum, spectrum.as_json())
    table = pd.DataFrame(
        _rows(matrices, spectrum), columns=[column.name for column in SPECTRUM.columns]
    )
    SPECTRUM.check(table)
    with whole(outputs.table) as partial:
        table.to_csv(partial, index=False)
    for model, by_donor in spectrum.models.items():
        for donor, entry in by_donor.items():
            if entry.tail is not None and entry.weight is not None:
                say(
                    f"{model}: {entry.weight:.3f} of {donor} along its small directions,"
                    f" {entry.tail.spread:.3f} between {entry.tail.count} matrices"
                )
    say(
        f"rows of {len(matrices)} matrices decomposed in"
        f" {time.monotonic() - began:.1f} s"
    )


def _read(
    weights: Weights, planned: PlannedSlice, model: str, first: int, count: int
) -> Rows:
    """Some rows of a slice of one model."""
    view = planned.members[model]
    place = first * view.cols, count * view.cols
    shape = count, view.cols
    scales = weights.scales(view, *place)
    return Rows(
        weights.values(view, *place).reshape(shape),
        view.dtype,
        # 0 of packed numbers whose cells are open: they decide nothing
        None if scales is None else np.where(scales == 0, 1.0, scales).reshape(shape),
    )


def _pooled(
    matrices: list[Matrix],
    base: str,
    donors: list[str],
    audited: tuple[str, ...],
    elements: int,
) -> Spectrum:
    seen = defaultdict(list)
    looks = defaultdict(list)
    weighed = defaultdict(list)
    over = defaultdict(list)
    for matrix in matrices:
        for each in matrix.found:
            pair = each.model, each.along
            if each.replayed is None:
                looks[pair].append(each.look)
                weighed[pair].append(each.whitened or each.look)
                if each.over_rounding is not None:
                    over[each.along].append(each.over_rounding)
            else:
                component = matrix.planned.component
                whitened = each.whitened or each.look
                again = each.whitened_replayed
                if again is None:
                    again = each.replayed
                seen[pair].append(
                    Seen(
                        component,
                        each.look,
                        each.replayed,
                        whitened,
                        again,
                        each.stayed,
                        each.overlap,
                        each.repeated,
                        each.participation,
                    )
                )
    models: dict[str, dict[str, Along]] = {
        model: {
            donor: along(
                seen[model, donor],
                looks[donor, model],
                median(over[model]) if over[model] else None,
                weighed[donor, model],
            )
            for donor in donors
            if donor != model
        }
        for model in audited
    }
    alike: dict[str, dict[str, float]] = {donor: {} for donor in donors}
    for donor in donors:
        for other in donors:
            tail = tail_of(looks[other, donor]) if other != donor else None
            if tail is not None:
                alike[donor][other] = tail.value
    return Spectrum(base, len(matrices), elements, models, alike)


def _rows(matrices: list[Matrix], spectrum: Spectrum) -> list[dict[str, Any]]:
    """The rows of the table."""
    rows = []
    for matrix in matrices:
        about = matrix.planned
        for each in matrix.found:
            pure = None
            if each.replayed is not None:
                weight = spectrum.models[each.model][each.along].weight
                pure = None if weight is None else pure_alphas(weight, each.replayed)
            for place in range(BINS):
                rows.append(
                    {
                        "model": each.model,
                        "along": each.along,
                        "tensor": about.tensor,
                        "slice": about.slice or None,
                        "layer": about.layer,
                        "component": about.component,
                        "bin": place,
                        "alpha": each.look.alpha[place],
                        "error": each.look.error[place],
                        "expected": None if pure is None else float(pure[place]),
                    }
                )
    return rows
