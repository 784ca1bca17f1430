"""The formats of weight files: how stored numbers decode, and how numbers are rounded to
be stored.

Every finite number of the decoded formats is exact in float64.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mergetrace.numerics.arrays import AnyArray, Array, Mask, Singles
from mergetrace.numerics.levels import LEVELS

Raw = bytes | bytearray | memoryview | AnyArray
"""Any contiguous buffer of a tensor's bytes."""
Codes = NDArray[np.unsignedinteger[Any]]
"""The bits of each stored number as an unsigned integer of its width."""

BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
"""Bits per element of every dtype that safetensors knows, by its name there."""
BITS |= dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8)
BITS |= dict.fromkeys(("F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8)
BITS |= dict.fromkeys(("U16", "I16", "F16", "BF16"), 16)
BITS |= dict.fromkeys(("U32", "I32", "F32"), 32)
BITS |= dict.fromkeys(("U64", "I64", "F64", "C64"), 64)


@dataclass(frozen=True)
class Format:
    """A floating-point format with p fraction bits, or a packed one, of whose codes each
    takes a byte in memory.

    The code after the largest is infinity, except in F8_E4M3 (e4m3fn), which has none:
    there it is NaN.
    """

    width: int
    """Bytes per number."""
    fraction_bits: int
    """p."""
    min_exponent: int
    """e_min: the smallest normal number is 2^e_min."""
    largest: int
    """The code of the largest finite number."""
    levels: tuple[float, ...] = ()
    """Of a packed format, the numbers behind its codes."""

    @property
    def codes(self) -> np.dtype[np.unsignedinteger[Any]]:
        """The unsigned integer that holds one number's bits, little-endian as in the
        file.
        """
        return np.dtype(f"<u{self.width}")


FORMATS = {
    "BF16": Format(2, 7, -126, 0x7F7F),
    "F16": Format(2, 10, -14, 0x7BFF),
    "F32": Format(4, 23, -126, 0x7F7F_FFFF),
    "F64": Format(8, 52, -1022, 0x7FEF_FFFF_FFFF_FFFF),
    "F8_E4M3": Format(1, 3, -6, 0x7E),
    "F8_E5M2": Format(1, 2, -14, 0x7B),
}
"""The dtypes that are decoded, by their safetensors name."""
FLOATS = tuple(FORMATS)
"""The dtypes of floating-point numbers: all of them but the packed formats."""
FORMATS |= {
    name: Format(1, 0, 0, len(levels) - 1, levels) for name, levels in LEVELS.items()
}

LIMIT = 2.0**128
"""Numbers of this size or larger, which float32 cannot hold, are no weights: sums of
their squares may overflow. They are left out as NaN and infinity are.
"""

BLOCK = 1 << 15  # elements: a block and its temporaries stay in the cache


def is_decoded(dtype: str) -> bool:
    """Whether numbers of this safetensors dtype are decoded here; integers, booleans
    and packed formats are not.
    """
    return dtype in FORMATS


def decode(raw: Raw, dtype: str, out: AnyArray | None = None) -> AnyArray:
    """Decode n stored numbers exactly: float64 [n], in `out` if given (float32 does for
    all but F64).

    `raw` is any contiguous buffer of the tensor's bytes. KeyError for a dtype that is
    not decoded.
    """
    codes = codes_of(raw, dtype)
    if out is None:
        out = np.empty(codes.size)
    fill(codes, partial(values_of, dtype=dtype), out)
    return out


def usable(
    raw: Raw, dtype: str, scales: Array | None = None, shifts: Array | None = None
) -> Mask:
    """Which stored numbers, multiplied by `scales` and with `shifts` added where there
    are any, are neither NaN nor LIMIT or more in size: bool [n].
    """
    if scales is not None:
        with np.errstate(invalid="ignore", over="ignore"):
            values = decode(raw, dtype) * scales
            sizes = np.abs(values if shifts is None else values + shifts)
        return np.asarray(sizes < LIMIT)
    all_but_sign = (1 << (8 * FORMATS[dtype].width - 1)) - 1
    codes = codes_of(raw, dtype)
    magnitudes = codes & codes.dtype.type(all_but_sign)
    return np.asarray(magnitudes < codes.dtype.type(_code_of_limit(dtype)))


@cache
def _code_of_limit(dtype: str) -> int:
    """The code of LIMIT, or of what follows the largest number in a format that does
    not reach it.
    """
    code = int(encode(np.array([LIMIT]), dtype)[0])
    return min(code, FORMATS[dtype].largest + 1)


def largest_number(dtype: str) -> float:
    """The largest finite number of a format. A packed one has none: its last levels
    stand for everything beyond.
    """
    if FORMATS[dtype].levels:
        return float("inf")
    code = np.array([FORMATS[dtype].largest], FORMATS[dtype].codes)
    return float(decode(code, dtype)[0])


def encode(values: ArrayLike, dtype: str) -> Codes:
    """Round float64 or float32 `values` to a format, to nearest, ties to even, once:
    unsigned codes, in the shape of `values`.

    Subnormals are kept. What rounds beyond the largest number becomes infinity, in
    F8_E4M3 NaN, as in ml_dtypes (torch saturates there: past 464 it stores 448, which a
    quantiser that scales by the block's maximum never asks for). In a packed format the
    nearest level, of two the higher, NaN as the highest.
    """
    values = np.asarray(values)
    if values.dtype not in (np.float32, np.float64):
        raise ValueError(f"{values.dtype} values: float32 or float64 are wanted")
    codes = np.empty(values.shape, FORMATS[dtype].codes)
    fill(values.reshape(-1), partial(_rounded, dtype=dtype), codes.reshape(-1))
    return codes


def codes_of(raw: Raw, dtype: str) -> Codes:
    """The bits of each stored number as an unsigned integer, a view of `raw`."""
    return np.frombuffer(raw, FORMATS[dtype].codes)


def values_of(codes: Codes, dtype: str) -> AnyArray:
    """The numbers behind codes, exactly, in the narrowest numpy type that holds them."""
    if FORMATS[dtype].levels:
        return look_up(np.array(FORMATS[dtype].levels, np.float64), codes)
    if dtype == "BF16":
        return (codes.astype(np.uint32) << 16).view(np.float32)
    if FORMATS[dtype].width == 1:
        return look_up(_fp8_values(dtype), codes)
    return codes.view(f"<f{FORMATS[dtype].width}")


def blocks(n: int) -> Iterator[slice]:
    """Slices of at most BLOCK elements that cover n elements in order."""
    return (slice(start, min(start + BLOCK, n)) for start in range(0, n, BLOCK))


def fill(
    source: AnyArray, function: Callable[[AnyArray], AnyArray], out: AnyArray
) -> None:
    """out = function(source), block by block. ValueError where the shapes differ."""
    if out.shape != source.shape:
        raise ValueError(
            f"{source.size} numbers do not fit an output of shape {out.shape}"
        )
    # Signalling NaNs are no error here; overflow and underflow are results.
    with np.errstate(invalid="ignore", over="ignore", under="ignore"):
        for block in blocks(source.size):
            out[block] = function(source[block])


def look_up(table: AnyArray, codes: Codes) -> AnyArray:
    """table[codes]. No code lies outside its table: "clip" spares the test for that."""
    return np.take(table, codes, mode="clip")


@cache
def _fp8_values(dtype: str) -> Singles:
    """The numbers behind all 256 codes: (2^p + fraction) * 2^(exponent - p), without
    the 2^p below 2^e_min. The sign is the highest bit.
    """
    form = FORMATS[dtype]
    p = form.fraction_bits
    exponent, fraction = np.divmod(np.arange(128), 1 << p)
    significand = np.where(exponent > 0, fraction + (1 << p), fraction)
    power = np.maximum(exponent, 1) - 1 + form.min_exponent - p
    value = np.ldexp(significand, power)
    value[form.largest + 1 :] = np.nan
    has_infinity = (form.largest + 1) % (1 << p) == 0
    if has_infinity:
        value[form.largest + 1] = np.inf
    return np.concatenate([value, -value]).astype(np.float32)


def _rounded(values: AnyArray, dtype: str) -> Codes:
    """The codes of `values`, rounded once."""
    form = FORMATS[dtype]
    if form.levels:
        levels, codes = _sorted_levels(dtype)
        return look_up(codes, _nearest(values, levels))
    if dtype in ("F16", "F32", "F64"):  # numpy's own casts round once
        return values.astype(f"<f{form.width}").view(form.codes)
    wide = FORMATS["F32" if form.width == 2 else "F16"]
    exponents_apart = wide.min_exponent - form.min_exponent
    if exponents_apart:
        values = values * 2.0**exponents_apart
    return _cut(values, form, wide)


@cache
def _sorted_levels(dtype: str) -> tuple[Array, Codes]:
    """The levels of a packed format, each once and in order, and their codes."""
    form = FORMATS[dtype]
    levels, first = np.unique(np.array(form.levels, np.float64), return_index=True)
    return levels, first.astype(form.codes)


def _nearest(values: AnyArray, levels: Array) -> AnyArray:
    """The index of the level nearest to each value, of two the higher, of NaN the last.

    Successive whole numbers, as most formats have, need no search.
    """
    if not np.array_equal(levels, np.arange(levels[0], levels[-1] + 1)):
        middles = (levels[1:] + levels[:-1]) / 2
        return np.asarray(np.searchsorted(middles, values, "right"))
    below = np.floor(values)
    # What is left of a number above 0 is exact; below 0 it may round, past no half.
    nearest = below + (values - below >= 0.5)
    inside = np.fmax(np.fmin(nearest, levels[-1]), levels[0])
    return np.asarray(inside - levels[0], np.intp)


def _cut(x: AnyArray, form: Format, wide: Format) -> Codes:
    """The codes of `form` for x: rounded to `wide`, of the same e_min but a longer
    fraction, then to what is left of its bits.
    """
    drop = wide.fraction_bits - form.fraction_bits
    half = 1 << (drop - 1)
    near = x.astype(f"<f{wide.width}", copy=False)
    sign_bit = 8 * wide.width - 1
    negative = near.view(wide.codes) >> sign_bit
    bits = near.view(wide.codes) & ((1 << sign_bit) - 1)
    if near is not x:
        # Rounding twice errs only where the first rounding lands on a tie of the
        # second: step back towards x there.
        ties = np.flatnonzero((bits & (2 * half - 1)) == half)
        towards_x = np.sign(np.abs(x[ties]) - np.abs(near[ties]))
        bits[ties] += towards_x.astype(np.int8).astype(bits.dtype)
    # Successive numbers have successive codes, so a carry into the exponent needs no
    # care.
    to_even = bits >> drop & 1
    code = np.minimum((bits + (half - 1) + to_even) >> drop, form.largest + 1)
    code[np.isnan(near)] = (form.largest + 1) | 1 << (form.fraction_bits - 1)
    return np.asarray(code | negative << (8 * form.width - 1))
