"""Merged numbers quantised again as the suspect's tool does it, and compared with the bytes
of its file: the blocks of GGUF here, codes with scales of their own in grids.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from mergetrace.formats.block_layouts import LAYOUTS, stored_size
from mergetrace.formats.companions import SHIFTS, ZEROS, companions_in
from mergetrace.merging.grids import GridPass, is_shared
from mergetrace.merging.manners import like, liked_first, rounded, ways
from mergetrace.merging.units import Merged, Outcome, StoredTensors, Unit
from mergetrace.numerics.arrays import Bytes, Integers, Mask
from mergetrace.numerics.gguf_blocks import GGUF_QUANTISERS
from mergetrace.numerics.quantisers import Quantise, manners
from mergetrace.tensors.view import View
from mergetrace.tensors.weights import Weights

Runs = Callable[[], Iterable[Merged]]
"""Gives the merged numbers of a tensor from its first element on, as often as asked."""


@dataclass(frozen=True)
class Requantiser:
    """Quantises tensors of one model again."""

    weights: Weights
    suspect: str
    tensors: StoredTensors
    most_whole: int
    """Matrices with scales of their own are held whole up to this many elements."""
    liked: list[str] = field(default_factory=list)
    """Manners that gave a whole tensor back, the last one first."""

    def fits(self, unit: Unit) -> bool:
        """Whether a tensor's tool is known, and its elements lie as the file's do."""
        views = unit.views(self.suspect)
        if unit.compared != unit.elements or any(map(_is_adjusted, views)):
            return False
        if not _adjoin(unit, views):
            return False
        if views[0].dtype in GGUF_QUANTISERS:
            return True
        return self._fits_grid(unit, views)

    def _fits_grid(self, unit: Unit, views: list[View]) -> bool:
        if any(view.is_rearranged or not view.scale_shard for view in views):
            return False
        first = views[0]
        if (first.scale_shard, first.scale_start) not in self.tensors.by_place:
            return False
        held = is_shared(views)
        if not held and any(view.scale_skip for view in views):
            return False
        largest = unit.compared if held else max(v.rows * v.cols for v in views)
        return largest <= self.most_whole and bool(_manners_of(first))

    def compare(self, unit: Unit, runs: Runs) -> Outcome:
        """Quantise one tensor again, in every manner until one gives all of it back."""
        through = unit.views(self.suspect)[0].through
        if unit.packed_as(self.suspect) not in GGUF_QUANTISERS:
            views = unit.views(self.suspect)
            grids = GridPass(self.weights, self.suspect, self.tensors, self.liked)
            found = _manners_of(views[0])
            return grids.compare(unit, runs(), found, ways(through))
        best: Outcome | None = None
        for way in liked_first(ways(through), self.liked):
            outcome = self._by_blocks(unit, runs(), way)
            if best is None or outcome.blocks_exact > best.blocks_exact:
                best = outcome
            if outcome.sha256 == outcome.sha256_rebuilt:
                like(self.liked, way)
                break
        assert best is not None
        return best

    def _by_blocks(self, unit: Unit, runs: Iterable[Merged], way: str) -> Outcome:
        """A tensor of GGUF's blocks, of numbers that were rounded in one way before."""
        outcome = Outcome(manner=way)
        dtype = unit.views(self.suspect)[0].dtype
        layout = LAYOUTS[dtype]
        stored_digest, rebuilt_digest = hashlib.sha256(), hashlib.sha256()
        for view, first, made in _in_file_order(self._made(runs, way, dtype)):
            stored = self.weights.bytes_at(
                view, view.start + first * layout.size, made.size
            )
            blocks = stored.reshape(made.shape)
            same = np.asarray((blocks == made).all(1))
            outcome.blocks += same.size
            outcome.blocks_exact += int(same.sum())
            outcome.exact += int(same.sum()) * layout.elements
            outcome.exact += _codes_alike(dtype, blocks[~same], made[~same])
            stored_digest.update(stored.data)
            rebuilt_digest.update(np.ascontiguousarray(made).data)
        outcome.sha256 = stored_digest.hexdigest()
        outcome.sha256_rebuilt = rebuilt_digest.hexdigest()
        return outcome

    def _made(
        self, runs: Iterable[Merged], way: str, dtype: str
    ) -> Iterator[tuple[Merged, View, Bytes]]:
        layout = LAYOUTS[dtype]
        for run in runs:
            values = rounded(run.values, way).astype(np.float32)
            made = GGUF_QUANTISERS[dtype](values.reshape(-1, layout.elements))
            yield run, run.part.members[self.suspect], made


def _manners_of(view: View) -> Mapping[str, Quantise]:
    held = companions_in(view.beside)
    if SHIFTS in held:
        return {}
    return manners(view.dtype, view.scale_dtype, ZEROS in held)


def _is_adjusted(view: View) -> bool:
    """Whether what is read is not what the tool made."""
    if view.col_map is not None or view.stored_dtype:
        return True
    if view.row_scale is not None or view.col_scale is not None:
        return True
    return view.factor != 1 or view.shift != 0


def _adjoin(unit: Unit, views: list[View]) -> bool:
    """Whether the parts fill the tensor's bytes, one after another."""
    place = unit.record.start
    for view in views:
        if view.start != place:
            return False
        place += stored_size(view.dtype, view.rows * view.cols)
    return place == unit.record.end


def _in_file_order(
    made: Iterable[tuple[Merged, View, Bytes]],
) -> Iterator[tuple[View, int, Bytes]]:
    """Blocks as the file holds them: (view, number of the first, uint8 [blocks, size]).
    A part whose rows lie in another order is held whole.
    """
    held: Bytes | None = None
    for run, view, blocks in made:
        a_row = len(blocks) * view.cols // run.values.size
        first = run.first * len(blocks) // run.values.size
        if view.row_map is None:
            yield view, first, blocks
            continue
        if held is None:
            held = np.empty((view.rows * a_row, blocks.shape[1]), np.uint8)
        held[_places(view.row_map, a_row, first, len(blocks))] = blocks
        if run.first + run.values.size == run.part.elements:
            yield view, 0, held
            held = None


def _places(row_map: Integers, a_row: int, first: int, count: int) -> Integers:
    """The stored place of each block; a_row: blocks in a row."""
    rows, within = np.divmod(np.arange(first, first + count), a_row)
    return np.asarray(row_map[rows] * a_row + within)


def _codes_alike(dtype: str, stored: Bytes, made: Bytes) -> int:
    """How many codes of blocks are the same."""
    layout = LAYOUTS[dtype]
    if not stored.size:
        return 0
    same: Mask = layout.unpacked(stored).codes == layout.unpacked(made).codes
    return int(same.sum())
