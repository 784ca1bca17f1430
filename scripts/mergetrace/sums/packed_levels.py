"""Blocks of GGUF decoded by compiled loops: level by level, with the scale and the shift
that a group of levels shares.

What formats.block_layouts does with arrays, from the same structures: a number is level *
scale + shift in float64, here as there, so that both give the same bits
(tests/unit/test_packed_files.py). All levels of these formats are integers of eight bits.
"""

from typing import Any, NamedTuple

import numpy as np

from mergetrace.formats.block_layouts import LAYOUTS
from mergetrace.numerics.arrays import Array, Bytes, Integers
from mergetrace.numerics.compiling import compiled
from mergetrace.numerics.levels import LEVELS, NON_LINEAR_4
from mergetrace.sums import packed_vectors, vector_ops
from mergetrace.sums.packed_vectors import UNIT, fill_groups


class Shape(NamedTuple):
    """A format for the compiled loops."""

    kind: int
    """Its place in KINDS."""
    elements: int
    """Of a block."""
    size: int
    """Bytes of a block."""
    group: int
    """Elements that share a scale and a shift."""
    lowest: int
    """The level of code 0, where levels follow one another as codes do; else 0."""


GROUPS = {
    "Q8_0": 32,
    "Q4_0": 32,
    "Q4_1": 32,
    "Q5_0": 32,
    "Q5_1": 32,
    "Q2_K": 16,
    "Q3_K": 16,
    "Q4_K": 32,
    "Q5_K": 32,
    "Q6_K": 16,
    "IQ4_NL": 32,
    "IQ4_XS": 32,
}
"""By format the elements of a group."""
Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS = range(12)
KINDS = tuple(GROUPS)
UNEVEN = ("IQ4_NL", "IQ4_XS")
"""Those whose levels are not evenly spaced."""
HAS_SHIFTS = tuple(name in ("Q4_1", "Q5_1", "Q2_K", "Q4_K", "Q5_K") for name in KINDS)
"""By kind whether something is added to the numbers of a group."""
MOST_ELEMENTS = 256
"""Of a block of any format."""
POWERS = np.ldexp(1.0, np.arange(32) - 25)
"""By the exponent of a float16 number what its significand, an integer, is multiplied
by."""
# Eight bytes are taken apart at once.
FOUR = np.uint64(4)
LOW_NIBBLES = np.uint64(0x0F0F_0F0F_0F0F_0F0F)
LOW_PAIRS = np.uint64(0x0303_0303_0303_0303)
LOW_BITS = np.uint64(0x0101_0101_0101_0101)
_BITS = np.unpackbits(
    np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little"
)
FIFTH_BITS = (_BITS << 4).view(np.uint64).reshape(-1)
"""By a byte its bits as the fifth of eight codes."""
NON_LINEAR = np.array(NON_LINEAR_4, np.int8)


def shape_of(dtype: str) -> Shape | None:
    """A format as the compiled loops know it, None where they do not."""
    if dtype not in GROUPS:
        return None
    layout = LAYOUTS[dtype]
    is_even = dtype not in ("Q8_0", *UNEVEN)
    lowest = int(LEVELS[dtype][0]) if is_even else 0
    return Shape(
        KINDS.index(dtype), layout.elements, layout.size, GROUPS[dtype], lowest
    )


@compiled()
def half(raw: Bytes, at: int) -> float:
    """The float16 number at a byte."""
    bits = np.int64(raw[at]) | np.int64(raw[at + 1]) << 8
    exponent = bits >> 10 & 31
    fraction = bits & 1023
    if exponent == 31:
        size = np.inf if fraction == 0 else np.nan
    elif exponent == 0:
        size = fraction * POWERS[1]
    else:
        size = (1024 + fraction) * POWERS[exponent]
    return -size if bits >> 15 else size


@compiled()
def word(raw: Bytes, at: int) -> Any:
    """Eight bytes, the first lowest; the compiler makes one load of it."""
    found = np.uint64(raw[at])
    for j in range(1, 8):
        found |= np.uint64(raw[at + j]) << np.uint64(8 * j)
    return found


@compiled()
def nibbles(raw: Bytes, at: int, runs: int, run: int, codes: Bytes, to: int) -> None:
    """Codes of four bits: the low halves of a run of bytes, then its high ones."""
    words = raw[at : at + runs * run].view(np.uint64)
    goals = codes[to : to + 2 * runs * run].view(np.uint64)
    half_run = run >> 3
    for number in range(runs):
        first = number * half_run
        for j in range(half_run):
            word = words[first + j]
            goals[2 * first + j] = word & LOW_NIBBLES
            goals[2 * first + half_run + j] = word >> FOUR & LOW_NIBBLES


