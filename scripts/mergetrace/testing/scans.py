"""A family of small models for scans: a base, finetunes of it, siblings of the same
task, merges, and strangers of the same shape. The scan runs in this process.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mergetrace.outputs import read_json
from mergetrace.records.json_records import from_json
from mergetrace.records.scan import Candidates, Scan, Watched
from mergetrace.stages import (
    candidates,
    carriers,
    manifest,
    pin,
    print_index,
    prints,
    propose,
    screen,
)
from mergetrace.testing.planting import Tensors, finetuned, write_model

HIDDEN = 128
BATCH = 50
CONNECTIONS = 16  # as in the configuration, unless it says otherwise


def shapes(layers: int = 4, vocabulary: int = 512) -> dict[str, tuple[int, ...]]:
    """The tensors of a small model like Llama that a print reads."""
    found: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (vocabulary, HIDDEN)
    }
    for layer in range(layers):
        place = f"model.layers.{layer}"
        found[f"{place}.input_layernorm.weight"] = (HIDDEN,)
        found[f"{place}.self_attn.o_proj.weight"] = (HIDDEN, HIDDEN)
        found[f"{place}.mlp.down_proj.weight"] = (HIDDEN, 2 * HIDDEN)
    return found


def stranger(seed: int, **size: int) -> Tensors:
    """A model that is related to no other."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, shape in shapes(**size).items():
        noise = torch.randn(shape, generator=generator) * 0.02
        tensors[name] = (noise + 1 if "norm" in name else noise).to(torch.bfloat16)
    return tensors


def family(size: float = 0.0004) -> dict[str, Tensors]:
    """A base, six finetunes, three of the first one's task, a finetune of the second,
    a longer vocabulary, and strangers. size: of a finetune's changes.
    """
    base = stranger(0)
    models = {"base": base}
    for number in range(6):
        models[f"tune-{number}"] = finetuned(base, 10 + number, size)
    for number in range(3):
        near = finetuned(base, 10, 0.96 * size)
        models[f"task-{number}"] = finetuned(near, 30 + number, 0.28 * size)
    models["child"] = finetuned(models["tune-1"], 40, 0.5 * size)
    models |= {f"stranger-{number}": stranger(50 + number) for number in range(3)}
    return models


def mixed(models: Mapping[str, Tensors], shares: Mapping[str, float]) -> Tensors:
    """A linear merge in float32 with one rounding at the end."""
    first = models[next(iter(shares))]
    return {
        name: sum(
            (share * models[model][name].float() for model, share in shares.items()),
            start=torch.zeros(first[name].shape),
        ).to(first[name].dtype)
        for name in first
    }


def write_family(folder: Path, models: Mapping[str, Tensors]) -> Path:
    """The models in folders of their names."""
    for name, tensors in models.items():
        write_model(folder / name, tensors)
    return folder


@dataclass(frozen=True)
class Scanned:
    """A scan's outputs."""

    folder: Path
    scan: Scan

    def part(self, part: str) -> list[str]:
        """The last part of the places that are proposed for a part of the audit."""
        return [
            each.place.rpartition("/")[2]
            for each in self.scan.proposed
            if each.part == part
        ]


def scan(
    folder: Path, suspect: Path, settings: candidates.Params, index: Path | None = None
) -> Scanned:
    """Scan a local suspect with the workflow's own stages; the outputs lie in `folder`.

    index: of prints; by default one beside the outputs.
    """
    described = manifest.Outputs(
        folder / "manifest.json", folder / "tensors.parquet", folder / "files"
    )
    manifest.run(manifest.Inputs(folder=suspect), manifest.Params("mine"), described)
    chosen = folder / "candidates.json"
    candidates.run(
        candidates.Inputs(described.manifest, described.tensors, described.files),
        settings,
        candidates.Outputs(chosen),
    )
    return scan_of(folder, index or folder / "prints")


def scan_hub(
    folder: Path, repo: str, settings: candidates.Params, index: Path | None = None
) -> Scanned:
    """The same of a suspect on the Hub."""
    _candidates_on_hub(folder, repo, settings)
    return scan_of(folder, index or folder / "prints")


def watch_hub(folder: Path, repo: str, settings: candidates.Params) -> Watched:
    """Who carries a model on the Hub."""
    _candidates_on_hub(folder, repo, replace(settings, watches=True))
    index = folder / "prints"
    indexed = _indexed(folder, index, ())
    carriers.run(
        carriers.Inputs(folder / "candidates.json", indexed, index),
        carriers.Params("mine"),
        carriers.Outputs(
            folder / "seen.json", folder / "watch.json", folder / "watch.html"
        ),
    )
    return from_json(Watched, read_json(folder / "watch.json"), "watch.json")


def _candidates_on_hub(folder: Path, repo: str, settings: candidates.Params) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pinned = folder / "pinned.json"
    pin.run(pin.Inputs(), pin.Params(repo, "main"), pin.Outputs(pinned))
    described = manifest.Outputs(
        folder / "manifest.json", folder / "tensors.parquet", folder / "files"
    )
    if not described.files.exists():
        how = manifest.Params("mine", CONNECTIONS, settings.file)
        manifest.run(manifest.Inputs(pinned=pinned), how, described)
    candidates.run(
        candidates.Inputs(
            described.manifest, described.tensors, described.files, pinned
        ),
        settings,
        candidates.Outputs(folder / "candidates.json"),
    )


def scan_of(folder: Path, index: Path, published: tuple[Path, ...] = ()) -> Scanned:
    """The rest of a scan whose candidates are known."""
    chosen = folder / "candidates.json"
    indexed = _indexed(folder, index, published)
    screened = folder / "screen.json"
    screen.run(
        screen.Inputs(chosen, indexed, index),
        screen.Params("mine"),
        screen.Outputs(screened, folder / "ranked.csv"),
    )
    propose.run(
        propose.Inputs(screened),
        propose.Params(),
        propose.Outputs(folder / "audit.yaml", folder / "scan.html"),
    )
    scanned = from_json(Scan, json.loads(screened.read_text()), "screen.json")
    return Scanned(folder, scanned)


def _indexed(folder: Path, index: Path, published: tuple[Path, ...]) -> Path:
    """The prints of all candidates, taken and gathered."""
    chosen = folder / "candidates.json"
    found = from_json(Candidates, read_json(chosen), "candidates.json")
    batches = []
    for number in range(prints.batches(len(found.candidates), BATCH)):
        path = folder / f"batches/{number:05}.json"
        prints.run(
            prints.Inputs(chosen),
            prints.Params(number, BATCH, CONNECTIONS, 4_000_000),
            prints.Outputs(index, path),
        )
        batches.append(path)
    indexed = folder / "indexed.json"
    print_index.run(
        print_index.Inputs(chosen, tuple(batches), published),
        print_index.Params(),
        print_index.Outputs(index, indexed),
    )
    return indexed
