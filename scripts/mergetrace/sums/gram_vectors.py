"""The arithmetic of gram_numba, handed to LLVM as vectors: numba calls `add_trio` and
`add_cross` from its compiled loops.

Everything here runs while numba compiles and emits instructions; nothing here runs when
numbers are summed.

Why it is not written as plain loops: LLVM's own vectoriser goes by the widest type in a
loop, here float64, and leaves half of every register empty. In the cache of a Zen 5
core with AVX-512 a BF16 element takes .18 ns here, and .63 ns in a plain numba loop over
decoded float32 numbers with `fastmath`, which adds them in no stated order and makes no
rounding sum. So a full audit would wait for the processor rather than for the page
cache, from which files come at about the speed of this kernel (benchmarks/README.md,
"Reading and summing").

When it may go: when numba, or a plain C or Rust loop in a wheel of this package, comes
within a fifth of these figures in `python benchmarks/kernel.py`, with the sums of
kernels.py to 1e-12 (tests/unit/test_gram_and_estimators.py compares every kernel with
the formulas in gram_arrays).
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.extending import intrinsic

from mergetrace.sums.kernels import COUNTED, GROUP, ROWS, SQUARES, narrow
from mergetrace.sums.vector_ops import (
    ANY_ORDER,
    F32,
    F64,
    I16,
    I32,
    I64,
    Builder,
    Value,
    add_scalar,
    decoded,
    every_other,
    folded,
    int16_operation,
    load_vector,
    masked,
    of_element,
    paired,
    rank,
    shifted_right,
    spread,
    zeroed_place,
)

ARRAY_TYPES = {
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
DTYPE_OF = {from_dtype(np.dtype(kind)): name for name, kind in ARRAY_TYPES.items()}

HAS_AVX512 = bool(binding.get_host_cpu_features().get("avx512bw"))
REGISTER_BYTES = 64 if HAS_AVX512 else 32


Factors = Callable[[Value, Value, Value], list[tuple[Value, Value]]]
"""Pairs whose products are summed, of an audited model's, a donor's and a base's
numbers.
"""
Marks = Callable[[Value, Value, Value], list[Value]]
"""Vectors of ones and zeros that are counted, of the same."""


def _typed_trio(typing: Any, s: Any, d: Any, b: Any, out: Any, smallest: Any) -> Any:
    """Add the sums and counts of one piece to out[:12]."""

    def generate(context: Any, builder: Builder, signature: Any, values: Any) -> Any:
        _Pass(
            builder,
            _models(context, builder, signature, values),
            partial(_trio_factors, builder, values[4]),
            len(SQUARES),
            partial(_marks, builder, values[4]),
            len(COUNTED),
        ).emit()
        return context.get_dummy_value()

    return types.void(s, d, b, out, smallest), generate


def _typed_cross(typing: Any, d: Any, e: Any, b: Any, out: Any) -> Any:
    """Add <d - b, e - b> over one piece to out[0]."""

    def generate(context: Any, builder: Builder, signature: Any, values: Any) -> Any:
        _Pass(
            builder,
            _models(context, builder, signature, values),
            partial(_cross_factors, builder),
            1,
        ).emit()
        return context.get_dummy_value()

    return types.void(d, e, b, out), generate


add_trio: Any = intrinsic(_typed_trio)
add_cross: Any = intrinsic(_typed_cross)


def _trio_factors(
    b: Builder, smallest: Value, audited: Value, donor: Value, x: Value
) -> list[tuple[Value, Value]]:
    """The factors of kernels.SQUARES."""
    u = b.fsub(audited, x)
    v = b.fsub(donor, x)
    e = _binade(b, audited, smallest)
    return [(u, u), (u, x), (x, x), (u, v), (x, v), (v, v), (e, e)]


def _cross_factors(
    b: Builder, one: Value, other: Value, x: Value
) -> list[tuple[Value, Value]]:
    return [(b.fsub(one, x), b.fsub(other, x))]


@dataclass(frozen=True)
class _Models:
    """The arguments of a pass: three arrays of stored numbers, and where sums go."""

    pointers: list[Value]
    """To the first number of each array."""
    dtypes: list[str]
    out: Value
    """To the first float64 of the output."""
    size: Value
    """Elements of each array, a scalar."""

    @property
    def by_code(self) -> bool:
        """Whether numbers can be compared by the integers that are their codes."""
        one_format = len(set(self.dtypes)) == 1
        return one_format and isinstance(self.pointers[0].type.pointee, ir.IntType)

    @property
    def as_doubles(self) -> bool:
        """Whether numbers are compared as what products are made in, float64."""
        return "F64" in self.dtypes

    @property
    def compared(self) -> ir.Type:
        """The type that numbers are compared as, where not by their codes."""
        return F64 if self.as_doubles else F32


def _models(context: Any, b: Builder, signature: Any, values: Any) -> _Models:
    arrays = [
        context.make_array(kind)(context, b, value)
        for kind, value in zip(signature.args[:4], values[:4], strict=True)
    ]
    return _Models(
        [array.data for array in arrays[:3]],
        [DTYPE_OF[kind.dtype] for kind in signature.args[:3]],
        arrays[3].data,
        cgutils.unpack_tuple(b, arrays[0].shape, 1)[0],
    )


@dataclass(frozen=True)
class _Stage:
    """How a stretch of elements is gone through: in groups of `rows` rows."""

    length: int
    """Elements of a vector."""
    real: ir.Type
    """What products are made in."""
    group: int
    """Elements of a group."""
    rows: int

    @property
    def row(self) -> int:
        """Elements of a row."""
        return self.group // self.rows

    @property
    def halves(self) -> int:
        """Float32 vectors that hold the numbers of one vector of 16-bit codes."""
        return 2 if self.real is F32 else 1

    @property
    def lanes(self) -> ir.VectorType:
        """A vector of numbers."""
        return ir.VectorType(self.real, self.length // self.halves)


@dataclass(frozen=True)
class _Pass:
    """Code that reads three arrays once: whole groups in float32 where all three are
    narrow, what is left in float64.

    A group is gone through for the counts, in the order of memory, which the processor
    foresees; then, in its first cache, a column at a time, once for each half of a
    register. So all sums stay in registers.
    """

    b: Builder
    models: _Models
    factors: Factors
    terms: int
    """Sums that are made: the pairs that `factors` gives."""
    marks: Marks | None = None
    counted: int = 0
    """Counts that are made after them: the vectors that `marks` gives."""

    def emit(self) -> None:
        """Emit the instructions for all elements."""
        done = I64(0)
        if all(narrow(dtype) for dtype in self.models.dtypes):
            done = self._stage(done, _Stage(REGISTER_BYTES // 2, F32, GROUP, ROWS))
        doubles = REGISTER_BYTES // 8
        done = self._stage(done, _Stage(doubles, F64, ROWS * doubles, ROWS))
        self._stage(done, _Stage(1, F64, 1, 1))

    def _stage(self, first: Value, stage: _Stage) -> Value:
        """Sum groups of elements, from `first` on, as far as whole ones go; where that
        ended, a scalar.
        """
        b = self.b
        ones = self._ones(stage)
        wide = ir.VectorType(F64, max(1, stage.lanes.count // 2))
        totals = [zeroed_place(b, wide) for _ in range(self.terms)]
        in_pairs = ir.VectorType(I32, stage.length // 2)
        count_type = in_pairs if ones.element is I16 else ones
        counts = [zeroed_place(b, count_type) for _ in range(self.counted)]
        left_over = b.urem(b.sub(self.models.size, first), I64(stage.group))
        end = b.sub(self.models.size, left_over)
        groups = cgutils.for_range_slice(b, first, end, I64(stage.group), I64)
        with groups as (start, _):
            if self.marks and not self.models.as_doubles:
                self._count_group(stage, start, ones, counts)
            row_end = b.add(start, I64(stage.row))
            columns = cgutils.for_range_slice(b, start, row_end, I64(stage.length), I64)
            with columns as (at, _):
                for half in range(stage.halves):
                    self._sum_column(stage, at, half, totals, counts)
        self._add_to_output(totals, counts)
        return end

    def _ones(self, stage: _Stage) -> ir.VectorType:
        """What the marks of a vector are counted in."""
        if self.models.by_code and stage.length > 1:
            return ir.VectorType(I16, stage.length)
        integer = I32 if self.models.compared is F32 else I64
        return ir.VectorType(integer, stage.length)

    def _count_group(
        self, stage: _Stage, start: Value, ones: ir.VectorType, counts: list[Value]
    ) -> None:
        """Add the marks of a group to the counts."""
        b = self.b
        assert self.marks is not None
        places = [zeroed_place(b, ones) for _ in counts]
        vectors = stage.group // stage.length
        with self._each(stage, stage.length, start, vectors) as codes:
            compared = self._comparable(codes)
            for place, mark in zip(places, self.marks(*compared), strict=True):
                b.store(b.add(b.load(place), b.zext(mark, ones)), place)
        for count, place in zip(counts, places, strict=True):
            b.store(b.add(b.load(count), paired(b, b.load(place))), count)

    def _sum_column(
        self,
        stage: _Stage,
        at: Value,
        half: int,
        totals: list[Value],
        counts: list[Value],
    ) -> None:
        """Add the products in one column of a group, row by row, then to the totals;
        the marks of float64 numbers are counted on the way.
        """
        b = self.b
        sums = [zeroed_place(b, stage.lanes) for _ in range(self.terms)]
        flags = ANY_ORDER if stage.real is F64 else ()
        with self._each(stage, stage.row, at, stage.rows) as loaded:
            codes = loaded
            if stage.halves == 2:
                codes = [every_other(b, code, half) for code in loaded]
            numbers = self._numbers(codes, stage.real)
            for place, (x, y) in zip(sums, self.factors(*numbers), strict=True):
                b.store(b.fadd(b.load(place), b.fmul(x, y, flags), flags), place)
            if self.marks and self.models.as_doubles:
                ones = self._ones(stage)
                for count, mark in zip(counts, self.marks(*numbers), strict=True):
                    b.store(b.add(b.load(count), b.zext(mark, ones)), count)
        for total, place in zip(totals, sums, strict=True):
            column_sum = folded(b, b.load(place))
            b.store(b.fadd(b.load(total), column_sum, ANY_ORDER), total)

    @contextmanager
    def _each(
        self, stage: _Stage, step: int, at: Value, times: int
    ) -> Iterator[list[Value]]:
        """A loop over vectors of each model's codes, `step` elements apart."""
        b = self.b
        with cgutils.for_range(b, I64(times)) as loop:
            codes = []
            for pointer in self.models.pointers:
                first = b.add(at, b.mul(loop.index, I64(step)))
                codes.append(load_vector(b, pointer, first, stage.length))
            yield codes

    def _comparable(self, codes: list[Value]) -> list[Value]:
        """Ranks where codes can be compared as integers, else numbers."""
        if self.models.by_code:
            return [rank(self.b, code) for code in codes]
        return self._numbers(codes, self.models.compared)

    def _numbers(self, codes: list[Value], real: ir.Type) -> list[Value]:
        return [
            decoded(self.b, code, dtype, real)
            for code, dtype in zip(codes, self.models.dtypes, strict=True)
        ]

    def _add_to_output(self, totals: list[Value], counts: list[Value]) -> None:
        b = self.b
        for term, place in enumerate([*totals, *counts]):
            vector = b.load(place)
            for lane in range(vector.type.count):
                number = b.extract_element(vector, I32(lane))
                if term >= self.terms:
                    number = b.uitofp(number, F64)
                add_scalar(b, self.models.out, term, number)


