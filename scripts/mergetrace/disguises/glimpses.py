"""A little of one model's weights, read where the layout of its tensors would show."""

import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np

from mergetrace.disguises.adjustments import Adjustment
from mergetrace.numerics.arrays import Array, Bytes, Singles, evenly_spread
from mergetrace.numerics.dtypes import FORMATS, LIMIT, decode, encode
from mergetrace.sums.evidence import Sample, only_usable, sample_of
from mergetrace.tensors.naming import component_of
from mergetrace.tensors.view import Key, View
from mergetrace.tensors.weights import Weights

RUNS = 8  # short runs of elements that are read of a matrix
EXPERT_RUNS = 4  # and of an expert's
RUN_LENGTH = 32  # elements of each
SAMPLE_RUN_LENGTH = 512  # elements of each run where numbers are looked at one by one
MAX_ROWS = 1 << 16
"""A longer matrix is a vocabulary: its rows have names of their own, in the tokenizer."""
FEATURES = 256  # columns by which rows are told apart
LARGEST = 2.0**50  # a million squares of such numbers are within float32
GLIMPSED_AT_ONCE = 1 << 22  # elements in memory at once
PLACE_IN_MODEL = re.compile(
    r"layers\.\d+\.|\.experts(?=\.)|\.shared_experts?(?=\.)|\.weight$"
)
"""What tells layers, experts and spellings apart in a name: the same elements are read
in all of them.
"""


T = TypeVar("T")


