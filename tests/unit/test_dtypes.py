"""Decoding, rounding and lattices against tables of all codes, exact fractions, and the
ml_dtypes and torch casts.
"""

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mergetrace.numerics.arithmetic import rounder
from mergetrace.numerics.block_scales import block_scales, scale_grid
from mergetrace.numerics.dtypes import BITS, FLOATS, FORMATS, decode, encode, is_decoded
from mergetrace.numerics.lattice import neighbour_midpoints, ulp

REFERENCE = {
    "BF16": ml_dtypes.bfloat16,
    "F16": np.float16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}
TORCH = {
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
LARGEST = {
    "BF16": (2 - 2**-7) * 2.0**127,
    "F16": 65504.0,
    "F8_E4M3": 448.0,
    "F8_E5M2": 57344.0,
}
OVERFLOW = {
    "BF16": (2 - 2**-8) * 2.0**127,
    "F16": 65520.0,
    "F8_E4M3": 464.0,
    "F8_E5M2": 61440.0,
}
small = pytest.mark.parametrize("dtype", REFERENCE)


def all_codes(dtype):
    return np.arange(1 << BITS[dtype], dtype=f"<u{BITS[dtype] // 8}")


def reference_values(dtype):
    with np.errstate(invalid="ignore"):
        return all_codes(dtype).view(REFERENCE[dtype]).astype(np.float64)


def lattice(dtype):
    """The codes and values of the numbers from 0 to the largest, and the midpoints
    after each, the last being where rounding overflows.
    """
    values = reference_values(dtype)[: 1 << BITS[dtype] - 1]
    values = values[np.isfinite(values)]
    assert values[-1] == LARGEST[dtype]
    assert np.all(np.diff(values) > 0)
    return (
        np.arange(values.size),
        values,
        np.append((values[:-1] + values[1:]) / 2, OVERFLOW[dtype]),
    )


@small
def test_every_code_decodes_as_in_ml_dtypes(dtype):
    decoded = decode(all_codes(dtype), dtype)
    assert decoded.dtype == np.float64
    np.testing.assert_array_equal(decoded, reference_values(dtype))
    np.testing.assert_array_equal(
        np.signbit(decoded), np.signbit(reference_values(dtype))
    )


@pytest.mark.parametrize(
    ("dtype", "native"), [("F32", np.float32), ("F64", np.float64)]
)
def test_native_formats_decode_as_numpy_reads_them(dtype, native):
    values = np.array(
        [
            0.0,
            -0.0,
            1.5,
            -np.inf,
            np.nan,
            np.finfo(native).max,
            np.finfo(native).smallest_subnormal,
        ],
        native,
    )
    np.testing.assert_array_equal(
        decode(values.tobytes(), dtype), values.astype(np.float64)
    )


def test_decoding_takes_any_buffer_of_any_length_and_fills_what_it_is_given():
    values = (
        np.random.default_rng(0).standard_normal(100_001).astype(ml_dtypes.bfloat16)
    )  # several blocks and a rest
    raw = values.tobytes()
    expected = values.astype(np.float64)
    for buffer in (
        raw,
        bytearray(raw),
        memoryview(raw),
        np.frombuffer(raw, np.uint8),
        values.view(np.uint16),
        np.frombuffer(b"x" + raw, np.uint8)[1:],
    ):
        np.testing.assert_array_equal(decode(buffer, "BF16"), expected)
    for kind in (np.float64, np.float32):
        out = np.full(values.size, np.nan, kind)
        assert decode(raw, "BF16", out) is out
        np.testing.assert_array_equal(out, expected)
    assert decode(b"", "BF16").size == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="do not fit an output"):
        decode(bytes(6), "BF16", np.empty(4))
    with pytest.raises(ValueError, match="multiple of element size"):
        decode(bytes(5), "BF16")
    with pytest.raises(KeyError):
        decode(bytes(8), "I64")
    with pytest.raises(ValueError, match="int64 values"):
        encode(np.arange(3), "BF16")


def test_which_dtypes_are_decoded():
    assert {dtype for dtype in BITS if is_decoded(dtype)} == {
        "BF16",
        "F16",
        "F32",
        "F64",
        "F8_E4M3",
        "F8_E5M2",
    }
    assert not is_decoded("made-up")
    assert all(FORMATS[dtype].width * 8 == BITS[dtype] for dtype in FLOATS)


@small
def test_midpoints_of_every_code(dtype):
    codes, _, after = lattice(dtype)
    before = np.insert(after[:-1], 0, -after[0])  # below zero lies the mirror image
    negative = codes + (1 << BITS[dtype] - 1)
    low, high = neighbour_midpoints(all_codes(dtype), dtype)
    np.testing.assert_array_equal(low[codes], before)
    np.testing.assert_array_equal(high[codes], after)
    np.testing.assert_array_equal(low[negative], -after)
    np.testing.assert_array_equal(high[negative], -before)
    finite = np.isfinite(reference_values(dtype))
    np.testing.assert_array_equal(np.isnan(low), ~finite)
    np.testing.assert_array_equal(np.isnan(high), ~finite)


