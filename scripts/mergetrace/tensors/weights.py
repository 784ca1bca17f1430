"""Elements of a view, wherever the file keeps them: read by offset, decoded exactly,
FP8 block scales applied.
"""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np

from mergetrace.files.reading_ahead import advise, are_large
from mergetrace.files.safetensors_file import read_into
from mergetrace.formats.block_layouts import LAYOUTS, Unpacked, blocks_of, stored_size
from mergetrace.formats.companions import Companion
from mergetrace.formats.scales import bytes_of_scales, keeps_all_scales, rows_of_scales
from mergetrace.numerics.arrays import Array, Bytes, Integers
from mergetrace.numerics.block_scales import NESTED, decode_scales
from mergetrace.numerics.dtypes import FORMATS, decode, encode
from mergetrace.numerics.levels import STACKED
from mergetrace.tensors.beside import Beside, read_beside
from mergetrace.tensors.elements import (
    adjusted,
    channel_scales,
    is_adjusted,
    is_blocks_alone,
    merged,
    picked,
    places,
    places_in_blocks,
    spread,
)
from mergetrace.tensors.open_shards import OpenShards
from mergetrace.tensors.stacked_codes import Stacked, read_stacked
from mergetrace.tensors.turned import BITS_OF, Turned, read_turned
from mergetrace.tensors.view import View

MAX_KEPT_VIEWS = 64  # of which the scales are kept
SIGNED_SCALES = (
    "UINT4",
    "UINT8",
    "INT4_ZEROS",
    "INT4_ZEROS_SMOOTHED",
)  # of which a code stands for more than nothing
PACKED_AT_ONCE = 1 << 21  # elements of a packed tensor that are unpacked together


