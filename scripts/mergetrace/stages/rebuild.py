"""Apply the recipe that was found to the whole parents and compare the result with the
suspect's bytes, tensor by tensor.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from mergetrace.files.tensor_records import records_of
from mergetrace.merging.rebuild import Rebuilder
from mergetrace.merging.rebuild_result import (
    COLUMNS,
    Difference,
    TensorRow,
    not_rebuilt,
    rebuilt_rows,
    summarise,
    unpaired_row,
    why_not,
)
from mergetrace.merging.rebuild_wording import NO_COUNTERPART
from mergetrace.merging.recipes import Recipe, recipe_from_json
from mergetrace.merging.requantising import Requantiser
from mergetrace.merging.units import StoredTensors, Unit, pair_units
from mergetrace.numerics.levels import GRID_NAME
from mergetrace.outputs import read_json, whole, write_json
from mergetrace.running.log import REPORT_EVERY, say
from mergetrace.tensors.weights import Weights


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    folders: Mapping[str, Path]
    """The folder of the suspect and of every parent."""
    plan: Path
    """plan.parquet."""
    unpaired: Path
    """What is not compared, with reasons."""
    tensors: Path
    """The suspect's table of tensors."""
    recipes: Path
    """The recipes that were found."""
    verdict: Path
    """verdict.json, which says on which base."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    suspect: str
    """The model that is rebuilt."""
    mode: Literal["full", "sample"]
    """A sample of weights rebuilds nothing."""
    when: Literal["auto", "always"]
    """`auto`: only where the verdict names a recipe that gives everything back."""
    whole_elements: int
    """The largest tensor that is held whole where a method needs facts of all of it."""
    remote: tuple[str, ...] = ()
    """The models whose weights are not here."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    rebuild: Path
    """JSON: how many tensors and elements are identical, or why nothing was rebuilt."""
    table: Path
    """CSV: tensor by tensor."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """Raises AuditError for weights that cannot be read."""
    verdict = read_json(inputs.verdict)
    base = verdict["base"]["name"]
    found_recipe = next(
        entry
        for entry in read_json(inputs.recipes)
        if (entry["model"], entry["base"]) == (params.suspect, base)
    )
    best = found_recipe.get("completed") or found_recipe["best"]
    reason = why_not(
        params.when,
        params.mode,
        verdict["verdict"],
        best,
        params.remote,
    )
    if reason is not None:
        _write_table(outputs.table, [])
        write_json(outputs.rebuild, not_rebuilt(reason))
        say(reason)
        return
    recipe = recipe_from_json(best)
    plan = pd.read_parquet(inputs.plan)
    tensors = pd.read_parquet(inputs.tensors)
    found, left_out = _units(inputs, params, recipe, plan, tensors)
    layers = max((int(layer) for layer in plan["layer"] if layer.isdigit()), default=0)
    rows: list[TensorRow] = []
    differences: list[Difference] = []
    began = reported = time.monotonic()
    with Weights(dict(inputs.folders)) as weights:
        stored = StoredTensors.of(records_of(tensors))
        requantiser = Requantiser(
            weights, params.suspect, stored, params.whole_elements
        )
        rebuilder = Rebuilder(
            weights,
            recipe,
            params.suspect,
            layers,
            params.whole_elements,
            requantiser,
        )
        for done, unit in enumerate(found, start=1):
            outcome = rebuilder.rebuild(unit)
            rows += rebuilt_rows(unit, outcome, unit.packed_as(params.suspect))
            differences += [
                Difference(unit.name, *difference) for difference in outcome.differences
            ]
            now = time.monotonic()
            if now - reported > REPORT_EVERY:
                reported = now
                rate = weights.bytes_read / (now - began)
                say(
                    f"{done} of {len(found)} tensors, {weights.bytes_read / 1e9:.2f} GB,"
                    f" {rate / 1e9:.2f} GB/s"
                )
        bytes_read = weights.bytes_read
    done_too = {row.tensor for row in rows}
    rows += [row for row in left_out if row.tensor not in done_too]
    on_grid = any(name.startswith(GRID_NAME) for name in found_recipe.get("packed", ()))
    answer = summarise(best, rows, differences, on_grid)
    _write_table(outputs.table, rows)
    write_json(outputs.rebuild, answer)
    say(
        f"{answer['identical']} of {answer['tensors']} tensors identical,"
        f" {answer['exact']:,} of {answer['compared']:,} elements bit for bit;"
        f" {bytes_read / 1e6:.1f} MB read in {time.monotonic() - began:.1f} s"
    )


def _units(
    inputs: Inputs,
    params: Params,
    recipe: Recipe,
    plan: pd.DataFrame,
    tensors: pd.DataFrame,
) -> tuple[list[Unit], list[TensorRow]]:
    """What is rebuilt one after the other, and the rows of what cannot be."""
    unpaired = pd.read_csv(inputs.unpaired, keep_default_na=False)
    own = unpaired.loc[unpaired["model"] == params.suspect, ["tensor", "reason"]]
    reasons = dict(zip(own["tensor"], own["reason"], strict=True))
    units, unpaired_tensors = pair_units(plan, tensors, params.suspect, recipe.parents)
    rows = []
    for tensor in unpaired_tensors:
        reason = reasons.get(tensor.name, NO_COUNTERPART)
        rows.append(unpaired_row(tensor.name, tensor.dtype, tensor.elements, reason))
    return units, rows


def _write_table(path: Path, rows: Sequence[TensorRow]) -> None:
    with whole(path) as partial:
        table = pd.DataFrame([asdict(row) for row in rows], columns=COLUMNS)
        table.to_csv(partial, index=False)
