"""One slice of an audit: its sums under every frame, and its evidence sample."""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from mergetrace.dtypes import FORMATS, decode, ulp
from mergetrace.evidence import Sample
from mergetrace.frames import Frame
from mergetrace.gram import slice_sums
from mergetrace.weights import View, Weights, scaled


def sum_slice(weights: Weights, members: Mapping[str, View], frames: list[Frame], blocks: NDArray[np.int64]) -> Iterator[dict[str, object]]:
    """The block sums (see gram.slice_sums) of one slice under every frame whose models all hold it."""
    possible = [frame for frame in frames if all(model in members for model in frame.models)]
    audited = {frame.audited for frame in possible}

    def read(model: str, first: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        view = members[model]
        raw, scales = weights.raw(view, first, count), weights.scales(view, first, count)
        values = scaled(decode(raw, view["dtype"]), scales)
        return values, scaled(ulp(raw, view["dtype"]), scales) if model in audited else None

    yield from slice_sums(possible, blocks, read)


def keep_samples(weights: Weights, members: Mapping[str, View], blocks: NDArray[np.int64]) -> dict[str, Sample]:
    """The raw elements of the evidence blocks, of every model that holds the slice."""
    samples = {}
    for model, view in members.items():
        width = FORMATS[view["dtype"]].width
        raw = np.empty(int(blocks[:, 1].sum()) * width, np.uint8)
        scales, filled = [], 0
        for start, length in _merged(blocks):
            raw[filled : filled + length * width] = weights.raw(view, start, length)
            filled += length * width
            scales.append(weights.scales(view, start, length))
        samples[model] = Sample(raw, view["dtype"], None if scales[0] is None else np.concatenate(scales))
    return samples


def _merged(blocks: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Adjoining blocks as one: a slice kept whole costs one read, not one per block."""
    start = length = 0
    for block_start, block_length in blocks.tolist():
        if length and block_start == start + length:
            length += block_length
            continue
        if length:
            yield start, length
        start, length = block_start, block_length
    if length:
        yield start, length
