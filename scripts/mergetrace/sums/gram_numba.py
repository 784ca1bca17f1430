"""The sums of kernels.py compiled: one pass over the stored numbers, decoded in
registers, faster than files are read.

A model's numbers arrive as an array whose type says how they are stored
(gram_vectors.ARRAY_TYPES): no decoded copy of them is ever made. numba compiles the
loop over the pieces; the arithmetic of a piece is emitted as vectors by gram_vectors.
Nothing here depends on the number of threads, and the float32 sums not on the width of
a vector.
"""

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from mergetrace.numerics.arrays import AnyArray, Array, Bytes, Integers
from mergetrace.numerics.compiling import compiled
from mergetrace.numerics.dtypes import FORMATS, decode
from mergetrace.sums import gram_vectors, kernels, vector_ops
from mergetrace.sums.gram_vectors import ARRAY_TYPES, add_cross, add_trio
from mergetrace.sums.kernels import TRIO, FileParts, Kernel, Numbers
from mergetrace.sums.packed_files import packed_file_sums
from mergetrace.sums.packed_parts import PackedParts
from mergetrace.tensors.weights import scaled

KERNEL_CHUNK = 1 << 16
"""Elements of each model that file_sums reads at once: a multiple of GROUP; three
models' lie in a core's second cache.
"""
COLUMNS = len(TRIO)

_SOURCES = (
    gram_vectors.__file__,
    vector_ops.__file__,
    kernels.__file__,
)  # compiled into what is kept
_pread: Any = types.ExternalFunction(
    "pread", types.int64(types.int32, types.uintp, types.uintp, types.int64)
)


class CompiledKernel(Kernel):
    """The sums as compiled loops, which also read files, outside Python's lock."""

    def load(self, raw: Bytes, dtype: str, scales: Array | None) -> Numbers:
        """Stored bytes as the array that stands for them, without a copy; FP8 with
        block scales becomes float64.
        """
        if scales is None:
            return raw.view(ARRAY_TYPES[dtype])
        return scaled(decode(raw, dtype), scales)

    def trio_sums(
        self, s: Numbers, d: Numbers, b: Numbers, edges: Integers, smallest: float
    ) -> Array:
        """See Kernel.trio_sums."""
        sums: Array = trio_sums(s, d, b, edges, smallest)
        return sums

    def cross_sums(self, d: Numbers, e: Numbers, b: Numbers, edges: Integers) -> Array:
        """See Kernel.cross_sums."""
        sums: Array = cross_sums(d, e, b, edges)
        return sums

    def file_sums(
        self, parts: FileParts, trios: Integers, crosses: Integers, smallest: Array
    ) -> tuple[Array, Array] | None:
        """See Kernel.file_sums. None only where a file ends too soon."""
        models = parts.descriptors.size
        raw = self.buffer(models * KERNEL_CHUNK * FORMATS[parts.dtype].width)
        numbers = self.load(raw, parts.dtype, None).reshape(models, -1)
        trio, cross, complete = file_sums(
            parts.descriptors,
            parts.offsets,
            parts.lengths,
            trios,
            crosses,
            smallest,
            numbers,
        )
        return (trio, cross) if complete else None

    def packed_file_sums(
        self, parts: PackedParts, trios: Integers, crosses: Integers, smallest: Array
    ) -> tuple[Array, Array] | None:
        """See Kernel.packed_file_sums."""
        return packed_file_sums(parts, trios, crosses, smallest)


@compiled(sources=_SOURCES)
def trio_sums(
    s: AnyArray, d: AnyArray, b: AnyArray, edges: Integers, smallest: float
) -> Array:
    """Kernel.trio_sums, of stored numbers."""
    out = np.zeros((edges.size - 1, COLUMNS))
    for piece in range(edges.size - 1):
        first = edges[piece]
        end = edges[piece + 1]
        add_trio(s[first:end], d[first:end], b[first:end], out[piece], smallest)
    return out


@compiled(sources=_SOURCES)
def cross_sums(d: AnyArray, e: AnyArray, b: AnyArray, edges: Integers) -> Array:
    """Kernel.cross_sums, of stored numbers."""
    out = np.zeros(edges.size - 1)
    for piece in range(edges.size - 1):
        first = edges[piece]
        end = edges[piece + 1]
        add_cross(d[first:end], e[first:end], b[first:end], out[piece : piece + 1])
    return out


@compiled(sources=_SOURCES)
def file_sums(
    files: NDArray[np.int32],
    starts: Integers,
    lengths: Integers,
    trios: Integers,
    crosses: Integers,
    smallest: Array,
    numbers: Any,
) -> tuple[Array, Array, bool]:
    """The sums of pieces of open files, read a few thousand elements at a time, which
    are summed while they lie in the processor's cache.

    files: descriptors [models]. starts: byte offset of each piece in each file,
    [models, pieces]. lengths: elements [pieces]. trios: rows of `files`, those of each
    trio, [t, 3]; crosses: likewise. smallest: see trio_sums, [t]. numbers: memory to
    read into, an array [models, KERNEL_CHUNK] of the type that stands for the files' dtype.
    Returns float64 [pieces, t, 12] and [pieces, crosses], and whether every byte could
    be read.
    """
    out = np.zeros((lengths.size, len(trios), COLUMNS))
    cross = np.zeros((lengths.size, len(crosses)))
    width = numbers.itemsize
    for piece in range(lengths.size):
        for first in range(0, lengths[piece], KERNEL_CHUNK):
            length = min(KERNEL_CHUNK, lengths[piece] - first)
            for model in range(files.size):
                done = 0
                while done < length * width:
                    at = starts[model, piece] + first * width + done
                    memory = numbers[model].ctypes.data + done
                    count = _pread(files[model], memory, length * width - done, at)
                    if count <= 0:
                        return out, cross, False
                    done += count
            for t in range(len(trios)):
                s, d, b = trios[t]
                add_trio(
                    numbers[s][:length],
                    numbers[d][:length],
                    numbers[b][:length],
                    out[piece, t],
                    smallest[t],
                )
            for c in range(len(crosses)):
                d, e, b = crosses[c]
                add_cross(
                    numbers[d][:length],
                    numbers[e][:length],
                    numbers[b][:length],
                    cross[piece, c : c + 1],
                )
    return out, cross, True
