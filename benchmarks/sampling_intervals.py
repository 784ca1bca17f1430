"""How often the interval of a sample holds what all elements give: many samples of real
trained models, each with its own seed.

    python -m benchmarks.sampling_intervals --folder results/stand-ins --draws 1000 >
    benchmarks/sampling_intervals.md

The models are the demo's (`snakemake results/stand-ins/rio`): a merge, and an innocent
sibling. The blocks are chosen and the intervals made by the library's own functions; a
block is small, since the models are. An interval should hold the value 95 times in 100.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.files.safetensors_file import read_model
from mergetrace.fit.sampling_error import errors
from mergetrace.planning.manifest import describe, tensor_table
from mergetrace.planning.plan import pair_models, with_blocks
from mergetrace.planning.sampling import evidence_of, tiles
from mergetrace.planning.slices import slice_of
from mergetrace.tensors.view import View, view_of
from mergetrace.tensors.weights import Weights

ROLES = {"base": "qwen", "donor": "nex"}
GROUPS = (("layer", "component"), ("layer",), ("component",), ("model",))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, default=Path("results/stand-ins"))
    parser.add_argument("--suspects", nargs="+", default=["rio", "tuiuti"])
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--alpha-se", type=float, default=0.01)
    parser.add_argument("--block-elements", type=int, nargs="+", default=[64])
    arguments = parser.parse_args()
    print("# The intervals of samples\n")
    print(
        f"`python -m benchmarks.sampling_intervals --draws {arguments.draws}`, on the"
        f" demo's models, `sampling.alpha_se: {arguments.alpha_se:g}`."
    )
    print(
        "How often the 95 % interval held the value of all elements; the narrowest and"
        " widest group beside the mean.\n"
    )
    print(
        "| model | elements a block | read | intervals for | groups | held | least,"
        " most | median width |\n|---|---|---|---|---|---|---|---|"
    )
    for suspect in arguments.suspects:
        plan, sums = _sums(arguments.folder, suspect)
        for block_elements in arguments.block_elements:
            for row in coverage(
                plan, sums, arguments.draws, arguments.alpha_se, block_elements
            ):
                print(f"| {suspect} | {block_elements} | {row}", flush=True)


def coverage(
    plan: pd.DataFrame,
    sums: dict[int, np.ndarray],
    draws: int,
    alpha_se: float,
    block_elements: int,
) -> list[str]:
    """One row of the table for each kind of group."""
    slices = plan.drop_duplicates("slice_id").assign(model="suspect", votes=True)
    truth = {
        by: _by_group(_blocks(slices.assign(weight=1.0), sums, 0, 0), by)
        for by in GROUPS
    }
    held: dict[Any, list[bool]] = {}
    widths: dict[tuple[str, ...], list[float]] = {by: [] for by in GROUPS}
    for seed in range(draws):
        drawn = with_blocks(slices, "sample", alpha_se, block_elements, seed)
        blocks = _blocks(drawn[drawn["blocks"] > 0], sums, block_elements, seed)
        for by in GROUPS:
            for group, found in _by_group(blocks, by).items():
                if found["alpha_high"] > found["alpha_low"]:
                    held.setdefault((by, group), []).append(
                        found["alpha_low"]
                        <= truth[by][group]["alpha"]
                        <= found["alpha_high"]
                    )
                    widths[by].append(found["alpha_high"] - found["alpha_low"])
    share = (drawn["blocks"] * block_elements).clip(
        upper=drawn["elements"]
    ).sum() / drawn["elements"].sum()
    rows = []
    for by in GROUPS:
        rates = [
            float(np.mean(answers)) for (kind, _), answers in held.items() if kind == by
        ]
        if rates:
            mean = f"{100 * np.mean(rates):.1f} %"
            ends = f"{100 * min(rates):.1f}, {100 * max(rates):.1f} %"
            rows.append(
                f"{100 * share:.0f} % | {' and '.join(by)} | {len(rates)} | {mean} |"
                f" {ends} | {np.median(widths[by]):.4f} |"
            )
    return rows


def _sums(folder: Path, suspect: str) -> tuple[pd.DataFrame, dict[int, np.ndarray]]:
    """The plan, and per slice the running sums of <u,v> and <v,v>: float64 [elements +
    1, 2].
    """
    folders = {
        "suspect": folder / suspect,
        **{role: folder / name for role, name in ROLES.items()},
    }
    tables = {name: tensor_table(path) for name, path in folders.items()}
    plan, _ = pair_models(
        tables,
        {
            name: describe(name, folders[name], read_model(folders[name]))
            for name in folders
        },
        ["base", "donor"],
        "suspect",
    )
    found = {}
    with Weights(folders) as weights:
        for slice_id, views in plan.groupby("slice_id"):
            base, donor, own = (
                weights.values(_view(views, role), 0, int(views["elements"].iloc[0]))
                for role in ("base", "donor", "suspect")
            )
            found[slice_id] = np.concatenate(
                [
                    np.zeros((1, 2)),
                    np.cumsum(
                        np.stack(
                            [(own - base) * (donor - base), (donor - base) ** 2], 1
                        ),
                        0,
                    ),
                ]
            )
    return plan, found


def _view(views: pd.DataFrame, role: str) -> View:
    return view_of(views[views["model"] == role].to_dict("records")[0])


def _blocks(
    slices: pd.DataFrame, sums: dict[int, np.ndarray], block_elements: int, seed: int
) -> pd.DataFrame:
    """The blocks of a draw with their sums; without a block length all of every slice,
    in tiles.
    """
    parts = []
    for view in slices.to_dict("records"):
        blocks = (
            evidence_of(slice_of([view]), block_elements, seed)
            if block_elements
            else tiles(view["elements"])
        )
        both = (
            sums[view["slice_id"]][blocks.sum(1)] - sums[view["slice_id"]][blocks[:, 0]]
        )
        about = {
            key: view[key]
            for key in ("model", "tensor", "layer", "component", "weight", "votes")
        }
        parts.append(
            pd.DataFrame(
                {**about, "uv.donor": both[:, 0], "vv.donor.donor": both[:, 1]}
            )
        )
    return pd.concat(parts, ignore_index=True)


def _by_group(
    blocks: pd.DataFrame, by: tuple[str, ...]
) -> dict[tuple[str, ...], dict[str, float]]:
    return {
        tuple(row[key] for key in by): row
        for row in errors(blocks, ["donor"], by).to_dict("records")
    }


if __name__ == "__main__":
    main()
