"""The lattice that the numbers of a format lie on: its spacing, and the interval of
numbers that round to each of them.

With p fraction bits and smallest normal number 2^e_min, a format's numbers around x are
2^(max(floor(log2 |x|), e_min) - p) apart: neighbours and rounding follow from that
spacing.
"""

from collections.abc import Callable
from functools import cache, partial

import numpy as np

from mergetrace.numerics.arrays import AnyArray, Array
from mergetrace.numerics.dtypes import (
    FORMATS,
    Codes,
    Format,
    Raw,
    codes_of,
    decode,
    encode,
    fill,
    look_up,
    values_of,
)

EXPONENT_BITS = 0x7FF0_0000_0000_0000  # of a float64


def ulp(raw: Raw, dtype: str) -> Array:
    """The spacing of the format at each stored number (at a power of two: the spacing
    above it), float64 [n]; NaN for NaN and infinity. Of a packed format the width of the
    level's cell, of the last ones twice their inner half.

    A sum of ulp^2 / 12 is the energy that rounding to the format adds.
    """
    return _from_codes(_ulp, codes_of(raw, dtype), dtype)


def neighbour_midpoints(raw: Raw, dtype: str) -> tuple[Array, Array]:
    """The ends of the interval that rounds to each stored number: (low, high), float64
    [n] each, exact.

    They lie halfway to the next lower and the next higher number of the format:
    asymmetric at powers of two, around both zeros alike. Beyond the largest number lies
    where rounding overflows, half a spacing further: 464 for F8_E4M3, whose largest is
    448 (a converter that saturates instead would have no upper end). NaN for NaN and
    infinity. Beyond the last levels of a packed format there is no end. ValueError for
    F64: float64 cannot hold its midpoints.
    """
    if dtype == "F64":
        raise ValueError(
            "F64: midpoints between float64 numbers are not float64 numbers"
        )
    codes = codes_of(raw, dtype)
    return _from_codes(_low, codes, dtype), _from_codes(_high, codes, dtype)


def interval_through(low: Array, high: Array, dtype: str) -> tuple[Array, Array]:
    """The numbers that, rounded to `dtype`, come to lie in [low, high]: the interval's
    ends, float64 [n] each.

    Where no number of the format lies in [low, high], no number does: both ends are the
    middle of [low, high] then. An end that is infinite stays so.
    """
    open_low = low == -np.inf
    open_high = high == np.inf
    low_codes = encode(np.where(open_low, 0.0, low), dtype)
    high_codes = encode(np.where(open_high, 0.0, high), dtype)
    first = decode(low_codes, dtype)
    last = decode(high_codes, dtype)
    below_first, above_first = neighbour_midpoints(low_codes, dtype)
    below_last, above_last = neighbour_midpoints(high_codes, dtype)
    # Where the number nearest to an end lies outside, the next one inside is meant.
    first_outside = first < low
    last_outside = last > high
    first = np.where(first_outside, 2 * above_first - first, first)
    last = np.where(last_outside, 2 * below_last - last, last)
    start = np.where(first_outside, above_first, below_first)
    end = np.where(last_outside, below_last, above_last)
    empty = (first > last) & ~open_low & ~open_high
    with np.errstate(invalid="ignore"):  # the middle of nothing to everything
        middle = (low + high) / 2
    start = np.where(open_low, low, np.where(empty, middle, start))
    return start, np.where(open_high, high, np.where(empty, middle, end))


Formula = Callable[[Array, Format], Array]
"""A property of float64 numbers of a format."""


def _from_codes(formula: Formula, codes: Codes, dtype: str) -> Array:
    """`formula` of the numbers behind codes, float64 [n]; for formats of up to 16 bits
    by looking it up in a table of all their codes.
    """
    out = np.empty(codes.size)
    if FORMATS[dtype].width <= 2:
        fill(codes, partial(look_up, _table(formula, dtype)), out)
    else:
        fill(codes, partial(_apply, formula, dtype), out)
    return out


def _apply(formula: Formula, dtype: str, codes: Codes) -> AnyArray:
    return formula(values_of(codes, dtype).astype(np.float64), FORMATS[dtype])


@cache
def _table(formula: Formula, dtype: str) -> Array:
    """`formula` of every number of a format, by its code."""
    form = FORMATS[dtype]
    every_code = np.arange(1 << 8 * form.width, dtype=form.codes)
    table = np.empty(every_code.size)
    fill(every_code, partial(_apply, formula, dtype), table)
    return table


def _binade(x: Array, form: Format) -> Array:
    """2^max(floor(log2 |x|), e_min): the exponent bits of float64 alone are that power
    of two.
    """
    powers = (x.view(np.int64) & EXPONENT_BITS).view(np.float64)
    return np.maximum(powers, 2.0**form.min_exponent)


def _ulp(x: Array, form: Format) -> Array:
    if form.levels:
        below, above = x - _low(x, form), _high(x, form) - x
        halves = np.stack([below, above])
        return np.asarray(np.where(np.isinf(halves), halves[::-1], halves).sum(0))
    spacing = _binade(x, form) * 2.0**-form.fraction_bits
    return np.where(np.isfinite(x), spacing, np.nan)


def _high(x: Array, form: Format) -> Array:
    """Halfway to the next number above x: for x < 0 that is towards zero, where the
    spacing halves below a power of two.
    """
    if form.levels:
        levels = np.unique(form.levels)
        ends = np.append((levels[1:] + levels[:-1]) / 2, np.inf)
        return np.asarray(ends[np.searchsorted(levels, x)], np.float64)
    spacing = _ulp(x, form)
    halves = (x == -_binade(x, form)) & (x < -(2.0**form.min_exponent))
    return x + np.where(halves, spacing / 4, spacing / 2)


def _low(x: Array, form: Format) -> Array:
    if form.levels:
        levels = np.unique(form.levels)
        ends = np.append(-np.inf, (levels[1:] + levels[:-1]) / 2)
        return np.asarray(ends[np.searchsorted(levels, x)], np.float64)
    return -_high(-x, form)
