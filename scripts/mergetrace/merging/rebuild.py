"""The recipe applied to the whole parents, tensor by tensor, and compared with the
audited model's own bytes.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from mergetrace.files.tensor_records import TensorRecord, records_of
from mergetrace.merging.applying import Piece, apply_recipe, undecided_elements
from mergetrace.merging.facts import (
    HeldFacts,
    StreamedFacts,
    TensorFacts,
    gram_of,
    last_dimension,
)
from mergetrace.merging.methods import METHODS
from mergetrace.merging.recipes import Recipe
from mergetrace.merging.settings import layer_position
from mergetrace.numerics.arrays import AnyArray, Array, Mask
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.planning.slices import PlannedSlice, planned_slices
from mergetrace.sums.as_stored import codes_as_stored
from mergetrace.sums.evidence import Sample, joined, sample_of
from mergetrace.tensors.naming import slice_name
from mergetrace.tensors.weights import Weights

REBUILT_AT_ONCE = 1 << 20
"""Computed at once where a method looks at each element alone."""
MAX_DIFFERENCES_OF_TENSOR = 2
"""Shown; few of one tensor, so that several tensors are seen."""


@dataclass(frozen=True)
class Unit:
    """One tensor of the audited model as its file holds it."""

    name: str
    layer: str
    component: str
    dtype: str
    elements: int
    """In the file."""
    parts: tuple[PlannedSlice, ...]
    """Its contiguous runs, in the file's order."""

    def put_back(self, suspect: str) -> bool:
        """Whether its elements are read in another order than the file's, or rounded:
        then what is compared are not the file's bytes.
        """
        return any(
            view.is_rearranged or bool(view.stored_dtype)
            for view in (part.members[suspect] for part in self.parts)
        )

    @property
    def compared(self) -> int:
        """The elements of its parts: fewer than its own where no parent has the rest."""
        return sum(part.elements for part in self.parts)


@dataclass
class Outcome:
    """What one tensor's comparison found."""

    exact: int = 0
    """Elements that the recipe gives back bit for bit."""
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


@dataclass(frozen=True)
class Block:
    """A run of elements of one tensor."""

    start: int
    """Its first element in the tensor."""
    tensor: str
    """The common name of its slice (see naming.slice_name)."""
    values: Mapping[str, Array]
    """The parents' numbers: float64 [n] each."""
    audited: Sample
    """The audited model's bytes."""