@small
def test_ulp_of_every_code(dtype):
    codes, values, after = lattice(dtype)
    spacing = ulp(all_codes(dtype), dtype)
    np.testing.assert_array_equal(spacing[codes], 2 * (after - values))
    np.testing.assert_array_equal(
        spacing[codes + (1 << BITS[dtype] - 1)], 2 * (after - values)
    )
    np.testing.assert_array_equal(
        np.isnan(spacing), ~np.isfinite(reference_values(dtype))
    )


@small
def test_rounding_flips_exactly_at_every_midpoint(dtype):
    """On either side of each midpoint, by one float64, and on it, where the even code
    wins: with monotony that is every float64.
    """
    codes, _, after = lattice(dtype)
    for sign, top in ((1, 0), (-1, 1 << BITS[dtype] - 1)):
        np.testing.assert_array_equal(
            encode(sign * np.nextafter(after, 0), dtype), codes + top
        )
        np.testing.assert_array_equal(
            encode(sign * np.nextafter(after, np.inf), dtype), codes + 1 + top
        )
        np.testing.assert_array_equal(
            encode(sign * after, dtype), codes + codes % 2 + top
        )


def test_bf16_is_rounded_once():
    just_above_a_tie = (
        1 + 2.0**-8 + 2.0**-40
    )  # float32 rounds it onto the tie, which would then go down to the even 1.0
    assert encode(just_above_a_tie, "BF16") == 0x3F81
    assert encode(-just_above_a_tie, "BF16") == 0xBF81
    just_below_a_tie = 1 + 3 * 2.0**-8 - 2.0**-40
    assert encode(just_below_a_tie, "BF16") == 0x3F81
    assert (
        encode(2.0**-134 + 2.0**-170, "BF16") == 1
    )  # half the smallest subnormal and a little
    assert encode(2.0**-134, "BF16") == 0


@small
def test_codes_survive_decoding_and_encoding(dtype):
    values = reference_values(dtype)
    kept = ~np.isnan(values)
    np.testing.assert_array_equal(encode(values, dtype)[kept], all_codes(dtype)[kept])
    assert np.isnan(decode(encode(values[~kept], dtype), dtype)).all()


@small
def test_infinity_and_what_is_far_too_large(dtype):
    found = decode(encode(np.array([np.inf, -np.inf, 1e300, -1e300]), dtype), dtype)
    expected = (
        [np.nan] * 4 if dtype == "F8_E4M3" else [np.inf, -np.inf, np.inf, -np.inf]
    )
    np.testing.assert_array_equal(found, expected)


@small
def test_rounding_float32_as_ml_dtypes_and_torch_do(dtype):
    values = (
        np.random.default_rng(1)
        .integers(0, 2**32, 500_000, dtype=np.uint32)
        .view(np.float32)
    )
    values = np.concatenate(
        [
            values,
            decode(all_codes(dtype), dtype, np.empty(1 << BITS[dtype], np.float32)),
            np.linspace(-600, 600, 10_001, dtype=np.float32),
        ]
    )
    values = values[~np.isnan(values)]
    codes = encode(values, dtype)
    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(
            decode(codes, dtype), values.astype(REFERENCE[dtype]).astype(np.float64)
        )
    np.testing.assert_array_equal(codes, encode(values.astype(np.float64), dtype))
    kept = abs(values) <= (
        OVERFLOW[dtype] if dtype == "F8_E4M3" else np.inf
    )  # there torch saturates beyond the largest
    np.testing.assert_array_equal(
        decode(codes[kept], dtype),
        torch.from_numpy(values[kept]).to(TORCH[dtype]).double().numpy(),
    )


finite32 = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(finite32)
def test_float32_midpoints_are_exact(x):
    """Against fractions of numpy's neighbours; past the largest number the lattice goes
    on for one more step.
    """
    stored = np.array([x], np.float32)
    low, high = (
        Fraction(float(ends[0]))
        for ends in neighbour_midpoints(stored.tobytes(), "F32")
    )

    def neighbour(towards):
        with np.errstate(over="ignore"):
            found = float(np.nextafter(stored[0], np.float32(towards)))
        return (
            Fraction(found)
            if np.isfinite(found)
            else Fraction(2) ** 128 * (1 if found > 0 else -1)
        )

    assert low == (Fraction(float(x)) + neighbour(-np.inf)) / 2
    assert high == (Fraction(float(x)) + neighbour(np.inf)) / 2
    assert Fraction(float(ulp(stored.tobytes(), "F32")[0])) == 2 * max(
        high - Fraction(float(x)), Fraction(float(x)) - low
    )


