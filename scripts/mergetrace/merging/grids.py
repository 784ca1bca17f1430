"""Matrices whose codes and scales are tensors of their own, quantised again: every matrix
with its grid of scales, zero points and what else the tool writes beside it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mergetrace.files.tensor_records import TensorRecord
from mergetrace.formats.block_layouts import in_bytes
from mergetrace.formats.companions import LEVELS_OF, STATE, ZEROS, companions_in
from mergetrace.formats.scales import bytes_of_scales
from mergetrace.merging.manners import like, liked_first, rounded
from mergetrace.merging.units import Beside, Merged, Outcome, StoredTensors, Unit
from mergetrace.numerics.arrays import AnyArray, Array, Bytes, Mask
from mergetrace.numerics.dtypes import BITS
from mergetrace.numerics.levels import LEVELS
from mergetrace.numerics.quantisers import Asked, Made, Quantise
from mergetrace.tensors.view import View
from mergetrace.tensors.weights import Weights

Place = tuple[str, int]
"""A tensor by its file and first byte."""


@dataclass(frozen=True)
class Matrix:
    """Parts of a tensor that share a grid of scales, with their numbers."""

    views: list[View]
    values: Array
    """float64 [rows * columns], merged."""
    stored: Bytes
    """The file's codes."""
    given: Bytes
    """The codes by the file's own scales."""

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns; one row where scales take no notice of rows."""
        if self.views[0].scales_run_on:
            return 1, self.values.size
        return sum(view.rows for view in self.views), self.views[0].cols

    @property
    def block(self) -> tuple[int, int]:
        """Rows and columns that share a scale."""
        if len(self.views) > 1:
            return self.shape
        if self.views[0].scales_run_on:
            return 1, self.views[0].block_cols
        return self.views[0].block_rows, self.views[0].block_cols


@dataclass(frozen=True)
class Attempt:
    """A matrix as one manner makes it."""

    manner: str
    made: Made
    codes: Mask
    """Which codes are the file's."""
    scales: Mask
    """Which scales are."""

    @property
    def is_whole(self) -> bool:
        """Whether everything came back."""
        return bool(self.codes.all() and self.scales.all())

    @property
    def score(self) -> int:
        """How much came back."""
        return int(self.codes.sum() + self.scales.sum())


@dataclass
class Rewritten:
    """What goes with a tensor, as it is made again piece by piece."""

    made: bytearray = field(default_factory=bytearray)
    stored: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True)
class GridPass:
    """Quantises tensors again that have scales of their own."""

    weights: Weights
    suspect: str
    tensors: StoredTensors
    liked: list[str]
    """Manners that gave a whole tensor back, the last one first."""

    def compare(
        self,
        unit: Unit,
        runs: Iterable[Merged],
        found: Mapping[str, Quantise],
        ways: Sequence[str],
    ) -> Outcome:
        """A tensor's codes and all that goes with them. found: the manners by name.
        ways: what may have been done to the numbers before.
        """
        outcome = Outcome()
        digests = hashlib.sha256(), hashlib.sha256()
        scales = Rewritten()
        zeros: Bytes | None = None
        for matrix in self._matrices(unit, runs):
            best = self._best(matrix, found, ways)
            codes = best.made.codes
            same = best.codes
            given = matrix.given == matrix.stored
            if given.sum() > same.sum():
                codes, same = matrix.given, np.asarray(given)
                outcome.takes_scales = True
            outcome.manner = best.manner
            outcome.exact += int(same.sum())
            blocks = _blocks_alike(best, matrix)
            outcome.blocks += blocks.size
            outcome.blocks_exact += int(blocks.sum())
            dtype = matrix.views[0].dtype
            for digest, of_codes in zip(digests, (matrix.stored, codes), strict=True):
                digest.update(in_bytes(of_codes, dtype).data)
            scales.made += best.made.scales.tobytes()
            scales.stored += self._scales(matrix).tobytes()
            zeros = best.made.zeros
        outcome.sha256, outcome.sha256_rebuilt = (each.hexdigest() for each in digests)
        outcome.beside = tuple(self._beside(unit, scales, zeros))
        return outcome

    def _matrices(self, unit: Unit, runs: Iterable[Merged]) -> Iterator[Matrix]:
        """A tensor's matrices, each with all of its numbers."""
        views = unit.views(self.suspect)
        together = is_shared(views)
        held: list[Merged] = []
        last = unit.parts[-1]
        for run in runs:
            held.append(run)
            ends = run.first + run.values.size == run.part.elements
            if ends and (not together or run.part is last):
                own = run.part.members[self.suspect]
                yield Matrix(
                    views if together else [own],
                    np.concatenate([each.values for each in held]),
                    np.concatenate([each.stored for each in held]),
                    np.concatenate([each.given for each in held]),
                )
                held = []

    def _best(
        self, matrix: Matrix, found: Mapping[str, Quantise], ways: Sequence[str]
    ) -> Attempt:
        """The manner that gives most of a matrix back."""
        stored = self._scales(matrix)
        names = [f"{name} {way}" for way in ways for name in found]
        best: Attempt | None = None
        for name in liked_first(names, self.liked):
            manner, way = name.split()
            values = rounded(matrix.values, way).reshape(matrix.shape)
            asked = Asked(values, matrix.block, matrix.views[0].scale_dtype)
            made = found[manner](asked)
            attempt = Attempt(
                name,
                made,
                np.asarray(made.codes == matrix.stored),
                _whole_numbers(made.scales, stored, matrix.views[0].scale_dtype),
            )
            if best is None or attempt.score > best.score:
                best = attempt
            if attempt.is_whole:
                like(self.liked, name)
                break
        assert best is not None
        return best

    def _scales(self, matrix: Matrix) -> Bytes:
        """The bytes of a matrix's scales in the file."""
        view = matrix.views[0]
        start, size = bytes_of_scales(view, 0, view.scale_rows)
        return self.weights.bytes_at(view, start, size, view.scale_shard)

    def _beside(
        self, unit: Unit, scales: Rewritten, zeros: Bytes | None
    ) -> Iterator[Beside]:
        """What goes with a tensor and was made again whole."""
        view = unit.views(self.suspect)[0]
        record = self.tensors.by_place[view.scale_shard, view.scale_start]
        if len(scales.made) == record.bytes:
            yield _beside(record, bytes(scales.made), bytes(scales.stored))
        made = dict(_constants(unit, view, self.tensors))
        held = companions_in(view.beside)
        if zeros is not None and ZEROS in held and len(unit.parts) == 1:
            place = held[ZEROS].shard, held[ZEROS].start
            made[place] = [zeros.tobytes()]
        for place, candidates in made.items():
            record = self.tensors.by_place[place]
            stored = self.weights.bytes_at(
                view, record.start, record.bytes, record.shard
            ).tobytes()
            chosen = stored if stored in candidates else candidates[0]
            if len(chosen) == len(stored):
                yield _beside(record, chosen, stored)


