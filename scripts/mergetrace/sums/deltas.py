"""The slices of a layer: their sums under every frame, and their evidence samples. The
next run of elements is read while this one is summed.

A slice is summed in blocks. A piece is a block or a part of one; a run is some pieces
that are in memory at once; a job is some runs that one thread sums.
"""

import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import NamedTuple

import numpy as np

from mergetrace.formats.block_layouts import LAYOUTS
from mergetrace.numerics.arrays import Bytes, Integers
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.sums.coarse_grids import (
    count_on_grid,
    parents_on_grid,
    with_grid,
)
from mergetrace.sums.evidence import Sample, sample_of
from mergetrace.sums.frames import Frame
from mergetrace.sums.from_files import file_sums, packed_file_sums
from mergetrace.sums.gram import (
    Pair,
    PieceSums,
    Sums,
    added_up,
    joined,
    memory_sums,
    settle,
)
from mergetrace.sums.kernels import FileParts, Kernel
from mergetrace.sums.packed_parts import packed_parts
from mergetrace.sums.recast import FIRST_LOOK, is_no_recast
from mergetrace.sums.records import Record, records
from mergetrace.sums.stored import Stored
from mergetrace.tensors.view import View
from mergetrace.tensors.weights import Weights

RUN_ELEMENTS = 1 << 21
"""Elements of each model in memory at once, where the kernel reads no files itself."""
RUNS_PER_JOB = 8  # so that threads meet at Python's lock less often
MAX_PENDING_JOBS = 16  # submitted and not yet collected

GRID_ELEMENTS = 1 << 20
"""Elements of each model that are looked at together for a grid."""
TILE_ROWS = 128
"""Of the tiles of numbers that share a scale: see grid_groups."""


class Piece(NamedTuple):
    """Neighbouring elements of one block of a slice."""

    block: int
    first: int
    """The first element's index in the slice."""
    length: int


Run = list[Piece]


@dataclass(frozen=True)
class Slice:
    """One slice, and what is to be done with it. Blocks are int64 [blocks, 2]: start,
    length; ascending and disjoint.
    """

    slice_id: int
    members: Mapping[str, View]
    """Its views by model."""
    blocks: Integers
    """The blocks to sum."""
    kept: Integers
    """The blocks to keep."""


@dataclass(frozen=True)
class Read:
    """What was made of a slice."""

    slice_id: int
    records: list[Record]
    """One per block and frame (see records)."""
    samples: dict[str, Sample]
    """The kept elements by model."""


@dataclass(frozen=True)
class _Pending:
    """A slice whose sums are being made."""

    slice: Slice
    frames: list[Frame]
    """The frames all of whose models hold the slice."""
    jobs: list[list[Run]]
    results: list[Future[Sums]]
    """Of each job: the sums of its pieces."""


class _ThreadBuffers(threading.local):
    """Each thread's memory to read into, by model: fresh memory is slow to touch."""

    def __init__(self) -> None:
        self.by_model: dict[str, Bytes] = {}


