"""Matrices that are stored with their columns as rows, packed: GPTQ's, AWQ's. Of these any
element takes the whole matrix, which is read and unpacked once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mergetrace.errors import ModelFileError
from mergetrace.formats.block_layouts import Unpacked
from mergetrace.formats.companions import (
    CODES,
    GROUPS,
    SCALES,
    ZEROS,
    ZEROS_LESS_ONE,
    Companion,
    companions_in,
)
from mergetrace.numerics.arrays import Array, Bytes, Integers
from mergetrace.numerics.block_scales import decode_scales
from mergetrace.tensors.elements import places
from mergetrace.tensors.view import View

Read = Callable[[Companion], Bytes]
"""Gives the stored bytes of a companion."""

BITS_OF = {"GPTQ4": 4, "GPTQ8": 8, "AWQ4": 4}
"""The bits of a code, of every format whose matrices are turned."""
AWQ_ORDER = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight neighbours each code of a word is, the lowest bits first."""
WORD = 32


@dataclass(frozen=True)
class Turned:
    """A matrix, turned the right way round."""

    codes: Bytes
    """uint8 [rows, columns]."""
    scales: Array
    """float64 [rows, groups]."""
    shifts: Array
    """float64 [rows, groups]."""
    group_of: Integers
    """The group of each column."""

    def part(self, view: View, first: int, count: int) -> Unpacked:
        """Elements first..first+count of the view."""
        rows, cols = places(view, first, count)
        groups = self.group_of[cols]
        skip = slice(first % view.cols, first % view.cols + count)
        return Unpacked(
            self.codes[np.ix_(rows, cols)].reshape(-1)[skip],
            self.scales[np.ix_(rows, groups)].reshape(-1)[skip],
            self.shifts[np.ix_(rows, groups)].reshape(-1)[skip],
        )


def read_turned(view: View, read: Read) -> Turned:
    """Read a view's whole matrix. ModelFileError where a column is of no group."""
    held = companions_in(view.beside)
    bits = BITS_OF[view.dtype]
    words = _words(read(held[CODES]), held[CODES])
    scales = decode_scales(read(held[SCALES]), held[SCALES].dtype)
    scales = scales.reshape(held[SCALES].shape)
    role = ZEROS if ZEROS in held else ZEROS_LESS_ONE
    zeros = _along(_words(read(held[role]), held[role]), bits, view.dtype)
    if role == ZEROS_LESS_ONE:
        zeros = ((zeros + 1) & ((1 << bits) - 1)).astype(np.uint8)
    if view.dtype == "AWQ4":
        codes = _along(words, bits, view.dtype)
    else:
        codes = _fields(words, bits).transpose(0, 2, 1).reshape(-1, words.shape[1])
    count = len(codes)
    groups: Integers = np.arange(count) * len(scales) // count
    if GROUPS in held:
        groups = np.asarray(read(held[GROUPS]).view("<i4"), np.int64)
        if groups.min() < 0 or groups.max() >= len(scales):
            raise ModelFileError(
                f"{view.source}: its g_idx names a group from {groups.min()} to"
                f" {groups.max()} of {len(scales)}; the file is damaged"
            )
    return Turned(
        np.ascontiguousarray(codes.T),
        np.ascontiguousarray(scales.T),
        np.ascontiguousarray((-zeros.astype(np.float64) * scales).T),
        groups,
    )


def _words(raw: Bytes, companion: Companion) -> Integers:
    return np.asarray(raw.view("<u4").reshape(companion.shape))


def _fields(words: Integers, bits: int) -> Bytes:
    """The codes of every word, low bits first: uint8 [rows, words, codes]."""
    bytes_of = np.ascontiguousarray(words).view(np.uint8)
    bytes_of = bytes_of.reshape(*words.shape, WORD // 8, 1)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    codes = (bytes_of >> shifts) & np.uint8((1 << bits) - 1)
    return np.asarray(codes.reshape(*words.shape, WORD // bits), np.uint8)


def _along(words: Integers, bits: int, dtype: str) -> Bytes:
    """Codes that lie along a row, in AWQ's order or one after another."""
    fields = _fields(words, bits)
    if dtype == "AWQ4":
        fields = fields[:, :, np.argsort(AWQ_ORDER)]
    return fields.reshape(len(words), -1)
