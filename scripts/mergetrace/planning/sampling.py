"""Which elements are read and which are kept as evidence: the same of every model,
chosen by seed and name.

How many blocks a layer's component gets follows from the precision that is wanted, and
asking for more keeps every block that is there and adds some, so that a sample can go
on from where it stopped. Of a stack of experts some are chosen in each layer, and
others in the next, so that all layers together see them all.
"""

import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mergetrace.files.sampled import Range
from mergetrace.formats.scales import bytes_of_scales, rows_of_scales
from mergetrace.numerics.dtypes import FORMATS

# the delete-one-block standard error needs at least this many where the slice allows
JACKKNIFE_BLOCKS = 32
FEWEST_BLOCKS = 8  # of a tensor, however small its share of the component
# standard error of alpha times the square root of the elements read, where cos_fit is
# about .75; it falls as cos_fit rises
UNIT_SE = 0.5
BITS = 32
PIECE = 1 << 20  # bytes: longer ranges are cut, so that no request is long


def tiles(elements: int, count: int = JACKKNIFE_BLOCKS) -> np.ndarray:
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

    slices: one row per slice with tensor, slice, layer, component and elements. A tensor of at most JACKKNIFE_BLOCKS blocks is kept whole
    (one request instead of many); else its component's blocks are shared out by size, FEWEST_BLOCKS at least.
    """
    wanted = blocks_wanted(alpha_se, block_elements)
    sizes = slices.groupby(["layer", "component", "tensor"], sort=False)[
        "elements"
    ].agg(["sum", "size"])
    shares = sizes["sum"] / sizes.groupby(["layer", "component"])["sum"].transform(
        "sum"
    )
    blocks = np.maximum(FEWEST_BLOCKS, np.ceil(wanted * shares)).astype(np.int64)
    turns = _turns(sizes)
    counts = pd.Series(0, index=slices.index, dtype=np.int64)
    for key, members in slices.groupby(["layer", "component", "tensor"], sort=False):
        total, experts = sizes.loc[key]
        if total <= JACKKNIFE_BLOCKS * block_elements:
            counts[members.index] = -(-members["elements"] // block_elements)
            continue
        turn, layers = turns[key[0], experts]
        chosen = max(int(blocks[key]), -(-experts // layers))
        rows = members.index[
            np.argsort([int(number or 0) for number in members["slice"]])
        ]
        order = np.random.default_rng([seed, experts]).permutation(experts)
        counts[rows[np.roll(order, -(turn * experts // layers))[:chosen]]] = -(
            -chosen // experts
        )
    return counts


def evidence_of(view: Mapping[str, Any], block_elements: int, seed: int) -> np.ndarray:
    """The evidence blocks of a row of the plan (see evidence_blocks), of which it has
    `blocks`.
    """
    return evidence_blocks(
        f"{view['tensor']}[{view['slice']}]",
        view["elements"],
        view["blocks"],
        block_elements,
        seed,
    )


def evidence_blocks(
    name: str, elements: int, blocks: int, block_elements: int, seed: int
) -> np.ndarray:
    """The first `blocks` cells of a slice's seeded sequence of cells of
    `block_elements`; the whole slice, in tiles, where that is all of it.

    Any number of first cells is spread evenly over the slice (one in each of 2^k equal stretches), at a random place in its stretch: blocks
    at equal distances would meet the same columns of every row.
    Returns int64 [blocks, 2]: start and length, in elements, ascending and disjoint.
    """
    if elements <= blocks * block_elements:
        return tiles(elements)
    generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
    cells = elements // block_elements
    first = int(generator.integers(elements - cells * block_elements + 1))
    salt = generator.integers(1 << 63, dtype=np.uint64)
    points = blocks
    found = np.empty(0, np.int64)
    while found.size < blocks:
        places = (
            scrambled_van_der_corput(points, salt) * np.uint64(cells)
        ) >> np.uint64(BITS)
        _, at = np.unique(places, return_index=True)
        found = places[np.sort(at)][:blocks].astype(np.int64)
        points = 2 * points
    starts = first + np.sort(found) * block_elements
    return np.stack([starts, np.full(blocks, block_elements, dtype=np.int64)], axis=1)


def ranges_of(views: pd.DataFrame, block_elements: int, seed: int) -> list[Range]:
    """What of a model's shards is read in sample mode: sorted, disjoint, at most PIECE
    long.

    views: the model's rows of the plan. The evidence blocks of every slice, and the
    scales of those that have them.
    """
    wanted = []
    for view in views[views["blocks"] > 0].to_dict("records"):
        width = FORMATS[view["dtype"]].width
        blocks = evidence_of(view, block_elements, seed)
        wanted += [
            (view["shard"], view["start"] + start * width, length * width)
            for start, length in _stored(view, blocks)
        ]
        if view["scale_shard"]:
            needed = {
                rows_of_scales(view, *block)
                for block in evidence_of(view, block_elements, seed).tolist()
            }
            wanted += [
                (view["scale_shard"], *bytes_of_scales(view, *rows)) for rows in needed
            ]
    return [
        (shard, first, min(PIECE, end - first))
        for shard, start, end in _joined(wanted)
        for first in range(start, end, PIECE)
    ]


def _stored(view: Mapping[str, Any], blocks: np.ndarray) -> list[tuple[int, int]]:
    """Where the elements of some blocks are stored, as (first, count): whole rows where
    the view's lie in another order.
    """
    row_map = view.get("row_map")
    cols = view["cols"]
    if row_map is None:
        return blocks.tolist()
    rows = {
        int(row)
        for first, count in blocks.tolist()
        for row in row_map[first // cols : -(-(first + count) // cols)]
    }
    return [(row * cols, cols) for row in sorted(rows)]


def scrambled_van_der_corput(count: int, salt: np.uint64) -> NDArray[np.uint64]:
    """The first points of the van der Corput sequence in base 2, in units of 2^-32,
    under Owen's nested uniform scrambling.

    A bit is turned or not by a hash of the bits above it, so that points in the same stretch are random within it (Owen 1995, in Monte
    Carlo and Quasi-Monte Carlo Methods in Scientific Computing).
    """
    index = np.arange(count, dtype=np.uint64)
    points = np.zeros(count, np.uint64)
    above = np.ones(count, np.uint64)
    for bit in range(BITS):
        digit = (index >> np.uint64(bit)) & np.uint64(1)
        points = (points << np.uint64(1)) | (
            digit ^ (_hash(above ^ salt) & np.uint64(1))
        )
        above = (above << np.uint64(1)) | digit
    return points


def _hash(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """splitmix64 (Steele, Lea and Flood 2014), modulo 2^64."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _turns(sizes: pd.DataFrame) -> dict[tuple[str, int], tuple[int, int]]:
    """Of every layer and number of experts: whose turn it is, and how many layers take
    turns.
    """
    layers: dict[int, list[str]] = {}
    for (layer, _, _), experts in sizes["size"].items():
        if layer not in layers.setdefault(experts, []):
            layers[experts].append(layer)
    return {
        (layer, experts): (turn, len(names))
        for experts, names in layers.items()
        for turn, layer in enumerate(names)
    }


def _joined(ranges: Iterable[Range]) -> Iterator[tuple[str, int, int]]:
    """(shard, start, end) of ranges that touch or overlap, as one."""
    shard = ""
    start = 0
    end = 0
    for name, first, length in sorted(set(ranges)):
        if (name, first <= end) == (shard, True):
            end = max(end, first + length)
            continue
        if end > start:
            yield shard, start, end
        shard = name
        start = first
        end = first + length
    if end > start:
        yield shard, start, end