class Reader:
    """Reads and sums with `threads` threads, and one more that waits for the disk.

    Where the kernel reads files itself a thread holds little memory, elsewhere
    RUN_ELEMENTS of every model.
    """

    def __init__(
        self,
        weights: Weights,
        frames: Sequence[Frame],
        kernel: Kernel,
        threads: int = 1,
    ) -> None:
        self.weights = weights
        self.frames = frames
        self.kernel = kernel
        self.threads = threads
        self._summing = threading.Semaphore(threads)
        self._buffers = _ThreadBuffers()

    def read(self, slices: Iterable[Slice]) -> Iterator[Read]:
        """Every slice's sums and samples, in order; the results do not depend on the
        number of threads.
        """
        waiting: deque[_Pending] = deque()
        pool = ThreadPoolExecutor(self.threads + 1)
        try:
            for each in slices:
                waiting.append(self._submitted(each, pool))
                while len(waiting) > 1 and _count_jobs(waiting) > MAX_PENDING_JOBS:
                    yield self._collected(waiting.popleft())
            while waiting:
                yield self._collected(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)

    def _submitted(self, part: Slice, pool: ThreadPoolExecutor) -> _Pending:
        """The slice with its jobs, handed to the pool."""
        frames = [
            frame
            for frame in self.frames
            if all(model in part.members for model in frame.models)
        ]
        if not frames:
            return _Pending(part, [], [], [])
        jobs = list(cut_into_jobs(cut_into_runs(_pieces(part.blocks), RUN_ELEMENTS)))
        results = [pool.submit(self._sum, part, frames, job) for job in jobs]
        return _Pending(part, frames, jobs, results)

    def _sum(self, part: Slice, frames: list[Frame], job: list[Run]) -> Sums:
        """The sums of a job's pieces under every frame."""
        views = {
            model: part.members[model] for frame in frames for model in frame.models
        }
        pieces = [piece for run in job for piece in run]
        lengths = np.array([piece.length for piece in pieces])

        def read_piece(number: int) -> dict[str, Stored]:
            return self._read(views, [pieces[number]])

        sums = self._file_sums(frames, views, pieces, lengths)
        if sums is None and any(view.dtype in LAYOUTS for view in views.values()):
            sums = self._packed_file_sums(frames, views, pieces, lengths)
        if sums is None:
            sums = joined([self._run_sums(frames, views, run) for run in job])
        return settle(frames, sums, lengths, read_piece)

    def _run_sums(
        self, frames: list[Frame], views: Mapping[str, View], run: Run
    ) -> PieceSums:
        """Read a run into memory and sum its pieces."""
        stored = self._read(views, run)
        edges = np.cumsum([0, *(piece.length for piece in run)])
        with self._summing:
            return memory_sums(frames, stored, edges, self.kernel)

    def _file_sums(
        self,
        frames: list[Frame],
        views: Mapping[str, View],
        pieces: Sequence[Piece],
        lengths: Integers,
    ) -> PieceSums | None:
        """The pieces' sums, where their elements lie in the files as they are and the
        kernel reads them itself; None elsewhere.
        """
        dtypes = {view.dtype for view in views.values()}
        places = [self.weights.place(view, 0) for view in views.values()]
        in_files = [place for place in places if place is not None]
        if len(dtypes) > 1 or len(in_files) < len(places):
            return None
        dtype = dtypes.pop()
        width = FORMATS[dtype].width
        piece_offsets = width * np.array([piece.first for piece in pieces])
        parts = FileParts(
            np.array([descriptor for descriptor, _ in in_files], np.int32),
            np.stack([start + piece_offsets for _, start in in_files]),
            lengths,
            dtype,
        )
        sums = file_sums(frames, list(views), parts, self.kernel)
        if sums is not None:
            self.weights.count(len(views) * width * int(lengths.sum()))
        return sums

    def _packed_file_sums(
        self,
        frames: list[Frame],
        views: Mapping[str, View],
        pieces: Sequence[Piece],
        lengths: Integers,
    ) -> PieceSums | None:
        """Like _file_sums where blocks of GGUF are among the files."""
        first = np.array([piece.first for piece in pieces])
        parts = packed_parts(self.weights, list(views.values()), first, lengths)
        if parts is None:
            return None
        few = pieces[0]._replace(length=min(pieces[0].length, FIRST_LOOK))

        def looked_at(pair: Pair) -> bool | None:
            held = self._read({name: views[name] for name in pair}, [few])
            return is_no_recast(held[pair[0]], held[pair[1]])

        sums = packed_file_sums(frames, list(views), parts, self.kernel, looked_at)
        if sums is not None:
            self.weights.count(parts.size)
        return sums

    def _read(self, views: Mapping[str, View], run: Run) -> dict[str, Stored]:
        """The run's elements by model, in this thread's buffers."""
        return {model: self._stored(model, view, run) for model, view in views.items()}

    def _stored(self, model: str, view: View, run: Run) -> Stored:
        width = FORMATS[view.dtype].width
        buffer = self._buffers.by_model.get(model)
        if buffer is None or buffer.size < RUN_ELEMENTS * width:
            buffer = self.kernel.buffer(RUN_ELEMENTS * width)
            self._buffers.by_model[model] = buffer
        raw = buffer[: sum(piece.length for piece in run) * width]
        stretches = ((piece.first, piece.length) for piece in run)
        scales, shifts = self.weights.stretches(view, stretches, raw)
        return Stored(raw, view.dtype, scales, shifts)

    def _collected(self, pending: _Pending) -> Read:
        """Pieces added up block by block, in the order of the elements."""
        sums = [result.result() for result in pending.results]
        pieces = [piece for job in pending.jobs for run in job for piece in run]
        first = np.flatnonzero(np.diff([piece.block for piece in pieces], prepend=-1))
        part = pending.slice
        lengths = part.blocks[:, 1]
        samples = self._kept(part, part.kept)
        rows = list(records(pending.frames, added_up(sums, first), lengths))
        count_on_grid(rows, self._rounded_to_grid(part, pending.frames, samples))
        read = Read(part.slice_id, rows, samples)
        for view in part.members.values():
            self.weights.forget(view)
        return read

    def _rounded_to_grid(
        self, part: Slice, frames: Sequence[Frame], samples: Mapping[str, Sample]
    ) -> set[tuple[Frame, str]]:
        """By frame the parents that the slice is of once they are rounded to the grid on
        which it lies. What was not kept is read once more where the kept elements are.
        """
        found = parents_on_grid(frames, samples)
        if not found or part.kept[:, 1].sum() == part.blocks[:, 1].sum():
            return found
        elements = int(part.blocks[-1].sum())
        cols = part.members[frames[0].audited].cols
        for blocks in _in_rows(elements, cols):
            if not found:
                break
            found &= parents_on_grid(frames, self._kept(part, blocks))
        return found

    def _kept(self, part: Slice, blocks: Integers) -> dict[str, Sample]:
        """The elements of some blocks, the suspect's with the grid that they lie on."""
        samples = keep_samples(self.weights, part.members, blocks)
        if not self.frames:
            return samples
        parents = {name for frame in self.frames for name in frame.parents}
        suspect = self.frames[0].audited
        return with_grid(samples, part.members, blocks, suspect, parents)


