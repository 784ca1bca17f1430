"""Slices joined to the tensors that a merging tool saw: an angle or a threshold of a
fused tensor runs over all its experts.

What the tool saw is taken to be what the audited model's own file holds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import cast

import numpy as np
import pandas as pd

from mergetrace.merging.applying import Piece
from mergetrace.merging.facts import HeldFacts, gram_of_sums, last_dimension
from mergetrace.merging.settings import layer_position
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.search.token_rows import TOKEN_TABLES, without_own_rows
from mergetrace.sums.evidence import Sample, joined, only_usable
from mergetrace.sums.frames import Frame
from mergetrace.tensors.naming import canonical_name, slice_name

MAX_JOINED_ELEMENTS = 1 << 22
"""Of a tensor that is put together."""
MAX_SAMPLED_ELEMENTS = 1 << 18
"""From which the thresholds of a larger tensor, or of one known by a sample, are
estimated.
"""

Samples = Mapping[str, Sample]
"""The kept elements of one slice, by model."""
Part = tuple[int, int, int]
"""A slice in a piece: slice id, first element, one past the last."""
TensorKey = tuple[str, str]
"""A tensor of the audited model: component (a head may borrow the embedding's bytes)
and the name in its file.
"""


@dataclass(frozen=True)
class Joined:
    """A piece and the wanted slices it is made of."""

    piece: Piece
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class SliceInfo:
    """What the fits say of a slice beside its numbers."""

    name: str
    """Its own (see naming.slice_name)."""
    layer: str
    component: str
    key: TensorKey
    start: int
    """Where it lies in the audited model's file."""
    elements: int
    cols: int


@dataclass(frozen=True)
class Joiner:
    """Makes pieces of slices."""

    frame: Frame
    fits: pd.DataFrame
    """The fits of the frame."""
    own_rows: dict[tuple[str, int], dict[str, int]] = field(default_factory=dict)
    """By tensor of a file and place in it, the rows of a token table that are one
    parent's own and were left out, by parent.
    """

    def pieces(
        self, slices: Iterable[tuple[int, Samples]], wanted: set[int]
    ) -> Iterator[Joined]:
        """The tensors that hold a wanted slice; slices: (slice id, samples by model).

        A tensor of at most MAX_JOINED_ELEMENTS that are all there is one piece, in the
        file's order. Of any other each wanted slice is a piece, with the inner products
        of the whole tensor and thresholds from its first slices. Nothing comes of
        float64, which has no finer lattice.
        """
        wanted_keys = {self._info[slice_id].key for slice_id in wanted}
        waiting: dict[TensorKey, dict[int, Samples]] = {}
        estimated: dict[TensorKey, HeldFacts] = {}
        for slice_id, stored in slices:
            info = self._info.get(slice_id)
            if info is None or info.key not in wanted_keys:
                continue
            key = info.key
            samples = self._compared(stored, info)
            if key in estimated:
                yield from self._apart(key, {slice_id: samples}, estimated[key], wanted)
                continue
            held = waiting.setdefault(key, {})
            held[slice_id] = samples
            if self._can_be_joined(key, held):
                yield from self._together(key, waiting.pop(key), wanted)
            elif self._is_enough(key, held):
                estimated[key] = self._facts(key, list(waiting.pop(key).values()))
                yield from self._apart(key, held, estimated[key], wanted)
        for key, held in waiting.items():  # not all of the tensor is there
            facts = self._facts(key, list(held.values()))
            yield from self._apart(key, held, facts, wanted)

    def _compared(self, stored: Samples, info: SliceInfo) -> Samples:
        """What a recipe has to give back of a slice: neither numbers that are none, nor
        the tokens that were taken from one parent.
        """
        samples = only_usable(stored, self.frame.models)
        if info.component not in TOKEN_TABLES:
            return samples
        left, rows = without_own_rows(samples, self.frame, info.cols)
        self.own_rows[info.key[1], info.start] = rows
        return left

    def _can_be_joined(self, key: TensorKey, held: Mapping[int, Samples]) -> bool:
        """Whether every element of a tensor that is small enough is there."""
        elements = self._elements_of(key)
        complete = len(held) == len(self._slices_of[key])
        there = sum(map(self._count, held.values()))
        return complete and there == elements <= MAX_JOINED_ELEMENTS

    def _is_enough(self, key: TensorKey, held: Mapping[int, Samples]) -> bool:
        """Whether the facts of a tensor that is not joined can be estimated: all of its
        slices are there, or many elements of one that will never be complete.
        """
        if len(held) == len(self._slices_of[key]):
            return True
        if sum(map(self._count, held.values())) < MAX_SAMPLED_ELEMENTS:
            return False
        return self._elements_of(key) > MAX_JOINED_ELEMENTS or self._is_sampled(held)

    def _together(
        self, key: TensorKey, slices: Mapping[int, Samples], wanted: set[int]
    ) -> Iterator[Joined]:
        """All slices of a tensor as one piece."""
        members = self._slices_of[key]
        samples = [slices[slice_id] for slice_id in members]
        stored = {
            name: joined([by_model[name] for by_model in samples])
            for name in self.frame.models
        }
        ends = np.cumsum([self._count(by_model) for by_model in samples]).tolist()
        bounds = zip(members, [0, *ends[:-1]], ends, strict=True)
        parts = tuple(part for part in bounds if part[0] in wanted)
        name = canonical_name(key[1])
        if len(members) == 1:
            name = self._info[members[0]].name
        facts = self._facts(key, samples)
        whole = self._piece(name, members[0], facts.values, stored, facts)
        if whole is not None:
            names = tuple(self._info[slice_id].name for slice_id in members)
            yield Joined(replace(whole, ends=tuple(ends), names=names), parts)

    def _apart(
        self,
        key: TensorKey,
        slices: Mapping[int, Samples],
        facts: HeldFacts,
        wanted: set[int],
    ) -> Iterator[Joined]:
        """Each wanted slice as a piece of its own."""
        is_single = len(self._slices_of[key]) == 1
        for slice_id, samples in slices.items():
            if slice_id not in wanted:
                continue
            values = facts.values if is_single else self._values([samples])
            name = self._info[slice_id].name
            piece = self._piece(name, slice_id, values, samples, facts)
            if piece is not None:
                yield Joined(piece, ((slice_id, 0, self._count(samples)),))

    def _piece(
        self,
        name: str,
        first_slice: int,
        values: Mapping[str, Array],
        stored: Samples,
        facts: HeldFacts,
    ) -> Piece | None:
        """None of float64."""
        audited = stored[self.frame.audited].on_lattice()
        if audited.dtype == "F64":
            return None
        position = layer_position(self._info[first_slice].layer, self._last_layer)
        return Piece(name, position, values, audited, facts, samples=stored)

    def _facts(self, key: TensorKey, samples: Sequence[Samples]) -> HeldFacts:
        elements = self._elements_of(key)
        cols = self._info[self._slices_of[key][0]].cols
        return HeldFacts(
            base=self.frame.base,
            donors=self.frame.donors,
            gram=gram_of_sums(self._sums[key], self.frame.donors),
            values=self._values(samples),
            elements=elements,
            columns=last_dimension(cols, elements),
        )

    def _values(self, samples: Sequence[Samples]) -> dict[str, Array]:
        """The parents' elements of several slices, one after another."""
        return {
            name: np.concatenate([by_model[name].values() for by_model in samples])
            for name in (self.frame.base, *self.frame.donors)
        }

    def _count(self, samples: Samples) -> int:
        base = samples[self.frame.base]
        return len(base.raw) // FORMATS[base.dtype].width

    def _is_sampled(self, slices: Mapping[int, Samples]) -> bool:
        """Whether a slice is known by a sample only."""
        return any(
            self._count(samples) < self._info[slice_id].elements
            for slice_id, samples in slices.items()
        )

    def _elements_of(self, key: TensorKey) -> int:
        return sum(self._info[slice_id].elements for slice_id in self._slices_of[key])

    @cached_property
    def _sums(self) -> dict[TensorKey, dict[str, float]]:
        """Inner products of each whole tensor: sums of a sample stand for the whole
        slice.
        """
        columns = self.fits.filter(regex=r"^(bb|bv\.|vv\.)")
        expanded = columns.mul(self.fits["weight"], axis=0)
        keys = [self.fits["component"], self.fits["source"]]
        tensors = expanded.groupby(keys).sum().to_dict("index")
        return cast(dict[TensorKey, dict[str, float]], tensors)

    @cached_property
    def _info(self) -> dict[int, SliceInfo]:
        """By slice id."""
        columns = ["slice_id", "tensor", "slice", "layer", "component", "source"]
        columns += ["start", "elements", "cols"]
        records = self.fits[columns].to_dict("records")
        return {
            record["slice_id"]: SliceInfo(
                name=slice_name(record["tensor"], record["slice"]),
                layer=record["layer"],
                component=record["component"],
                key=(record["component"], record["source"]),
                start=record["start"],
                elements=record["elements"],
                cols=record["cols"],
            )
            for record in records
        }

    @cached_property
    def _slices_of(self) -> dict[TensorKey, list[int]]:
        """The slices of each tensor in the file's order."""
        by_key: dict[TensorKey, list[int]] = {}
        for slice_id in sorted(self._info, key=lambda name: self._info[name].start):
            by_key.setdefault(self._info[slice_id].key, []).append(slice_id)
        return by_key

    @cached_property
    def _last_layer(self) -> int:
        layers = [int(layer) for layer in self.fits["layer"] if layer.isdigit()]
        return max(layers, default=0)