def _binade(b: Builder, number: Value, smallest: Value) -> Value:
    """2^max(floor(log2 |number|), e_min): the exponent bits alone are that power of
    two. smallest: 2^e_min, a float64 scalar.
    """
    real = number.type.element
    integer = I32 if real is F32 else I64
    exponent_bits = 0x7F80_0000 if real is F32 else 0x7FF0_0000_0000_0000
    code = b.bitcast(number, of_element(number, integer))
    power = masked(b, code, exponent_bits)
    least = b.bitcast(spread(b, b.fptrunc(smallest, real), number.type), code.type)
    larger = b.select(b.icmp_signed(">", power, least), power, least)
    return b.bitcast(larger, number.type)


def _marks(
    b: Builder, positive: Value, audited: Value, donor: Value, x: Value
) -> list[Value]:
    """A one for each element that kernels.COUNTED counts, of numbers or of ranks.
    positive: any positive float64 scalar.
    """
    if isinstance(x.type.element, ir.IntType):
        return _marks_of_ranks(b, positive, audited, donor, x)
    moved = b.fcmp_unordered("!=", audited, x)
    parents_differ = b.fcmp_unordered("!=", donor, x)
    donor_differs = b.fcmp_unordered("!=", audited, donor)
    any_differs = b.or_(moved, parents_differ)
    # A difference of unequal numbers is never 0, so that its sign bit says the side.
    signs = of_element(x, I32 if x.type.element is F32 else I64)
    u = b.bitcast(b.fsub(audited, x), signs)
    v = b.bitcast(b.fsub(donor, x), signs)
    apart = b.icmp_signed("<", b.xor(u, v), signs([0] * signs.count))
    opposite = b.and_(b.and_(moved, parents_differ), apart)
    return [moved, parents_differ, any_differs, donor_differs, opposite]


