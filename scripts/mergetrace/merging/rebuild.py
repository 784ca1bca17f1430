"""The recipe applied to the whole parents, tensor by tensor, and compared with the
audited model's own bytes.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

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
from mergetrace.merging.requantising import Requantiser
from mergetrace.merging.settings import layer_position
from mergetrace.merging.units import Merged, Outcome, Unit, within_parts
from mergetrace.numerics.arrays import AnyArray, Array, Mask
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.sums.as_stored import codes_as_stored
from mergetrace.sums.evidence import Sample, joined, sample_of
from mergetrace.tensors.naming import slice_name
from mergetrace.tensors.weights import Weights

REBUILT_AT_ONCE = 1 << 20
"""Computed at once where a method looks at each element alone."""
MAX_DIFFERENCES_OF_TENSOR = 2
"""Shown; few of one tensor, so that several tensors are seen."""


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
    requantiser: Requantiser
    """For tensors that were quantised after the merge."""

    def rebuild(self, unit: Unit) -> Outcome:
        """Apply the recipe to one tensor, and quantise what it gives where the tensor
        is.
        """
        if _is_quantised(unit, self.suspect) and self.requantiser.fits(unit):
            return self.requantiser.compare(unit, lambda: self._merged(unit))
        return self._compared(unit)

    def _merged(self, unit: Unit) -> Iterator[Merged]:
        """What the recipe gives, before it is quantised, part by part."""
        for block, facts in self._runs(unit):
            audited = block.audited
            values = apply_recipe(self.recipe, self._piece(unit, block, facts))
            given = codes_as_stored(values, audited, audited.dtype)
            if audited.through is not None:
                values = decode(encode(values, audited.through), audited.through)
            for part, first, here in within_parts(unit.parts, block.start, values.size):
                codes = audited.raw[here], given[here]
                yield Merged(part, first, values[here], *codes)

    def _piece(self, unit: Unit, block: Block, facts: TensorFacts) -> Piece:
        return Piece(
            tensor=block.tensor,
            position=layer_position(unit.layer, self.last_layer),
            values=block.values,
            audited=block.audited,
            facts=facts,
        )

    def _compared(self, unit: Unit) -> Outcome:
        """A tensor's elements beside what the recipe gives; of packed ones with the
        file's scales whether they lie in their cells.
        """
        packed = unit.packed_as(self.suspect) is not None
        outcome = Outcome(takes_scales=packed)
        lattice = self._lattice(unit)
        copies = {parent: True for parent in self._parents}
        stored_digest = hashlib.sha256()
        rebuilt_digest = hashlib.sha256()
        for block, facts in self._runs(unit):
            audited = block.audited
            piece = self._piece(unit, block, facts)
            merged = apply_recipe(self.recipe, piece)
            codes = _stored_codes(merged, audited, lattice)
            same = audited.raw.view(codes.dtype) == codes
            if packed:  # of two levels as near the tool may take the other
                same = _in_cells(merged, audited)
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
        if packed:
            return outcome
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
            return unit.packed_as(self.suspect) or unit.dtype
        blocks = self._blocks(unit, parents=())
        formats = {block.audited.on_lattice().dtype for block in blocks}
        return formats.pop() if len(formats) == 1 else unit.dtype


def _is_quantised(unit: Unit, suspect: str) -> bool:
    """Whether a tensor's numbers have scales."""
    is_scaled = any(view.scale_shard for view in unit.views(suspect))
    return is_scaled or unit.packed_as(suspect) is not None


def _in_cells(merged: Array, audited: Sample) -> Mask:
    """Whether each number lies where the file's code and scale confine it."""
    low, high = audited.midpoints()
    return np.asarray((low <= merged) & (merged <= high))


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
    rebuilt = replace(audited, raw=codes.view(np.uint8))
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
