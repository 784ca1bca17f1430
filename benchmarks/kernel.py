"""How fast weights are read and summed, beside `cat`, the read ceiling of memory, array
formulas and the naive script.

python -m benchmarks.kernel [--gb 1.5] [--runs 5] [--threads N] [--folder DIR]

Makes a planted trio of bf16 models of --gb in all, measures everything in turn, --runs
times over, and prints a table of medians.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
import timeit
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.peak import peak_bytes
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.planning.manifest import describe, read_local, tensor_table
from mergetrace.planning.plan import pair_models
from mergetrace.planning.sampling import evidence_blocks, tiles
from mergetrace.sums.deltas import Reader, Slice
from mergetrace.sums.frames import Frame
from mergetrace.tensors.view import view_of
from mergetrace.tensors.weights import Weights

CPUINFO = Path("/proc/cpuinfo")
"""Where Linux names the processor."""

NAMES = ("suspect", "base", "donor")
FRAMES = [Frame("suspect", "base", ("donor",))]
SIDE = 4096  # a matrix holds SIDE x SIDE numbers
METHODS = {
    "cat": "`cat` of the files > /dev/null",
    "deltas": "**`deltas`, compiled kernel**",
    "arrays": "`deltas`, array formulas",
    "naive": "naive: load, float64, subtract, cosine",
}


def make(folder: Path, gb: float) -> None:
    """A base, a finetune of it and the merge of the two as they are stored, in bf16: a
    stretch of numbers repeated, so that making them takes no time.
    """
    from safetensors.torch import save_file
    from torch import bfloat16, from_numpy

    count = max(1, round(gb * 1e9 / 3 / 2 / SIDE**2))
    generator = np.random.default_rng(0)
    numbers = generator.normal(size=1 << 20) * 0.02
    base, donor = (
        encode(values, "BF16")
        for values in (numbers, numbers + generator.normal(size=1 << 20) * 0.002)
    )
    b, d = (
        decode(codes.view(np.uint8), "BF16").astype(np.float32)
        for codes in (base, donor)
    )
    suspect = encode(np.float32(0.43) * b + np.float32(0.57) * d, "BF16")
    for name, codes in {"suspect": suspect, "base": base, "donor": donor}.items():
        matrix = from_numpy(np.tile(codes, SIDE**2 >> 20).reshape(SIDE, SIDE)).view(
            bfloat16
        )
        (folder / name).mkdir(parents=True)
        (folder / name / "config.json").write_text(
            '{"architectures": ["PlantedForCausalLM"], "model_type": "llama"}'
        )
        save_file(
            {tensor_name(i): matrix.clone() for i in range(count)},
            folder / name / "model.safetensors",
        )


def tensor_name(number: int) -> str:
    """Four matrices a layer: 400 MB of three models."""
    return f"model.layers.{number // 4}.self_attn.{'qkvo'[number % 4]}_proj.weight"


def slices(folder: Path) -> list[Slice]:
    """Every slice of the trio, read in full."""
    tables = {name: tensor_table(folder / name) for name in NAMES}
    plan, _ = pair_models(
        tables,
        {
            name: describe(name, folder / name, read_local(folder / name))
            for name in NAMES
        },
        ["base", "donor"],
        "suspect",
    )
    found = []
    for number, views in plan.groupby("slice_id"):
        size = int(views["elements"].iloc[0])
        found.append(
            Slice(
                number,
                {row["model"]: view_of(row) for row in views.to_dict("records")},
                tiles(size),
                evidence_blocks("", size, 32, 2048, 0),
            )
        )
    return found


def deltas(folder: Path, threads: int, compiled: bool) -> float:
    """Seconds to read and sum the trio, loading the kernel apart."""
    if compiled:
        from mergetrace.sums.gram_numba import CompiledKernel as Summing
    else:
        from mergetrace.sums.gram_arrays import ArrayKernel as Summing
    work = slices(folder)
    few = replace(work[0], blocks=work[0].blocks[:1], kept=work[0].kept[:1])
    for part in ([few], work):
        began = time.perf_counter()
        with Weights({name: folder / name for name in NAMES}, in_order=True) as weights:
            for _ in Reader(weights, FRAMES, Summing(), threads).read(part):
                pass
    return time.perf_counter() - began


def naive(folder: Path) -> float:
    """Seconds of the script that everybody writes first."""
    import torch
    from safetensors.torch import load_file

    began = time.perf_counter()
    suspect, base, donor = (
        load_file(folder / name / "model.safetensors") for name in NAMES
    )
    for name, b in base.items():
        u, v = (
            model[name].double().flatten() - b.double().flatten()
            for model in (suspect, donor)
        )
        torch.nn.functional.cosine_similarity(u, v, dim=0).item()
        (u @ v / (v @ v)).item()
    return time.perf_counter() - began


def cat(folder: Path) -> float:
    """Seconds of `cat`."""
    began = time.perf_counter()
    with open(os.devnull, "wb") as nowhere:
        subprocess.run(
            ["cat", *(str(folder / name / "model.safetensors") for name in NAMES)],
            stdout=nowhere,
            check=True,
        )
    return time.perf_counter() - began


def in_memory(threads: int, runs: int) -> dict[str, list[float]]:
    """GB/s of the kernel and of a plain sum (the read ceiling), over the same 384 MB
    per thread of three bf16 models in memory.

    In every run they lie elsewhere, a random distance apart, as tensors in files do.
    For "aligned" they lie 4 KB apart but for a power of two, as arrays of one size do
    that were allocated one after another: slower, most likely because their pages share
    a bank of the memory.
    """
    from numba import njit

    from mergetrace.sums import gram_numba

    @njit(nogil=True)
    def ceiling(words: np.ndarray) -> int:
        total = np.int64(0)
        for i in range(words.size):
            total += words[i]
        return total

    generator = np.random.default_rng(0)
    part = encode(generator.normal(size=(3, 1 << 20)), "BF16")
    size = 64 * part.shape[1]
    apart = 1 << 20
    page = 1 << 11
    memory = np.zeros((threads, 3 * (size + apart)), part.dtype)
    edges = np.linspace(0, size, 33).astype(np.int64)

    def placed(row: np.ndarray, number: int, aligned: bool) -> np.ndarray:
        first = (
            number * (size + page)
            if aligned
            else number * (size + apart) + int(generator.integers(apart))
        )
        row[first : first + size].reshape(64, -1)[:] = part[number]
        return row[first : first + size]

    def kernel(trio: list[np.ndarray]) -> object:
        return gram_numba.trio_sums(*trio, edges, 2.0**-126)

    work: dict[str, Callable[[list[np.ndarray]], object]] = {
        "kernel": kernel,
        "ceiling": lambda trio: [ceiling(model.view(np.int64)) for model in trio],
        "aligned": kernel,
    }
    rates: dict[str, list[float]] = {name: [] for name in work}
    for run in range(runs + 1):
        for name, function in work.items():
            models = [
                [placed(row, number, name == "aligned") for number in range(3)]
                for row in memory
            ]
            jobs = [threading.Thread(target=function, args=(trio,)) for trio in models]
            began = time.perf_counter()
            for job in jobs:
                job.start()
            for job in jobs:
                job.join()
            if run:  # the first compiles
                rates[name].append(
                    threads
                    * 3
                    * models[0][0].nbytes
                    / 1e9
                    / (time.perf_counter() - began)
                )
    return rates


def in_cache() -> dict[str, float]:
    """Nanoseconds per element of numbers that stay in the cache, the best of many: what
    the arithmetic costs, whoever else uses the machine.
    """
    from mergetrace.sums import gram_numba

    size = 1 << 13
    times = 64
    edges = np.array(
        [0, size] * times
    )  # over the same numbers again and again: a call's own cost is left out
    best = {}
    for dtype, lane in gram_numba.ARRAY_TYPES.items():
        if dtype == "F64":
            continue
        trio = [
            encode(np.random.default_rng(seed).normal(size=size), dtype).view(lane)
            for seed in range(3)
        ]
        gram_numba.trio_sums(*trio, edges, 2.0**-126)
        best[dtype] = (
            min(
                timeit.repeat(
                    lambda trio=trio: gram_numba.trio_sums(*trio, edges, 2.0**-126),
                    number=1,
                    repeat=300,
                )
            )
            / times
            / size
            * 1e9
        )
    return best


def measured(method: str, folder: Path, threads: int, runs: int) -> dict[str, object]:
    """What one method gives, in a process of its own: memory is its own too."""
    command = [
        sys.executable,
        "-m",
        "benchmarks.kernel",
        "--measure",
        method,
        "--folder",
        str(folder),
        "--threads",
        str(threads),
        "--runs",
        str(runs),
    ]
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": str(threads)}
    return json.loads(
        subprocess.run(
            command, capture_output=True, text=True, check=True, env=env
        ).stdout
    )


def measure(method: str, folder: Path, threads: int, runs: int) -> dict[str, object]:
    """The work of `measured`."""
    if method == "memory":
        return in_memory(threads, runs)
    if method == "cache":
        return in_cache()
    one = {"cat": lambda: cat(folder), "naive": lambda: naive(folder)}
    seconds = (
        one[method]() if method in one else deltas(folder, threads, method == "deltas")
    )
    # `cat` is another program.
    peak = None if method == "cat" else peak_bytes() / (1 << 20)
    return {"seconds": seconds, "mb": peak}


def processor() -> str:
    """The processor's name: by Linux where that tells it, else as Python knows it."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":")[1].strip() for line in lines if line[:10] == "model name"]
    return names[0] if names else platform.processor()


