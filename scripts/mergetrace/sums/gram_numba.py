"""The sums of gram.py compiled: one pass over the stored numbers, decoded in registers,
faster than files are read.

A model's numbers arrive as an array whose type says how they are stored (`LANES`): no
decoded copy of them is ever made. numba compiles the loop over the pieces; the
arithmetic is handed to LLVM as vectors, since its own vectoriser goes by the widest
type in a loop, here float64, and leaves half of every register empty. Nothing here
depends on the number of threads, and the float32 sums not on the width of a vector.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

from mergetrace.numerics.dtypes import FORMATS, decode
from mergetrace.sums.compiling import compiled
from mergetrace.sums.gram_arrays import (
    GROUP,
    ROWS,
    buffer,
    narrow,
)  # noqa: F401 - `buffer` is part of what a kernel offers
from mergetrace.tensors.weights import scaled

LANES = {
    "BF16": "<u2",
    "F16": "<i2",
    "F32": "<f4",
    "F64": "<f8",
    "F8_E4M3": "u1",
    "F8_E5M2": "i1",
}
"""The array type that stands for each dtype: numba compiles one kernel per combination,
when it is first met, and keeps it on disk.
"""

NAMES = {from_dtype(np.dtype(lane)): name for name, lane in LANES.items()}
ANY_ORDER = (
    "reassoc",
    "contract",
    "nsz",
)  # of float64 sums; float32 ones are rounded in the order that gram.py states
CHUNK = (
    1 << 16
    # elements of each model read at once by file_sums: a multiple of GROUP; three models'
    # lie in a core's second cache
)
BYTES = (
    64 if binding.get_host_cpu_features().get("avx512bw") else 32
)  # of a vector register

_pread = types.ExternalFunction(
    "pread", types.int64(types.int32, types.uintp, types.uintp, types.int64)
)

I16, I32, I64, F32, F64 = (
    *map(ir.IntType, (16, 32, 64)),
    ir.FloatType(),
    ir.DoubleType(),
)
Value = Any
"""What llvmlite's builder makes and takes: here vectors, unless said otherwise."""


def load(
    raw: NDArray[np.uint8], dtype: str, scales: NDArray[np.float64] | None
) -> NDArray:
    """Stored bytes as the array that stands for them, without a copy; FP8 with block
    scales becomes float64.
    """
    return (
        raw.view(LANES[dtype]) if scales is None else scaled(decode(raw, dtype), scales)
    )


@compiled
def trio_sums(
    s: Any, d: Any, b: Any, edges: NDArray[np.int64], smallest: float
) -> NDArray[np.float64]:
    """gram_arrays.trio_sums, of stored numbers."""
    out = np.zeros((edges.size - 1, 12))
    for piece in range(edges.size - 1):
        first = edges[piece]
        end = edges[piece + 1]
        _trio(s[first:end], d[first:end], b[first:end], out[piece], smallest)
    return out


@compiled
def cross_sums(d: Any, e: Any, b: Any, edges: NDArray[np.int64]) -> NDArray[np.float64]:
    """gram_arrays.cross_sums, of stored numbers."""
    out = np.zeros(edges.size - 1)
    for piece in range(edges.size - 1):
        first = edges[piece]
        end = edges[piece + 1]
        _cross(d[first:end], e[first:end], b[first:end], out[piece : piece + 1])
    return out


@compiled
def file_sums(
    files: NDArray[np.int32],
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    trios: NDArray[np.int64],
    crosses: NDArray[np.int64],
    smallest: NDArray[np.float64],
    numbers: Any,
) -> tuple[NDArray[np.float64], NDArray[np.float64], bool]:
    """The sums of pieces of open files, read a few thousand elements at a time, which
    are summed while they lie in the processor's cache.

    files: descriptors [models]. starts: byte offset of each piece in each file, [models, pieces]. lengths: elements [pieces]. trios: rows of
    `files`, those of each trio, [t, 3]; crosses: likewise. smallest: see trio_sums, [t]. numbers: memory to read into, an array [models, CHUNK]
    of the type that stands for the files' dtype. Returns float64 [pieces, t, 12] and [pieces, crosses], and whether every byte could be read.
    """
    out = np.zeros((lengths.size, len(trios), 12))
    cross = np.zeros((lengths.size, len(crosses)))
    width = numbers.itemsize
    for piece in range(lengths.size):
        for first in range(0, lengths[piece], CHUNK):
            length = min(CHUNK, lengths[piece] - first)
            for model in range(files.size):
                done = 0
                while done < length * width:
                    at = starts[model, piece] + first * width + done
                    count = _pread(
                        files[model],
                        numbers[model].ctypes.data + done,
                        length * width - done,
                        at,
                    )
                    if count <= 0:
                        return out, cross, False
                    done += count
            for t in range(len(trios)):
                s, d, b = trios[t]
                _trio(
                    numbers[s][:length],
                    numbers[d][:length],
                    numbers[b][:length],
                    out[piece, t],
                    smallest[t],
                )
            for c in range(len(crosses)):
                d, e, b = crosses[c]
                _cross(
                    numbers[d][:length],
                    numbers[e][:length],
                    numbers[b][:length],
                    cross[piece, c : c + 1],
                )
    return out, cross, True


