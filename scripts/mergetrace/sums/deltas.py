"""The slices of a layer: their sums under every frame, and their evidence samples. The
next run is read while this one is summed.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from mergetrace.numerics.dtypes import FORMATS
from mergetrace.sums.evidence import Sample
from mergetrace.sums.frames import Frame
from mergetrace.sums.gram import (
    Kernel,
    Stored,
    Sums,
    file_sums,
    records,
    settled,
    unsettled,
)
from mergetrace.tensors.weights import View, Weights

RUN = (
    1 << 21
    # elements of each model in memory at once, where the kernel does not read them itself
)
TOGETHER = 8  # runs a thread sums before it meets the others at Python's lock
AHEAD = 16  # such jobs submitted and not yet collected

Piece = tuple[int, int, int]
"""Block, first element, number of elements."""


@dataclass(frozen=True)
class Slice:
    """One slice: its views by model, the blocks to sum and the blocks to keep (int64
    [blocks, 2]: start, length), ascending and disjoint.
    """

    slice_id: int
    members: Mapping[str, View]
    blocks: NDArray[np.int64]
    kept: NDArray[np.int64]


@dataclass(frozen=True)
class Read:
    """What leaves a slice: one record per block and frame (see gram.records), and the
    kept elements by model.
    """

    slice_id: int
    records: list[dict[str, object]]
    samples: dict[str, Sample]


class Reader:
    """Reads and sums with `threads` threads, and one more that waits for the disk. Where the kernel reads for itself a thread holds little memory,
    elsewhere RUN elements of every model.
    """

    def __init__(
        self, weights: Weights, frames: list[Frame], kernel: Kernel, threads: int = 1
    ) -> None:
        self.weights = weights
        self.frames = frames
        self.kernel = kernel
        self.threads = threads
        self._summing = threading.Semaphore(threads)
        self._mine = threading.local()

    def read(self, slices: Iterable[Slice]) -> Iterator[Read]:
        """Every slice's sums and samples, in order; the results do not depend on the
        number of threads.
        """
        waiting: deque[
            tuple[Slice, list[Frame], list[tuple[list[Piece], Future[Sums]]]]
        ] = deque()
        pool = ThreadPoolExecutor(self.threads + 1)
        try:
            for piece in slices:
                possible = [
                    frame
                    for frame in self.frames
                    if all(model in piece.members for model in frame.models)
                ]
                jobs = together(runs(_pieces(piece.blocks), RUN)) if possible else ()
                waiting.append(
                    (
                        piece,
                        possible,
                        [
                            (
                                [*chain(*job)],
                                pool.submit(self._sum, piece, possible, job),
                            )
                            for job in jobs
                        ],
                    )
                )
                while (
                    len(waiting) > 1
                    and sum(len(jobs) for _, _, jobs in waiting) > AHEAD
                ):
                    yield self._collected(*waiting.popleft())
            while waiting:
                yield self._collected(*waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _sum(self, piece: Slice, frames: list[Frame], job: list[list[Piece]]) -> Sums:
        views = {
            model: piece.members[model] for frame in frames for model in frame.models
        }
        pieces = [*chain(*job)]
        lengths = np.array([length for _, _, length in pieces])

        def read(run: list[Piece]) -> dict[str, Stored]:
            return {
                model: self._stored(model, view, run) for model, view in views.items()
            }

        sums = self._by_the_kernel(frames, views, pieces, lengths)
        if sums is None:
            parts = []
            for run in job:
                stored = read(run)
                with self._summing:
                    parts.append(
                        unsettled(
                            frames,
                            stored,
                            np.cumsum([0, *(length for _, _, length in run)]),
                            self.kernel,
                        )
                    )
            sums = {
                key: np.concatenate([part[key] for part in parts]) for key in parts[0]
            }
        return settled(frames, sums, lengths, lambda number: read([pieces[number]]))

    def _by_the_kernel(
        self,
        frames: list[Frame],
        views: Mapping[str, View],
        pieces: list[Piece],
        lengths: NDArray[np.int64],
    ) -> Sums | None:
        """The pieces' sums, where their elements lie in the files as they are and the
        kernel reads them itself; None elsewhere.
        """
        places = {model: self.weights.place(view, 0) for model, view in views.items()}
        dtypes = {view["dtype"] for view in views.values()}
        if len(dtypes) > 1 or None in places.values():
            return None
        dtype = dtypes.pop()
        width = FORMATS[dtype].width
        offsets = width * np.array([first for _, first, _ in pieces])
        sums = file_sums(
            frames,
            {model: (file, start + offsets) for model, (file, start) in places.items()},
            lengths,
            dtype,
            self.kernel,
        )
        if sums is not None:
            self.weights.count(len(views) * width * int(lengths.sum()))
        return sums

    def _stored(self, model: str, view: View, run: list[Piece]) -> Stored:
        """The run's elements in this thread's buffer for the model: fresh memory is
        slow to touch.
        """
        width = FORMATS[view["dtype"]].width
        buffers = self._mine.__dict__
        if model not in buffers or buffers[model].size < RUN * width:
            buffers[model] = self.kernel.buffer(RUN * width)
        raw = buffers[model][: sum(length for _, _, length in run) * width]
        return Stored(
            raw,
            view["dtype"],
            self.weights.stretches(
                view, ((first, length) for _, first, length in run), raw
            ),
        )

    def _collected(
        self,
        piece: Slice,
        frames: list[Frame],
        jobs: list[tuple[list[Piece], "Future[Sums]"]],
    ) -> Read:
        """Pieces added up block by block, in the order of the elements."""
        done = [job.result() for _, job in jobs]
        first = np.flatnonzero(
            np.diff([block for run, _ in jobs for block, _, _ in run], prepend=-1)
        )
        sums = (
            {
                key: np.add.reduceat(
                    np.concatenate([part[key] for part in done]), first
                )
                for key in done[0]
            }
            if done
            else {}
        )
        rows = list(records(frames, sums, piece.blocks[:, 1]))
        read = Read(
            piece.slice_id, rows, keep_samples(self.weights, piece.members, piece.kept)
        )
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
            done = done + count
            room = room - count
            if not room:
                yield run
                run = []
                room = size
    if run:
        yield run


def together(cut: Iterable[list[Piece]]) -> Iterator[list[list[Piece]]]:
    """TOGETHER runs at a time."""
    cut = iter(cut)
    while job := list(islice(cut, TOGETHER)):
        yield job


def _pieces(blocks: NDArray[np.int64]) -> list[Piece]:
    return [
        (block, start, length) for block, (start, length) in enumerate(blocks.tolist())
    ]


def keep_samples(
    weights: Weights, members: Mapping[str, View], blocks: NDArray[np.int64]
) -> dict[str, Sample]:
    """The raw elements of the evidence blocks, of every model that holds the slice."""
    samples = {}
    for model, view in members.items():
        raw = np.empty(int(blocks[:, 1].sum()) * FORMATS[view["dtype"]].width, np.uint8)
        samples[model] = Sample(
            raw,
            view["dtype"],
            weights.stretches(view, blocks.tolist(), raw),
            view.get("through") or None,
        )
    return samples