@dataclass(frozen=True)
class Rebuilder:
    """Applies a recipe to whole tensors and compares the result."""

    weights: Weights
    recipe: Recipe
    suspect: str
    last_layer: int
    """The number of the model's last layer."""
    most_whole: int
    """Methods that need facts of a whole tensor get it in one piece up to this many
    elements. Beyond, the facts are summed block by block, which leaves the last bit of
    float32 sums open.
    """

    def rebuild(self, unit: Unit) -> Outcome:
        """Apply the recipe to one tensor."""
        outcome = Outcome()
        lattice = self._lattice(unit)
        copies = {parent: True for parent in self._parents}
        stored_digest = hashlib.sha256()
        rebuilt_digest = hashlib.sha256()
        for block, facts in self._runs(unit):
            audited = block.audited
            piece = Piece(
                tensor=block.tensor,
                position=layer_position(unit.layer, self.last_layer),
                values=block.values,
                audited=audited,
                facts=facts,
            )
            codes = _stored_codes(apply_recipe(self.recipe, piece), audited, lattice)
            same = audited.raw.view(codes.dtype) == codes
            outcome.exact += int(same.sum())
            if not same.all():
                open_elements = undecided_elements(self.recipe, piece) & ~same
                outcome.undecided += int(open_elements.sum())
                _note_differences(outcome, block, codes, same)
            for parent in copies:
                copies[parent] &= np.array_equal(
                    block.values[parent], piece.audited_values
                )
            stored_digest.update(audited.raw.data)
            rebuilt_digest.update(codes.data)
        if unit.compared == unit.elements and not unit.put_back(self.suspect):
            outcome.sha256 = stored_digest.hexdigest()
            outcome.sha256_rebuilt = rebuilt_digest.hexdigest()
            outcome.copies = tuple(parent for parent, alike in copies.items() if alike)
        return outcome

    @property
    def _parents(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.recipe.parents))

    def _runs(self, unit: Unit) -> Iterator[tuple[Block, TensorFacts]]:
        """The tensor in one piece or in blocks, with what a formula may ask of it."""
        base, *donors = self._parents
        needs_whole = METHODS[self.recipe.method].needs != "elements"
        if needs_whole and unit.compared <= self.most_whole:
            block = _joined(self._blocks(unit, self._parents))
            cols = next(iter(unit.parts[0].members.values())).cols
            yield (
                block,
                HeldFacts(
                    base=base,
                    donors=tuple(donors),
                    gram=gram_of(block.values, self._parents),
                    values=block.values,
                    elements=unit.compared,
                    columns=last_dimension(cols, unit.compared),
                ),
            )
            return
        facts = StreamedFacts(
            base=base,
            donors=tuple(donors),
            elements=unit.compared,
            blocks=lambda: (
                block.values for block in self._blocks(unit, self._parents)
            ),
        )
        for block in self._blocks(unit, self._parents):
            yield block, facts

    def _blocks(self, unit: Unit, parents: Sequence[str]) -> Iterator[Block]:
        """Runs of at most REBUILT_AT_ONCE, with the numbers of these parents."""
        offset = 0
        for part in unit.parts:
            view = part.members[self.suspect]
            for first in range(0, part.elements, REBUILT_AT_ONCE):
                size = min(REBUILT_AT_ONCE, part.elements - first)
                values = {
                    parent: self.weights.values(part.members[parent], first, size)
                    for parent in parents
                }
                audited = sample_of(self.weights, view, [(first, size)])
                yield Block(offset + first, slice_name(*view.key), values, audited)
            offset += part.elements

    def _lattice(self, unit: Unit) -> str:
        """The format the tensor was rounded to: a merge rounded to bf16 may be stored
        as float32.
        """
        if unit.dtype not in ("F32", "F64"):
            return unit.dtype
        blocks = self._blocks(unit, parents=())
        formats = {block.audited.on_lattice().dtype for block in blocks}
        return formats.pop() if len(formats) == 1 else unit.dtype


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
                name=record.name,
                layer=parts[0].layer,
                component=parts[0].component,
                dtype=record.dtype,
                elements=record.elements,
                parts=tuple(parts),
            )
        )
    return units, unpaired


def _joined(blocks: Iterator[Block]) -> Block:
    """All blocks of a tensor as one."""
    held = list(blocks)
    values = {
        parent: np.concatenate([block.values[parent] for block in held])
        for parent in held[0].values
    }
    audited = joined([block.audited for block in held])
    return Block(0, held[0].tensor, values, audited)


def _note_differences(
    outcome: Outcome, block: Block, codes: AnyArray, same: Mask
) -> None:
    """Keep the first few elements that differ."""
    room = MAX_DIFFERENCES_OF_TENSOR - len(outcome.differences)
    audited = block.audited
    rebuilt = Sample(codes.view(np.uint8), audited.dtype, audited.scales)
    stored_values = audited.values()
    rebuilt_values = rebuilt.values()
    for index in np.flatnonzero(~same)[:room].tolist():
        numbers = (float(stored_values[index]), float(rebuilt_values[index]))
        outcome.differences.append((block.start + index, *numbers))


def _stored_codes(values: Array, audited: Sample, lattice: str) -> AnyArray:
    """The codes of merged numbers as the audited model would hold them."""
    codes = codes_as_stored(values, audited, lattice)
    if lattice == audited.dtype:
        return codes
    return encode(decode(codes, lattice), audited.dtype)
