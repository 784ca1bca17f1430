"""Which elements are read and which are kept as evidence: the same of every model,
chosen by seed and name.

How many blocks a layer's component gets follows from the precision that is wanted.
Asking for more keeps every block that is there and adds some, so that a sample can go
on from where it stopped. Of a stack of experts some are chosen in each layer, and
others in the next, so that all layers together see them all.
"""

import math
import zlib
from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mergetrace.files.sampled import Range
from mergetrace.formats.block_layouts import blocks_of, stored_size
from mergetrace.formats.companions import ranges_beside
from mergetrace.formats.scales import bytes_of_scales, rows_of_scales
from mergetrace.numerics.arrays import Array, Integers
from mergetrace.planning.slices import PlannedSlice, slice_of
from mergetrace.planning.submatrices import FIRST, ROWS
from mergetrace.tensors.view import View, view_of

# the delete-one-block standard error needs at least this many where the slice allows
JACKKNIFE_BLOCKS = 32
FEWEST_BLOCKS = 8  # of a tensor, however small its share of the component
# standard error of alpha times the square root of the elements read, where cos_fit is
# about .75; it falls as cos_fit rises
UNIT_SE = 0.5
POINT_BITS = 32  # of a point of the sequence that blocks are chosen by
MAX_RANGE_BYTES = 1 << 20  # longer ranges are cut, so that no request is long
COMPONENT = ["layer", "component"]
STACK = ["layer", "component", "tensor"]  # the slices of a tensor: its experts


def tiles(elements: int, count: int = JACKKNIFE_BLOCKS) -> Integers:
    """Cut 0..elements into `count` contiguous blocks of nearly equal length (fewer
    where there are fewer elements).

    Returns int64 [blocks, 2]: start and length, in elements.
    """
    edges = np.linspace(0, elements, min(count, elements) + 1).astype(np.int64)
    return np.stack([edges[:-1], np.diff(edges)], axis=1)


def blocks_wanted(alpha_se: float, block_elements: int) -> int:
    """Blocks of a component in a layer that bring alpha's standard error to `alpha_se`;
    never fewer than the jackknife needs.
    """
    return max(JACKKNIFE_BLOCKS, math.ceil((UNIT_SE / alpha_se) ** 2 / block_elements))