@compiled()
def pairs(raw: Bytes, at: int, codes: Bytes, to: int, up: int) -> None:
    """Two bits each, of a run of 32 bytes, set in 128 codes."""
    words = raw[at : at + 32].view(np.uint64)
    goals = codes[to : to + 128].view(np.uint64)
    for part in range(4):
        for j in range(4):
            two = words[j] >> np.uint64(2 * part) & LOW_PAIRS
            goals[4 * part + j] |= two << np.uint64(up)


@compiled()
def single_bits(raw: Bytes, at: int, codes: Bytes, to: int, up: int) -> None:
    """Bit i of 32 bytes, set in the codes of group i of 32."""
    words = raw[at : at + 32].view(np.uint64)
    goals = codes[to : to + 256].view(np.uint64)
    for part in range(8):
        for j in range(4):
            one = words[j] >> np.uint64(part) & LOW_BITS
            goals[4 * part + j] |= one << np.uint64(up)


@compiled()
def six_bits(
    raw: Bytes, at: int, scale: float, shift: float, scales: Array, shifts: Array
) -> None:
    """The eight scales and shifts of a block of Q4_K or Q5_K."""
    for j in range(4):
        low, middle, rest = raw[at + j], raw[at + 4 + j], raw[at + 8 + j]
        scales[j] = scale * (low & 63)
        scales[4 + j] = scale * (rest & 15 | low >> 6 << 4)
        shifts[j] = -shift * (middle & 63)
        shifts[4 + j] = -shift * (rest >> 4 | middle >> 6 << 4)


@compiled()
def unpack_simple(
    raw: Bytes,
    blocks: int,
    is_shifted: bool,
    is_fifth: bool,
    codes: Bytes,
    scales: Array,
    shifts: Array,
) -> None:
    """Blocks of 32 numbers of four bits or five."""
    start = 2 + 2 * is_shifted
    size = start + 4 * is_fifth + 16
    goals = codes[: blocks * 32].view(np.uint64)
    for block in range(blocks):
        at = block * size
        to = block * 4
        scales[block] = half(raw, at)
        if is_shifted:
            shifts[block] = half(raw, at + 2)
        for j in range(2):
            eight = word(raw, at + size - 16 + 8 * j)
            goals[to + j] = eight & LOW_NIBBLES
            goals[to + 2 + j] = eight >> FOUR & LOW_NIBBLES
        if is_fifth:
            for j in range(4):
                goals[to + j] |= FIFTH_BITS[raw[at + start + j]]


@compiled()
def unpack_q8_0(raw: Bytes, blocks: int, codes: Bytes, scales: Array) -> None:
    """See unpack."""
    for block in range(blocks):
        scales[block] = half(raw, block * 34)
        at = block * 34 + 2
        to = block * 32
        for j in range(32):
            codes[to + j] = raw[at + j]


@compiled()
def unpack_q2_k(
    raw: Bytes, blocks: int, codes: Bytes, scales: Array, shifts: Array
) -> None:
    """See unpack."""
    codes[: blocks * 256] = 0
    for block in range(blocks):
        at = block * 84
        scale, shift = half(raw, at + 80), half(raw, at + 82)
        for j in range(16):
            scales[block * 16 + j] = scale * (raw[at + j] & 15)
            shifts[block * 16 + j] = -shift * (raw[at + j] >> 4)
        for part in range(2):
            pairs(raw, at + 16 + 32 * part, codes, block * 256 + 128 * part, 0)


@compiled()
def unpack_q3_k(raw: Bytes, blocks: int, codes: Bytes, scales: Array) -> None:
    """See unpack."""
    codes[: blocks * 256] = 0
    for block in range(blocks):
        at = block * 110
        to = block * 256
        scale = half(raw, at + 108)
        for j in range(16):
            low = raw[at + 96 + (j & 7)] >> (4 * (j >> 3)) & 15
            high = raw[at + 104 + (j & 3)] >> (2 * (j >> 2)) & 3
            scales[block * 16 + j] = scale * (np.int64(low | high << 4) - 32)
        for part in range(2):
            pairs(raw, at + 32 + 32 * part, codes, to + 128 * part, 0)
        single_bits(raw, at, codes, to, 2)


@compiled()
def unpack_q4_k(
    raw: Bytes, blocks: int, codes: Bytes, scales: Array, shifts: Array
) -> None:
    """See unpack."""
    for block in range(blocks):
        at = block * 144
        scale, shift = half(raw, at), half(raw, at + 2)
        own = slice(block * 8, block * 8 + 8)
        six_bits(raw, at + 4, scale, shift, scales[own], shifts[own])
        nibbles(raw, at + 16, 4, 32, codes, block * 256)


