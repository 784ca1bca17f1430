"""Operations on vectors of stored numbers, as instructions for LLVM: the words that
gram_vectors is written in.

Each takes the builder that instructions are emitted with; vectors keep their number of
elements unless said otherwise.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils

from mergetrace.numerics.dtypes import FORMATS

ANY_ORDER = ("reassoc", "contract", "nsz")
"""Of float64 sums; float32 ones are rounded in the order that kernels.py states."""

I16 = ir.IntType(16)
I32 = ir.IntType(32)
I64 = ir.IntType(64)
F32 = ir.FloatType()
F64 = ir.DoubleType()
FLOAT32_NAN = 0x7FC0_0000  # its code
FLOAT32_FRACTION_BITS = 23

Builder = Any
"""llvmlite's IRBuilder, which has no types."""
Value = Any
"""What the builder makes and takes: here vectors, unless said otherwise."""


def decoded(b: Builder, code: Value, dtype: str, real: ir.Type) -> Value:
    """The numbers behind codes. Infinity and NaN of formats narrower than BF16 both
    become NaN: either is left out of every sum.
    """
    if isinstance(code.type.element, ir.IntType):
        code = b.zext(code, of_element(code, I32))
        if dtype == "BF16":
            code = shifted_left(b, code, 16)
        else:
            code = _widened(b, code, dtype)
        code = b.bitcast(code, of_element(code, F32))
    return b.fpext(code, of_element(code, real))


def _widened(b: Builder, code: Value, dtype: str) -> Value:
    """The float32 codes of a format of fewer exponent bits: moved to float32's places,
    or counted where it is subnormal.
    """
    form = FORMATS[dtype]
    fraction = form.fraction_bits
    bits = 8 * form.width
    sign = 1 << bits - 1
    magnitude = masked(b, code, sign - 1)

    in_place = shifted_left(b, magnitude, FLOAT32_FRACTION_BITS - fraction)
    exponent_offset = 126 + form.min_exponent << FLOAT32_FRACTION_BITS
    normal = b.add(in_place, constant(code, exponent_offset))

    counted = b.uitofp(magnitude, of_element(code, F32))
    unit = constant(counted, 2.0 ** (form.min_exponent - fraction))
    subnormal = b.bitcast(b.fmul(counted, unit), code.type)

    smallest_normal = constant(code, 1 << fraction)
    is_subnormal = b.icmp_unsigned("<", magnitude, smallest_normal)
    finite = b.select(is_subnormal, subnormal, normal)

    largest = constant(code, form.largest)
    not_finite = b.icmp_unsigned(">", magnitude, largest)
    nan = constant(code, FLOAT32_NAN)
    wide = b.select(not_finite, nan, finite)
    sign_in_place = shifted_left(b, masked(b, code, sign), 32 - bits)
    return b.or_(wide, sign_in_place)


def rank(b: Builder, code: Value) -> Value:
    """Integers of 16 bits that are ordered like the numbers behind the codes: sign and
    magnitude, made two's complement. Both zeros become 0.
    """
    sign = 1 << code.type.element.width - 1
    negative = b.icmp_signed("<", code, constant(code, 0))
    turned = b.sub(constant(code, sign), code)
    ranks = b.select(negative, turned, code)
    return b.sext(ranks, of_element(code, I16))


def int16_operation(b: Builder, name: str, x: Value, y: Value) -> Value:
    """LLVM's named operation of two vectors of 16-bit integers."""
    kind = ir.FunctionType(x.type, [x.type, y.type])
    full_name = f"llvm.{name}.v{x.type.count}i16"
    operation = cgutils.get_or_insert_function(b.module, kind, full_name)
    return b.call(operation, [x, y])


def every_other(b: Builder, codes: Value, odd: int) -> Value:
    """The codes of the even or of the odd elements, each in 32 bits."""
    in_pairs = ir.VectorType(I32, codes.type.count // 2)
    words = b.bitcast(b.zext(codes, of_element(codes, I16)), in_pairs)
    if odd:
        return shifted_right(b, words, 16)
    return masked(b, words, 0xFFFF)


def folded(b: Builder, sums: Value) -> Value:
    """Sums as float64, the first half of them added to the second, which leaves half as
    many registers to keep; a single one as it is.
    """
    wide = b.fpext(sums, of_element(sums, F64))
    count = wide.type.count
    if count == 1:
        return wide
    indices = ir.VectorType(I32, count // 2)
    first_half = indices([*range(count // 2)])
    second_half = indices([*range(count // 2, count)])
    first = b.shuffle_vector(wide, wide, first_half)
    second = b.shuffle_vector(wide, wide, second_half)
    return b.fadd(first, second, ANY_ORDER)


def paired(b: Builder, counts: Value) -> Value:
    """Counts of 16 bits two by two, in 32 bits; wider ones as they are."""
    if counts.type.element is not I16:
        return counts
    return b.add(every_other(b, counts, 0), every_other(b, counts, 1))


def load_vector(b: Builder, pointer: Value, first: Value, length: int) -> Value:
    """`length` stored elements from `first` on, wherever they lie in memory."""
    place = b.gep(pointer, [first])
    vector = ir.VectorType(pointer.type.pointee, length)
    return b.load(b.bitcast(place, vector.as_pointer()), align=1)


def add_scalar(b: Builder, out: Value, index: int, number: Value) -> None:
    """out[index] += number: scalars."""
    place = b.gep(out, [I64(index)])
    b.store(b.fadd(b.load(place), number), place)


def of_element(vector: Value, element: ir.Type) -> ir.VectorType:
    """The type of a vector of as many elements of another type."""
    return ir.VectorType(element, vector.type.count)


def spread(b: Builder, scalar: Value, kind: ir.VectorType) -> Value:
    """A vector that holds a scalar everywhere."""
    undefined = kind(ir.Undefined)
    first = b.insert_element(undefined, scalar, I32(0))
    zeros = ir.VectorType(I32, kind.count)([0] * kind.count)
    return b.shuffle_vector(first, first, zeros)


def constant(vector: Value, number: float) -> Value:
    """A vector of the same type that holds a constant everywhere."""
    return vector.type([number] * vector.type.count)


def shifted_left(b: Builder, vector: Value, bits: int) -> Value:
    """vector << bits."""
    return b.shl(vector, constant(vector, bits))


def shifted_right(b: Builder, vector: Value, bits: int) -> Value:
    """vector >> bits, unsigned."""
    return b.lshr(vector, constant(vector, bits))


def masked(b: Builder, vector: Value, bits: int) -> Value:
    """vector & bits."""
    return b.and_(vector, constant(vector, bits))


def zeroed_place(b: Builder, kind: ir.VectorType) -> Value:
    """A place for a vector, zero from here on."""
    place = cgutils.alloca_once(b, kind)
    b.store(kind([0] * kind.count), place)
    return place