class Glimpses:
    """One model's views, how they are found to be read, and what was read so far."""

    def __init__(
        self, name: str, views: Mapping[Key, View], weights: Weights, seed: int
    ) -> None:
        self.name = name
        self.views = dict(views)
        self.weights = weights
        self.seed = seed
        self.adjusted: dict[Key, Adjustment] = {}
        """Slices that are read otherwise than their view says."""
        self._runs: dict[Key, dict[int, Singles]] = {}
        self._samples: dict[Key, Sample] = {}

    def adjustment(self, key: Key) -> Adjustment:
        """How a slice is read as yet."""
        if key in self.adjusted:
            return self.adjusted[key]
        return Adjustment(row_map=self.views[key].row_map)

    def adjust(self, key: Key, adjustment: Adjustment) -> None:
        """Read a slice so from now on."""
        self.adjusted[key] = adjustment
        self._runs.pop(key, None)
        self._samples.pop(key, None)

    def replace_view(self, key: Key, view: View) -> None:
        """Take another view for a slice from now on."""
        self.views[key] = view
        self.adjusted.pop(key, None)
        self._runs.pop(key, None)
        self._samples.pop(key, None)

    def multiply_rows(self, key: Key, numbers: Array) -> None:
        """Multiply a slice's rows as it is read, on top of what they are multiplied by
        already.
        """
        current = self.adjustment(key)
        held = 1.0 if current.row_scale is None else current.row_scale
        self.adjust(key, replace(current, row_scale=numbers * held))

    def multiply_columns(self, key: Key, numbers: Array) -> None:
        """Multiply a slice's columns as it is read, on top of what they are multiplied
        by already.
        """
        current = self.adjustment(key)
        held = 1.0 if current.col_scale is None else current.col_scale
        self.adjust(key, replace(current, col_scale=numbers * held))

    def read_through(self, key: Key, dtype: str | None) -> None:
        """Take a slice's numbers as rounded to a format before they were stored."""
        self.adjust(key, replace(self.adjustment(key), through=dtype))

    def read_as_named(self) -> None:
        """Read everything as its view says."""
        for key in self.adjusted:
            self._runs.pop(key, None)
            self._samples.pop(key, None)
        self.adjusted = {}

    def rename(self, names: Mapping[Key, Key]) -> None:
        """Look slices up by another name from now on."""
        self.views = _renamed(self.views, names)
        self.adjusted = _renamed(self.adjusted, names)
        self._runs.clear()
        self._samples.clear()

    def judged(self) -> list[Key]:
        """The slices that show where they belong: matrices, not norms, vectors or a
        head borrowed from the embedding.
        """
        return [
            key
            for key, view in self.views.items()
            if min(view.rows, view.cols) >= RUN_LENGTH // 2
            and component_of(key[0]) != "norm"
            and not view.borrowed
        ]

    def dtype(self) -> str:
        """The format most of the model's matrices are stored in."""
        dtypes = [self.views[key].dtype for key in self.judged()]
        ((most_common, _),) = Counter(dtypes).most_common(1)
        return most_common

    def runs(self, key: Key, rows: int | None = None) -> Singles:
        """A few short runs of a slice, or of its first rows, float32 [runs x length]:
        at the same places in every model, layer and expert.
        """
        view = self._view(key)
        rows = rows or view.rows
        held = self._runs.setdefault(key, {})
        if rows not in held:
            places = self._places(key, rows, RUN_LENGTH)
            if key[1]:
                places = places[:: RUNS // EXPERT_RUNS]
            values = [
                self.weights.values(view, first, count) for first, count in places
            ]
            held[rows] = _as_singles(np.concatenate(values))
        return held[rows]

    def sample(self, key: Key) -> Sample:
        """Some longer runs of a slice as they are stored: at the same places in every
        model.
        """
        if key not in self._samples:
            places = self._places(key, self.views[key].rows, SAMPLE_RUN_LENGTH)
            sample = sample_of(self.weights, self._view(key), places)
            self._samples[key] = _usable(sample)
        return self._samples[key]

    def sample_rows(self, key: Key, count: int) -> Sample:
        """Some whole rows, evenly spread, as they are stored: one after another."""
        view = self._view(key)
        cols = view.cols
        rows = evenly_spread(view.rows, count).tolist()
        stretches = [(row * cols, cols) for row in rows]
        return _usable(sample_of(self.weights, view, stretches))

    def sample_columns(self, key: Key, count: int) -> Sample:
        """Some whole columns, evenly spread, as they are stored: one after another."""
        view = self._view(key)
        cols = view.cols
        width = FORMATS[view.dtype].width
        places = evenly_spread(cols, count)
        raws: list[Bytes] = []
        scales: list[Array] = []
        shifts: list[Array] = []
        for row, many in _row_blocks(view.rows, cols):
            raw = np.empty(many * cols * width, np.uint8)
            stretch = (row * cols, many * cols)
            beside = self.weights.stretches(view, [stretch], raw)
            raws.append(raw.reshape(many, cols, width)[:, places])
            for kept, part in zip((scales, shifts), beside, strict=True):
                if part is not None:
                    kept.append(part.reshape(many, cols)[:, places])
        columns_first = np.concatenate(raws).transpose(1, 0, 2)
        sample = Sample(
            np.ascontiguousarray(columns_first).reshape(-1),
            view.dtype,
            np.concatenate(scales).T.reshape(-1) if scales else None,
            view.through or None,
            np.concatenate(shifts).T.reshape(-1) if shifts else None,
        )
        return _usable(sample)

    def rows(self, key: Key, count: int) -> Singles:
        """Some whole rows, evenly spread: float32 [rows, cols]."""
        view = self._view(key)
        cols = view.cols
        rows = evenly_spread(view.rows, count).tolist()
        values = [self.weights.values(view, row * cols, cols) for row in rows]
        return _as_singles(np.stack(values))

    def columns(self, key: Key, count: int = FEATURES) -> Singles:
        """Some columns of all rows, evenly spread: float32 [rows, columns]."""
        view = self._view(key)
        cols = view.cols
        places = evenly_spread(cols, count)
        blocks = []
        for row, many in _row_blocks(view.rows, cols):
            values = self.weights.values(view, row * cols, many * cols)
            blocks.append(values.reshape(-1, cols)[:, places])
        return _as_singles(np.concatenate(blocks))

    def vector(self, key: Key) -> Singles:
        """A small tensor whole."""
        view = self._view(key)
        elements = view.rows * view.cols
        values = self.weights.values(view, 0, elements)
        return _as_singles(values)

    def _places(self, key: Key, rows: int, length: int) -> Sequence[tuple[int, int]]:
        """(first, count) of RUNS runs, one at random in each of as many stretches."""
        elements = rows * self.views[key].cols
        length = min(length, max(1, elements // RUNS))
        name = PLACE_IN_MODEL.sub("", key[0])
        hashed = zlib.crc32(name.encode())
        generator = np.random.default_rng([self.seed, hashed])
        ends = np.linspace(0, elements - length, RUNS + 1)
        edges = ends.astype(np.int64)
        room = np.maximum(np.diff(edges), 1)
        first = edges[:-1] + generator.integers(0, room)
        return [(place, length) for place in first.tolist()]

    def _view(self, key: Key) -> View:
        """What `weights` reads: the view as it is adjusted."""
        adjusted = self.adjustment(key).of_view()
        return replace(self.views[key], model=self.name, **adjusted)


def _renamed(by_key: Mapping[Key, T], names: Mapping[Key, Key]) -> dict[Key, T]:
    """The same values by their keys' new names."""
    return {names.get(key, key): value for key, value in by_key.items()}


def _row_blocks(rows: int, cols: int) -> list[tuple[int, int]]:
    """(first row, rows) of blocks that fit in memory."""
    step = max(1, GLIMPSED_AT_ONCE // cols)
    blocks = []
    for row in range(0, rows, step):
        count = min(step, rows - row)
        blocks.append((row, count))
    return blocks


def _as_singles(values: Array) -> Singles:
    """Numbers as float32, zeros in place of those that are no weights; what is beyond
    LARGEST is cut, so that no sum of products overflows.
    """
    kept = np.where(np.abs(values) < LIMIT, values, 0.0)
    return np.clip(kept, -LARGEST, LARGEST).astype(np.float32)


def _usable(sample: Sample) -> Sample:
    """The sample with zeros in place of what is no weight; of float64, which has no
    finer lattice, as float32.
    """
    sample = only_usable({"": sample}, [""])[""]
    if sample.dtype != "F64":
        return sample
    singles = encode(decode(sample.raw, "F64"), "F32")
    return replace(sample, raw=singles.view(np.uint8), dtype="F32")