def _count_jobs(waiting: Iterable[_Pending]) -> int:
    return sum(len(pending.jobs) for pending in waiting)


def _in_rows(elements: int, cols: int) -> Iterator[Integers]:
    """A slice cut between rows of tiles: each time an array of one block."""
    size = max(GRID_ELEMENTS // (TILE_ROWS * cols), 1) * TILE_ROWS * cols
    starts = range(0, max(elements - size // 2, 1), size)
    for start, end in pairwise([*starts, elements]):
        yield np.array([[start, end - start]])


def cut_into_runs(pieces: Iterable[Piece], size: int) -> Iterator[Run]:
    """Pieces packed into runs of at most `size` elements, cut where a run is full."""
    run: Run = []
    room = size
    for block, start, length in pieces:
        done = 0
        while done < length:
            count = min(length - done, room)
            run.append(Piece(block, start + done, count))
            done += count
            room -= count
            if not room:
                yield run
                run = []
                room = size
    if run:
        yield run


def cut_into_jobs(runs: Iterable[Run]) -> Iterator[list[Run]]:
    """RUNS_PER_JOB runs at a time."""
    runs = iter(runs)
    while job := list(islice(runs, RUNS_PER_JOB)):
        yield job


def _pieces(blocks: Integers) -> list[Piece]:
    return [Piece(block, *place) for block, place in enumerate(blocks.tolist())]


def keep_samples(
    weights: Weights, members: Mapping[str, View], blocks: Integers
) -> dict[str, Sample]:
    """The raw elements of the evidence blocks (int64 [blocks, 2]: start, length), of
    every model that holds the slice.
    """
    stretches = blocks.tolist()
    return {
        model: sample_of(weights, view, stretches) for model, view in members.items()
    }
