"""A little of one model's weights, read where the layout of its tensors would show."""

import re
import zlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergetrace.numerics.dtypes import FORMATS, LIMIT, decode, encode
from mergetrace.sums.evidence import Sample, only_usable
from mergetrace.tensors.naming import component_of
from mergetrace.tensors.view import View
from mergetrace.tensors.weights import Weights

Array = NDArray[np.float32]
Key = tuple[str, str]
"""A slice by its canonical name: tensor, expert."""

RUNS = 8
EXPERT_RUNS = 4
LENGTH = 32  # runs read of a matrix, of an expert's, and elements of each
SAMPLE = 512  # elements of each run, where numbers are looked at one by one
MOST_ROWS = (
    1 << 16
)  # a longer matrix is a vocabulary: its rows have names of their own, in the tokenizer
FEATURES = 256  # columns that tell one row from another
LARGEST = 2.0**50  # a million squares of such numbers are within float32
_BLOCK = 1 << 22  # elements in memory at once
_ANYWHERE = re.compile(
    r"layers\.\d+\.|\.experts(?=\.)|\.shared_experts?(?=\.)|\.weight$"
)


class Glimpses:
    """One model's views, and what was read of them so far. `maps`: by slice how it is
    found to be read (see View).
    """

    def __init__(
        self, name: str, views: Mapping[Key, View], weights: Weights, seed: int
    ) -> None:
        self.name = name
        self.views = dict(views)
        self.weights = weights
        self.seed = seed
        self.maps: dict[Key, dict[str, Any]] = self._given()
        self._runs: dict[Key, dict[int, Array]] = {}
        self._samples: dict[Key, Sample] = {}

    def arrange(self, key: Key, **found: Any) -> None:
        """Read a slice otherwise from now on."""
        self.maps.setdefault(key, {}).update(found)
        self._runs.pop(key, None)
        self._samples.pop(key, None)

    def multiply(self, key: Key, **scales: NDArray[np.float64]) -> None:
        """Multiply a slice's rows (`row_scale`) or columns (`col_scale`) as it is read,
        on top of what they are multiplied by already.
        """
        held = self.maps.get(key, {})
        self.arrange(
            key,
            **{name: numbers * held.get(name, 1.0) for name, numbers in scales.items()},
        )

    def forget_maps(self) -> None:
        """Read everything as its view says."""
        for key in self.maps:
            self._runs.pop(key, None)
            self._samples.pop(key, None)
        self.maps = self._given()

    def found_maps(self) -> dict[Key, dict[str, Any]]:
        """By slice how it is found to be read, of those that are not read as their view
        says.
        """
        return {
            key: dict(maps)
            for key, maps in self.maps.items()
            if set(maps) != {"row_map"}
            or maps["row_map"] is not self.views[key].row_map
        }

    def rename(self, names: Mapping[Key, Key]) -> None:
        """Look slices up by another name from now on."""
        self.views = {names.get(key, key): view for key, view in self.views.items()}
        self.maps = {names.get(key, key): maps for key, maps in self.maps.items()}
        self._runs.clear()
        self._samples.clear()

    def judged(self) -> list[Key]:
        """The slices that tell where they belong: matrices, not norms, vectors or a
        head borrowed from the embedding.
        """
        return [
            key
            for key, view in self.views.items()
            if min(view.rows, view.cols) >= LENGTH // 2 and self._tells(key, view)
        ]

    def runs(self, key: Key, rows: int | None = None) -> Array:
        """A few short runs of a slice, or of its first rows, float32 [runs x length]:
        at the same places in every model, layer and expert.
        """
        view = self._view(key)
        count = EXPERT_RUNS if key[1] else RUNS
        held = self._runs.setdefault(key, {})
        rows = rows or view.rows
        if rows not in held:
            read = [
                self.weights.values(view, place, length)
                for place, length in self._places(key, rows, LENGTH)[:: RUNS // count]
            ]
            held[rows] = _plain(np.concatenate(read))
        return held[rows]

    def sample(self, key: Key) -> Sample:
        """Some longer runs of a slice as they are stored: at the same places in every
        model.
        """
        if key not in self._samples:
            view = self._view(key)
            places = self._places(key, self.views[key].rows, SAMPLE)
            raw = np.concatenate([self.weights.raw(view, *place) for place in places])
            scales = [self.weights.scales(view, *place) for place in places]
            self._samples[key] = _sound(
                Sample(
                    raw,
                    view.dtype,
                    None if scales[0] is None else np.concatenate(scales),
                    view.through or None,
                )
            )
        return self._samples[key]

    def dtype(self) -> str:
        """The format most of the model's matrices are stored in."""
        return Counter(self.views[key].dtype for key in self.judged()).most_common(1)[
            0
        ][0]

    def lines(self, key: Key, count: int, columns: bool = False) -> Sample:
        """Some whole rows, or columns, spread evenly, as they are stored: lines after
        each other.
        """
        view = self._view(key)
        rows = view.rows
        cols = view.cols
        width = FORMATS[view.dtype].width
        places = _spread_over(cols if columns else rows, count)
        if not columns:
            raw = np.concatenate(
                [self.weights.raw(view, int(row) * cols, cols) for row in places]
            )
            scales = [
                self.weights.scales(view, int(row) * cols, cols) for row in places
            ]
            return _sound(
                Sample(
                    raw,
                    view.dtype,
                    None if scales[0] is None else np.concatenate(scales),
                    view.through or None,
                )
            )
        raw = []
        scales = []
        for row, many in self._row_blocks(rows, cols):
            raw.append(
                self.weights.raw(view, row * cols, many * cols).reshape(
                    many, cols, width
                )[:, places]
            )
            found = self.weights.scales(view, row * cols, many * cols)
            scales.append(
                None if found is None else found.reshape(many, cols)[:, places]
            )
        turned = np.ascontiguousarray(np.concatenate(raw).transpose(1, 0, 2)).reshape(
            -1
        )
        return _sound(
            Sample(
                turned,
                view.dtype,
                None if scales[0] is None else np.concatenate(scales).T.reshape(-1),
                view.through or None,
            )
        )

    def rows(self, key: Key, count: int) -> Array:
        """Some whole rows, spread evenly: float32 [rows, cols]."""
        view = self._view(key)
        places = _spread_over(view.rows, count)
        return _plain(
            np.stack(
                [
                    self.weights.values(view, int(row) * view.cols, view.cols)
                    for row in places
                ]
            )
        )

    def columns(self, key: Key, count: int = FEATURES) -> Array:
        """Some columns of all rows, spread evenly: float32 [rows, columns]."""
        view = self._view(key)
        rows = view.rows
        cols = view.cols
        places = _spread_over(cols, count)
        parts = [
            self.weights.values(view, row * cols, many * cols).reshape(-1, cols)[
                :, places
            ]
            for row, many in self._row_blocks(rows, cols)
        ]
        return _plain(np.concatenate(parts))

    def vector(self, key: Key) -> Array:
        """A small tensor whole."""
        view = self._view(key)
        return _plain(self.weights.values(view, 0, view.rows * view.cols))

    def _given(self) -> dict[Key, dict[str, Any]]:
        """What the views say of their rows."""
        return {
            key: {"row_map": view.row_map}
            for key, view in self.views.items()
            if view.row_map is not None
        }

    def _places(self, key: Key, rows: int, length: int) -> list[tuple[int, int]]:
        """(first, count) of RUNS runs, one in each of as many stretches."""
        elements = rows * self.views[key].cols
        length = min(length, max(1, elements // RUNS))
        generator = np.random.default_rng(
            [self.seed, zlib.crc32(_ANYWHERE.sub("", key[0]).encode())]
        )
        starts = np.linspace(0, elements - length, RUNS + 1).astype(np.int64)
        return [
            (place, length)
            for place in (
                starts[:-1] + generator.integers(0, np.maximum(np.diff(starts), 1))
            ).tolist()
        ]

    def _view(self, key: Key) -> View:
        """The slice's view, read as it is found to be."""
        return replace(self.views[key], model=self.name, **self.maps.get(key, {}))

    @staticmethod
    def _row_blocks(rows: int, cols: int) -> list[tuple[int, int]]:
        """(first row, rows) of blocks that fit in memory."""
        step = max(1, _BLOCK // cols)
        return [(row, min(step, rows - row)) for row in range(0, rows, step)]

    @staticmethod
    def _tells(key: Key, view: View) -> bool:
        return component_of(key[0]) != "norm" and not view.borrowed


def _plain(values: NDArray[np.float64]) -> Array:
    """Numbers as float32, zeros in place of those that are no weights; what is beyond
    LARGEST is cut, so that no sum of products overflows.
    """
    kept = np.where(np.abs(values) < LIMIT, values, 0.0)
    return np.clip(kept, -LARGEST, LARGEST).astype(np.float32)


def _sound(sample: Sample) -> Sample:
    """The sample with zeros in place of what is no weight; of float64, which has no
    finer lattice, as float32.
    """
    sample = only_usable({"": sample}, [""])[""]
    if sample.dtype != "F64":
        return sample
    return replace(
        sample, raw=encode(decode(sample.raw, "F64"), "F32").view(np.uint8), dtype="F32"
    )


def _spread_over(size: int, count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, size - 1, min(count, size)).astype(np.int64))