@given(
    st.floats(allow_nan=False),
    st.sampled_from([dtype for dtype in FLOATS if dtype != "F64"]),
)
def test_what_is_rounded_lies_between_the_midpoints(x, dtype):
    code = encode(np.array([x]), dtype)
    low, high = neighbour_midpoints(code, dtype)
    if np.isfinite(decode(code, dtype)[0]):
        assert low[0] <= x <= high[0]
    else:
        assert (
            abs(x)
            >= neighbour_midpoints(
                np.array([FORMATS[dtype].largest], code.dtype), dtype
            )[1][0]
        )


@given(st.floats(allow_nan=False))
def test_float64_goes_through_unchanged_and_has_no_finer_lattice(x):
    code = encode(np.array([x]), "F64")
    assert decode(code, "F64")[0] == x
    if np.isfinite(x):
        assert ulp(code, "F64")[0] == math.ulp(x)
    with pytest.raises(ValueError, match="F64"):
        neighbour_midpoints(code, "F64")


@pytest.mark.parametrize(
    ("dtype", "name"), [("BF16", "bfloat16"), ("F16", "float16"), ("F32", "float32")]
)
def test_arithmetic_rounds_as_the_formats_do(dtype, name):
    halves = np.arange(1 << 16, dtype=np.uint32) << 16
    bits = np.concatenate(
        [
            halves | low
            for low in (0, 1, 0x0FFF, 0x1000, 0x1001, 0x7FFF, 0x8000, 0x8001, 0xFFFF)
        ]
    )
    values = bits.view(np.float32)
    expected = decode(encode(values, dtype), dtype)
    np.testing.assert_array_equal(rounder(name)(values), expected)
    with np.errstate(invalid="ignore"):  # signalling NaN
        wide = values.astype(np.float64)
    np.testing.assert_array_equal(
        np.signbit(rounder(name)(wide)[~np.isnan(wide)]),
        np.signbit(expected[~np.isnan(wide)]),
    )
    assert rounder(name)(1.00390625) == expected[values == np.float32(1.00390625)]


@pytest.mark.parametrize("dtype", sorted(set(FORMATS) - set(FLOATS)))
@pytest.mark.parametrize("wide", [np.float32, np.float64])
def test_of_two_levels_as_near_the_higher_is_taken(dtype, wide):
    levels = np.unique(np.array(FORMATS[dtype].levels))
    middles = (levels[1:] + levels[:-1]) / 2
    among = middles.astype(wide) == middles  # float32 holds not every middle
    above = middles[among].astype(wide)
    below = np.nextafter(above, wide(-np.inf))
    far = np.array([-np.inf, -1e30, 1e30, np.inf, np.nan], wide)

    def nearest(values):
        return decode(encode(values, dtype), dtype)

    assert among.any()
    assert np.array_equal(nearest(above), levels[1:][among])
    assert np.array_equal(nearest(below), levels[:-1][among])
    assert np.array_equal(nearest(far), levels[[0, 0, -1, -1, -1]])


def test_codes_keep_the_shape_of_the_values():
    values = np.random.default_rng(2).standard_normal((300, 400))
    assert encode(values, "BF16").shape == (300, 400)
    assert encode(values.T, "F8_E4M3").tolist() == encode(values, "F8_E4M3").T.tolist()


sizes = st.integers(1, 40)


@given(
    rows=sizes,
    cols=sizes,
    high=sizes,
    wide=sizes,
    ends=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_block_scales_are_those_of_the_expanded_matrix(rows, cols, high, wide, ends):
    grid = scale_grid(rows, cols, (high, wide))
    scale = np.arange(1.0, np.prod(grid) + 1).reshape(grid)
    expanded = np.kron(scale, np.ones((high, wide)))[:rows, :cols].reshape(-1)
    start, stop = sorted(int(end * rows * cols) for end in ends)
    np.testing.assert_array_equal(
        block_scales(scale, rows, cols, start, stop - start, (high, wide)),
        expanded[start:stop],
    )


def test_block_scales_of_a_real_size_cross_rows_and_blocks():
    rows = 500
    cols = 700  # several blocks of work, cut-off blocks at both edges
    scale = np.random.default_rng(3).standard_normal(scale_grid(rows, cols))
    expanded = np.kron(scale, np.ones((128, 128)))[:rows, :cols].reshape(-1)
    np.testing.assert_array_equal(
        block_scales(scale, rows, cols, 0, rows * cols), expanded
    )
    np.testing.assert_array_equal(
        block_scales(scale, rows, cols, 699, 70_000), expanded[699:70_699]
    )


def test_scales_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(2, 2\) do not fit 500 x 700"):
        block_scales(np.ones((2, 2)), 500, 700, 0, 5)
    with pytest.raises(ValueError, match="elements 6 to 11 of 2 x 5"):
        block_scales(np.ones((1, 1)), 2, 5, 6, 5)
