"""Pool the fits of all layers: tables for people, a summary for the verdict."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mergetrace.fit.mixture import mixture
from mergetrace.fit.pooling import number, pool, slices_of_base
from mergetrace.fit.sampling_error import (
    errors,
    estimate,
    expanded,
    reach,
    with_errors,
)
from mergetrace.fit.summaries import choose_base, group, tensor_table, with_rates
from mergetrace.outputs import read_json, whole, write_json
from mergetrace.records.summary import Summary
from mergetrace.running.log import say
from mergetrace.sums.frames import Roles
from mergetrace.tables.schemas import POOLED, PRECISION, TENSORS

ABOUT = ["model", "base", "slice_id", "tensor", "layer", "component", "weight", "votes"]
"""The columns of the fits that a block is told from another by."""


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    fits: tuple[Path, ...]
    """The fits of all batches."""
    recipes: Path
    """The recipes that were found."""
    recipe_slices: Path
    """How much the best recipe gives back, slice by slice."""
    remainder: Path
    """What the recipes leave."""
    reversal: Path
    """The recipes turned round."""
    deltas: tuple[Path, ...] = ()
    """Of a sample audit: the sums of blocks, from which its sampling error follows."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    roles: Roles
    min_bit_exact: float
    """From this share on a recipe counts as exact when the base is chosen."""
    min_same_cos: float
    """From this cosine of raw weights on a slice counts as the base's, changed."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    tensors: Path
    """CSV: the suspect, tensor by tensor."""
    controls_table: Path
    """CSV: the controls, tensor by tensor."""
    layers: Path
    """CSV: pooled by layer."""
    components: Path
    """CSV: pooled by component."""
    precision: Path
    """CSV: of a sample audit, the standard errors by layer and component."""
    summary: Path
    """JSON: the pooled numbers of every model and base candidate."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """The base candidate is chosen here; the tables are of that one."""
    roles = params.roles
    fits = pd.concat(map(pd.read_parquet, inputs.fits), ignore_index=True)
    fits = expanded(with_rates(fits, pd.read_parquet(inputs.recipe_slices)))
    pooled = _pooled(fits, inputs, params)
    candidates = {base: pooled[roles.suspect, base] for base in roles.bases}
    base = choose_base(candidates, params.min_bit_exact)
    donors = list(roles.donors_beside(base))
    chosen = fits[fits["base"] == base]
    suspect = chosen["model"] == roles.suspect
    blocks = _blocks(inputs.deltas, chosen)
    if len(blocks):
        _add_standard_errors(pooled, base, blocks, donors)
    precision = errors(blocks, donors, ["model", "layer", "component"])
    by_layer = errors(blocks, donors, ["model", "layer"])
    by_component = errors(blocks, donors, ["model", "component"])
    tables = {
        outputs.tensors: (TENSORS, tensor_table(chosen[suspect], donors)),
        outputs.controls_table: (
            TENSORS,
            tensor_table(chosen[~suspect], donors, by_model=True),
        ),
        outputs.layers: (POOLED, with_errors(group(chosen, donors, "layer"), by_layer)),
        outputs.components: (
            POOLED,
            with_errors(group(chosen, donors, "component"), by_component),
        ),
        outputs.precision: (PRECISION, precision),
    }
    for path, (kind, table) in tables.items():
        kind.check(table)
        with whole(path) as partial:
            table.to_csv(partial, index=False)
    sampling = reach(precision, roles.suspect) if donors else None
    summary = {
        "suspect": roles.suspect,
        "base": base,
        "bases": {
            name: {
                "delta_energy": entry["delta_energy"],
                "recipe": entry["recipe"]["best"],
                "models": {} if name == base else _models(pooled, name),
            }
            for name, entry in candidates.items()
        },
        "donors": donors,
        "in_both_roles": list(roles.in_both_roles),
        "sampling": asdict(sampling) if sampling else None,
        "models": _models(pooled, base),
    }
    # read as the verdict reads it, so that what is missing shows here
    write_json(outputs.summary, Summary.of(summary).as_json())
    voting = int(chosen.loc[suspect, "votes"].sum())
    say(
        f"{int(suspect.sum())} slices of {roles.suspect} on base {base},"
        f" {voting} of them vote"
    )


Pooled = dict[tuple[str, str], dict[str, Any]]
"""The pooled numbers by audited model and base candidate."""


def _pooled(fits: pd.DataFrame, inputs: Inputs, params: Params) -> Pooled:
    recipes = {_key(entry): entry for entry in read_json(inputs.recipes)}
    remainders = {_key(entry): entry for entry in read_json(inputs.remainder)}
    turns = {_key(entry): entry["turns"] for entry in read_json(inputs.reversal)}
    pooled: Pooled = {}
    for (model, base), members in fits.groupby(["model", "base"], sort=False):
        key = (str(model), str(base))
        donors = params.roles.donors_beside(str(base))
        of_base = slices_of_base(members, params.min_same_cos)
        pooled[key] = {
            **asdict(pool(members, donors, params.min_bit_exact)),
            "slices_of_base": of_base,
            "mixture": mixture(members, donors).as_json() if donors else None,
            "recipe": recipes[key],
            "remainder": remainders.get(key),
            "turns": turns[key],
        }
    return pooled


def _key(entry: dict[str, Any]) -> tuple[str, str]:
    return entry["model"], entry["base"]


def _models(pooled: Pooled, base: str) -> dict[str, Any]:
    """The pooled numbers of one base candidate, by audited model."""
    return {model: entry for (model, own), entry in pooled.items() if own == base}


def _add_standard_errors(
    pooled: Pooled, base: str, blocks: pd.DataFrame, donors: list[str]
) -> None:
    """Put the standard error of every alpha, which a sample has, beside it."""
    for model, entry in _models(pooled, base).items():
        error = estimate(blocks[(blocks["model"] == model) & blocks["votes"]], donors)
        for donor, se in zip(donors, error.se, strict=True):
            entry["donors"][donor]["alpha_se"] = number(se)


def _blocks(deltas: Sequence[Path], fits: pd.DataFrame) -> pd.DataFrame:
    """The blocks of the chosen base's frames, with what the fits know of their slices;
    none where all was read.
    """
    about = fits[ABOUT]
    if not deltas:
        return about.iloc[:0]
    blocks = pd.concat(map(pd.read_parquet, deltas), ignore_index=True)
    return blocks.merge(about, on=["model", "base", "slice_id"])
