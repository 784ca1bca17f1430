"""How fast a GGUF file is read and summed, beside `cat` of the same files in the same run.
Prints the table of gguf_reading.md.

python -m benchmarks.gguf_reading [--elements 67108864] [--runs 5] [--threads 2]

The files are in the system's cache when they are measured, which favours `cat`: it does
nothing but copy. "Read" is codes, scales and shifts of every element as a pass takes
them; "whole pass" is a suspect in GGUF with two parents in bf16, read and summed.
"""

import argparse
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.kernel import FRAMES, slices, usable_cores
from benchmarks.peak import peak_bytes
from mergetrace.numerics.arrays import Bytes
from mergetrace.planning.manifest import tensor_table
from mergetrace.sums.deltas import Reader
from mergetrace.sums.gram_numba import CompiledKernel
from mergetrace.tensors.views import views
from mergetrace.tensors.weights import Weights
from mergetrace.testing.gguf_models import FACTS, gguf_bytes, quantised
from mergetrace.testing.planting import write_model

FORMATS = ("Q8_0", "Q4_K", "Q6_K")
ROWS, COLS = 4096, 2048
AT_ONCE = 1 << 21  # elements


def make(folder: Path, kind: str, elements: int) -> None:
    """A suspect in GGUF and two parents in bf16, of a stretch of numbers repeated."""
    count = max(1, elements // (ROWS * COLS))
    generator = np.random.default_rng(0)
    part = (generator.standard_normal((256, COLS)) * 0.02).astype(np.float32)
    raw = np.tile(quantised(part, kind), ROWS // len(part)).tobytes()
    own = [(f"blk.{i}.ffn_up.weight", kind, (ROWS, COLS), raw) for i in range(count)]
    facts = {**FACTS, "llama.block_count": count}
    (folder / "suspect").mkdir(parents=True)
    (folder / "suspect" / "model.gguf").write_bytes(gguf_bytes(own, facts))
    matrix = torch.from_numpy(np.tile(part, (ROWS // len(part), 1)))
    for seed, name in enumerate(("base", "donor")):
        changed = (matrix * (1 + 0.01 * seed)).bfloat16()
        tensors = {
            f"model.layers.{i}.mlp.up_proj.weight": changed.clone()
            for i in range(count)
        }
        write_model(folder / name, tensors)


def files(folder: Path) -> dict[str, list[Path]]:
    """The suspect's file, and all files."""
    every = sorted(
        path for path in folder.rglob("*") if path.suffix in (".gguf", ".safetensors")
    )
    return {"read": [path for path in every if path.suffix == ".gguf"], "pass": every}


def cat(paths: list[Path]) -> None:
    """`cat` of files."""
    with open(os.devnull, "wb") as nowhere:
        subprocess.run(["cat", *map(str, paths)], stdout=nowhere, check=True)


def read(folder: Path) -> None:
    """Codes, scales and shifts of every element."""
    place = folder / "suspect"
    held, _ = views(tensor_table(place))
    out: Bytes = np.empty(AT_ONCE, np.uint8)
    with Weights({"suspect": place}, in_order=True) as weights:
        for view in held.values():
            own = replace(view, model="suspect")
            for first in range(0, view.rows * view.cols, AT_ONCE):
                weights.stretches(own, [(first, AT_ONCE)], out)


def whole_pass(folder: Path, threads: int) -> None:
    """Everything read and summed."""
    places = {name: folder / name for name in ("suspect", "base", "donor")}
    with Weights(places, in_order=True) as weights:
        reader = Reader(weights, FRAMES, CompiledKernel(), threads)
        for _ in reader.read(slices(folder)):
            pass


def rate(work: Callable[[], None], size: int) -> float:
    """GB/s."""
    began = time.perf_counter()
    work()
    return size / 1e9 / (time.perf_counter() - began)


def row(kind: str, folder: Path, runs: int, threads: int) -> str:
    """The medians of a format; what is compared is measured in turn."""
    paths = files(folder)
    sizes = {
        what: sum(path.stat().st_size for path in held) for what, held in paths.items()
    }
    work = {
        "read": lambda: read(folder),
        "pass": lambda: whole_pass(folder, threads),
    }
    cells = [kind]
    for what, function in work.items():
        function()  # compiles, and fills the system's cache
        pairs = [
            (
                rate(lambda what=what: cat(paths[what]), sizes[what]),
                rate(function, sizes[what]),
            )
            for _ in range(runs)
        ]
        ours = median(each for _, each in pairs)
        share = median(each / of_cat for of_cat, each in pairs)
        cells += [f"{ours:.2f}", f"{share:.3f}"]
    return f"| {' | '.join(cells)} | {peak_bytes() / (1 << 20):,.0f} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=1 << 26)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=usable_cores())
    options = parser.parse_args()
    print("| format | read, GB/s | of cat | whole pass, GB/s | of cat | peak, MiB |")
    print("|---|---|---|---|---|---|")
    for kind in FORMATS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make(folder, kind, options.elements)
            print(row(kind, folder, options.runs, options.threads), flush=True)


if __name__ == "__main__":
    main()
