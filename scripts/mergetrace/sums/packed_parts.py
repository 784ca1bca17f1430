"""Stretches of open files that hold the elements of a slice, blocks of GGUF among them,
for a kernel that reads and decodes them itself.

Rows that lie elsewhere in the file (llama.cpp's order of q and k) are stretches of their
own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mergetrace.formats.block_layouts import LAYOUTS
from mergetrace.numerics.arrays import Integers
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.tensors.view import View
from mergetrace.tensors.weights import Weights


@dataclass(frozen=True)
class PackedParts:
    """Stretches of elements of several models, some of them packed."""

    descriptors: NDArray[np.int32]
    """The open file of each model: int32 [models]."""
    dtypes: list[str]
    """The format of each model."""
    starts: Integers
    """The byte where the first block of each stretch begins: int64 [models, stretches]."""
    skips: Integers
    """Elements of that block before the stretch: likewise."""
    lengths: Integers
    """Elements of each stretch: int64 [stretches]."""
    pieces: Integers
    """The piece that each stretch is part of: likewise, ascending from 0."""

    @property
    def size(self) -> int:
        """The bytes of the stretches."""
        total = 0.0
        elements = int(self.lengths.sum())
        for dtype in self.dtypes:
            layout = LAYOUTS.get(dtype)
            each = layout.size / layout.elements if layout else FORMATS[dtype].width
            total += elements * each
        return int(total)


def packed_parts(
    weights: Weights, views: Sequence[View], first: Integers, lengths: Integers
) -> PackedParts | None:
    """Pieces of a slice (int64 [pieces] each) in the files of its views; None where
    their bytes are not all that decides the numbers.
    """
    places = [weights.blocks_place(view) for view in views]
    held = [place for place in places if place is not None]
    if len(held) < len(places):
        return None
    pieces = np.arange(lengths.size)
    if any(view.row_map is not None for view in views):
        first, lengths, pieces = by_row(first, lengths, views[0].cols)
    located = [
        _located(view, start, first)
        for view, (_, start) in zip(views, held, strict=True)
    ]
    return PackedParts(
        np.array([descriptor for descriptor, _ in held], np.int32),
        [view.dtype for view in views],
        np.stack([starts for starts, _ in located]),
        np.stack([skips for _, skips in located]),
        lengths,
        pieces,
    )


def by_row(
    first: Integers, lengths: Integers, cols: int
) -> tuple[Integers, Integers, Integers]:
    """Pieces cut where rows end: first, length and piece of each part."""
    edges = []
    for start, length in zip(first.tolist(), lengths.tolist(), strict=True):
        ends = np.arange(start // cols * cols + cols, start + length, cols)
        edges.append(np.concatenate([[start], ends, [start + length]]))
    parts = [np.diff(each) for each in edges]
    return (
        np.concatenate([each[:-1] for each in edges]),
        np.concatenate(parts),
        np.repeat(np.arange(lengths.size), [part.size for part in parts]),
    )


def _located(view: View, start: int, first: Integers) -> tuple[Integers, Integers]:
    """The byte of the block that holds each of these elements, and how many elements of
    it come before.
    """
    if view.row_map is not None:
        first = view.row_map[first // view.cols] * view.cols + first % view.cols
    layout = LAYOUTS.get(view.dtype)
    if layout is None:
        return start + first * FORMATS[view.dtype].width, np.zeros_like(first)
    return start + first // layout.elements * layout.size, first % layout.elements
