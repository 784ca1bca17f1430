"""Error rates through few bits: whole audits of really trained families, merged by
mergekit and quantised by ggml, or as the packages of safetensors do it. Prints the tables
of packed_rates.md.

A family is a Llama of one layer and 720,000 parameters, its relatives trained as the zoo
trains them. `python -m benchmarks.packed_rates --ggml libggml.so` (see benchmarks.ggml);
audits are kept in a file of lines, and what stands there is not audited again.
"""

import argparse
import json
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.ggml import Quantiser
from benchmarks.packed_zoo import ACCUSING
from benchmarks.zoo import trainer
from benchmarks.zoo.case import config, linear, weighted
from benchmarks.zoo.making import loaded, with_paths
from benchmarks.zoo.trainer import Training
from mergetrace.probe.intervals import wilson95
from mergetrace.testing.audits import audit
from mergetrace.testing.gguf_models import quantised, write_gguf
from mergetrace.testing.packing import CALIBRATED, PACKERS, packed_model
from mergetrace.testing.planting import Tensors, blend, write_model
from mergetrace.testing.quantising import model_in_fp8
from mergetrace.testing.realmerge import mergekit

TUNING, REPORTING = (1, 2), (11, 12, 13)
DEEPER = (14, 15, 16)
"""Reporting families of four layers: of these GPTQ's first columns hold enough."""
STEPS, STEPS_OF_BASE = 50, 120
RATES = (3e-4, 1e-4, 1e-3)
"""By seed: changes of a tenth, a twentieth and a fifth of the weights."""
MIXED = ("Q4_K_M", "Q4_K_M, imatrix")
GGUF = ("Q8_0", "Q6_K", "Q5_K", *MIXED, "Q4_0")
PACKED = ("nvfp4", "mxfp4", "int4", "fp8", "nf4")
KINDS = (*GGUF, *PACKED, *CALIBRATED[:3])
RICHER = ("attn_v", "ffn_down", "token_embd")
"""What Q4_K_M stores as Q6_K where a model has one layer."""
DATES = {"suspect": "2026-05-01", "base": "2025-01-01"} | dict.fromkeys(
    ("donor", "second", "adapted"), "2026-01-01"
)
MEMBERS = {
    "base": Training(None, "qwen", 0, 0, STEPS_OF_BASE, 3e-3),
    "donor": Training("base", "nex", 1, 1, STEPS, 1.0),
    "second": Training("base", "iris", 2, 2, STEPS, 1.0),
    "control": Training("base", "tuiuti", 5, 5, STEPS, 1.0),
    "sibling": Training("base", "maple", 6, 6, STEPS, 1.0),
    "twin": Training("base", "nex", 1, 21, STEPS, 1.0),
    "checkpoint": Training("base", "nex", 1, 1, STEPS, 1.0, stop=STEPS // 2),
    "child": Training("donor", "maple", 8, 8, STEPS // 2, 0.3),
    "stranger": Training(None, "qwen", 0, 31, STEPS_OF_BASE, 3e-3),
    "adapted": Training("second", "nex", 9, 9, STEPS, 3.0, lora=True),
}
INNOCENTS = {
    "sibling": "sibling of another task",
    "twin": "the donor's data in another order",
    "near": "planted sibling of cosine .9",
    "checkpoint": "half of the donor's way",
    "child": "the donor's child",
    "stranger": "stranger",
    "blend": "a blend of the base and a model whose LoRA is offered as the donor",
}


@dataclass(frozen=True)
class Row:
    """One audit."""

    seed: int
    kind: str
    suspect: str
    verdict: str
    evidence: str | None
    alphas: dict[str, float]  # of the parents that are named
    planted: dict[str, float] | None  # what they are; None where nobody should be named
    reasons: tuple[str, ...]

    @property
    def is_guilty(self) -> bool:
        """Whether it is a merge or a copy."""
        return self.planted is not None

    @property
    def is_named(self) -> bool:
        """Whether the verdict is the planted one, and names the planted parents."""
        right = "copy" if self.suspect == "copy" else "merge"
        return self.verdict == right and set(self.alphas) == set(self.planted or {})

    @property
    def is_close(self) -> bool:
        """Whether it is named, with the planted weights."""
        return self.is_named and all(
            abs(self.alphas[name] - weight) <= 0.005
            for name, weight in (self.planted or {}).items()
        )


@dataclass(frozen=True)
class Suspect:
    """A model before it is quantised."""

    name: str
    tensors: Tensors
    donors: tuple[str, ...] = ("donor",)
    planted: dict[str, float] | None = None


def family(folder: Path, seed: int) -> dict[str, Path]:
    """The members of a family, trained now or taken from the disk."""
    torch.set_num_threads(1)
    found = {}
    for name, how in MEMBERS.items():
        found[name] = place = folder / f"family-{seed}" / name
        if place.exists():
            continue
        start = loaded(found[how.start]) if how.start else None
        rate = how.rate * RATES[seed % len(RATES)] if how.start else how.rate
        arch = "deeper" if seed in DEEPER else "wide"
        made = trainer.trained(arch, start, how._replace(rate=rate), seed)
        trainer.write(place, arch, made)
    return found


def merges(seed: int) -> dict[str, tuple[dict[str, Any], dict[str, float]]]:
    """mergekit's configurations and the weights that are planted, by name."""
    drawn = random.Random(f"packed {seed}")
    one, arc, task, trimmed = (round(drawn.uniform(0.2, 0.8), 3) for _ in range(4))
    pair = {"donor": round(drawn.uniform(0.2, 0.5), 2), "second": 0.3}
    rest = round(1 - sum(pair.values()), 3)
    sparse = {"donor": {"weight": trimmed, "density": 0.5}}
    return {
        "linear": (linear(base=round(1 - one, 3), donor=one), {"donor": one}),
        "slerp": (
            config("slerp", {"base": {}, "donor": {}}, "base", parameters={"t": arc}),
            {"donor": arc},
        ),
        "task arithmetic": (
            config("task_arithmetic", weighted(donor=task), "base"),
            {"donor": task},
        ),
        "TIES": (
            config("ties", sparse, "base", parameters={"normalize": False}),
            {"donor": trimmed},
        ),
        "linear of three": (linear(base=rest, **pair), pair),
    }


def near(base: Tensors, donor: Tensors, seed: int) -> Tensors:
    """A planted sibling whose changes have cosine .9 with the donor's."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, tensor in base.items():
        change = donor[name].float() - tensor.float()
        noise = torch.randn(tensor.shape, generator=generator) * change.std()
        made = tensor.float() + 0.9 * change + (1 - 0.81) ** 0.5 * noise
        found[name] = made.to(tensor.dtype)
    return found


def suspects(places: Mapping[str, Path], seed: int) -> Iterator[Suspect]:
    """Merges, a copy and innocents of a family."""
    with tempfile.TemporaryDirectory() as name:
        for method, (how, planted) in merges(seed).items():
            made = mergekit(with_paths(how, dict(places)), Path(name) / method)
            yield Suspect(method, loaded(made), tuple(planted), planted)
    tensors = {who: loaded(place) for who, place in places.items()}
    yield Suspect("copy", tensors["donor"], planted={"donor": 1.0})
    tensors["near"] = near(tensors["base"], tensors["donor"], seed)
    tensors["blend"] = blend(tensors["base"], tensors["second"], 0.571)
    for who in INNOCENTS:
        donor = "adapted" if who == "blend" else "donor"
        yield Suspect(who, tensors[who], (donor,))


def stored(
    folder: Path, tensors: Tensors, kind: str, ggml: Mapping[str, Callable[..., Any]]
) -> Path:
    """A model in a format. ggml: what quantises for GGUF, by format."""
    if kind == "fp8":
        quantization = {"quant_method": "fp8", "weight_block_size": [128, 128]}
        packed = model_in_fp8(tensors, "block")
        return write_model(folder, packed, {"quantization_config": quantization})
    if kind in PACKERS:
        return packed_model(folder, tensors, kind)
    facts = {"llama.block_count": 1}
    within: str | Mapping[str, str] = _Mixed() if kind in MIXED else kind
    return write_gguf(folder / "m.gguf", tensors, within, facts, ggml[kind])


class _Mixed(dict[str, str]):
    """The format of every tensor of Q4_K_M."""

    def __missing__(self, name: str) -> str:
        return "Q6_K" if any(part in name for part in RICHER) else "Q4_K"


def audited(
    places: Mapping[str, Path], path: Path, suspect: Suspect, work: Path
) -> dict[str, Any]:
    """verdict.json of one suspect."""
    spec = {
        "suspect": "suspect",
        "base": "base",
        "donors": list(suspect.donors),
        "controls": ["control"],
    }
    offered = ("base", *suspect.donors, "control")
    models = {"suspect": path, **{name: places[name] for name in offered}}
    return audit(work, models, spec, published=DATES)


def rows(
    work: Path,
    seeds: tuple[int, ...],
    kinds: tuple[str, ...],
    ggml: Mapping[str, Callable[..., Any]],
    only: tuple[str, ...],
) -> Iterator[Row]:
    """The audits that are not yet kept in `work`, one after another."""
    kept = work / "audits.jsonl"
    done = {(row.seed, row.kind, row.suspect) for row in read(kept)}
    for seed in seeds:
        places = family(work, seed)
        for suspect in suspects(places, seed):
            for kind in kinds:
                here = (seed, kind, suspect.name)
                if here in done or not is_due(suspect.name, kind, seed):
                    continue
                if only and suspect.name not in only:
                    continue
                with tempfile.TemporaryDirectory() as name:
                    path = stored(Path(name) / "s", suspect.tensors, kind, ggml)
                    found = audited(places, path, suspect, Path(name) / "out")
                told = found["verdict"], found["evidence"], named_in(found)
                row = Row(*here, *told, suspect.planted, tuple(found["reasons"]))
                with kept.open("a") as file:
                    file.write(json.dumps(asdict(row)) + "\n")
                yield row


def named_in(found: Mapping[str, Any]) -> dict[str, float]:
    """The weights of the donors that a verdict names: their shares, or where a method has
    none what its recipe multiplies them by.
    """
    weights = ((found["recipe"] or {}).get("parameters") or {}).get("weights") or {}
    named = {}
    for parent, said in found["parents"].items():
        if said["named"] and parent != "base":
            share = said["alpha"]
            named[parent] = weights.get(parent, -1.0) if share is None else share
    return named


def is_due(suspect: str, kind: str, seed: int) -> bool:
    """Whether a suspect is audited in a format: merges in every family, everybody else in
    one of three, each another in each format; of formats that move numbers first, all.
    """
    others = ("copy", *INNOCENTS)
    if suspect not in others or kind in CALIBRATED:
        return True
    return (others.index(suspect) + KINDS.index(kind) + seed) % 3 == 0


def read(kept: Path) -> list[Row]:
    """The audits that are kept."""
    if not kept.exists():
        return []
    return [Row(**json.loads(line)) for line in kept.read_text().splitlines()]


def share(hits: int, of_all: int) -> str:
    """A count with its 95 % interval in per cent."""
    if not of_all:
        return "-"
    low, high = (100 * end for end in wilson95(hits, of_all))
    return f"{hits} of {of_all} ({low:.0f} to {high:.0f})"


def table(found: list[Row]) -> list[str]:
    """Counts by format, as lines of Markdown."""
    lines = ["| format | merges named | weights within .005 | copies | accused |"]
    lines.append("|---|---|---|---|---|")
    groups = {kind: [row for row in found if row.kind == kind] for kind in KINDS}
    rounded = [row for row in found if row.kind not in CALIBRATED]
    for kind, of_kind in {**groups, "all that round to the nearest": rounded}.items():
        merged = [row for row in of_kind if row.is_guilty and row.suspect != "copy"]
        copies = [row for row in of_kind if row.suspect == "copy"]
        innocent = [row for row in of_kind if not row.is_guilty]
        cells = (
            share(sum(row.is_named for row in merged), len(merged)),
            share(sum(row.is_close for row in merged), len(merged)),
            share(sum(row.is_named for row in copies), len(copies)),
            share(sum(row.verdict in ACCUSING for row in innocent), len(innocent)),
        )
        lines.append(f"| {kind} | {' | '.join(cells)} |")
    return lines


def by_suspect(found: list[Row]) -> list[str]:
    """Verdicts by suspect over the formats that round to the nearest."""
    lines = ["| planted | verdicts |", "|---|---|"]
    rounded = [row for row in found if row.kind not in CALIBRATED]
    for name in dict.fromkeys(row.suspect for row in rounded):
        verdicts = [row.verdict for row in rounded if row.suspect == name]
        counts = {verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))}
        said = ", ".join(f"`{verdict}` {count}" for verdict, count in counts.items())
        lines.append(f"| {INNOCENTS.get(name, name)} | {said} |")
    return lines


def main() -> None:
    """Audit and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ggml", type=Path, help="a shared library of ggml")
    parser.add_argument("--work", type=Path, default=Path("results/packed_rates"))
    parser.add_argument("--seeds", type=int, nargs="*", default=REPORTING)
    parser.add_argument("--kinds", nargs="*", default=KINDS)
    parser.add_argument("--only", nargs="*", default=(), help="suspects")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    ggml: dict[str, Callable[..., Any]] = dict.fromkeys(GGUF, quantised)
    if options.ggml:
        ggml = dict.fromkeys(GGUF, Quantiser.of(options.ggml))
        ggml["Q4_K_M, imatrix"] = Quantiser.of(options.ggml, importance=1)
    kinds = tuple(options.kinds)
    for row in rows(
        options.work, tuple(options.seeds), kinds, ggml, tuple(options.only)
    ):
        print(row.seed, row.kind, row.suspect, row.verdict, row.alphas, flush=True)
    found = [row for row in read(options.work / "audits.jsonl")]
    found = [row for row in found if row.seed in options.seeds and row.kind in kinds]
    print("\n".join([*table(found), "", *by_suspect(found)]))


if __name__ == "__main__":
    main()
