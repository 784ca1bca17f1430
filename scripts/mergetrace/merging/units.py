"""The tensors of an audited model that are rebuilt, and what the comparison of one found."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from mergetrace.files.tensor_records import TensorRecord, records_of
from mergetrace.formats.block_layouts import LAYOUTS
from mergetrace.numerics.arrays import Array, Bytes
from mergetrace.planning.slices import PlannedSlice, planned_slices
from mergetrace.tensors.view import View


@dataclass(frozen=True)
class Unit:
    """One tensor of the audited model as its file holds it."""

    record: TensorRecord
    layer: str
    component: str
    elements: int
    """That it stands for: of packed codes as many as they are."""
    parts: tuple[PlannedSlice, ...]
    """Its contiguous runs, in the file's order."""

    @property
    def name(self) -> str:
        """The model's own."""
        return self.record.name

    @property
    def dtype(self) -> str:
        """As the file names it."""
        return self.record.dtype

    def views(self, model: str) -> list[View]:
        """A model's views of its parts."""
        return [part.members[model] for part in self.parts]

    def put_back(self, suspect: str) -> bool:
        """Whether its elements are read in another order than the file's, or rounded:
        then what is compared are not the file's bytes.
        """
        return any(
            view.is_rearranged or bool(view.stored_dtype)
            for view in self.views(suspect)
        )

    def packed_as(self, suspect: str) -> str | None:
        """The packed format of its elements, None where they are numbers."""
        dtype = self.views(suspect)[0].dtype
        return dtype if dtype in LAYOUTS else None

    @property
    def compared(self) -> int:
        """The elements of its parts: fewer than its own where no parent has the rest."""
        return sum(part.elements for part in self.parts)


@dataclass(frozen=True)
class StoredTensors:
    """A model's tensors."""

    by_place: Mapping[tuple[str, int], TensorRecord]
    """By (file, first byte)."""
    by_name: Mapping[str, TensorRecord]
    """By the model's own names."""

    @classmethod
    def of(cls, records: Sequence[TensorRecord]) -> "StoredTensors":
        """The tensors of a table."""
        return cls(
            {
                (record.shard, record.start): record
                for record in records
                if record.bytes
            },
            {record.name: record for record in records},
        )


@dataclass(frozen=True)
class Beside:
    """A tensor that goes with quantised numbers, made again: scales, zero points."""

    record: TensorRecord
    compared: int
    exact: int
    """Elements that came back."""
    sha256: str
    sha256_rebuilt: str


@dataclass
class Outcome:
    """What one tensor's comparison found."""

    exact: int = 0
    """Elements that the recipe gives back bit for bit; of packed ones the codes, or, with
    the file's scales, what lies in its cell.
    """
    undecided: int = 0
    """Differing elements that lie exactly at a threshold of the method."""
    differences: list[tuple[int, float, float]] = field(default_factory=list)
    """Index in the tensor, the stored number, the rebuilt one: the first few."""
    sha256: str | None = None
    """Of the stored bytes, where every byte of the tensor was rebuilt."""
    sha256_rebuilt: str | None = None
    """Of the rebuilt bytes, likewise."""
    copies: tuple[str, ...] = ()
    """Parents whose numbers are those of the whole tensor."""
    blocks: int = 0
    """Of numbers that were quantised again: those that share a scale."""
    blocks_exact: int = 0
    """Blocks that came back with every code and their scale."""
    manner: str | None = None
    """How the tool computed that gives most back (see quantisers), None where nothing
    was quantised again.
    """
    takes_scales: bool = False
    """Whether the scales are the file's own."""
    beside: tuple[Beside, ...] = ()
    """What goes with the tensor and was made again."""


@dataclass(frozen=True)
class Merged:
    """A run of merged numbers within one part of a tensor."""

    part: PlannedSlice
    first: int
    """Its first element in the part."""
    values: Array
    """float64, as they were before they were quantised."""
    stored: Bytes
    """The file's codes: uint8, one for each."""
    given: Bytes
    """The codes that the numbers get by the file's own scales."""


def pair_units(
    plan: pd.DataFrame, tensors: pd.DataFrame, suspect: str, parents: Sequence[str]
) -> tuple[list[Unit], list[TensorRecord]]:
    """The audited model's tensors that the plan pairs with every parent, and the
    others.

    plan: plan.parquet; tensors: the model's own table.
    """
    by_source: dict[tuple[str, str], list[PlannedSlice]] = {}
    for part in planned_slices(plan[plan["model"].isin([suspect, *parents])]):
        view = part.members.get(suspect)
        # A borrowed head is rebuilt as the embedding.
        if view is not None and not view.borrowed:
            by_source.setdefault((view.source, view.shard), []).append(part)
    units = []
    unpaired = []
    for record in records_of(tensors):
        parts = by_source.get((record.name, record.shard), [])
        if not parts:
            unpaired.append(record)
            continue
        parts = sorted(parts, key=lambda part: part.members[suspect].start)
        units.append(
            Unit(
                record=record,
                layer=parts[0].layer,
                component=parts[0].component,
                elements=_elements(record, parts[0].members[suspect].dtype),
                parts=tuple(parts),
            )
        )
    return units, unpaired


def _elements(record: TensorRecord, read_as: str) -> int:
    layout = LAYOUTS.get(read_as)
    if layout is None:
        return record.elements
    return record.bytes // layout.size * layout.elements


def within_parts(
    parts: Sequence[PlannedSlice], start: int, count: int
) -> Iterator[tuple[PlannedSlice, int, slice]]:
    """A run of a tensor's elements part by part: the part, the first element in it, and
    which of the run these are.
    """
    begin = 0
    for part in parts:
        low, high = max(begin, start), min(begin + part.elements, start + count)
        if low < high:
            yield part, low - begin, slice(low - start, high - start)
        begin += part.elements