def usable_cores() -> int:
    """The cores that this process may use; all of them where the system does not say,
    as on macOS.
    """
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


def table(folder: Path, threads: int, runs: int) -> str:
    """Everything measured in turn, as markdown."""
    size = (
        sum((folder / name / "model.safetensors").stat().st_size for name in NAMES)
        / 1e9
    )
    found: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    for _ in range(runs):
        for method, results in found.items():
            cat(
                folder
            )  # into the page cache; and the same has just run before every method
            results.append(measured(method, folder, threads, runs))
    memory = measured("memory", folder, threads, runs)
    cache = measured("cache", folder, threads, runs)
    seconds = {
        method: median(result["seconds"] for result in results)
        for method, results in found.items()
    }
    cpu = processor()
    ratio, aligned = (
        median(
            mine / most
            for mine, most in zip(memory[name], memory["ceiling"], strict=True)
        )
        for name in ("kernel", "aligned")
    )
    lines = [
        (
            f"{cpu}, {os.cpu_count()} cores, {threads} threads, load"
            f" {os.getloadavg()[0]:.1f}; {size:.2f} GB in the page cache, medians of"
            f" {runs} runs."
        ),
        "",
        "| method | s | GB/s | times `cat`'s rate | times the naive rate | peak MB |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for method, words in METHODS.items():
        beside = [
            median(
                other["seconds"] / mine["seconds"]
                for mine, other in zip(found[method], found[to], strict=True)
            )
            for to in ("cat", "naive")
        ]
        peak = (
            ""
            if method == "cat"
            else round(max(result["mb"] for result in found[method]))
        )
        lines.append(
            f"| {words} | {seconds[method]:.2f} | {size / seconds[method]:.2f} |"
            f" {beside[0]:.2f} | {beside[1]:.1f} | {peak} |"
        )
    kernel, ceiling = (median(memory[name]) for name in ("kernel", "ceiling"))
    lines += [
        "",
        (
            f"In memory: kernel {kernel:.1f} GB/s, ceiling {ceiling:.1f} GB/s, ratio"
            f" {ratio:.2f}; {aligned:.2f} at addresses alike."
        ),
    ]
    lines += [
        "In the cache, ns an element: "
        + ", ".join(
            f"{dtype} {nanoseconds:.2f}" for dtype, nanoseconds in cache.items()
        )
        + "."
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--gb", type=float, default=1.5, help="size of the three models together"
    )
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=usable_cores())
    parser.add_argument(
        "--folder",
        type=Path,
        help=(
            "where the models are made, or were (default: a temporary folder, removed"
            " afterwards)"
        ),
    )
    parser.add_argument(
        "--measure", choices=("memory", "cache", *METHODS), help="one of them, as JSON"
    )
    arguments = parser.parse_args()
    if arguments.measure:
        print(
            json.dumps(
                measure(
                    arguments.measure,
                    arguments.folder,
                    arguments.threads,
                    arguments.runs,
                )
            )
        )
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.folder or Path(scratch)
        if not (folder / "donor").exists():
            make(folder, arguments.gb)
        print(table(folder, arguments.threads, arguments.runs))


if __name__ == "__main__":
    main()
