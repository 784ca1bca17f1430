"""Pool the fits of all layers: tables for people, a summary for the verdict."""

import argparse
from pathlib import Path

import pandas as pd
from frontdoor import add_roles, run, say

from mergetrace.fit.mixture import mixture
from mergetrace.fit.sampling_error import errors, estimate, expanded, reach, with_errors
from mergetrace.fit.summaries import (
    choose_base,
    group,
    number,
    pool,
    tensor_table,
    with_rates,
)
from mergetrace.outputs import read_json, whole, write_json


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    add_roles(parser)
    parser.add_argument("--fits", type=Path, nargs="+", required=True)
    parser.add_argument(
        "--deltas",
        type=Path,
        nargs="*",
        default=[],
        help="of a sample audit: the blocks, from which its sampling error follows",
    )
    parser.add_argument("--recipes", type=Path, required=True)
    parser.add_argument("--remainder", type=Path, required=True)
    parser.add_argument("--reverse", type=Path, required=True)
    parser.add_argument("--recipe-slices", type=Path, required=True)
    parser.add_argument("--min-bit-exact", type=float, required=True)
    parser.add_argument("--tensors", type=Path, required=True)
    parser.add_argument("--layers", type=Path, required=True)
    parser.add_argument("--components", type=Path, required=True)
    parser.add_argument("--precision", type=Path, required=True)
    parser.add_argument("--controls-table", type=Path, required=True)
    parser.add_argument("--summary", type=Path, required=True)
    arguments = parser.parse_args()

    donors = arguments.donors
    fits = expanded(
        with_rates(
            pd.concat(map(pd.read_parquet, arguments.fits), ignore_index=True),
            pd.read_parquet(arguments.recipe_slices),
        )
    )
    recipes = {
        (recipe["model"], recipe["base"]): recipe
        for recipe in read_json(arguments.recipes)
    }
    left = {
        (entry["model"], entry["base"]): entry
        for entry in read_json(arguments.remainder)
    }
    turns = {
        (entry["model"], entry["base"]): entry["turns"]
        for entry in read_json(arguments.reverse)
    }
    pooled = {
        key: {
            **pool(members, donors, arguments.min_bit_exact),
            "mixture": mixture(members, donors),
            "recipe": recipes[key],
            "remainder": left.get(key),
            "turns": turns[key],
        }
        for key, members in fits.groupby(["model", "base"], sort=False)
    }
    candidates = {base: pooled[arguments.suspect, base] for base in arguments.bases}
    base = choose_base(candidates, arguments.min_bit_exact)
    chosen = fits[fits["base"] == base]
    suspect = chosen["model"] == arguments.suspect
    blocks = _blocks(arguments.deltas, chosen)
    for (model, own_base), entry in pooled.items():
        if own_base == base and len(blocks):
            error = estimate(
                blocks[(blocks["model"] == model) & blocks["votes"]], donors
            )
            for donor, se in zip(donors, error.se, strict=True):
                entry["donors"][donor]["alpha_se"] = number(se)
    tables = {
        arguments.tensors: tensor_table(chosen[suspect], donors),
        arguments.controls_table: tensor_table(chosen[~suspect], donors, by_model=True),
        arguments.layers: with_errors(
            group(chosen, donors, "layer"), errors(blocks, donors, ["model", "layer"])
        ),
        arguments.components: with_errors(
            group(chosen, donors, "component"),
            errors(blocks, donors, ["model", "component"]),
        ),
        arguments.precision: errors(blocks, donors, ["model", "layer", "component"]),
    }
    for path, table in tables.items():
        with whole(path) as partial:
            table.to_csv(partial, index=False)
    summary = {
        "suspect": arguments.suspect,
        "base": base,
        "bases": {
            name: {
                "delta_energy": entry["delta_energy"],
                "recipe": entry["recipe"]["best"],
                "models": (
                    {}
                    if name == base
                    else {
                        model: numbers
                        for (model, own), numbers in pooled.items()
                        if own == name
                    }
                ),
            }
            for name, entry in candidates.items()
        },
        "donors": donors,
        "sampling": reach(tables[arguments.precision], arguments.suspect),
        "models": {
            model: entry
            for (model, entry_base), entry in pooled.items()
            if entry_base == base
        },
    }
    write_json(arguments.summary, summary)
    say(
        f"{int(suspect.sum())} slices of {arguments.suspect} on base {base},"
        f" {int(chosen.loc[suspect, 'votes'].sum())} of them vote"
    )


def _blocks(deltas: list[Path], fits: pd.DataFrame) -> pd.DataFrame:
    """The blocks of the chosen base's frames, with what the fits know of their slices;
    none where all was read.
    """
    about = fits[
        ["model", "base", "slice_id", "tensor", "layer", "component", "weight", "votes"]
    ]
    if not deltas:
        return about.iloc[:0]
    return pd.concat(map(pd.read_parquet, deltas), ignore_index=True).merge(
        about, on=["model", "base", "slice_id"]
    )


if __name__ == "__main__":
    run(main)
