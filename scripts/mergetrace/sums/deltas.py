"""The slices of a layer: their sums under every frame, and their evidence samples. The next run is read while this one is summed."""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mergetrace.models.weights import View, Weights
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.sums.evidence import Sample
from mergetrace.sums.frames import Frame
from mergetrace.sums.gram import Kernel, Stored, Sums, records, settled, unsettled

RUN = 1 << 21  # elements of each model read at once: threads meet at Python's lock after every read, and shorter runs cost more than the cache gains
AHEAD = 64  # runs submitted and not yet collected

Piece = tuple[int, int, int]
"""Block, first element, number of elements."""


@dataclass(frozen=True)
class Slice:
    """One slice: its views by model, the blocks to sum and the blocks to keep (int64 [blocks, 2]: start, length), ascending and disjoint."""

    slice_id: int
    members: Mapping[str, View]
    blocks: NDArray[np.int64]
    kept: NDArray[np.int64]


@dataclass(frozen=True)
class Read:
    """What leaves a slice: one record per block and frame (see gram.records), and the kept elements by model."""

    slice_id: int
    records: list[dict[str, object]]
    samples: dict[str, Sample]


class Reader:
    """Reads and sums with `threads` threads, and one more that waits for the disk. Holds RUN elements of every model per thread."""

    def __init__(self, weights: Weights, frames: list[Frame], kernel: Kernel, threads: int = 1) -> None:
        self.weights, self.frames, self.kernel, self.threads = weights, frames, kernel, threads
        self._summing = threading.Semaphore(threads)
        self._mine = threading.local()

    def read(self, slices: Iterable[Slice]) -> Iterator[Read]:
        """Every slice's sums and samples, in order; the results do not depend on the number of threads."""
        waiting: deque[tuple[Slice, list[Frame], list[tuple[list[Piece], Future[Sums]]]]] = deque()
        pool = ThreadPoolExecutor(self.threads + 1)
        try:
            for piece in slices:
                possible = [frame for frame in self.frames if all(model in piece.members for model in frame.models)]
                cut = runs(_pieces(piece.blocks), RUN) if possible else ()
                waiting.append((piece, possible, [(run, pool.submit(self._sum, piece, possible, run)) for run in cut]))
                while len(waiting) > 1 and sum(len(jobs) for _, _, jobs in waiting) > AHEAD:
                    yield self._collected(*waiting.popleft())
            while waiting:
                yield self._collected(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _sum(self, piece: Slice, frames: list[Frame], run: list[Piece]) -> Sums:
        models = dict.fromkeys(model for frame in frames for model in frame.models)

        def read(pieces: list[Piece]) -> dict[str, Stored]:
            return {model: self._stored(model, piece.members[model], pieces) for model in models}

        stored, lengths = read(run), np.array([length for _, _, length in run])
        with self._summing:
            sums = unsettled(frames, stored, np.cumsum([0, *lengths]), self.kernel)
        return settled(frames, sums, lengths, lambda number: read([run[number]]))

    def _stored(self, model: str, view: View, run: list[Piece]) -> Stored:
        """The run's elements in this thread's buffer for the model: fresh memory is slow to touch."""
        width = FORMATS[view["dtype"]].width
        buffers = self._mine.__dict__
        if model not in buffers or buffers[model].size < RUN * width:
            buffers[model] = self.kernel.buffer(RUN * width)
        filled, scales = 0, []
        for first, length in _merged((first, length) for _, first, length in run):
            self.weights.raw(view, first, length, out=buffers[model][filled : filled + length * width])
            scales.append(self.weights.scales(view, first, length))
            filled += length * width
        return Stored(buffers[model][:filled], view["dtype"], None if scales[0] is None else np.concatenate(scales))

    def _collected(self, piece: Slice, frames: list[Frame], jobs: list[tuple[list[Piece], "Future[Sums]"]]) -> Read:
        """Pieces added up block by block, in the order of the elements."""
        done = [job.result() for _, job in jobs]
        first = np.flatnonzero(np.diff([block for run, _ in jobs for block, _, _ in run], prepend=-1))
        sums = {key: np.add.reduceat(np.concatenate([part[key] for part in done]), first) for key in done[0]} if done else {}
        rows = list(records(frames, sums, piece.blocks[:, 1])) if frames else []
        read = Read(piece.slice_id, rows, keep_samples(self.weights, piece.members, piece.kept))
        for view in piece.members.values():
            self.weights.forget(view)
        return read


def runs(pieces: Iterable[Piece], size: int) -> Iterator[list[Piece]]:
    """Pieces packed into runs of at most `size` elements, cut where a run is full."""
    run: list[Piece] = []
    room = size
    for block, start, length in pieces:
        done = 0
        while done < length:
            count = min(length - done, room)
            run.append((block, start + done, count))
            done, room = done + count, room - count
            if not room:
                yield run
                run, room = [], size
    if run:
        yield run


def _pieces(blocks: NDArray[np.int64]) -> list[Piece]:
    return [(block, start, length) for block, (start, length) in enumerate(blocks.tolist())]


def keep_samples(weights: Weights, members: Mapping[str, View], blocks: NDArray[np.int64]) -> dict[str, Sample]:
    """The raw elements of the evidence blocks, of every model that holds the slice."""
    samples = {}
    for model, view in members.items():
        width = FORMATS[view["dtype"]].width
        raw = np.empty(int(blocks[:, 1].sum()) * width, np.uint8)
        scales, filled = [], 0
        for start, length in _merged(blocks.tolist()):
            weights.raw(view, start, length, out=raw[filled : filled + length * width])
            filled += length * width
            scales.append(weights.scales(view, start, length))
        samples[model] = Sample(raw, view["dtype"], None if scales[0] is None else np.concatenate(scales), view.get("through") or None)
    return samples


def _merged(blocks: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Adjoining (start, length) as one: a slice kept whole costs one read, not one per block."""
    start = length = 0
    for block_start, block_length in blocks:
        if length and block_start == start + length:
            length += block_length
            continue
        if length:
            yield start, length
        start, length = block_start, block_length
    if length:
        yield start, length