@compiled()
def unpack_q5_k(
    raw: Bytes, blocks: int, codes: Bytes, scales: Array, shifts: Array
) -> None:
    """See unpack."""
    for block in range(blocks):
        at = block * 176
        scale, shift = half(raw, at), half(raw, at + 2)
        own = slice(block * 8, block * 8 + 8)
        six_bits(raw, at + 4, scale, shift, scales[own], shifts[own])
        nibbles(raw, at + 48, 4, 32, codes, block * 256)
        single_bits(raw, at + 16, codes, block * 256, 4)


@compiled()
def unpack_q6_k(raw: Bytes, blocks: int, codes: Bytes, scales: Array) -> None:
    """See unpack."""
    for block in range(blocks):
        at = block * 210
        to = block * 256
        scale = half(raw, at + 208)
        for j in range(16):
            scales[block * 16 + j] = scale * np.int8(raw[at + 192 + j])
        nibbles(raw, at, 2, 64, codes, to)
        for part in range(2):
            pairs(raw, at + 128 + 32 * part, codes, to + 128 * part, 4)


@compiled()
def unpack_iq4_xs(raw: Bytes, blocks: int, codes: Bytes, scales: Array) -> None:
    """See unpack."""
    for block in range(blocks):
        at = block * 136
        scale = half(raw, at)
        for j in range(8):
            low = raw[at + 4 + (j >> 1)] >> (4 * (j & 1)) & 15
            high = raw[at + 2 + (j >> 2)] >> (2 * (j & 3)) & 3
            scales[block * 8 + j] = scale * (np.int64(low | high << 4) - 32)
        nibbles(raw, at + 8, 8, 16, codes, block * 256)


@compiled()
def unpack_small(
    kind: int, raw: Bytes, blocks: int, codes: Bytes, scales: Array, shifts: Array
) -> None:
    """unpack, of the formats whose blocks hold 32 numbers."""
    # Constants, of which the compiler makes a loop for each format.
    if kind == Q8_0:
        unpack_q8_0(raw, blocks, codes, scales)
    elif kind == Q4_1:
        unpack_simple(raw, blocks, True, False, codes, scales, shifts)
    elif kind == Q5_0:
        unpack_simple(raw, blocks, False, True, codes, scales, shifts)
    elif kind == Q5_1:
        unpack_simple(raw, blocks, True, True, codes, scales, shifts)
    else:
        unpack_simple(raw, blocks, False, False, codes, scales, shifts)


@compiled()
def unpack(
    kind: int, raw: Bytes, blocks: int, codes: Bytes, scales: Array, shifts: Array
) -> None:
    """The codes of whole blocks, and of their groups the scales and shifts.

    scales, shifts: one per group; shifts are left alone where the format has none.
    """
    if kind == Q2_K:
        unpack_q2_k(raw, blocks, codes, scales, shifts)
    elif kind == Q3_K:
        unpack_q3_k(raw, blocks, codes, scales)
    elif kind == Q4_K:
        unpack_q4_k(raw, blocks, codes, scales, shifts)
    elif kind == Q5_K:
        unpack_q5_k(raw, blocks, codes, scales, shifts)
    elif kind == Q6_K:
        unpack_q6_k(raw, blocks, codes, scales)
    elif kind == IQ4_XS:
        unpack_iq4_xs(raw, blocks, codes, scales)
    else:
        unpack_small(kind, raw, blocks, codes, scales, shifts)


@compiled(sources=(packed_vectors.__file__, vector_ops.__file__))
def decode(
    shape: Integers,
    raw: Bytes,
    blocks: int,
    codes: Bytes,
    scales: Array,
    shifts: Array,
    out: Array,
) -> None:
    """The numbers of whole blocks: float64, level * scale + shift.

    shape: a Shape as numbers. codes, scales, shifts: memory for as many elements and
    groups; what is in `shifts` is added where the format has none: zeros.
    """
    kind, elements, _, group, lowest = shape
    unpack(kind, raw, blocks, codes, scales, shifts)
    levels = codes.view(np.int8)
    if kind in (IQ4_NL, IQ4_XS):
        for i in range(blocks * elements):
            levels[i] = NON_LINEAR[codes[i]]
    units = blocks * elements // UNIT
    halvings = 0 if group == UNIT else 1
    fill_groups(levels, np.int8(lowest), scales, shifts, units, halvings, out)
