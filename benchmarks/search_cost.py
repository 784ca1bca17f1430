"""What the search for a recipe costs: recipes tried and processor seconds, of innocents
that it has to give up and of merges that it has to find. Writes search_cost.md.

python -m benchmarks.search_cost [--runs 3]: models drawn by seed; a minute or two.
"""

import argparse
import platform
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from mergetrace.merging.mergekit_yaml import mergekit_config
from mergetrace.merging.recipes import Recipe, make
from mergetrace.outputs import read_json
from mergetrace.stages import recipe
from mergetrace.sums.frames import Roles
from mergetrace.testing.audits import audit
from mergetrace.testing.planting import Tensors, finetuned
from mergetrace.testing.realmerge import mergekit, qwen, write_qwen
from mergetrace.thresholds import Thresholds

HERE = Path(__file__).parent
DONORS = ("donor", "second", "third")

INTRODUCTION = """\
# What the search for a recipe costs

Made by `python -m benchmarks.search_cost --runs {runs}`: medians of so many runs, {machine}. Small
models of {elements:,} numbers drawn by seed; base, three donors and the suspect. The
search works on a sample of bounded size, so that larger models cost hardly more.
`verdict.max_recipes` ends any search.

| suspect | recipes tried | processor seconds | best method | given back |
|---|---:|---:|---|---:|
"""


@dataclass(frozen=True)
class Cost:
    """What one search took."""

    tried: int
    seconds: float
    """Of the processor, Python's start left out."""
    method: str
    rate: float
    """The share of informative elements that the best recipe gives back."""


def models() -> dict[str, Tensors]:
    """The base and what may have gone into a suspect."""
    base = qwen(0)
    donors = {name: finetuned(base, seed) for seed, name in enumerate(DONORS, 1)}
    return {"base": base, **donors}


def innocents(parents: Mapping[str, Tensors]) -> dict[str, Tensors]:
    """Models in which no donor has a part."""
    base = parents["base"]
    return {
        "finetune of the base": finetuned(base, 7),
        "gentle finetune of the base": finetuned(base, 8, size=0.0002),
        "sibling that went half of the donor's way": _toward(parents, 0.5),
        "copy of the base": dict(base),
        "stranger": qwen(99),
    }


def _toward(parents: Mapping[str, Tensors], share: float) -> Tensors:
    """As far towards the donor as a sibling of its task goes, and its own way beside."""
    base = parents["base"]
    noisy = finetuned(base, 9)
    return {
        name: (
            noisy[name].float()
            + share * (parents["donor"][name].float() - base[name].float())
        ).to(torch.bfloat16)
        for name in base
    }


def by_hand(
    parents: Mapping[str, Tensors], lines: Callable[..., torch.Tensor]
) -> Tensors:
    """What lines of torch give for every tensor of base and donors."""
    return {
        name: lines(*(parents[model][name].clone() for model in ("base", *DONORS)))
        for name in parents["base"]
    }


def scripts(parents: Mapping[str, Tensors]) -> dict[str, Tensors]:
    """Merges that somebody wrote in a line of torch."""
    return {
        "by hand, bf16: a*.429 + b*.571": by_hand(
            parents, lambda a, b, c, d: a * 0.429 + b * 0.571
        ),
        "by hand, bf16, three models, long weights": by_hand(
            parents, lambda a, b, c, d: a * 0.41263 + b * 0.33917 + c * 0.2482
        ),
        "by hand, mean of three finetunes": by_hand(
            parents, lambda a, b, c, d: torch.stack([b, c, d]).mean(0)
        ),
    }


def merges() -> dict[str, Recipe]:
    """Merges that the merge tool makes."""
    ties = {"density__donor": 0.5, "density__second": 0.5, "normalize": 1}
    return {
        "linear, one donor": make("linear", {"base": 0.429, "donor": 0.571}),
        "linear, three donors": make(
            "linear", {"base": 0.3, "donor": 0.4, "second": 0.2, "third": 0.1}
        ),
        "slerp": make("slerp", {"base": 0.4, "donor": 0.6}),
        "ties, two donors": make("ties", {"donor": 0.6, "second": 0.4}, "base", **ties),
    }


def searched(folder: Path, parents: Mapping[str, Path], suspect: Path) -> Path:
    """Audit a suspect; returns the folder of the results."""
    spec = {
        "suspect": "suspect",
        "base": "base",
        "donors": list(DONORS),
        "controls": [],
    }
    audit(folder, {**parents, "suspect": suspect}, spec)
    return folder


def measured(folder: Path, runs: int) -> Cost:
    """The search alone, once more on what the audit kept."""
    limits = Thresholds()
    roles = Roles(suspect="suspect", bases=("base",), donors=DONORS, controls=())
    params = recipe.Params(
        roles,
        limits.replay_width,
        limits.min_stayed,
        limits.min_informative_share,
        limits.max_recipes,
    )
    inputs = recipe.Inputs(
        tuple(sorted(folder.glob("fits/*.parquet"))),
        tuple(sorted(folder.glob("evidence/*.safetensors"))),
    )
    outputs = recipe.Outputs(folder / "again.json", folder / "again.parquet")
    seconds = []
    for _ in range(runs):
        start = time.process_time()
        recipe.run(inputs, params, outputs)
        seconds.append(time.process_time() - start)
    found: dict[str, Any] = read_json(outputs.recipes)[0]
    best = found["best"] or {"method": "", "bit_exact_rate": 0.0}
    return Cost(found["tried"], median(seconds), best["method"], best["bit_exact_rate"])


def row(name: str, cost: Cost) -> str:
    """A line of the page."""
    return (
        f"| {name} | {cost.tried:,} | {cost.seconds:.2f} | {cost.method} |"
        f" {cost.rate:.2%} |"
    )


def main() -> None:
    """Plant, audit, search again and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    made = models()
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        parents = {name: write_qwen(place / name, made[name]) for name in made}
        suspects = {
            name: write_qwen(place / f"suspect {number}", tensors)
            for number, (name, tensors) in enumerate(
                {**innocents(made), **scripts(made)}.items()
            )
        }
        paths = {name: str(path) for name, path in parents.items()}
        for name, merge in merges().items():
            config = mergekit_config(merge, "bfloat16", paths)
            suspects[name] = mergekit(config, place / f"merge {name}")
        rows = []
        for number, (name, suspect) in enumerate(suspects.items()):
            results = searched(place / f"audit {number}", parents, suspect)
            rows.append(row(name, measured(results, runs)))
            print(rows[-1], flush=True)
    elements = sum(tensor.numel() for tensor in made["base"].values())
    head = INTRODUCTION.format(runs=runs, machine=platform.machine(), elements=elements)
    page = head + "\n".join(rows) + "\n"
    (HERE / "search_cost.md").write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