def _marks_of_ranks(
    b: Builder, positive: Value, audited: Value, donor: Value, x: Value
) -> list[Value]:
    """The marks without a comparison: AVX-512's results are masks, which take longer to
    count than min(difference, 1), which is the same number.
    """
    # The compiler would make a comparison of it if it knew that the 1 is one: it is the
    # sign bit of a positive number, plus 1.
    sign_bit = b.lshr(b.bitcast(positive, I64), I64(63))
    one = spread(b, b.add(b.trunc(sign_bit, I16), I16(1)), x.type)
    # Saturated differences are at most what 16 bits hold, with the right sign.
    u = int16_operation(b, "ssub.sat", audited, x)
    v = int16_operation(b, "ssub.sat", donor, x)
    moved = int16_operation(b, "umin", u, one)
    parents_differ = int16_operation(b, "umin", v, one)
    donor_differs = int16_operation(b, "umin", b.xor(audited, donor), one)
    # There are instructions that multiply 16 bits and give the upper half.
    wide_u = b.sext(u, of_element(u, I32))
    wide_v = b.sext(v, of_element(v, I32))
    product = b.mul(wide_u, wide_v)
    any_differs = b.or_(moved, parents_differ)
    opposite = b.trunc(shifted_right(b, product, 31), x.type)
    return [moved, parents_differ, any_differs, donor_differs, opposite]
