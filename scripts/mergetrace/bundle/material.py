"""What a bundle holds for those who recompute it: the finding, the tables, the evidence."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from mergetrace.merging.recipes import Recipe, recipe_from_json
from mergetrace.records.coverage import Coverage, read_coverages
from mergetrace.records.json_records import as_json
from mergetrace.records.layout import LayoutFacts, read_layouts
from mergetrace.records.spectrum import Spectrum
from mergetrace.records.summary import Summary
from mergetrace.records.verdict import Verdict
from mergetrace.sums.block_sums import BlockSums
from mergetrace.sums.frames import Frame
from mergetrace.thresholds import Thresholds


@dataclass(frozen=True)
class SliceFacts:
    """One slice, as tables/slices.csv says it."""

    tensor: str
    """The tensor."""
    part: str
    """Which part of it; empty where the slice is the whole tensor."""
    layer: str
    """The layer."""
    component: str
    """The component."""
    elements: int
    """The number of its elements."""
    columns: int
    """The length of its last dimension."""
    dimensions: int
    """The number of its dimensions."""
    weight: float
    """How many elements each of those read stands for."""


@dataclass(frozen=True)
class LayerSums:
    """The sums of one layer, as the bundle holds them."""

    blocks: Mapping[tuple[int, str], BlockSums]
    """By slice and audited model."""
    columns: frozenset[str]
    """What the bundle's table has: an earlier version counted less."""


class Material:
    """The files of one bundle, read as they are asked for."""

    def __init__(self, root: Path) -> None:
        """root: the bundle's folder."""
        self.root = root
        self.verdict = Verdict.of(_read_json(root / "verdict.json"))
        self.summary = Summary.of(_read_json(root / "summary.json"))
        self.configuration: Mapping[str, Any] = _read_json(root / "configuration.json")
        layout = _read_json(root / "layout.json")
        self.layouts: dict[str, LayoutFacts] = read_layouts(layout["models"])
        self.spectrum = _spectrum(root / "spectrum.json")
        self.compared: dict[str, Coverage] = read_coverages(layout["compared"])
        self.thresholds = Thresholds.of(self.configuration["verdict"])
        self.seed: int = self.configuration["sampling"]["seed"]

    @cached_property
    def frames(self) -> list[Frame]:
        """Every audited model beside the chosen base and the donors."""
        summary = self.summary
        return [Frame(model, summary.base, summary.donors) for model in summary.models]

    @cached_property
    def recipes(self) -> dict[str, Recipe | None]:
        """By audited model its best recipe."""
        best = {
            model: numbers.recipe.best for model, numbers in self.summary.models.items()
        }
        return {
            model: None if numbers is None else recipe_from_json(as_json(numbers))
            for model, numbers in best.items()
        }

    @cached_property
    def published(self) -> dict[tuple[str, str, str], dict[str, str]]:
        """By model, tensor and part the row that tensors.csv or controls.csv has."""
        rows = {}
        for name in ("tensors", "controls"):
            for row in _read_table(self.root / f"tables/{name}.csv"):
                model = row.get("model", self.summary.suspect)
                rows[model, row["tensor"], row["slice"]] = row
        return rows

    @cached_property
    def slices(self) -> dict[int, SliceFacts]:
        """By id every slice."""
        return {
            int(row["slice_id"]): SliceFacts(
                row["tensor"],
                row["slice"],
                row["layer"],
                row["component"],
                int(row["elements"]),
                int(row["cols"]),
                int(row["dimensions"]),
                float(row["weight"]),
            )
            for row in _read_table(self.root / "tables/slices.csv")
        }

    @cached_property
    def last_layer(self) -> int:
        """The highest number of a layer."""
        numbers = [
            int(entry.layer) for entry in self.slices.values() if entry.layer.isdigit()
        ]
        return max(numbers, default=0)

    def layer_names(self) -> list[str]:
        """The names of the files of evidence, numbered layers first."""
        names = [path.stem for path in (self.root / "evidence").glob("*.safetensors")]
        return sorted(names, key=lambda name: (not name.isdigit(), name.zfill(9)))

    def evidence(self, layer: str) -> Path:
        """The file with the kept elements of one layer."""
        return self.root / f"evidence/{layer}.safetensors"

    def sums(self, layer: str) -> LayerSums:
        """The sums of one layer, for the chosen base."""
        with np.load(self.root / f"deltas/{layer}.npz", allow_pickle=False) as archive:
            columns = {name: archive[name] for name in archive.files}
        rows = np.flatnonzero(columns["base"] == self.summary.base).tolist()
        slices = columns["slice_id"].tolist()
        models = columns["model"].tolist()
        keyed = sorted((slices[row], models[row], row) for row in rows)
        blocks: dict[tuple[int, str], BlockSums] = {}
        for key, members in groupby(keyed, key=lambda entry: entry[:2]):
            chosen = np.array([row for _, _, row in members])
            own = {name: values[chosen] for name, values in columns.items()}
            blocks[key] = BlockSums.of(own, self.frames[0].donors)
        return LayerSums(blocks, frozenset(columns))

    def answers(self, model: str, condition: str) -> list[str]:
        """What one model answered under one condition."""
        path = self.root / f"probe/{model}/{condition}.jsonl"
        records = [json.loads(line) for line in path.read_bytes().splitlines()]
        return [record["answer"] for record in records if "answer" in record]


def _spectrum(path: Path) -> Spectrum | None:
    """What was measured along the directions; None of a bundle that is older."""
    return Spectrum.of(_read_json(path)) if path.exists() else None


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _read_table(path: Path) -> Iterator[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as handle:
        yield from csv.DictReader(handle)
