"""What is seen of a merge through few bits, and of innocents: coverage by format, and the
verdicts of planted audits. Prints tables like those of packed.md.

Models are planted (normal weights, independent changes), of other seeds for tuning than
for reporting. Q8_0, Q4_0, Q4_1, Q5_0 and Q5_1 are quantised byte for byte as llama.cpp's
reference does; Q4_K and Q6_K choose scales of their own. `python -m benchmarks.packed`.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from mergetrace.formats.block_layouts import LAYOUTS
from mergetrace.numerics.arithmetic import to_bfloat16
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.cell_replay import (
    cell_intervals,
    replay_cells,
    shuffled_cells,
)
from mergetrace.sums.evidence import Sample
from mergetrace.testing.audits import audit
from mergetrace.testing.gguf_models import QUANTISERS, llama, quantised, write_gguf
from mergetrace.testing.planting import Tensors, blend, finetuned, write_model

SIZES = (0.008, 0.05)  # of changes, over that of weights
ELEMENTS = 1 << 19
TUNING = (0, 1)
REPORTING = (2, 3, 4)
WIDTH = 0.25  # `replay_width`
WEIGHT = 0.571
DATES = {"suspect": "2026-05-01", "donor": "2026-01-01", "base": "2025-01-01"}
INNOCENT = {
    "sibling of cosine .96",
    "finetune of the base",
    "checkpoint of the donor's run, 10 % off",
    "finetune of the donor, light",
    "finetune of the base, light",
    "merge, trained by 10 %",
}
"""Not merges of the offered models and nothing else; all of them are innocent but the
last, which must not be called a pure merge either.
"""


def values(seed: int, size: float) -> tuple[Array, Array, dict[str, Array]]:
    """Base, donor, and suspects by kind, as bf16 numbers."""
    generator = np.random.default_rng(seed)

    def noise(share: float) -> Array:
        return generator.standard_normal(ELEMENTS) * 0.02 * size * share

    base = to_bfloat16(generator.standard_normal(ELEMENTS) * 0.02)
    change = noise(1)
    donor = to_bfloat16(base + change)
    merge = to_bfloat16(WEIGHT * donor + (1 - WEIGHT) * base)
    suspects = {
        "merge": merge,
        "merge, trained by 10 %": merge + noise(0.1),
        "sibling of cosine .96": base + 0.96 * change + noise(0.28),
        "finetune of the base": base + noise(1),
        "checkpoint of the donor's run, 10 % off": base + WEIGHT * change + noise(0.1),
        "checkpoint of the donor's run, 2 % off": base + WEIGHT * change + noise(0.02),
        "finetune of the donor, light": donor + noise(0.05),
    }
    return base, donor, {name: to_bfloat16(each) for name, each in suspects.items()}


def packed(numbers: Array, kind: str) -> Sample:
    """Numbers as a format holds them."""
    raw = quantised(numbers.astype(np.float32).reshape(-1, 256), kind)
    part = LAYOUTS[kind].unpacked(raw)
    codes = np.ascontiguousarray(part.codes)
    return Sample(codes, kind, part.scales, "BF16", part.shifts)


def coverages(seeds: tuple[int, ...]) -> Iterator[tuple[float, str, str, float, float]]:
    """(size, format, suspect, coverage, error of the weight) of every case."""
    for size in SIZES:
        for seed in seeds:
            base, donor, suspects = values(seed, size)
            for kind in QUANTISERS:
                for name, numbers in suspects.items():
                    low, high = packed(numbers, kind).midpoints()
                    ends = cell_intervals(low, high, base, donor)
                    found = replay_cells(*ends, WIDTH)
                    error = abs(found.alpha - WEIGHT)
                    yield size, kind, name, found.coverage, error
                    if name == "merge":
                        chance = shuffled_cells(low, high, base, donor, WIDTH, seed)
                        yield size, kind, "shuffled donor", chance, 0.0


def suspects_of(base: Tensors, donor: Tensors, seed: int) -> dict[str, Tensors]:
    """The suspects of the planted audits, by kind."""
    size = 0.003

    def noisy(model: Tensors, share: float, number: int) -> Tensors:
        generator = torch.Generator().manual_seed(1000 * seed + number)
        return {
            name: (
                tensor.float()
                + torch.randn(tensor.shape, generator=generator) * size * share
            ).to(tensor.dtype)
            for name, tensor in model.items()
        }

    merge = blend(base, donor, WEIGHT)
    return {
        "merge": merge,
        "copy of the donor": donor,
        "sibling of cosine .96": noisy(blend(base, donor, 0.96), 0.28, 1),
        "finetune of the base": noisy(base, 1, 2),
        "checkpoint of the donor's run, 10 % off": noisy(merge, 0.06, 3),
        "finetune of the donor, light": noisy(donor, 0.05, 4),
        "finetune of the base, light": noisy(base, 0.05, 5),
        "merge, trained by 10 %": noisy(merge, 0.1, 6),
    }


def verdicts(seeds: tuple[int, ...]) -> Iterator[tuple[str, str, str, float | None]]:
    """(suspect, format, verdict, alpha) of planted audits."""
    for seed in seeds:
        base = llama(100 * seed)
        donor = finetuned(base, 100 * seed + 1, 0.003)
        other = finetuned(base, 100 * seed + 2, 0.003)
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            models = {
                "base": write_model(folder / "base", base),
                "donor": write_model(folder / "donor", donor),
                "control": write_model(folder / "control", other),
            }
            spec = {
                "suspect": "suspect",
                "base": "base",
                "donors": ["donor"],
                "controls": ["control"],
            }
            for kind in QUANTISERS:
                for what, tensors in suspects_of(base, donor, seed).items():
                    path = write_gguf(folder / "suspect" / "m.gguf", tensors, kind)
                    places = {**models, "suspect": path}
                    found = audit(folder / "out", places, spec, published=DATES)
                    parent = found["parents"]["donor"]
                    alpha = parent["alpha"] if parent["named"] else None
                    print(what, kind, found["verdict"], alpha, flush=True)
                    yield what, kind, found["verdict"], alpha


def _coverage_table(seeds: tuple[int, ...]) -> list[str]:
    """By size and suspect the extreme coverage over seeds, a column per format."""
    found: dict[tuple[float, str], dict[str, list[float]]] = {}
    worst = 0.0
    for size, kind, name, coverage, error in coverages(seeds):
        found.setdefault((size, name), {}).setdefault(kind, []).append(coverage)
        if name == "merge":
            worst = max(worst, error)
    lines = [
        f"| changes / weights | suspect | {' | '.join(QUANTISERS)} |",
        "|---|---|" + "---|" * len(QUANTISERS),
    ]
    for (size, name), by_kind in found.items():
        pick = min if name == "merge" else max
        cells = [f"{pick(by_kind[kind]):.3f}" for kind in QUANTISERS]
        lines.append(f"| {size} | {name} | {' | '.join(cells)} |")
    return [*lines, "", f"The weight of the merges was off by {worst:.4f} at most."]


def _verdict_table(seeds: tuple[int, ...]) -> list[str]:
    counts: dict[str, Counter[str]] = {}
    errors = []
    for what, _, verdict, alpha in verdicts(seeds):
        counts.setdefault(what, Counter())[verdict] += 1
        if what == "merge" and alpha is not None:
            errors.append(abs(alpha - WEIGHT))
    words = sorted({word for each in counts.values() for word in each})
    accusing = {"merge", "copy", "other_merge", "merge_then_trained"}
    false = sum(
        counts[what][word] for what in INNOCENT & set(counts) for word in accusing
    )
    of_all = sum(sum(counts[what].values()) for what in INNOCENT & set(counts))
    lines = [f"| planted | {' | '.join(words)} |", "|---|" + "---|" * len(words)]
    for what, each in counts.items():
        row = [str(each[word] or "") for word in words]
        lines.append(f"| {what} | {' | '.join(row)} |")
    error = max(errors, default=float("nan"))
    return [
        *lines,
        "",
        f"False accusations: {false} of {of_all}. The weight of the merges was off by"
        f" {error:.4g} at most.",
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--audits", type=int, default=len(REPORTING))
    audited = REPORTING[: parser.parse_args().audits]
    lines = [
        "## Coverage at the best weight",
        "",
        "Of merges the least over the seeds, of all others the greatest.",
    ]
    for title, seeds in (("Tuning", TUNING), ("Reporting", REPORTING)):
        lines += ["", f"### {title} seeds", "", *_coverage_table(seeds)]
    lines += [
        "",
        "## Verdicts of audits",
        "",
        f"Reporting seeds {', '.join(map(str, audited))}; a tiny Llama of 1.3 M"
        f" parameters through {', '.join(QUANTISERS)}, with dates and one control.",
        "",
        *_verdict_table(audited),
    ]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
