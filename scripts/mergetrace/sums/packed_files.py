"""The sums of kernels.py over blocks of GGUF, compiled: read from the file, decoded and
summed a few thousand elements at a time, so that no decoded copy of a tensor is made.

The models that are not packed are all of one format, and read as they are; numbers of a
packed model are float64, which makes the sums float64, as everywhere (see kernels).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from mergetrace.numerics.arrays import AnyArray, Array, Bytes, Integers, Mask
from mergetrace.numerics.compiling import compiled
from mergetrace.numerics.dtypes import FORMATS
from mergetrace.numerics.lattice import ulp
from mergetrace.numerics.levels import LEVELS
from mergetrace.sums import (
    gram_vectors,
    kernels,
    packed_levels,
    packed_vectors,
    vector_ops,
)
from mergetrace.sums.gram_vectors import ARRAY_TYPES, add_cross, add_trio
from mergetrace.sums.kernels import GROUP, ROUNDING, TRIO
from mergetrace.sums.packed_levels import (
    HAS_SHIFTS,
    MOST_ELEMENTS,
    UNEVEN,
    Shape,
    decode,
    shape_of,
)
from mergetrace.sums.packed_parts import PackedParts
from mergetrace.sums.packed_vectors import UNIT

PACKED_CHUNK = 32 * GROUP
"""Elements of each model that are read, decoded and summed at once: as float64 those of
one packed model and the codes of two others lie in a core's second cache.
"""
DECODED_AT_ONCE = PACKED_CHUNK + 2 * MOST_ELEMENTS
"""Elements of the whole blocks that hold so many; none takes two bytes in a file."""
PLAIN = -1
"""The kind of what is not packed."""
COLUMNS = len(TRIO)

_SOURCES = (
    gram_vectors.__file__,
    vector_ops.__file__,
    kernels.__file__,
    packed_levels.__file__,
    packed_vectors.__file__,
)  # compiled into what is kept
_pread: Any = types.ExternalFunction(
    "pread", types.int64(types.int32, types.uintp, types.uintp, types.int64)
)


def packed_file_sums(
    parts: PackedParts, trios: Integers, crosses: Integers, smallest: Array
) -> tuple[Array, Array] | None:
    """See Kernel.packed_file_sums. None where the models that are not packed are of
    several formats, or a parent is packed and another model is not.
    """
    shapes = [shape_of(dtype) or _plain(dtype) for dtype in parts.dtypes]
    is_packed = np.array([shape.kind != PLAIN for shape in shapes])
    others = {dtype for dtype in parts.dtypes if shape_of(dtype) is None}
    parents = np.unique(np.concatenate([trios[:, 1:].ravel(), crosses.ravel()]))
    if len(others) > 1 or not others <= ARRAY_TYPES.keys():
        return None
    if others and is_packed[parents].any():
        return None
    wide = np.empty((np.count_nonzero(is_packed), DECODED_AT_ONCE))
    plain: AnyArray = wide
    for dtype in others:
        plain = np.empty(
            (np.count_nonzero(~is_packed), DECODED_AT_ONCE), ARRAY_TYPES[dtype]
        )
    trio, cross, complete = packed_sums(
        parts.descriptors,
        parts.starts,
        parts.skips,
        parts.lengths,
        parts.pieces,
        np.array(shapes),
        np.where(is_packed, np.cumsum(is_packed), np.cumsum(~is_packed)) - 1,
        _spacings(parts.dtypes, is_packed),
        trios,
        crosses,
        smallest,
        wide,
        plain,
    )
    return (trio, cross) if complete else None


def _plain(dtype: str) -> Shape:
    """Numbers that are no blocks."""
    return Shape(PLAIN, 1, FORMATS[dtype].width, 1, 0)


def _spacings(dtypes: Sequence[str], is_packed: Mask) -> Array:
    """The spacing at each level, by its byte, or one for all: float64 [models, n]."""
    if not any(dtype in UNEVEN for dtype in dtypes):
        return np.ones((len(dtypes), 1))
    every_code = np.arange(1 << 8, dtype=np.uint8)
    spacings = np.ones((len(dtypes), every_code.size))
    for model in np.flatnonzero(is_packed).tolist():
        levels = np.array(LEVELS[dtypes[model]], np.int8)
        of_codes = ulp(every_code[: levels.size], dtypes[model])
        spacings[model, levels.view(np.uint8)] = of_codes
    return spacings


@compiled(sources=_SOURCES)
def read_at(file: int, memory: Any, size: int, offset: int) -> bool:
    """Fill memory from a file; False where it ends before."""
    done = 0
    while done < size:
        count = _pread(file, memory + done, size - done, offset + done)
        if count <= 0:
            return False
        done += count
    return True


@compiled(sources=_SOURCES)
def spacing_energy(
    shape: Integers,
    codes: Bytes,
    scales: Array,
    spacings: Array,
    first: int,
    end: int,
) -> float:
    """The sum of (spacing * scale)^2 over elements first..end of decoded blocks."""
    group = shape[3]
    total = 0.0
    for number in range(first // group, (end - 1) // group + 1):
        start = max(first, number * group)
        stop = min(end, (number + 1) * group)
        scale = scales[number]
        if spacings.size == 1:
            total += (stop - start) * (spacings[0] * scale) ** 2
        else:
            for i in range(start, stop):
                total += (spacings[codes[i]] * scale) ** 2
    return total


@compiled(sources=_SOURCES)
def packed_sums(
    files: NDArray[np.int32],
    starts: Integers,
    skips: Integers,
    lengths: Integers,
    pieces: Integers,
    shapes: Integers,
    rows: Integers,
    spacings: Array,
    trios: Integers,
    crosses: Integers,
    smallest: Array,
    wide: Array,
    plain: Any,
) -> tuple[Array, Array, bool]:
    """The sums of stretches of open files, added up by piece.

    files: descriptors [models]. starts: the byte of the first block of each stretch,
    [models, stretches]; skips: elements of that block before the stretch. lengths,
    pieces: elements and piece, [stretches]. shapes: Shape of each packed model, of the
    others kind PLAIN, [models, 5]. rows: of each model in `wide` if packed, else in
    `plain`. spacings: at each level of a packed model, by its byte, or one for all,
    [models, n]. trios, crosses: models, [t, 3]; their donors and bases lie in `plain`,
    which is `wide` where every model is packed. smallest: see kernels, [t]. wide:
    float64 [packed models, DECODED_AT_ONCE]; plain: the same of the other models' type.

    Returns float64 [pieces, t, 12] and [pieces, crosses], and whether every byte could
    be read. The rounding of a packed model is the sum of its squared spacings.
    """
    count = pieces[-1] + 1
    out = np.zeros((count, len(trios), COLUMNS))
    cross = np.zeros((count, len(crosses)))
    raw = np.empty(2 * DECODED_AT_ONCE, np.uint8)
    codes = np.empty(DECODED_AT_ONCE, np.uint8)
    scales = np.empty(DECODED_AT_ONCE // UNIT)
    shifts = np.zeros(DECODED_AT_ONCE // UNIT)
    no_shifts = np.zeros(DECODED_AT_ONCE // UNIT)
    begins = np.zeros(files.size, np.int64)
    energies = np.zeros(files.size)
    for stretch in range(lengths.size):
        piece = pieces[stretch]
        for first in range(0, lengths[stretch], PACKED_CHUNK):
            length = min(PACKED_CHUNK, lengths[stretch] - first)
            for model in range(files.size):
                shape = shapes[model]
                size = shape[2]
                row = rows[model]
                if shape[0] == PLAIN:
                    at = starts[model, stretch] + first * size
                    memory = plain[row].ctypes.data
                    if not read_at(files[model], memory, length * size, at):
                        return out, cross, False
                    continue
                before = skips[model, stretch] + first
                block = before // shape[1]
                begin = before - block * shape[1]
                blocks = -(-(begin + length) // shape[1])
                at = starts[model, stretch] + block * size
                if not read_at(files[model], raw.ctypes.data, blocks * size, at):
                    return out, cross, False
                own = shifts if HAS_SHIFTS[shape[0]] else no_shifts
                decode(shape, raw, blocks, codes, scales, own, wide[row])
                begins[model] = begin
                energies[model] = spacing_energy(
                    shape, codes, scales, spacings[model], begin, begin + length
                )
            for t in range(len(trios)):
                s, d, b = trios[t]
                donor = plain[rows[d]][begins[d] : begins[d] + length]
                base = plain[rows[b]][begins[b] : begins[b] + length]
                if shapes[s, 0] == PLAIN:
                    audited = plain[rows[s]][:length]
                    add_trio(audited, donor, base, out[piece, t], smallest[t])
                else:
                    numbers = wide[rows[s]][begins[s] : begins[s] + length]
                    energy = out[piece, t, ROUNDING] + energies[s]
                    add_trio(numbers, donor, base, out[piece, t], smallest[t])
                    out[piece, t, ROUNDING] = energy
            for c in range(len(crosses)):
                d, e, b = crosses[c]
                add_cross(
                    plain[rows[d]][begins[d] : begins[d] + length],
                    plain[rows[e]][begins[e] : begins[e] + length],
                    plain[rows[b]][begins[b] : begins[b] + length],
                    cross[piece, c : c + 1],
                )
    return out, cross, True
