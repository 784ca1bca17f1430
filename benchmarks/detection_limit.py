"""How little training after a merge is still seen: real merges by mergekit, trained on
by k steps, audited. Writes detection_limit.csv and .md.

python -m benchmarks.detection_limit [--results results/zoo]: the zoo's families dense 4
and 5, trained where they are missing.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.zoo.case import config, linear, weighted

# isort: split
# The zoo sets what torch reads when it is loaded.
import pandas as pd
import torch
from safetensors.torch import load_file

from benchmarks.zoo.making import with_paths
from benchmarks.zoo.trainer import (
    Tensors,
    Training,
    folders,
    train_family,
    trained,
    write,
)
from mergetrace.running.command_line import guarded
from mergetrace.running.log import say
from mergetrace.testing.audits import audit
from mergetrace.testing.realmerge import mergekit

HERE = Path(__file__).parent
ROOT = HERE.parent

SEEDS = (
    4,
    5,
    # of the zoo's dense families, 4 a tuning and 5 a reporting one; 5's finetunes move
    # least, as those of large models do
)
STEPS = (1, 5, 50)
RATES = (1e-6, 1e-5, 1e-4, 1e-3)
MERGES = {
    "linear": linear(base=0.429, donor=0.571),
    "task_arithmetic": config("task_arithmetic", weighted(donor=0.571), "base"),
    "slerp": config(
        "slerp", {"base": {}, "donor": {}}, "base", parameters={"t": 0.571}
    ),
    "ties": config("ties", {"donor": {"weight": 0.6, "density": 0.5}}, "base"),
}
COLUMNS = ("verdict", "trained", "bit_exact", "changed", "residual", "smallest_seen")


def trainings(method: str) -> list[tuple[int, float]]:
    """(steps, learning rate): none, then everything for `linear`, single steps for the
    others.
    """
    return [
        (0, 0.0),
        *(
            (steps, rate)
            for steps in STEPS
            for rate in RATES
            if method == "linear" or steps == 1
        ),
    ]


def sizes(merged: Tensors, after: Tensors, base: Tensors) -> dict[str, float]:
    """The planted change: the median of |change| in steps of each number's bf16
    lattice, and its energy over that of the merge's own delta.
    """
    names = [name for name in after if merged[name].dim() > 1]
    start, end, origin = (
        torch.cat([model[name].double().flatten() for name in names])
        for model in (merged, after, base)
    )
    ulp = 2.0 ** (torch.frexp(start).exponent - 8).double()
    energy = float((end - start).square().sum() / (start - origin).square().sum())
    return {"ulps": float(((end - start).abs() / ulp).median()), "of_delta": energy}


def measure(folder: Path, models: dict[str, Path], suspect: Path) -> dict[str, Any]:
    """Audit one suspect; the columns of the table."""
    found = audit(
        folder,
        {**models, "suspect": suspect},
        {"suspect": "suspect", "base": "base", "donors": ["donor"], "controls": []},
    )
    summary = pd.read_json(folder / "summary.json", typ="series")["models"]["suspect"]
    left = summary["remainder"]
    after = found["after_merge"]
    changed = left["changed"] / left["elements"] if left else float("nan")
    seen = (after["smallest_seen"] or {}).get("share", float("nan"))
    values = (
        found["verdict"],
        after["trained"],
        summary["bit_exact_rate"],
        changed,
        left["residual_share"] if left else float("nan"),
        seen,
    )
    return dict(zip(COLUMNS, values, strict=True))


def rows(results: Path, seed: int) -> Iterator[dict[str, Any]]:
    """Every case of one family."""
    train_family(results / "models", "dense", seed, ("base", "donor"))
    known = folders(results / "models", "dense", seed)
    models = {name: known[name] for name in ("base", "donor")}
    base = load_file(models["base"] / "model.safetensors")
    for method, recipe in MERGES.items():
        with tempfile.TemporaryDirectory(prefix="limit-") as name:
            merged = load_file(
                mergekit(with_paths(recipe, models), Path(name) / "merged")
                / "model.safetensors"
            )
            for steps, rate in trainings(method):
                at = Path(name) / f"{steps}-{rate}"
                how = Training("", "maple", 70, 70, steps, rate, dtype="float32")
                after = (
                    trained("dense", merged, how, seed)
                    if steps
                    else {
                        key: merged[key].float()
                        for key in merged
                        if key != "lm_head.weight"
                    }
                )
                write(
                    at / "suspect",
                    "dense",
                    {key: tensor.bfloat16() for key, tensor in after.items()},
                )
                about = {
                    "seed": seed,
                    "method": method,
                    "steps": steps,
                    "rate": rate,
                    **sizes(merged, after, base),
                }
                yield about | measure(at / "audit", models, at / "suspect")


def markdown(table: pd.DataFrame) -> str:
    """The table as a page."""
    lines = [
        "# How little training after a merge is still seen",
        "",
        (
            "Made by `python -m benchmarks.detection_limit`; the same figures in"
            " [detection_limit.csv](detection_limit.csv)."
        ),
        (
            "Tiny models that were really trained (the zoo's dense families"
            f" {', '.join(map(str, SEEDS))}), merged by mergekit in bf16, then trained"
        ),
        (
            "for so many steps of AdamW at such a rate in float32 and stored in bf16."
            " No control was given. Every verdict is given here, also"
        ),
        "those that the default configuration holds back (`verdict.accuse_with`).",
        "",
        (
            "A row that was trained on and says `other_merge` is a change that was seen"
            " (the recipe falls short) and not recognised as training."
        ),
        "`inconclusive` means that too little of the blend was left to claim one.",
        "",
        (
            "*Moved*: the median planted change in steps of the number lattice. *Of the"
            " change*: its energy over that of the merge's own change from"
        ),
        (
            "the base. *Beyond rounding*: the share of elements that the best recipe"
            " does not explain, empty where it gives back too little to say."
        ),
        "*Seen from*: the smallest share that the report promises.",
        "",
        (
            "| family | method | steps | rate | moved (ulp) | of the change | verdict |"
            " trained | bit-exact | beyond rounding | residual | seen from |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in table.itertuples():
        rate = f"{row.rate:g}" if row.steps else ""
        numbers = [f"{value:.3g}" for value in (row.ulps, row.of_delta)]
        shown = [
            f"{row.bit_exact:.3%}",
            *(
                f"{value:.3g}"
                for value in (row.changed, row.residual, row.smallest_seen)
            ),
        ]
        said = [row.verdict, {True: "yes", False: "no"}.get(row.trained, "not said")]
        cells = [
            f"dense {row.seed}",
            row.method,
            str(row.steps),
            rate,
            *numbers,
            *said,
            *shown,
        ]
        lines.append(
            "| " + " | ".join(cell.replace("nan", "") for cell in cells) + " |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "results/zoo")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for seed in SEEDS:
        for row in rows(arguments.results, seed):
            found.append(row)
            say(", ".join(f"{key} {value}" for key, value in row.items()))
    table = pd.DataFrame(found)
    table.to_csv(HERE / "detection_limit.csv", index=False, float_format="%.6g")
    (HERE / "detection_limit.md").write_text(markdown(table))


if __name__ == "__main__":
    guarded(main)
