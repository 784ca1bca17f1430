"""Every deterministic method of mergekit with its options, in every dtype: made by
mergekit itself, audited without being told how.

    python -m benchmarks.mergekit_matrix [--only ties] [--arithmetic bfloat16 ...]
        [--parents float32]

Prints, for each merge and arithmetic, the method found and the share of informative
elements given back; with --csv writes a table.
"""

import argparse
import contextlib
import csv
import io
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mergetrace.testing.audits import audit
from mergetrace.testing.planting import Tensors, finetuned
from mergetrace.testing.realmerge import mergekit, qwen, write_qwen

ARITHMETIC: Mapping[str, dict[str, str]] = {
    "bfloat16": {"dtype": "bfloat16"},
    "float32 into bfloat16": {"dtype": "float32", "out_dtype": "bfloat16"},
    "float16": {"dtype": "float16"},
    "float32": {"dtype": "float32"},
}
"""The dtype of the arithmetic, and of the file."""
PARENTS: Mapping[str, torch.dtype] = {
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float32": torch.float32,
}
"""How the parents are stored."""
COLUMNS = ("name", "parents", "arithmetic", "verdict", "method", "rate", "tried")
GIVEN_BACK = 0.995
"""A rate from which a merge is given back."""


@dataclass(frozen=True)
class Merge:
    """One configuration."""

    method: str
    models: Mapping[str, Mapping[str, Any]]
    """By model its own parameters."""
    base: str | None = "base"
    options: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of all models together."""
    sparse: bool = False
    """Whether the donors changed few of their elements."""


def _one(**own: Any) -> dict[str, dict[str, Any]]:
    return {"donor": {"weight": 0.6, **own}}


def _two(**own: Any) -> dict[str, dict[str, Any]]:
    return {"donor": {"weight": 0.6, **own}, "second": {"weight": 0.3, **own}}


BARE: dict[str, dict[str, Any]] = {"donor": {}, "second": {}}
BLEND: dict[str, dict[str, Any]] = {"base": {"weight": 0.4}, "donor": {"weight": 0.6}}
CRUMBS = {"density": 0.7, "gamma": 0.05}

MERGES: Mapping[str, Merge] = {
    "linear": Merge("linear", BLEND, None),
    "linear, not normalised": Merge("linear", BLEND, None, {"normalize": False}),
    "task_arithmetic": Merge("task_arithmetic", _two()),
    "task_arithmetic, lambda": Merge(
        "task_arithmetic", _two(), options={"lambda": 0.7}
    ),
    "task_arithmetic, one donor, lambda": Merge(
        "task_arithmetic", _one(), options={"lambda": 0.7}
    ),
    "task_arithmetic, normalised": Merge(
        "task_arithmetic", _two(), options={"normalize": True}
    ),
    "slerp": Merge("slerp", {"base": {}, "donor": {}}, options={"t": 0.35}),
    "nuslerp": Merge("nuslerp", BLEND, None),
    "nuslerp of changes": Merge("nuslerp", _two()),
    "nuslerp by rows": Merge(
        "nuslerp", BLEND, None, {"nuslerp_row_wise": True, "nuslerp_flatten": False}
    ),
    "nuslerp by columns": Merge("nuslerp", BLEND, None, {"nuslerp_flatten": False}),
    "multislerp": Merge("multislerp", BLEND, None),
    "multislerp of changes": Merge("multislerp", _two()),
    "multislerp, not normalised": Merge(
        "multislerp", _two(), options={"normalize_weights": False}
    ),
    "karcher": Merge("karcher", {"base": {}, "donor": {}, "second": {}}, None),
    "karcher, two steps": Merge(
        "karcher", {"base": {}, "donor": {}, "second": {}}, None, {"max_iter": 2}
    ),
    "model_stock": Merge("model_stock", BARE),
    "model_stock by filter": Merge("model_stock", BARE, options={"filter_wise": True}),
    "sce": Merge("sce", BARE),
    "sce, topk": Merge("sce", BARE, options={"select_topk": 0.4}),
    "sce, topk, int8_mask": Merge(
        "sce", BARE, options={"select_topk": 0.4, "int8_mask": True}
    ),
    "nearswap": Merge("nearswap", {"donor": {}}, options={"t": 0.0008}),
    "arcee_fusion": Merge("arcee_fusion", {"donor": {}}),
    "ties, one donor": Merge("ties", _one(density=0.5)),
    "ties": Merge("ties", _two(density=0.5)),
    "ties, lambda": Merge("ties", _two(density=0.5), options={"lambda": 0.8}),
    "ties, not normalised": Merge(
        "ties", _two(density=0.5), options={"normalize": False}
    ),
    "ties, not normalised, lambda": Merge(
        "ties", _two(density=0.5), options={"normalize": False, "lambda": 0.8}
    ),
    "ties, rescaled": Merge("ties", _two(density=0.5), options={"rescale": True}),
    "ties, rescaled, not normalised": Merge(
        "ties", _two(density=0.5), options={"rescale": True, "normalize": False}
    ),
    "ties, int8_mask": Merge("ties", _two(density=0.5), options={"int8_mask": True}),
    "ties, density a gradient": Merge("ties", _two(density=[0.3, 0.8])),
    "ties, weight a gradient": Merge(
        "ties",
        {
            "donor": {"weight": [0.2, 0.9], "density": 0.5},
            "second": {"weight": 0.3, "density": 0.5},
        },
        options={"normalize": False},
    ),
    "ties, two densities": Merge(
        "ties",
        {
            "donor": {"weight": 0.6, "density": 0.4},
            "second": {"weight": 0.3, "density": 0.7},
        },
    ),
    "ties, three donors": Merge(
        "ties", {**_two(density=0.5), "third": {"weight": 0.4, "density": 0.5}}
    ),
    "breadcrumbs": Merge("breadcrumbs", _two(**CRUMBS)),
    "breadcrumbs, lambda": Merge(
        "breadcrumbs", _two(**CRUMBS), options={"lambda": 0.8}
    ),
    "breadcrumbs, rescaled": Merge(
        "breadcrumbs", _two(**CRUMBS), options={"rescale": True}
    ),
    "breadcrumbs, normalised": Merge(
        "breadcrumbs", _two(**CRUMBS), options={"normalize": True}
    ),
    "breadcrumbs, one donor, lambda": Merge(
        "breadcrumbs", _one(**CRUMBS), options={"lambda": 0.8}
    ),
    "breadcrumbs_ties": Merge("breadcrumbs_ties", _two(**CRUMBS)),
    "breadcrumbs_ties, lambda": Merge(
        "breadcrumbs_ties", _two(**CRUMBS), options={"lambda": 0.8}
    ),
    "dare_ties, all kept": Merge("dare_ties", _two(density=1.0)),
    "della, all kept": Merge("della", _two(density=1.0)),
    "della_linear, all kept, lambda": Merge(
        "della_linear", _two(density=1.0), options={"lambda": 1.2}
    ),
    "ram": Merge("ram", BARE, sparse=True),
    "ram, all changed": Merge("ram", BARE),
    "ram, epsilon": Merge("ram", BARE, options={"epsilon": 0.001}),
    "ramplus_tl": Merge("ramplus_tl", BARE, sparse=True),
    "ramplus_tl, r and alpha": Merge(
        "ramplus_tl", BARE, options={"r": 0.3, "alpha": 0.5}, sparse=True
    ),
}


@dataclass(frozen=True)
class Found:
    """What the audit of one merge said."""

    name: str
    parents: str
    """How they were stored."""
    arithmetic: str
    verdict: str
    method: str
    rate: float
    """The share of informative elements given back."""
    tried: int
    seconds: float
    parameters: Mapping[str, Any]
    """Of the recipe."""


def models(sparse: bool, stored: str = "bfloat16") -> dict[str, Tensors]:
    """A base and three finetunes of it; sparse: of which each changed a third."""
    base = qwen(0, PARENTS[stored])
    made = {"base": base}
    for seed, name in enumerate(("donor", "second", "third"), start=1):
        tensors = finetuned(base, seed)
        made[name] = _sparse(base, tensors, seed) if sparse else tensors
    return made


def _sparse(base: Tensors, tensors: Tensors, seed: int) -> Tensors:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.where(
            torch.rand(tensor.shape, generator=generator) < 1 / 3, tensor, base[name]
        )
        for name, tensor in tensors.items()
    }


def configuration(
    merge: Merge, folders: Mapping[str, Path], arithmetic: Mapping[str, str]
) -> dict[str, Any]:
    """What mergekit is given."""
    entries = []
    for name, own in merge.models.items():
        entry: dict[str, Any] = {"model": str(folders[name])}
        entries.append(entry | ({"parameters": dict(own)} if own else {}))
    made: dict[str, Any] = {"merge_method": merge.method, "models": entries}
    if merge.base is not None:
        made["base_model"] = str(folders[merge.base])
    if merge.options:
        made["parameters"] = dict(merge.options)
    return made | dict(arithmetic)


OLDER, YOUNGER = "2026-01-01", "2026-06-01"
"""Dates of the parents and of the merge, which some merges need (docs/method.md)."""


def examine(
    name: str, stored: str, arithmetic: str, folders: Mapping[str, Path]
) -> Found:
    """Make one merge and audit it. All three donors are offered only where all are of
    the merge.
    """
    merge = MERGES[name]
    donors = [model for model in ("donor", "second", "third") if model in merge.models]
    with tempfile.TemporaryDirectory() as place:
        config = configuration(merge, folders, ARITHMETIC[arithmetic])
        suspect = mergekit(config, Path(place) / "suspect")
        offered = {model: folders[model] for model in ("base", *donors)}
        spec = {"suspect": "suspect", "base": "base", "donors": donors, "controls": []}
        start = time.perf_counter()
        with contextlib.redirect_stderr(io.StringIO()):
            found = audit(
                Path(place) / "audit",
                offered | {"suspect": suspect},
                spec,
                published=dict.fromkeys(offered, OLDER) | {"suspect": YOUNGER},
            )
        seconds = time.perf_counter() - start
        entries = json.loads((Path(place) / "audit/recipes.json").read_text())
    best = entries[0]["best"] or {"method": "", "bit_exact_rate": 0.0, "parameters": {}}
    return Found(
        name,
        stored,
        arithmetic,
        found["verdict"],
        best["method"],
        best["bit_exact_rate"],
        entries[0]["tried"],
        seconds,
        best["parameters"],
    )


def examined(only: str, stored: str, arithmetics: list[str]) -> Iterator[Found]:
    """Every merge whose name holds `only`, in each arithmetic."""
    with tempfile.TemporaryDirectory() as place:
        folders = {
            sparse: {
                name: write_qwen(Path(place) / str(sparse) / name, tensors)
                for name, tensors in models(sparse, stored).items()
            }
            for sparse in (False, True)
        }
        for arithmetic in arithmetics:
            for name, merge in MERGES.items():
                if only in name:
                    yield examine(name, stored, arithmetic, folders[merge.sparse])


def main() -> None:
    """Examine what was asked for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of a merge's name")
    parser.add_argument(
        "--arithmetic", nargs="*", choices=list(ARITHMETIC), default=list(ARITHMETIC)
    )
    parser.add_argument(
        "--parents",
        choices=list(PARENTS),
        default="bfloat16",
        help="how they are stored",
    )
    parser.add_argument("--csv", type=Path, help="where a table is written")
    options = parser.parse_args()
    rows = []
    for found in examined(options.only, options.parents, options.arithmetic):
        rows.append(found)
        mark = " " if found.rate >= GIVEN_BACK else "*"
        print(
            f"{mark} {found.name:36} {found.arithmetic:22} {found.verdict:20}"
            f" {found.method:16} {found.rate:8.4%} {found.tried:5} {found.seconds:5.1f} s",
            flush=True,
        )
    given_back = sum(found.rate >= GIVEN_BACK for found in rows)
    print(f"{given_back} of {len(rows)} given back", file=sys.stderr)
    if options.csv is not None:
        with options.csv.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            writer.writerows(
                [getattr(found, name) for name in COLUMNS] for found in rows
            )


if __name__ == "__main__":
    main()