class Weights:
    """Open shards of several models. Reads what is asked and nothing else; no mmap, so
    memory stays the caller's. Safe to share by threads.

    folders: where each model's shards lie; a file stands for shards of which only some
    ranges are here (see sampled), or for a base with an adapter merged into it (see
    adapted), whose base is among the folders, too. in_order: whether the files are read
    from end to end; else the system is told not to read ahead. Models too large to stay
    in memory are forgotten as they are read, so that they push nothing else out of the
    system's cache.
    """

    def __init__(
        self, folders: Mapping[str, str | Path], in_order: bool = False
    ) -> None:
        self.folders = {model: Path(folder) for model, folder in folders.items()}
        self.bytes_read = 0
        self._shards = OpenShards(self.folders, in_order)
        self._forgets = in_order and are_large(self.folders.values())
        self._lock = threading.Lock()
        self._scales: dict[tuple[str, str, int], Array] = {}
        self._last_turned: tuple[tuple[str, str], Turned | Stacked] | None = None
        self._beside_of: dict[tuple[str, str], Beside] = {}

    def __enter__(self) -> "Weights":
        return self

    def __exit__(self, *_: object) -> None:
        self._shards.close()

    def raw(
        self, view: View, first: int, count: int, out: Bytes | None = None
    ) -> Bytes:
        """The stored bytes of elements first..first+count of a view: uint8 [count *
        width], in `out` if given; of a packed format their codes. ModelFileError where
        the file ends before.
        """
        width = FORMATS[view.dtype].width
        if view.dtype in LAYOUTS:
            return _into(out, self._unpacked(view, first, count).codes)
        if view.stored_dtype:
            return self._rounded(view, first, count, out)
        if view.is_rearranged:
            return self._gathered(view, first, count, out)
        buffer = np.empty(count * width, np.uint8) if out is None else out
        self._read(view, view.start + first * width, buffer)
        return buffer

    def stretches(
        self, view: View, stretches: Iterable[tuple[int, int]], out: Bytes
    ) -> tuple[Array | None, Array | None]:
        """The stored bytes of several stretches (first, count) of a view, one after
        another, all of which fill `out`. Stretches that adjoin are one read.

        Returns what each number is multiplied by and what is added to it (see scales,
        shifts).
        """
        if view.dtype in LAYOUTS:
            return self._packed_stretches(view, stretches, out)
        width = FORMATS[view.dtype].width
        place = self.place(view, 0)
        name = self._shards.path(view.model, view.shard)
        scales = []
        done = 0
        for first, count in merged(stretches):
            part = out[done : done + count * width]
            done += part.size
            if place is not None:
                # The short way: thousands of stretches are read within one job.
                descriptor, start = place
                read_into(descriptor, start + first * width, part, name)
                continue
            self.raw(view, first, count, out=part)
            scale = self.scales(view, first, count)
            if scale is not None:
                scales.append(scale)
        if place is not None:
            self.count(done)
        shifts = np.full(done // width, view.shift) if view.shift else None
        return np.concatenate(scales) if scales else None, shifts

    def _packed_stretches(
        self, view: View, stretches: Iterable[tuple[int, int]], out: Bytes
    ) -> tuple[Array, Array | None]:
        """The codes of stretches of a packed view, their scales and their shifts."""
        stretches = list(merged(stretches))
        if 0 < out.size <= PACKED_AT_ONCE and is_blocks_alone(view):
            return self._together(view, stretches, out)
        scales = []
        shifts = []
        done = 0
        for first, count in stretches:
            for start in range(first, first + count, PACKED_AT_ONCE):
                many = min(PACKED_AT_ONCE, first + count - start)
                part = self._unpacked(view, start, many)
                out[done : done + many] = part.codes
                done += many
                scales.append(part.scales)
                if part.shifts is not None:
                    shifts.append(part.shifts)
        return _joined(scales) if scales else np.empty(0), (
            _joined(shifts) if shifts else None
        )

    def _together(
        self, view: View, stretches: list[tuple[int, int]], out: Bytes
    ) -> tuple[Array, Array | None]:
        """The same of stretches whose blocks are unpacked together: a sample is many
        short ones.
        """
        held = [blocks_of(view.dtype, first, count) for first, count in stretches]
        raw = np.empty(
            stored_size(view.dtype, sum(whole for _, whole in held)), np.uint8
        )
        done = 0
        for start, whole in held:
            size = stored_size(view.dtype, whole)
            offset = view.start + stored_size(view.dtype, start)
            self._read(view, offset, raw[done : done + size])
            done += size
        part = LAYOUTS[view.dtype].unpacked(raw)
        which = places_in_blocks(stretches, held)
        out[:] = part.codes[which]
        shifts = None if part.shifts is None else part.shifts[which]
        return part.scales[which], shifts

    def place(self, view: View, first: int) -> tuple[int, int] | None:
        """The open file, and the offset in it, from which on the bytes are what `raw`
        gives for the view's elements `first` and on.

        None where numbers are scaled, or do not lie there one after another as they are.
        """
        if view.stored_dtype or view.is_rearranged:
            return None
        if not self._shards.lies_plain(view.model):
            return None
        if view.dtype in LAYOUTS or view.shift:
            return None
        if self.scales(view, first, 1) is not None:
            return None
        offset = view.start + first * FORMATS[view.dtype].width
        return self._shards.descriptor(view.model, view.shard), offset

    def blocks_place(self, view: View) -> tuple[int, int] | None:
        """The open file, and the offset in it from which on the view's rows lie, packed
        or not, in the order that its `row_map` says.

        None where anything but their bytes decides the numbers.
        """
        if view.stored_dtype or view.shift or not self._shards.lies_plain(view.model):
            return None
        if is_adjusted(view) or view.col_map is not None:
            return None
        return self._shards.descriptor(view.model, view.shard), view.start

    def count(self, size: int) -> None:
        """Say that somebody read `size` bytes from where `place` said."""
        with self._lock:
            self.bytes_read += size

    def forget(self, view: View) -> None:
        """Say that a view will not be read again."""
        if self._forgets and self._shards.lies_plain(view.model):
            size = stored_size(view.dtype, view.rows * view.cols)
            descriptor = self._shards.descriptor(view.model, view.shard)
            advise(descriptor, "POSIX_FADV_DONTNEED", view.start, size)

    def scales(self, view: View, first: int, count: int) -> Array | None:
        """What each stored number is multiplied by, float64 [count]: the scales of its
        block, its row and its column, over the view's `factor`. None where that is 1.
        """
        if view.dtype in LAYOUTS:
            return self._unpacked(view, first, count).scales
        of_block = self._block_scales(view, first, count)
        of_channel = channel_scales(view, first, count)
        if of_block is None and of_channel is None and view.factor == 1:
            return None
        scales = np.ones(count)
        for part in (of_block, of_channel):
            if part is not None:
                scales = scales * part
        return scales / view.factor

    def values(self, view: View, first: int, count: int) -> Array:
        """The decoded elements first..first+count of a view, float64 [count], exact."""
        codes = np.empty(count * FORMATS[view.dtype].width, np.uint8)
        scales, shifts = self.stretches(view, [(first, count)], codes)
        return scaled(decode(codes, view.dtype), scales, shifts)

    def groups(self, view: View) -> Integers:
        """The group of each column of a matrix whose columns are stored as rows, in the
        view's order.
        """
        turned = self._turned(view)
        if not isinstance(turned, Turned):
            raise ValueError(f"{view.label} has no groups of columns")
        return (
            turned.group_of if view.col_map is None else turned.group_of[view.col_map]
        )

    def bytes_at(self, view: View, start: int, size: int, shard: str = "") -> Bytes:
        """Bytes of a view's file, or of another file of its model, as they are stored:
        uint8 [size].
        """
        raw = np.empty(size, np.uint8)
        self._read(replace(view, shard=shard or view.shard), start, raw)
        return raw

    def _unpacked(self, view: View, first: int, count: int) -> Unpacked:
        """Elements first..first+count of a packed view, in its order of rows and
        columns, scaled and shifted as it says.
        """
        if view.dtype in BITS_OF or view.dtype == STACKED:
            return adjusted(view, first, self._turned(view).part(view, first, count))
        if view.is_rearranged:
            rows, cols = places(view, first, count)
            parts = [
                self._blocks(view, int(row) * view.cols, view.cols) for row in rows
            ]
            skip = first % view.cols
        else:
            start, whole = blocks_of(view.dtype, first, count)
            parts = [self._blocks(view, start, whole)]
            cols = None
            skip = first - start
        codes = picked([part.codes for part in parts], cols, skip, count)
        scales = picked([part.scales for part in parts], cols, skip, count)
        shifts = None
        if parts[0].shifts is not None:
            shifts = picked(
                [part.shifts for part in parts if part.shifts is not None],
                cols,
                skip,
                count,
            )
        part = self._with_beside(view, first, Unpacked(codes, scales, shifts))
        return adjusted(view, first, part)

    def _with_beside(self, view: View, first: int, part: Unpacked) -> Unpacked:
        """Elements whose scales, shifts and zero points lie in tensors of their own."""
        count = part.codes.size
        of_block = self._block_scales(view, first, count)
        if of_block is None:
            return part
        beside = self._beside(view)
        scales = part.scales * of_block * beside.factor
        row, rows = rows_of_scales(view, first, count)
        shifts = part.shifts
        if beside.shifts is not None:
            grid = beside.shifts[row : row + rows]
            shifts = spread(view, grid, row, first, count)
        if beside.zeros is not None:
            grid = beside.zeros[row : row + rows]
            shifts = -spread(view, grid, row, first, count) * scales
        return Unpacked(part.codes, scales, shifts)

    def _turned(self, view: View) -> Turned | Stacked:
        """A matrix whose columns are stored as rows; the last one is kept."""
        reader = read_stacked if view.dtype == STACKED else read_turned
        key, kept = (view.model, view.beside), self._last_turned
        if kept is None or kept[0] != key:
            kept = key, reader(view, partial(self._companion, view))
            self._last_turned = kept
        return kept[1]

    def _companion(self, view: View, companion: Companion) -> Bytes:
        """The bytes of a tensor that goes with a view."""
        raw = np.empty(companion.bytes, np.uint8)
        self._read(replace(view, shard=companion.shard), companion.start, raw)
        return raw

    def _beside(self, view: View) -> Beside:
        """What lies beside a view's codes and scales, kept in memory."""
        key = view.model, view.beside
        found = self._beside_of.get(key)
        if found is None:
            found = read_beside(view, partial(self._companion, view))
            with self._lock:
                if len(self._beside_of) >= MAX_KEPT_VIEWS:
                    self._beside_of.pop(next(iter(self._beside_of)))
                self._beside_of[key] = found
        return found

    def _blocks(self, view: View, first: int, count: int) -> Unpacked:
        """Whole blocks of a packed tensor."""
        offset = view.start + stored_size(view.dtype, first)
        buffer = np.empty(stored_size(view.dtype, count), np.uint8)
        self._read(view, offset, buffer)
        return LAYOUTS[view.dtype].unpacked(buffer)

    def _block_scales(self, view: View, first: int, count: int) -> Array | None:
        """The scale of each element's FP8 block, None where the view has none."""
        if not view.scale_shard:
            return None
        scale_row, scale_rows = rows_of_scales(view, first, count)
        scales = self._stored_scales(view, scale_row, scale_rows)
        return spread(view, scales, scale_row, first, count)

    def _stored_scales(self, view: View, row: int, rows: int) -> Array:
        """Some rows of a view's scales, decoded; kept in memory where all are read."""
        start, size = bytes_of_scales(view, row, rows)
        key = view.model, view.scale_shard, start
        scales = self._scales.get(key)
        if scales is not None and scales.shape == (rows, view.scale_cols):
            return scales
        raw = np.empty(size, np.uint8)
        self._read(replace(view, shard=view.scale_shard), start, raw)
        nested = self._beside(view).nested
        if view.scale_dtype == NESTED and nested is not None:
            scales = nested.decoded(raw, start - view.scale_start)
        else:
            signed = view.dtype in SIGNED_SCALES
            scales = decode_scales(raw, view.scale_dtype, signed)
        scales = scales.reshape(-1, view.scale_cols)
        if keeps_all_scales(view):
            with self._lock:
                if len(self._scales) >= MAX_KEPT_VIEWS:
                    self._scales.pop(next(iter(self._scales)))
                self._scales[key] = scales
        return scales

    def _rounded(self, view: View, first: int, count: int, out: Bytes | None) -> Bytes:
        """Stored numbers rounded to the view's own dtype."""
        as_stored = replace(view, dtype=view.stored_dtype, stored_dtype="")
        numbers = decode(self.raw(as_stored, first, count), view.stored_dtype)
        return _into(out, encode(numbers, view.dtype).view(np.uint8))

    def _gathered(self, view: View, first: int, count: int, out: Bytes | None) -> Bytes:
        """Whole rows from where the maps say, neighbours in one read, then their
        columns in order.
        """
        codes = FORMATS[view.dtype].codes
        row_bytes = view.cols * codes.itemsize
        rows, cols = places(view, first, count)
        stored = np.empty((len(rows), view.cols), codes)
        starts = np.flatnonzero(np.diff(rows, prepend=-2) != 1)
        for start, end in pairwise([*starts.tolist(), len(rows)]):
            offset = view.start + int(rows[start]) * row_bytes
            self._read(view, offset, stored[start:end].reshape(-1).view(np.uint8))
        numbers = stored[:, cols].reshape(-1)[first % view.cols :][:count]
        return _into(out, numbers.view(np.uint8))

    def _read(self, view: View, offset: int, buffer: Bytes) -> None:
        """Fill `buffer` with the bytes of a view's file from `offset` on."""
        self._shards.read_into(view.model, view.shard, offset, buffer)
        self.count(buffer.size)


def scaled(values: Array, scales: Array | None, shifts: Array | None = None) -> Array:
    """values * scales + shifts, as far as there are any; the product of an FP8 and a
    float32 number is exact in float64.
    """
    with np.errstate(invalid="ignore"):  # what is no number stays none
        if scales is not None:
            values = values * scales
        return values if shifts is None else values + shifts


def _joined(parts: list[Array]) -> Array:
    """Parts one after another; one alone as it is, since a copy costs as much as it took
    to make.
    """
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _into(out: Bytes | None, raw: Bytes) -> Bytes:
    """The bytes, in `out` if given."""
    if out is None:
        return raw
    out[:] = raw
    return out
