"""How stored numbers decode, how numbers are rounded to be stored, and the lattices
they lie on.

Every finite number of the decoded formats is exact in float64. With p fraction bits and
smallest normal number 2^e_min, a format's numbers around x are 2^(max(floor(log2 |x|),
e_min) - p) apart: neighbours and rounding follow from that spacing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

Raw = bytes | bytearray | memoryview | NDArray
Floats = NDArray[np.float64]

BITS = {
    **dict.fromkeys(["F4"], 4),
    **dict.fromkeys(["F6_E2M3", "F6_E3M2"], 6),
    **dict.fromkeys(
        [
            "BOOL",
            "U8",
            "I8",
            "F8_E4M3",
            "F8_E5M2",
            "F8_E8M0",
            "F8_E4M3FNUZ",
            "F8_E5M2FNUZ",
        ],
        8,
    ),
    **dict.fromkeys(["U16", "I16", "F16", "BF16"], 16),
    **dict.fromkeys(["U32", "I32", "F32"], 32),
    **dict.fromkeys(["U64", "I64", "F64", "C64"], 64),
}
"""Bits per element of every dtype that safetensors knows, by its name there."""


@dataclass(frozen=True)
class Format:
    """A floating-point format: bytes per number, fraction bits p, e_min, and the code
    of the largest finite number.

    The code after the largest is infinity, except in F8_E4M3 (e4m3fn), which has none:
    there it is NaN.
    """

    width: int
    fraction_bits: int
    min_exponent: int
    largest: int

    @property
    def codes(self) -> np.dtype:
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

EXPONENTS = "F8_E8M0"
"""The dtype of scales that are powers of two: no sign, no fraction, no zero; weights
are never stored so.
"""

LIMIT = 2.0**128
"""Numbers as large, which float32 cannot hold, are no weights: sums of their squares
may overflow. They are left out as NaN and infinity are.
"""

_BLOCK = 1 << 15  # elements: a block and its temporaries stay in the cache


def is_decoded(dtype: str) -> bool:
    """Whether numbers of this safetensors dtype are decoded here; integers, booleans
    and packed formats are not.
    """
    return dtype in FORMATS


def decode(raw: Raw, dtype: str, out: NDArray | None = None) -> NDArray:
    """Decode n stored numbers exactly: float64 [n], in `out` if given (float32 does for
    all but F64).

    `raw` is any contiguous buffer of the tensor's bytes. KeyError for a dtype that is
    not decoded.
    """
    codes = _codes(raw, dtype)
    out = np.empty(codes.size) if out is None else out
    _fill(codes, partial(_values, dtype=dtype), out)
    return out


def decode_scales(raw: Raw, dtype: str) -> Floats:
    """Decode n stored scales exactly: float64 [n], with NaN for what is no scale (NaN, infinity, zero, below zero), so that the numbers it
    belongs to are left out.

    F8_E8M0 is 2^(code - 127), and 255 is NaN (OCP Microscaling formats v1.0, section
    5.4.1).
    """
    if dtype == EXPONENTS:
        codes = np.frombuffer(raw, np.uint8)
        return np.where(
            codes == 255, np.nan, np.ldexp(1.0, codes.astype(np.int64) - 127)
        )
    values = decode(raw, dtype)
    with np.errstate(invalid="ignore"):
        return np.where((values > 0) & (values < np.inf), values, np.nan)


def usable(raw: Raw, dtype: str, scales: Floats | None = None) -> NDArray[np.bool_]:
    """Which stored numbers, multiplied by `scales` where there are any, are neither NaN
    nor LIMIT or more in size: bool [n].
    """
    if scales is not None:
        with np.errstate(invalid="ignore", over="ignore"):
            return np.abs(decode(raw, dtype) * scales) < LIMIT
    form = FORMATS[dtype]
    codes = _codes(raw, dtype)
    sizes = codes & codes.dtype.type((1 << (8 * form.width - 1)) - 1)
    return sizes < codes.dtype.type(_code_of_limit(dtype))


@cache
def _code_of_limit(dtype: str) -> int:
    """The code of LIMIT, or of what follows the largest number in a format that does
    not reach it.
    """
    return min(int(encode(np.array([LIMIT]), dtype)[0]), FORMATS[dtype].largest + 1)


def neighbour_midpoints(raw: Raw, dtype: str) -> tuple[Floats, Floats]:
    """The ends of the interval that rounds to each stored number: (low, high), float64
    [n] each, exact.

    They lie halfway to the next lower and the next higher number of the format: asymmetric at powers of two, around
    both zeros alike. Beyond the largest number lies where rounding overflows, half a spacing further: 464 for F8_E4M3,
    whose largest is 448 (a converter that saturates instead would have no upper end). NaN for NaN and infinity.
    ValueError for F64: float64 cannot hold its midpoints.
    """
    if dtype == "F64":
        raise ValueError(
            "F64: midpoints between float64 numbers are not float64 numbers"
        )
    codes = _codes(raw, dtype)
    low = np.empty(codes.size)
    high = np.empty(codes.size)
    _fill(codes, _of_codes(_low, dtype), low)
    _fill(codes, _of_codes(_high, dtype), high)
    return low, high


def interval_through(low: Floats, high: Floats, dtype: str) -> tuple[Floats, Floats]:
    """The numbers that, rounded to `dtype`, come to lie in [low, high]: the interval's
    ends, float64 [n] each.

    Where no number of the format lies in [low, high] nothing does: both ends are its
    middle then.
    """
    codes = [encode(end, dtype) for end in (low, high)]
    (first, last), ends = (
        (decode(code, dtype) for code in codes),
        [neighbour_midpoints(code, dtype) for code in codes],
    )
    outside = (
        first < low,
        last > high,
    )  # the nearest number lies outside: the next one inside is meant
    inner = (
        np.where(outside[0], 2 * ends[0][1] - first, first),
        np.where(outside[1], 2 * ends[1][0] - last, last),
    )
    found = (
        np.where(outside[0], ends[0][1], ends[0][0]),
        np.where(outside[1], ends[1][0], ends[1][1]),
    )
    none = inner[0] > inner[1]
    return np.where(none, (low + high) / 2, found[0]), np.where(
        none, (low + high) / 2, found[1]
    )


def ulp(raw: Raw, dtype: str) -> Floats:
    """The spacing of the format at each stored number (at a power of two: the spacing
    above it), float64 [n]; NaN for NaN and infinity.

    A sum of ulp^2 / 12 is the energy that rounding to the format adds.
    """
    codes = _codes(raw, dtype)
    out = np.empty(codes.size)
    _fill(codes, _of_codes(_ulp, dtype), out)
    return out


def encode(values: ArrayLike, dtype: str) -> NDArray:
    """Round float64 or float32 `values` to a format, to nearest, ties to even, once:
    unsigned codes, in the shape of `values`.

    Subnormals are kept. What rounds beyond the largest number becomes infinity, in F8_E4M3 NaN, as in ml_dtypes
    (torch saturates there: past 464 it stores 448, which a quantiser that scales by the block's maximum never asks for).
    """
    values = np.asarray(values)
    if values.dtype not in (np.float32, np.float64):
        raise ValueError(f"{values.dtype} values: float32 or float64 are wanted")
    codes = np.empty(values.shape, FORMATS[dtype].codes)
    _fill(values.reshape(-1), partial(_rounded, dtype=dtype), codes.reshape(-1))
    return codes


def scale_grid(
    rows: int, cols: int, block: tuple[int, int] = (128, 128)
) -> tuple[int, int]:
    """The shape of the scales of a rows x cols matrix that is quantised in blocks: the
    blocks at its edges may be cut off.
    """
    return -(-rows // block[0]), -(-cols // block[1])


def block_scales(
    scale: Floats,
    rows: int,
    cols: int,
    start: int,
    length: int,
    block: tuple[int, int] = (128, 128),
) -> Floats:
    """The scale of the elements start..start+length of a flattened rows x cols matrix:
    float64 [length].

    Block-quantised FP8: W = q * scale_inv, one scale per block (`quantization_config.weight_block_size`, 128 x 128 if unsaid);
    one per row is the block (1, cols), one per tensor (rows, cols). Takes the memory of `length` and two rows.
    ValueError if `scale` is not [ceil(rows / block), ceil(cols / block)] or the elements are not all in the matrix.
    """
    if scale.shape != scale_grid(rows, cols, block):
        raise ValueError(
            f"scales of shape {scale.shape} do not fit {rows} x {cols} in blocks of"
            f" {block[0]} x {block[1]}"
        )
    if not 0 <= start <= start + length <= rows * cols:
        raise ValueError(f"elements {start} to {start + length} of {rows} x {cols}")
    out = np.empty(length)
    for part in _blocks(length):
        first = start + part.start
        last = start + part.stop - 1
        touched = np.arange(first // cols, last // cols + 1)
        scales = scale[touched // block[0]].repeat(block[1], axis=1)[:, :cols]
        out[part] = scales.reshape(-1)[first % cols :][: last + 1 - first]
    return out


def _codes(raw: Raw, dtype: str) -> NDArray:
    """The bits of each stored number as an unsigned integer, a view of `raw`."""
    return np.frombuffer(raw, FORMATS[dtype].codes)


def _blocks(n: int) -> Iterator[slice]:
    return (slice(start, min(start + _BLOCK, n)) for start in range(0, n, _BLOCK))


def _fill(
    source: NDArray, function: Callable[[NDArray], NDArray], out: NDArray
) -> None:
    """out = function(source), block by block."""
    if out.shape != source.shape:
        raise ValueError(
            f"{source.size} numbers do not fit an output of shape {out.shape}"
        )
    with np.errstate(
        invalid="ignore", over="ignore", under="ignore"
    ):  # signalling NaN; overflow and underflow are results here
        for block in _blocks(source.size):
            out[block] = function(source[block])


def _values(codes: NDArray, dtype: str) -> NDArray:
    """The numbers, exactly, in the narrowest numpy type that holds them."""
    if dtype == "BF16":
        return (codes.astype(np.uint32) << 16).view(np.float32)
    if FORMATS[dtype].width == 1:
        return _look_up(_fp8_values(dtype), codes)
    return codes.view(f"<f{FORMATS[dtype].width}")


@cache
def _fp8_values(dtype: str) -> NDArray[np.float32]:
    """The numbers behind all 256 codes: (2^p + fraction) * 2^(exponent - p), without
    the 2^p below 2^e_min; sign last.
    """
    p = FORMATS[dtype].fraction_bits
    largest = FORMATS[dtype].largest
    exponent, fraction = np.divmod(np.arange(128), 1 << p)
    value = np.ldexp(
        np.where(exponent > 0, fraction + (1 << p), fraction),
        np.maximum(exponent, 1) - 1 + FORMATS[dtype].min_exponent - p,
    )
    value[largest + 1 :] = np.nan
    if (largest + 1) % (1 << p) == 0:
        value[largest + 1] = np.inf
    return np.concatenate([value, -value]).astype(np.float32)


def _look_up(table: NDArray, codes: NDArray) -> NDArray:
    return np.take(
        table, codes, mode="clip"
    )  # no code lies outside its table; "clip" spares the test


def _of_codes(
    formula: Callable[[Floats, Format], Floats], dtype: str
) -> Callable[[NDArray], Floats]:
    """`formula` of the decoded numbers; for formats of up to 16 bits by looking it up
    in a table of all their codes.
    """
    if FORMATS[dtype].width <= 2:
        return partial(_look_up, _table(formula, dtype))
    return lambda codes: formula(
        _values(codes, dtype).astype(np.float64), FORMATS[dtype]
    )


@cache
def _table(formula: Callable[[Floats, Format], Floats], dtype: str) -> Floats:
    numbers = decode(
        np.arange(1 << 8 * FORMATS[dtype].width, dtype=FORMATS[dtype].codes), dtype
    )
    table = np.empty(numbers.size)
    _fill(numbers, partial(formula, form=FORMATS[dtype]), table)
    return table


def _binade(x: Floats, form: Format) -> Floats:
    """2^max(floor(log2 |x|), e_min): the exponent bits of float64 alone are that power
    of two.
    """
    return np.maximum(
        (x.view(np.int64) & 0x7FF0_0000_0000_0000).view(np.float64),
        2.0**form.min_exponent,
    )


def _ulp(x: Floats, form: Format) -> Floats:
    return np.where(np.isfinite(x), _binade(x, form) * 2.0**-form.fraction_bits, np.nan)


def _high(x: Floats, form: Format) -> Floats:
    """Halfway to the next number above x: for x < 0 that is towards zero, where the
    spacing halves below a power of two.
    """
    spacing = _ulp(x, form)
    halves = (x == -_binade(x, form)) & (x < -(2.0**form.min_exponent))
    return x + np.where(halves, spacing / 4, spacing / 2)


def _low(x: Floats, form: Format) -> Floats:
    return -_high(-x, form)


def _rounded(values: NDArray, dtype: str) -> NDArray:
    """The codes of `values`, rounded once."""
    form = FORMATS[dtype]
    if dtype in ("F16", "F32", "F64"):  # numpy's own casts round once
        return values.astype(f"<f{form.width}").view(form.codes)
    wide = FORMATS["F32" if form.width == 2 else "F16"]
    apart = wide.min_exponent - form.min_exponent
    return _cut(values * 2.0**apart if apart else values, form, wide)


def _cut(x: NDArray, form: Format, wide: Format) -> NDArray:
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
        bits[ties] += (
            np.sign(np.abs(x[ties]) - np.abs(near[ties]))
            .astype(np.int8)
            .astype(bits.dtype)
        )
    # Successive numbers have successive codes, so a carry into the exponent needs no
    # care.
    code = np.minimum(
        (bits + (half - 1) + (bits >> drop & 1)) >> drop, form.largest + 1
    )
    code[np.isnan(near)] = (form.largest + 1) | 1 << (form.fraction_bits - 1)
    return code | negative << (8 * form.width - 1)