def allot(
    slices: pd.DataFrame, alpha_se: float, block_elements: int, seed: int
) -> pd.Series:
    """How many blocks of every slice are read: 0 for an expert that is another layer's
    turn.

    slices: one row per slice with tensor, slice, layer, component and elements. A
    tensor of at most JACKKNIFE_BLOCKS blocks is kept whole (one request instead of
    many); else its component's blocks are shared out by size, FEWEST_BLOCKS at least.
    """
    wanted = blocks_wanted(alpha_se, block_elements)
    elements = slices.groupby(STACK, sort=False)["elements"].agg(["sum", "size"])
    of_component = elements.groupby(COMPONENT)["sum"].transform("sum")
    shares = np.ceil(wanted * (elements["sum"] / of_component))
    blocks = np.maximum(FEWEST_BLOCKS, shares.to_numpy()).astype(np.int64).tolist()
    turns = _turns(elements["size"])
    counts = pd.Series(0, index=slices.index, dtype=np.int64)
    stacks = slices.groupby(STACK, sort=False)
    for number, (_, members) in enumerate(stacks):
        experts = len(members)
        if members["elements"].sum() <= JACKKNIFE_BLOCKS * block_elements:
            counts[members.index] = -(-members["elements"] // block_elements)
            continue
        turn, layers = turns[members["layer"].iloc[0], experts]
        chosen = max(blocks[number], -(-experts // layers))
        order = np.random.default_rng([seed, experts]).permutation(experts)
        of_turn = np.roll(order, -(turn * experts // layers))[:chosen]
        in_order = np.argsort([int(number or 0) for number in members["slice"]])
        counts[members.index[in_order][of_turn]] = -(-chosen // experts)
    return counts


def evidence_of(planned: PlannedSlice, block_elements: int, seed: int) -> Integers:
    """The evidence blocks of a slice, as many as its `blocks` says (see
    evidence_blocks).
    """
    return evidence_blocks(
        f"{planned.tensor}[{planned.slice}]",
        planned.elements,
        planned.blocks,
        block_elements,
        seed,
    )


def with_deciding(kept: Integers, planned: PlannedSlice) -> Integers:
    """The kept blocks, and each element beside them that decides where few of a matrix
    do: of GPTQ's the columns that were rounded first, of which blocks hold next to nothing.

    Every such element is a block of its own. Where all weights are read it costs
    nothing; a sample leaves them out, as each lies in another row of the parents.
    """
    views = planned.members.values()
    few = [
        _deciding(view, view.col_decides)
        for view in views
        if view.col_decides is not None
    ]
    if not few:
        return kept
    places = np.unique(np.concatenate(few))
    places = places[places < planned.elements]
    before = np.searchsorted(kept[:, 0], places, side="right") - 1
    is_kept = (before >= 0) & (places < kept[before].sum(1))
    alone = places[~is_kept]
    blocks = np.concatenate([kept, np.stack([alone, np.ones_like(alone)], axis=1)])
    return np.asarray(blocks[blocks[:, 0].argsort()], np.int64)


def _deciding(view: View, col_decides: Array) -> Integers:
    """The places of the elements whose cells are not left open."""
    columns = np.flatnonzero(col_decides)
    rows = np.arange(view.rows)
    if view.row_decides is not None:
        rows = np.flatnonzero(view.row_decides)
    return np.asarray((rows[:, None] * view.cols + columns).reshape(-1), np.int64)


def evidence_blocks(
    name: str, elements: int, blocks: int, block_elements: int, seed: int
) -> Integers:
    """The first `blocks` cells of a slice's seeded sequence of cells of
    `block_elements`; the whole slice, in tiles, where that is all of it.

    Any number of first cells is spread evenly over the slice (one in each of 2^k equal
    stretches), at a random place in its stretch: blocks at equal distances would meet
    the same columns of every row. Returns int64 [blocks, 2]: start and length, in
    elements, ascending and disjoint.
    """
    if elements <= blocks * block_elements:
        return tiles(elements)
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    cells = elements // block_elements
    first = int(generator.integers(elements - cells * block_elements + 1))
    salt = generator.integers(1 << 63, dtype=np.uint64)
    points = blocks
    chosen = np.empty(0, np.int64)
    while chosen.size < blocks:
        sequence = scrambled_van_der_corput(points, salt)
        places = (sequence * np.uint64(cells)) >> np.uint64(POINT_BITS)
        _, at = np.unique(places, return_index=True)
        chosen = places[np.sort(at)][:blocks].astype(np.int64)
        points = 2 * points
    starts = first + np.sort(chosen) * block_elements
    return np.stack([starts, np.full(blocks, block_elements, dtype=np.int64)], axis=1)


def ranges_of(views: pd.DataFrame, block_elements: int, seed: int) -> list[Range]:
    """The ranges of a model's shards that are read in sample mode: sorted, disjoint, at
    most MAX_RANGE_BYTES long.

    views: the model's rows of the plan. The evidence blocks of every slice are read,
    the rows that are decomposed, and the scales of those that have them.
    """
    wanted: list[Range] = []
    for row in views[views["blocks"] > 0].to_dict("records"):
        blocks = evidence_of(slice_of([row]), block_elements, seed)
        wanted += _ranges_of(view_of(row), blocks)
    return _cut([*wanted, *_of_rows(views)])


def ranges_of_rows(views: pd.DataFrame) -> list[Range]:
    """The ranges of the rows alone that are decomposed, in the same way."""
    return _cut(_of_rows(views))


def _of_rows(views: pd.DataFrame) -> list[Range]:
    wanted: list[Range] = []
    if ROWS in views:
        for row in views[views[ROWS] > 0].to_dict("records"):
            view = view_of(row)
            block = [[row[FIRST] * view.cols, row[ROWS] * view.cols]]
            wanted += _ranges_of(view, np.array(block, np.int64))
    return wanted


def _ranges_of(view: View, blocks: Integers) -> Iterator[Range]:
    """Where some blocks of a view lie, and their scales."""
    for first, count in _stored(view, blocks):
        start, length = blocks_of(view.dtype, first, count)
        offset = view.start + stored_size(view.dtype, start)
        yield view.shard, offset, stored_size(view.dtype, length)
    if view.scale_shard:
        rows = {rows_of_scales(view, *block) for block in blocks.tolist()}
        for first, count in rows:
            yield view.scale_shard, *bytes_of_scales(view, first, count)
    yield from ranges_beside(view.beside)


def _cut(wanted: Iterable[Range]) -> list[Range]:
    """Ranges joined where they touch, none longer than MAX_RANGE_BYTES."""
    ranges = []
    for shard, start, end in _joined(wanted):
        for first in range(start, end, MAX_RANGE_BYTES):
            ranges.append((shard, first, min(MAX_RANGE_BYTES, end - first)))
    return ranges


def _stored(view: View, blocks: Integers) -> list[tuple[int, int]]:
    """Where the elements of some blocks are stored, as (first, count): whole rows where
    the view's lie in another order.
    """
    cols = view.cols
    if view.row_map is None:
        return [(first, count) for first, count in blocks.tolist()]
    rows: set[int] = set()
    for first, count in blocks.tolist():
        of_block = view.row_map[first // cols : -(-(first + count) // cols)]
        rows.update(of_block.tolist())
    return [(row * cols, cols) for row in sorted(rows)]


def scrambled_van_der_corput(count: int, salt: np.uint64) -> NDArray[np.uint64]:
    """The first points of the van der Corput sequence in base 2, in units of 2^-32,
    under Owen's nested uniform scrambling: uint64 [count].

    A bit is turned or not by a hash of the bits above it, so that points in the same
    stretch are random within it (Owen 1995, in Monte Carlo and Quasi-Monte Carlo
    Methods in Scientific Computing).
    """
    one = np.uint64(1)
    index = np.arange(count, dtype=np.uint64)
    points = np.zeros(count, np.uint64)
    above = np.ones(count, np.uint64)  # a one, and the bits of the index so far
    for bit in range(POINT_BITS):
        digit = (index >> np.uint64(bit)) & one
        turned = _hash(above ^ salt) & one
        points = (points << one) | (digit ^ turned)
        above = (above << one) | digit
    return points


def _hash(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64 (Steele, Lea and Flood 2014), modulo 2^64."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _turns(experts: "pd.Series[int]") -> dict[tuple[str, int], tuple[int, int]]:
    """Of every layer and number of experts: whose turn it is, and how many layers take
    turns. experts: their number by layer, component and tensor.
    """
    layers_of: dict[int, list[str]] = {}
    layers = experts.index.get_level_values("layer")
    for layer, number in zip(layers, experts, strict=True):
        names = layers_of.setdefault(number, [])
        if layer not in names:
            names.append(layer)
    return {
        (layer, number): (turn, len(names))
        for number, names in layers_of.items()
        for turn, layer in enumerate(names)
    }


def _joined(ranges: Iterable[Range]) -> Iterator[tuple[str, int, int]]:
    """(shard, start, end) of ranges that touch or overlap, as one."""
    shard = ""
    start = 0
    end = 0
    for name, first, length in sorted(set(ranges)):
        if name == shard and first <= end:
            end = max(end, first + length)
            continue
        if end > start:
            yield shard, start, end
        shard = name
        start = first
        end = first + length
    if end > start:
        yield shard, start, end