def is_shared(views: Sequence[View]) -> bool:
    """Whether parts of one width have one single scale for all of them."""
    first = views[0]
    return len(views) > 1 and all(
        (view.scale_rows * view.scale_cols, view.scale_start, view.cols)
        == (1, first.scale_start, first.cols)
        for view in views
    )


def _whole_numbers(made: Bytes, stored: Bytes, dtype: str) -> Mask:
    """Which stored numbers have all their bytes."""
    if made.size != stored.size:
        return np.zeros(1, bool)
    width = BITS.get(dtype, 8) // 8
    same: AnyArray = (made == stored).reshape(-1, width).all(1)
    return np.asarray(same)


def _blocks_alike(best: Attempt, matrix: Matrix) -> Mask:
    """Which blocks came back with all their codes and their scale."""
    rows, cols = matrix.shape
    high, wide = min(matrix.block[0], rows), min(matrix.block[1], cols)
    same = np.pad(
        best.codes.reshape(rows, cols),
        ((0, -rows % high), (0, -cols % wide)),
        constant_values=True,
    )
    grid = same.reshape(same.shape[0] // high, high, -1, wide).all((1, 3))
    return np.asarray(grid.reshape(-1) & best.scales)


def _beside(record: TensorRecord, made: bytes, stored: bytes) -> Beside:
    width = max(record.bytes // max(record.elements, 1), 1)
    same = np.frombuffer(made, np.uint8) == np.frombuffer(stored, np.uint8)
    return Beside(
        record,
        record.elements,
        int(same.reshape(-1, width).all(1).sum()),
        hashlib.sha256(stored).hexdigest(),
        hashlib.sha256(made).hexdigest(),
    )


def _constants(
    unit: Unit, view: View, tensors: StoredTensors
) -> Iterator[tuple[Place, list[bytes]]]:
    """What says no more than names and shapes do, as the tools may write it."""
    module = unit.name.rpartition(".")[0]
    rows, cols = unit.elements // view.cols, view.cols
    held = companions_in(view.beside)
    shape = tensors.by_name.get(module + ".weight_shape")
    if shape is not None and shape.dtype in ("I64", "I32"):
        width = BITS[shape.dtype] // 8
        said = np.array([rows, cols], f"<i{width}").tobytes()
        yield (shape.shard, shape.start), [said]
    order = tensors.by_name.get(module + ".weight_format")
    if order is not None and view.dtype == "I8_127":
        yield (order.shard, order.start), [bytes(order.bytes)]
    if LEVELS_OF in held:
        levels = np.array(LEVELS[view.dtype], "<f4").tobytes()
        yield (held[LEVELS_OF].shard, held[LEVELS_OF].start), [levels]
    if STATE in held:
        state = {"quant_type": view.dtype.lower(), "blocksize": view.block_cols}
        texts = [
            json.dumps({**state, "dtype": dtype, "shape": [rows, cols]}).encode()
            for dtype in ("bfloat16", "float16", "float32")
        ]
        yield (held[STATE].shard, held[STATE].start), texts