@intrinsic
def _trio(typing: Any, s: Any, d: Any, b: Any, out: Any, smallest: Any) -> Any:
    """Add the sums and counts of one piece to out[:12]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def factors(
            build: Any, audited: Value, donor: Value, x: Value
        ) -> list[tuple[Value, Value]]:
            u = build.fsub(audited, x)
            v = build.fsub(donor, x)
            e = _binade(build, audited, arguments[4])
            return [(u, u), (u, x), (x, x), (u, v), (x, v), (v, v), (e, e)]

        def marks(build: Any, audited: Value, donor: Value, x: Value) -> list[Value]:
            return _marks(build, audited, donor, x, arguments[4])

        return _pass(context, builder, signature, arguments, factors, 7, marks, 5)

    return types.void(s, d, b, out, smallest), generate


@intrinsic
def _cross(typing: Any, d: Any, e: Any, b: Any, out: Any) -> Any:
    """Add <d - b, e - b> over one piece to out[0]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        def factors(
            build: Any, one: Value, other: Value, x: Value
        ) -> list[tuple[Value, Value]]:
            return [(build.fsub(one, x), build.fsub(other, x))]

        return _pass(context, builder, signature, arguments, factors, 1)

    return types.void(d, e, b, out), generate


def _pass(
    context: Any,
    b: Any,
    signature: Any,
    values: Any,
    factors: Callable,
    terms: int,
    marks: Callable | None = None,
    counted: int = 0,
) -> Any:
    """Code that reads three arrays once: whole groups in float32 where all three are
    narrow, what is left in float64.

    factors: of the three models' numbers, the `terms` pairs whose products are summed. marks: likewise the `counted` vectors of ones and
    zeros that are counted after them. A group is gone through for the counts, in the order of memory, which the processor foresees; then, in its
    first cache, a column at a time, once for each half of a register. So all sums stay in registers.
    """
    arrays = [
        context.make_array(kind)(context, b, value)
        for kind, value in zip(signature.args[:4], values[:4], strict=True)
    ]
    pointers = [array.data for array in arrays[:3]]
    out = arrays[3].data
    names = [NAMES[kind.dtype] for kind in signature.args[:3]]
    by_code = len(set(names)) == 1 and isinstance(pointers[0].type.pointee, ir.IntType)
    seen = F64 if "F64" in names else F32  # as what numbers are compared
    size = cgutils.unpack_tuple(b, arrays[0].shape, 1)[0]

    def stage(first: Value, length: int, real: ir.Type, group: int, rows: int) -> Value:
        """Sum groups of elements, from `first` on, as far as whole ones go, in vectors
        of `length` elements; where it stopped.
        """
        halves = 2 if real is F32 else 1
        row = group // rows
        lanes = ir.VectorType(real, length // halves)
        ones = ir.VectorType(
            I16 if by_code and length > 1 else I32 if seen is F32 else I64, length
        )
        totals = [
            _zeroed(b, ir.VectorType(F64, max(1, lanes.count // 2)))
            for _ in range(terms)
        ]
        counts = [
            _zeroed(b, ir.VectorType(I32, length // 2) if ones.element is I16 else ones)
            for _ in range(counted)
        ]
        end = b.sub(size, b.urem(b.sub(size, first), I64(group)))

        @contextmanager
        def every(step: int, at: Value, times: int) -> Iterator[list[Value]]:
            with cgutils.for_range(b, I64(times)) as loop:
                yield [
                    _loaded(b, pointer, b.add(at, b.mul(loop.index, I64(step))), length)
                    for pointer in pointers
                ]

        with cgutils.for_range_slice(b, first, end, I64(group), I64) as (start, _):
            if marks:
                places = [_zeroed(b, ones) for _ in counts]
                with every(length, start, group // length) as codes:
                    models = [
                        _rank(b, code) if by_code else _number(b, code, name, seen)
                        for code, name in zip(codes, names, strict=True)
                    ]
                    for place, mark in zip(places, marks(b, *models), strict=True):
                        b.store(b.add(b.load(place), b.zext(mark, ones)), place)
                for count, place in zip(counts, places, strict=True):
                    b.store(b.add(b.load(count), _paired(b, b.load(place))), count)
            with cgutils.for_range_slice(
                b, start, b.add(start, I64(row)), I64(length), I64
            ) as (at, _):
                for half in range(halves):
                    sums = [_zeroed(b, lanes) for _ in range(terms)]
                    with every(row, at, rows) as codes:
                        part = (
                            [_half(b, code, half) for code in codes]
                            if halves == 2
                            else codes
                        )
                        numbers = [
                            _number(b, code, name, real)
                            for code, name in zip(part, names, strict=True)
                        ]
                        flags = ANY_ORDER if real is F64 else ()
                        for place, (x, y) in zip(
                            sums, factors(b, *numbers), strict=True
                        ):
                            b.store(
                                b.fadd(b.load(place), b.fmul(x, y, flags), flags), place
                            )
                    for total, place in zip(totals, sums, strict=True):
                        b.store(
                            b.fadd(b.load(total), _folded(b, b.load(place)), ANY_ORDER),
                            total,
                        )
        for term, place in enumerate([*totals, *counts]):
            vector = b.load(place)
            for number in (
                b.extract_element(vector, I32(lane))
                for lane in range(vector.type.count)
            ):
                _add(b, out, term, number if term < terms else b.uitofp(number, F64))
        return end

    done = I64(0)
    if all(narrow(name) for name in names):
        done = stage(done, BYTES // 2, F32, GROUP, ROWS)
    done = stage(done, BYTES // 8, F64, ROWS * BYTES // 8, ROWS)
    stage(done, 1, F64, 1, 1)
    return context.get_dummy_value()


def _number(b: Any, code: Value, dtype: str, real: ir.Type) -> Value:
    """The numbers behind codes. Infinity and NaN of formats narrower than BF16 both
    become NaN: either is left out of every sum.
    """
    if isinstance(code.type.element, ir.IntType):
        code = b.zext(code, _like(code, I32))
        code = b.bitcast(
            (
                b.shl(code, _all(code, 16))
                if dtype == "BF16"
                else _widened(b, code, dtype)
            ),
            _like(code, F32),
        )
    return b.fpext(code, _like(code, real))


def _widened(b: Any, code: Value, dtype: str) -> Value:
    """The float32 codes of a format of fewer exponent bits: moved to float32's places,
    or counted where it is subnormal.
    """
    form = FORMATS[dtype]
    fraction = form.fraction_bits
    sign = 1 << 8 * form.width - 1
    magnitude = b.and_(code, _all(code, sign - 1))
    normal = b.add(
        b.shl(magnitude, _all(code, 23 - fraction)),
        _all(code, 126 + form.min_exponent << 23),
    )
    counted = b.uitofp(magnitude, _like(code, F32))
    subnormal = b.bitcast(
        b.fmul(counted, _all(counted, 2.0 ** (form.min_exponent - fraction))), code.type
    )
    wide = b.select(
        b.icmp_unsigned("<", magnitude, _all(code, 1 << fraction)), subnormal, normal
    )
    wide = b.select(
        b.icmp_unsigned(">", magnitude, _all(code, form.largest)),
        _all(code, 0x7FC0_0000),
        wide,
    )
    return b.or_(
        wide, b.shl(b.and_(code, _all(code, sign)), _all(code, 32 - 8 * form.width))
    )


def _binade(b: Any, number: Value, smallest: Value) -> Value:
    """2^max(floor(log2 |number|), e_min): the exponent bits alone are that power of
    two. smallest: 2^e_min, a float64 scalar.
    """
    bits, exponent = (
        (I32, 0x7F80_0000)
        if number.type.element is F32
        else (I64, 0x7FF0_0000_0000_0000)
    )
    code = b.bitcast(number, _like(number, bits))
    power = b.and_(code, _all(code, exponent))
    least = b.bitcast(
        _spread(b, b.fptrunc(smallest, number.type.element), number.type), code.type
    )
    return b.bitcast(
        b.select(b.icmp_signed(">", power, least), power, least), number.type
    )


def _rank(b: Any, code: Value) -> Value:
    """Integers of 16 bits that are ordered like the numbers behind the codes: sign and
    magnitude, made two's complement. Both zeros become 0.
    """
    ranks = b.select(
        b.icmp_signed("<", code, _all(code, 0)),
        b.sub(_all(code, 1 << code.type.element.width - 1), code),
        code,
    )
    return b.sext(ranks, _like(code, I16))


def _marks(
    b: Any, audited: Value, donor: Value, x: Value, positive: Value
) -> list[Value]:
    """A one for each element that gram.COUNTED counts, of numbers or of ranks.
    positive: any positive float64 scalar.

    Of ranks no comparison is made: AVX-512's results are masks, which take longer to count. min(difference, 1) is the same number; the compiler would
    make a comparison of it if it knew that the 1 is one.
    """
    if isinstance(x.type.element, ir.IntType):
        one = _spread(
            b,
            b.add(b.trunc(b.lshr(b.bitcast(positive, I64), I64(63)), I16), I16(1)),
            x.type,
        )  # its sign bit + 1
        u, v = (
            _binary(b, "ssub.sat", model, x) for model in (audited, donor)
        )  # at most what 16 bits hold: with the right sign
        moved, parents_differ = (
            _binary(b, "umin", difference, one) for difference in (u, v)
        )
        donor_differs = _binary(b, "umin", b.xor(audited, donor), one)
        product = b.mul(
            b.sext(u, _like(u, I32)), b.sext(v, _like(v, I32))
        )  # instructions multiply 16 bits and give the upper half
        return [
            moved,
            parents_differ,
            b.or_(moved, parents_differ),
            donor_differs,
            b.trunc(b.lshr(product, _all(product, 31)), x.type),
        ]
    differ = [
        b.fcmp_unordered("!=", *pair)
        for pair in ((audited, x), (donor, x), (audited, donor))
    ]
    up, down = (
        [b.fcmp_ordered(sign, model, x) for model in (audited, donor)]
        for sign in (">", "<")
    )
    return [
        *differ[:2],
        b.or_(*differ[:2]),
        differ[2],
        b.or_(b.and_(up[0], down[1]), b.and_(down[0], up[1])),
    ]


def _binary(b: Any, name: str, x: Value, y: Value) -> Value:
    """LLVM's operation of two vectors of 16-bit integers."""
    kind = ir.FunctionType(x.type, [x.type] * 2)
    return b.call(
        cgutils.get_or_insert_function(
            b.module, kind, f"llvm.{name}.v{x.type.count}i16"
        ),
        [x, y],
    )


def _half(b: Any, codes: Value, odd: int) -> Value:
    """The codes of the even or of the odd elements, each in 32 bits."""
    words = b.bitcast(
        b.zext(codes, _like(codes, I16)), ir.VectorType(I32, codes.type.count // 2)
    )
    return b.lshr(words, _all(words, 16)) if odd else b.and_(words, _all(words, 0xFFFF))


def _folded(b: Any, sums: Value) -> Value:
    """Sums as float64, the first half of them added to the second, which leaves half as
    many registers to keep; a single one as it is.
    """
    wide = b.fpext(sums, _like(sums, F64))
    if (count := wide.type.count) == 1:
        return wide
    first, second = (
        b.shuffle_vector(wide, wide, ir.VectorType(I32, count // 2)([*part]))
        for part in (range(count // 2), range(count // 2, count))
    )
    return b.fadd(first, second, ANY_ORDER)


def _paired(b: Any, counts: Value) -> Value:
    """Counts of 16 bits two by two, in 32 bits; wider ones as they are."""
    if counts.type.element is not I16:
        return counts
    return b.add(_half(b, counts, 0), _half(b, counts, 1))


def _loaded(b: Any, pointer: Value, first: Value, length: int) -> Value:
    """`length` stored elements from `first` on, wherever they lie in memory."""
    place = b.gep(pointer, [first])
    element = pointer.type.pointee
    return b.load(
        b.bitcast(place, ir.VectorType(element, length).as_pointer()), align=1
    )


def _add(b: Any, out: Value, index: int, number: Value) -> None:
    """out[index] += number: scalars."""
    place = b.gep(out, [I64(index)])
    b.store(b.fadd(b.load(place), number), place)


def _like(vector: Value, element: ir.Type) -> ir.VectorType:
    return ir.VectorType(element, vector.type.count)


def _spread(b: Any, scalar: Value, kind: ir.VectorType) -> Value:
    """A vector that holds a scalar everywhere."""
    first = b.insert_element(kind(ir.Undefined), scalar, I32(0))
    return b.shuffle_vector(
        first, first, ir.VectorType(I32, kind.count)([0] * kind.count)
    )


def _all(vector: Value, number: float) -> Value:
    return vector.type([number] * vector.type.count)


def _zeroed(b: Any, kind: ir.VectorType) -> Value:
    """A place for a vector, zero from here on."""
    place = cgutils.alloca_once(b, kind)
    b.store(kind([0] * kind.count), place)
    return place
