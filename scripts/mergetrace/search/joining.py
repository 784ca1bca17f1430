"""Slices joined to the tensors that a merging tool saw: an angle or a threshold of a
fused tensor runs over all its experts.

What the tool saw is taken to be what the audited model's own file holds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.merging.applying import Piece
from mergetrace.merging.facts import HeldFacts, gram_of_sums, last_dimension
from mergetrace.merging.settings import layer_position
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.sums.evidence import Sample, joined, only_usable
from mergetrace.sums.frames import Frame
from mergetrace.tensors.naming import canonical_name

MOST_JOINED = 1 << 22  # elements of a tensor that is put together
MOST_SAMPLED = (
    1 << 18
    # elements from which the thresholds of a larger tensor, or of one known by a sample,
    # are estimated
)

Samples = Mapping[str, Sample]
Tensor = tuple[str, str]
"""A tensor of the audited model: component (a head may borrow the embedding's bytes)
and the name in its file.
"""


@dataclass(frozen=True)
class Joined:
    """A piece and the wanted slices it is made of: (slice id, first element, one past
    the last).
    """

    piece: Piece
    parts: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Joiner:
    """Makes pieces of slices. fits: the fits of one frame."""

    frame: Frame
    fits: pd.DataFrame

    def pieces(
        self, slices: Iterable[tuple[int, Samples]], wanted: set[int]
    ) -> Iterator[Joined]:
        """The tensors that hold a wanted slice; slices: (slice id, samples by model).

        A tensor of at most MOST_JOINED elements that are all there is one piece, in the file's order. Of any other each wanted slice is a piece, with
        the inner products of the whole tensor and thresholds from its first slices. Nothing comes of float64, which has no finer lattice.
        """
        tensors = {self._tensor_of[slice_id] for slice_id in wanted}
        held: dict[Tensor, dict[int, Samples]] = {}
        apart: dict[Tensor, HeldFacts] = {}
        for slice_id, stored in slices:
            tensor = self._tensor_of.get(slice_id)
            if tensor not in tensors:
                continue
            samples = only_usable(stored, self.frame.models)
            if tensor in apart:
                yield from self._alone(
                    tensor, {slice_id: samples}, apart[tensor], wanted
                )
                continue
            own = held.setdefault(tensor, {})
            own[slice_id] = samples
            there = sum(map(self._count, own.values()))
            complete = len(own) == len(self._slices_of[tensor])
            if complete and there == self._elements_of(tensor) <= MOST_JOINED:
                yield from self._together(tensor, held.pop(tensor), wanted)
            elif complete or (
                there >= MOST_SAMPLED
                and (self._elements_of(tensor) > MOST_JOINED or self._sampled(own))
            ):
                apart[tensor] = self._facts(tensor, list(held.pop(tensor).values()))
                yield from self._alone(tensor, own, apart[tensor], wanted)
        for tensor, own in held.items():  # not all of the tensor is there
            yield from self._alone(
                tensor, own, self._facts(tensor, list(own.values())), wanted
            )

    def _together(
        self, tensor: Tensor, slices: Mapping[int, Samples], wanted: set[int]
    ) -> Iterator[Joined]:
        members = self._slices_of[tensor]
        samples = [slices[slice_id] for slice_id in members]
        stored = {
            name: joined([one[name] for one in samples]) for name in self.frame.models
        }
        ends = np.cumsum([self._count(one) for one in samples]).tolist()
        parts = tuple(
            part
            for part in zip(members, [0, *ends[:-1]], ends, strict=True)
            if part[0] in wanted
        )
        name = (
            self._about[members[0]]["tensor"]
            if len(members) == 1
            else canonical_name(tensor[1])
        )
        facts = self._facts(tensor, samples)
        yield from self._joined(
            name, members[0], facts.values, stored, facts, parts, tuple(ends)
        )

    def _alone(
        self,
        tensor: Tensor,
        slices: Mapping[int, Samples],
        facts: HeldFacts,
        wanted: set[int],
    ) -> Iterator[Joined]:
        for slice_id, samples in slices.items():
            if slice_id in wanted:
                values = (
                    facts.values
                    if len(self._slices_of[tensor]) == 1
                    else self._values([samples])
                )
                parts = ((slice_id, 0, self._count(samples)),)
                yield from self._joined(
                    self._about[slice_id]["tensor"],
                    slice_id,
                    values,
                    samples,
                    facts,
                    parts,
                )

    def _joined(
        self,
        name: str,
        first: int,
        values: Mapping[str, Array],
        stored: Samples,
        facts: HeldFacts,
        parts: Any,
        ends: tuple[int, ...] = (),
    ) -> Iterator[Joined]:
        audited = stored[self.frame.audited].on_lattice()
        if audited.dtype != "F64":
            position = layer_position(self._about[first]["layer"], self._last_layer)
            yield Joined(
                Piece(name, position, values, audited, facts, ends, stored), parts
            )

    def _facts(self, tensor: Tensor, samples: Sequence[Samples]) -> HeldFacts:
        gram = gram_of_sums(self._sums[tensor], self.frame.donors)
        about = self._about[self._slices_of[tensor][0]]
        elements = self._elements_of(tensor)
        return HeldFacts(
            base=self.frame.base,
            donors=self.frame.donors,
            gram=gram,
            values=self._values(samples),
            elements=elements,
            columns=last_dimension(about["cols"], elements),
        )

    def _values(self, samples: Sequence[Samples]) -> dict[str, Array]:
        return {
            name: np.concatenate([one[name].values() for one in samples])
            for name in (self.frame.base, *self.frame.donors)
        }

    def _count(self, samples: Samples) -> int:
        base = samples[self.frame.base]
        return len(base.raw) // FORMATS[base.dtype].width

    def _sampled(self, slices: Mapping[int, Samples]) -> bool:
        return any(
            self._count(samples) < self._about[slice_id]["elements"]
            for slice_id, samples in slices.items()
        )

    def _elements_of(self, tensor: Tensor) -> int:
        return sum(
            self._about[slice_id]["elements"] for slice_id in self._slices_of[tensor]
        )

    @cached_property
    def _sums(self) -> dict[Tensor, dict[str, float]]:
        """Inner products of each whole tensor: sums of a sample stand for the whole
        slice.
        """
        products = self.fits.filter(regex=r"^(bb|bv\.|vv\.)").mul(
            self.fits["weight"], axis=0
        )
        return (
            products.groupby([self.fits["component"], self.fits["source"]])
            .sum()
            .to_dict("index")
        )

    @cached_property
    def _about(self) -> dict[int, dict[str, Any]]:
        return self.fits.set_index("slice_id")[
            ["tensor", "layer", "component", "source", "start", "elements", "cols"]
        ].to_dict("index")

    @cached_property
    def _tensor_of(self) -> dict[int, Tensor]:
        return {
            slice_id: (about["component"], about["source"])
            for slice_id, about in self._about.items()
        }

    @cached_property
    def _slices_of(self) -> dict[Tensor, list[int]]:
        """The slices of each tensor in the file's order."""
        found: dict[Tensor, list[int]] = {}
        for slice_id in sorted(self._about, key=lambda one: self._about[one]["start"]):
            found.setdefault(self._tensor_of[slice_id], []).append(slice_id)
        return found

    @cached_property
    def _last_layer(self) -> int:
        return max(
            (int(layer) for layer in self.fits["layer"] if layer.isdigit()), default=0
        )
