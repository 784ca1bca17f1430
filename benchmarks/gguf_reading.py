"""How fast a GGUF file is read and summed, beside `cat` of the same files in the same run.
Prints the table of gguf_reading.md.

python -m benchmarks.gguf_reading [--elements 268435456] [--runs 5] [--threads 2]
    [--quiet .1]

A pass is a suspect in GGUF with two parents in bf16, read and summed, its evidence kept.
"Cached": the files are in the system's cache, which favours `cat`: it does nothing but
copy. "From disk": the system was told to forget them before each turn. --quiet: turns count
only in which other programs used no more than that share of the machine; it waits for them.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

import numpy as np
import torch

from benchmarks.kernel import FRAMES, slices, usable_cores
from benchmarks.peak import peak_bytes
from mergetrace.sums.deltas import Reader, Slice
from mergetrace.sums.gram_numba import CompiledKernel
from mergetrace.tensors.weights import Weights
from mergetrace.testing.gguf_models import FACTS, gguf_bytes, quantised
from mergetrace.testing.planting import write_model

FORMATS = ("Q8_0", "Q4_K", "Q6_K", "Q4_0", "Q5_0")
ROWS, COLS = 4096, 2048


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


def files(folder: Path) -> list[Path]:
    """The weight files."""
    return sorted(
        path for path in folder.rglob("*") if path.suffix in (".gguf", ".safetensors")
    )


def cat(paths: list[Path]) -> None:
    """`cat` of files."""
    with open(os.devnull, "wb") as nowhere:
        subprocess.run(["cat", *map(str, paths)], stdout=nowhere, check=True)


def whole_pass(folder: Path, work: list[Slice], threads: int) -> None:
    """Everything read and summed."""
    places = {name: folder / name for name in ("suspect", "base", "donor")}
    with Weights(places, in_order=True) as weights:
        reader = Reader(weights, FRAMES, CompiledKernel(), threads)
        for _ in reader.read(work):
            pass


def forget(paths: list[Path]) -> None:
    """Have the system forget what it holds of files."""
    for path in paths:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def seconds(work: Callable[[], None]) -> tuple[float, float]:
    """By the clock, and of the processor: own and of programs that were started."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    used = -sum(sum(resource.getrusage(one)[:2]) for one in who)
    began = time.perf_counter()
    work()
    took = time.perf_counter() - began
    return took, used + sum(sum(resource.getrusage(one)[:2]) for one in who)


def machine() -> tuple[float, float]:
    """Seconds of all processors so far: used, and idle (Linux)."""
    with open("/proc/stat") as file:
        ticks = [int(part) for part in file.readline().split()[1:9]]
    idle = ticks[3] + ticks[4]
    rate = os.sysconf("SC_CLK_TCK")
    return (sum(ticks) - idle) / rate, idle / rate


def wait(share: float) -> None:
    """Until others use no more of the machine than that."""
    while share < 1:
        used, idle = machine()
        time.sleep(1)
        used, idle = machine()[0] - used, machine()[1] - idle
        if used <= share * (used + idle):
            return


def turn(
    paths: list[Path], methods: Sequence[Callable[[], None]], cold: bool, share: float
) -> tuple[tuple[float, float], ...]:
    """The seconds of methods one after another, once more where others took part."""
    while True:
        wait(share)
        found = []
        others = 0.0
        whole = 0.0
        for method in methods:
            if cold:
                forget(paths)
            used, idle = machine()
            found.append(seconds(method))
            used, idle = machine()[0] - used, machine()[1] - idle
            others += max(used - found[-1][1], 0.0)
            whole += used + idle
        if share >= 1 or others <= share * whole:
            return tuple(found)


def row(kind: str, folder: Path, runs: int, threads: int, share: float) -> str:
    """The medians of a format; what is compared is measured in turn."""
    paths = files(folder)
    size = sum(path.stat().st_size for path in paths) / 1e9
    work = slices(folder)
    whole_pass(folder, work, threads)  # compiles, and fills the system's cache
    cells = [kind]
    for cold in (False, True):
        methods = (lambda: cat(paths), lambda: whole_pass(folder, work, threads))
        turns = [turn(paths, methods, cold, share) for _ in range(runs)]
        cells += [f"{size / median(each[0] for each, _ in turns):.2f}"]
        cells += [f"{size / median(each[0] for _, each in turns):.2f}"]
        cells += [f"{median(one[0] / own[0] for one, own in turns):.2f}"]
        if not cold:
            cells += [f"{median(each[1] for each, _ in turns):.2f}"]
            cells += [f"{median(each[1] for _, each in turns):.2f}"]
    return f"| {' | '.join(cells)} | {peak(folder, threads):,.0f} |"


def peak(folder: Path, threads: int) -> float:
    """The peak of a process that does nothing but a pass, in MiB."""
    command = [sys.executable, "-m", "benchmarks.gguf_reading", "--pass"]
    command += [str(folder), "--threads", str(threads)]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(told.stdout)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--elements", type=int, default=1 << 28)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument("--quiet", type=float, default=1.0, metavar="SHARE")
    parser.add_argument("--kinds", nargs="*", default=FORMATS)
    parser.add_argument("--pass", dest="folder", type=Path, help="its peak, in MiB")
    options = parser.parse_args()
    if options.folder:
        whole_pass(options.folder, slices(options.folder), options.threads)
        print(peak_bytes() / (1 << 20))
        return
    print(
        "| format | cached: `cat`, GB/s | pass, GB/s | of `cat` | processor: `cat`, s |"
        " pass, s | from disk: `cat`, GB/s | pass, GB/s | of `cat` | peak, MiB |"
    )
    print(f"|---{'|---:' * 9}|")
    for kind in options.kinds:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            make(folder, kind, options.elements)
            made = row(kind, folder, options.runs, options.threads, options.quiet)
            print(made, flush=True)


if __name__ == "__main__":
    main()
