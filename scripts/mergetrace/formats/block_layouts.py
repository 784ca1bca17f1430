"""How the blocks of packed formats lie in a file: some codes, with the scales and
shifts that they share.

Written from the structures in llama.cpp's ggml-common.h, little-endian; of a byte the
low bits come first. A block has `elements` numbers of one row in `size` bytes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mergetrace.numerics.arrays import Array, Bytes
from mergetrace.numerics.dtypes import FORMATS, decode
from mergetrace.numerics.levels import STACKED

K_ELEMENTS = 256  # of a block of the K formats


@dataclass(frozen=True)
class Unpacked:
    """Elements of a packed tensor: each is its code's level times its scale, plus its
    shift.
    """

    codes: Bytes
    """uint8, one per element."""
    scales: Array
    """float64, one per element."""
    shifts: Array | None = None
    """float64, one per element; None where the format has none."""


Blocks = Bytes
"""uint8 [blocks, size]."""
Parts = tuple[Bytes, Array, Array | None]
"""Of blocks: codes [blocks, elements], scales and shifts [blocks, groups]."""


@dataclass(frozen=True)
class Layout:
    """The blocks of one format."""

    elements: int
    size: int
    unpack: Callable[[Blocks], Parts]

    def unpacked(self, raw: Bytes) -> Unpacked:
        """The elements of whole blocks."""
        with np.errstate(invalid="ignore"):  # a scale that is infinite, times 0
            codes, scales, shifts = self.unpack(raw.reshape(-1, self.size))
        return Unpacked(
            codes.reshape(-1),
            self._each(scales),
            None if shifts is None else self._each(shifts),
        )

    def _each(self, of_groups: Array) -> Array:
        """What groups of elements share, element by element."""
        blocks, groups = of_groups.shape
        wide = np.empty((blocks, groups, self.elements // groups))
        wide[:] = of_groups[:, :, None]  # twice as fast as numpy's repeat
        return wide.reshape(-1)


def stored_size(dtype: str, elements: int) -> int:
    """The bytes that elements of a decoded or packed format take in a file; of a packed
    one whole blocks of them.
    """
    layout = LAYOUTS.get(dtype)
    if layout is None:
        return elements * FORMATS[dtype].width
    return elements // layout.elements * layout.size


def bytes_each(dtype: str) -> float:
    """The bytes that one element takes in a file."""
    layout = LAYOUTS.get(dtype)
    if layout is None:
        return float(FORMATS[dtype].width)
    return layout.size / layout.elements


def kept_each(dtype: str) -> int:
    """The bytes of one element that are kept as evidence: of a packed format its code,
    its scale and its shift, as float64.
    """
    return FORMATS[dtype].width + (16 if dtype in LAYOUTS else 0)


def blocks_of(dtype: str, first: int, count: int) -> tuple[int, int]:
    """(first, count) of the elements of the whole blocks that hold some elements; the
    elements themselves of a format without blocks.
    """
    layout = LAYOUTS.get(dtype)
    if layout is None:
        return first, count
    start = first - first % layout.elements
    end = -(-(first + count) // layout.elements) * layout.elements
    return start, end - start


def in_bytes(codes: Bytes, dtype: str) -> Bytes:
    """Codes of a format whose scales lie elsewhere, as a file holds them: two of four
    bits in a byte.
    """
    if LAYOUTS.get(dtype, ONE_BYTE).elements == 1:
        return codes
    pairs = codes.reshape(-1, 2)
    low, high = pairs[:, 0], pairs[:, 1]
    if dtype in HIGH_FIRST:
        low, high = high, low
    return np.asarray(low | high << 4, np.uint8)


def _halves(raw: Blocks, first: int) -> Array:
    """The float16 number at a byte of every block: float64 [blocks, 1]."""
    return _f16(raw[:, first : first + 2])


def _f16(raw: Blocks) -> Array:
    wide = decode(np.ascontiguousarray(raw), "F16")
    return np.asarray(wide, np.float64).reshape(len(raw), -1)


def _joined(low: Bytes, high: Bytes, bits: int) -> Bytes:
    """Codes of their low bits and what stands above so many bits."""
    return np.asarray(low | (high << bits), np.uint8)


def _fields(raw: Blocks, run: int, bits: int) -> Bytes:
    """Codes of some bits that share bytes in runs: the lowest bits of a run's bytes are
    its first codes. uint8 [blocks, 8 / bits * bytes].
    """
    # Eight bytes at once: what a shift brings in from a neighbour the mask takes away.
    word = np.dtype(np.uint64 if run % 8 == 0 else np.uint8)
    mask = word.type(int.from_bytes(bytes([(1 << bits) - 1]) * word.itemsize))
    shifts = np.arange(0, 8, bits, dtype=word)[:, None]
    words = np.ascontiguousarray(raw).view(word)
    runs = words.reshape(len(raw), -1, 1, run // word.itemsize)
    return ((runs >> shifts) & mask).view(np.uint8).reshape(len(raw), -1)


def _fifth_bits(raw: Blocks) -> Bytes:
    """Bit i of 32 of every block, which is the fifth of code i."""
    bits = np.unpackbits(np.ascontiguousarray(raw), axis=1, bitorder="little")
    return np.asarray(bits << 4, np.uint8)


def _q8_0(raw: Blocks) -> Parts:
    return raw[:, 2:], _halves(raw, 0), None


def _q4_0(raw: Blocks) -> Parts:
    return _fields(raw[:, 2:], 16, 4), _halves(raw, 0), None


def _q4_1(raw: Blocks) -> Parts:
    return _fields(raw[:, 4:], 16, 4), _halves(raw, 0), _halves(raw, 2)


def _q5_0(raw: Blocks) -> Parts:
    codes = _fields(raw[:, 6:], 16, 4) | _fifth_bits(raw[:, 2:6])
    return codes, _halves(raw, 0), None


def _q5_1(raw: Blocks) -> Parts:
    codes = _fields(raw[:, 8:], 16, 4) | _fifth_bits(raw[:, 4:8])
    return codes, _halves(raw, 0), _halves(raw, 2)


def _q2_k(raw: Blocks) -> Parts:
    own = raw[:, :16]
    scales = _halves(raw, 80) * (own & 15)
    shifts = -_halves(raw, 82) * (own >> 4)
    return _fields(raw[:, 16:80], 32, 2), scales, shifts


def _q3_k(raw: Blocks) -> Parts:
    high = _fields(raw[:, :32], 32, 1)
    codes = _joined(_fields(raw[:, 32:96], 32, 2), high, 2)
    scales = _fields(raw[:, 96:104], 8, 4) | (_fields(raw[:, 104:108], 4, 2) << 4)
    return codes, _halves(raw, 108) * (scales.astype(np.float64) - 32), None


def _six_bits(raw: Blocks) -> tuple[Bytes, Bytes]:
    """The eight scales and the eight minima in the 12 bytes of Q4_K and Q5_K: of four
    the low six bits, of the other four four bits here and two above those.
    """
    low, middle, rest = raw[:, :4], raw[:, 4:8], raw[:, 8:]
    scales = (low & 63, (rest & 15) | (low >> 6 << 4))
    minima = (middle & 63, (rest >> 4) | (middle >> 6 << 4))
    return np.concatenate(scales, axis=1), np.concatenate(minima, axis=1)


def _scales_and_shifts(raw: Blocks) -> tuple[Array, Array]:
    scales, minima = _six_bits(raw[:, 4:16])
    return _halves(raw, 0) * scales, -_halves(raw, 2) * minima


def _q4_k(raw: Blocks) -> Parts:
    return (_fields(raw[:, 16:], 32, 4), *_scales_and_shifts(raw))


def _q5_k(raw: Blocks) -> Parts:
    codes = _joined(_fields(raw[:, 48:], 32, 4), _fields(raw[:, 16:48], 32, 1), 4)
    return (codes, *_scales_and_shifts(raw))


def _q6_k(raw: Blocks) -> Parts:
    high = _fields(raw[:, 128:192], 32, 2)
    codes = _joined(_fields(raw[:, :128], 64, 4), high, 4)
    scales = np.ascontiguousarray(raw[:, 192:208]).view(np.int8).astype(np.float64)
    return codes, _halves(raw, 208) * scales, None


def _iq4_xs(raw: Blocks) -> Parts:
    high = _fields(raw[:, 2:4], 1, 2)
    low = _fields(raw[:, 4:8], 1, 4)
    scales = (low | (high << 4)).astype(np.float64) - 32
    return _fields(raw[:, 8:], 16, 4), _halves(raw, 0) * scales, None


def _mxfp4(raw: Blocks) -> Parts:
    exponents = raw[:, :1].astype(np.int64) - 128
    return _fields(raw[:, 1:], 16, 4), np.ldexp(1.0, exponents), None


def _nvfp4(raw: Blocks) -> Parts:
    stored = np.ascontiguousarray(raw[:, :4])
    scales = decode(stored & 127, "F8_E4M3").reshape(-1, 4) / 2
    # as ggml reads them: 127 is none, and of the others the highest bit says nothing
    scales = np.where(stored == 127, 0.0, np.where(stored == 255, 240.0, scales))
    return _fields(raw[:, 4:], 8, 4), np.asarray(scales, np.float64), None


def _codes_alone(raw: Blocks, codes: Bytes) -> Parts:
    """Codes whose scales lie in a tensor of their own."""
    return codes, np.ones((len(raw), 1)), None


HIGH_FIRST = ("NF4", "NF4_NESTED", "FP4", "FP4_NESTED")
FOURS = ("INT4", "INT4_ZEROS", "INT4_SMOOTHED", "INT4_ZEROS_SMOOTHED")
BYTES = ("INT8", "I8_SIGNED", "INT8_SMOOTHED", "I8_SIGNED_SMOOTHED")
"""compressed-tensors' integers (see levels.MULTIPLIED_FIRST)."""
ONE_BYTE = Layout(1, 1, lambda raw: _codes_alone(raw, raw))
LAYOUTS = {
    "Q8_0": Layout(32, 34, _q8_0),
    "Q4_0": Layout(32, 18, _q4_0),
    "Q4_1": Layout(32, 20, _q4_1),
    "Q5_0": Layout(32, 22, _q5_0),
    "Q5_1": Layout(32, 24, _q5_1),
    "Q2_K": Layout(K_ELEMENTS, 84, _q2_k),
    "Q3_K": Layout(K_ELEMENTS, 110, _q3_k),
    "Q4_K": Layout(K_ELEMENTS, 144, _q4_k),
    "Q5_K": Layout(K_ELEMENTS, 176, _q5_k),
    "Q6_K": Layout(K_ELEMENTS, 210, _q6_k),
    "IQ4_NL": Layout(32, 18, _q4_0),
    "IQ4_XS": Layout(K_ELEMENTS, 136, _iq4_xs),
    "MXFP4": Layout(32, 17, _mxfp4),
    "NVFP4": Layout(64, 36, _nvfp4),
    **dict.fromkeys(
        (*FOURS, "UINT4", "FP4_E2M1", "GPTQ4", "AWQ4", STACKED),
        Layout(2, 1, lambda raw: _codes_alone(raw, _fields(raw, 1, 4))),
    ),
    **dict.fromkeys(
        HIGH_FIRST,
        Layout(2, 1, lambda raw: _codes_alone(raw, _fields(raw, 1, 4)[:, ::-1])),
    ),
    **dict.fromkeys(
        (*BYTES, "UINT8", "I8_127", "GPTQ8"),
        ONE_BYTE,
    ),
}
"""By packed format how its blocks lie in a file."""
