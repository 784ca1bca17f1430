"""Small directions measured pair by pair: one model, one donor, one base. Hundreds of
cases share a few hundred pairs, so that each is measured once.

It reads what the audit reads: up to 512 whole rows of every matrix that votes, the first
ones here.
"""

import hashlib
import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.zoo.making import loaded
from mergetrace.descent.lattice import Rows
from mergetrace.descent.measuring import measure
from mergetrace.descent.pooling import Seen, along, tail_of
from mergetrace.outputs import read_json, write_json
from mergetrace.planning.submatrices import DECOMPOSED_ROWS, LEFT_OUT, MIN_SIDE
from mergetrace.records.json_records import as_json
from mergetrace.tensors.naming import component_of

DTYPES = {torch.bfloat16: "BF16", torch.float32: "F32", torch.float16: "F16"}


def measured_pair(
    results: Path, family: Path, base: str, donor: str, model: str, state: str
) -> dict[str, Any]:
    """What is kept of a pair, measured now if it is missing: `along`, the donor's own
    tail in the model, least squares over all matrices.
    """
    key = hashlib.sha256(f"{base} {donor} {model}".encode()).hexdigest()[:16]
    path = results / "pairs" / family.name / f"{key}.json"
    if path.exists():
        kept: dict[str, Any] = read_json(path)
        if kept["state"] == state:
            return kept
    found = {"state": state} | _pair(family, base, donor, model)
    write_json(path, found)
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def _pair(family: Path, base: str, donor: str, model: str) -> dict[str, Any]:
    start, own, other = (_matrices(family / name) for name in (base, model, donor))
    seen, reverse, weighed, over, tails = [], [], [], [], []
    for name, rows in start.items():
        roles = {"base": rows, "donor": other[name], "model": own[name]}
        for each in measure(roles, "base", ("donor",), ("model",)):
            if each.along == "donor":
                assert each.replayed is not None
                assert each.whitened is not None
                assert each.whitened_replayed is not None
                merges = each.replayed, each.whitened_replayed
                component = component_of(name)
                seen.append(
                    Seen(
                        component,
                        each.look,
                        merges[0],
                        each.whitened,
                        merges[1],
                        each.stayed,
                        each.overlap,
                        each.repeated,
                        each.participation,
                    )
                )
                tails.append(each.look)
            else:
                assert each.whitened is not None
                reverse.append(each.look)
                weighed.append(each.whitened)
                over += [] if each.over_rounding is None else [each.over_rounding]
    found = along(seen, reverse, median(over) if over else None, weighed)
    tail = tail_of(tails)
    return {
        "along": as_json(found),
        "tail": tail.value if tail else None,
        "matrices": len(start),
        "fit": _fit(family, base, donor, model),
    }


@lru_cache(maxsize=24)
def _matrices(folder: Path) -> dict[str, Rows]:
    """By name the rows that are decomposed."""
    found = {}
    for name, tensor in loaded(folder).items():
        if component_of(name) in LEFT_OUT or ".layers." not in name:
            continue
        for part, matrix in _slices(name, tensor):
            if min(matrix.shape) >= MIN_SIDE:
                rows = matrix[:DECOMPOSED_ROWS]
                found[part] = Rows(rows.double().numpy(), DTYPES[tensor.dtype], None)
    return found


def _slices(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """A matrix, or those of every expert; fused gates and inputs are two."""
    if tensor.dim() == 2:
        yield name, tensor
    elif tensor.dim() == 3:
        for expert, matrix in enumerate(tensor):
            parts = matrix.chunk(2) if "gate_up" in name else (matrix,)
            for part, each in enumerate(parts):
                yield f"{name}[{expert}, {part}]", each


def _fit(family: Path, base: str, donor: str, model: str) -> dict[str, float]:
    """The cosine and the weight by least squares, over all matrices."""
    start, suspect, other = (loaded(family / name) for name in (base, model, donor))
    sums = torch.zeros(3, dtype=torch.float64)
    for name, tensor in start.items():
        if tensor.dim() < 2:
            continue
        own = (suspect[name].double() - tensor.double()).flatten()
        change = (other[name].double() - tensor.double()).flatten()
        sums += torch.stack([own @ change, own @ own, change @ change])
    both, mine, theirs = sums.tolist()
    return {
        "cos_fit": both / max((mine * theirs) ** 0.5, 1e-300),
        "alpha": both / max(theirs, 1e-300),
    }
