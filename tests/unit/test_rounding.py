"""Replay sees a merge through its rounding."""

import numpy as np
import pytest

from mergetrace.numerics import dtypes
from mergetrace.numerics.dtypes import FORMATS, decode, encode
from mergetrace.numerics.lattice import neighbour_midpoints
from mergetrace.numerics.rounding import (
    coverage,
    replay,
    replay_intervals,
    shuffled_coverage,
)
from mergetrace.sums.evidence import Sample
from mergetrace.tensors.weights import scaled


def stored(values, dtype):
    return decode(encode(values, dtype), dtype)


def planted(alpha, dtype="BF16", size=200_000, delta=0.05, drift=0.0, seed=0):
    """(low, high, base, donor) of round((1-a) b + a d), with delta and drift relative
    to the weights' own spread.
    """
    generator = np.random.default_rng(seed)
    base = stored(generator.normal(size=size), dtype)
    donor = stored(base + delta * generator.normal(size=size), dtype)
    blend = np.float32(1 - alpha) * base.astype(np.float32) + np.float32(
        alpha
    ) * donor.astype(np.float32)
    blend += (drift * delta * generator.normal(size=size)).astype(np.float32)
    return (*neighbour_midpoints(encode(blend, dtype), dtype), base, donor)


FP8 = ("F8_E4M3", "F8_E5M2")
FLOATS = [dtype for dtype in dtypes.FLOATS if dtype != "F64"]
every = pytest.mark.parametrize("dtype", FLOATS)


@every
def test_a_pure_merge_is_covered_whole_and_its_weight_found(dtype):
    delta = 1.0 if dtype in FP8 else 0.05
    found = replay(*replay_intervals(*planted(4 / 7, dtype, delta=delta)), width=0.5)
    # float32 sums move a few elements of a float32 merge by one unit in the last place
    assert found.coverage > (0.6 if dtype == "F32" else 0.9999)
    assert found.alpha == pytest.approx(4 / 7, abs=1e-3 if dtype in FP8 else 1e-5)
    assert found.informative > 1000


def test_least_squares_is_pulled_where_replay_is_not():
    """Deltas of a few ulp: the published router of layer 15 shows .647 for one and the
    same merge.
    """
    low, high, base, donor = planted(4 / 7, size=500_000, delta=0.008)
    blend = stored(
        (np.float32(3 / 7) * base + np.float32(4 / 7) * donor).astype(np.float32),
        "BF16",
    )
    u = blend - base
    v = donor - base
    assert u @ v / (v @ v) == pytest.approx(0.65, abs=0.02)
    assert replay(
        *replay_intervals(low, high, base, donor), 1.0
    ).alpha == pytest.approx(4 / 7, abs=2e-4)


def test_drift_lowers_coverage():
    exact, little, much = (
        replay(*replay_intervals(*planted(0.571, drift=drift)), 0.25).coverage
        for drift in (0, 0.01, 0.1)
    )
    assert exact > 0.9999
    assert 0.98 > little > much


def test_a_shuffled_donor_covers_next_to_nothing():
    assert shuffled_coverage(*planted(0.571), width=0.25, seed=0) < 0.1


def test_equal_parents_say_nothing():
    low, high, base, _ = planted(0.5, size=100)
    start, end = replay_intervals(low, high, base, base)
    assert np.isnan(start).all()
    assert np.isnan(end).all()
    found = replay(start, end, 0.25)
    assert found.informative == 0
    assert np.isnan(found.coverage)


def test_the_sweep_agrees_with_trying_every_weight():
    generator = np.random.default_rng(3)
    start = generator.uniform(0, 1, 300)
    end = start + generator.uniform(0, 0.2, 300)
    found = replay(start, end, 0.25)
    tried = np.array(
        [np.mean((start <= a) & (a <= end)) for a in np.concatenate([start, end])]
    )
    assert found.coverage == pytest.approx(tried.max())
    assert np.mean((start <= found.alpha) & (found.alpha <= end)) == pytest.approx(
        found.coverage
    )
    assert coverage(np.sort(start), np.sort(end), 0.5) == pytest.approx(
        np.mean((start <= 0.5) & (end >= 0.5))
    )


def test_a_copy_is_covered_at_its_parent():
    low, high, base, donor = planted(0.0, size=10_000)
    assert replay(*replay_intervals(low, high, base, donor), 0.25).coverage_base == 1


def interval(number, base, donor, dtype):
    """The replay interval of one stored number between one base and one donor."""
    low, high = neighbour_midpoints(encode(np.array([number]), dtype), dtype)
    start, end = replay_intervals(low, high, np.array([base]), np.array([donor]))
    return start[0], end[0]


@every
def test_at_a_power_of_two_the_interval_reaches_half_as_far_down(dtype):
    step = 2.0 ** -FORMATS[dtype].fraction_bits
    assert interval(1.0, 0.0, 1.0, dtype) == (1 - step / 4, 1 + step / 2)
    assert interval(1.0 + step, 0.0, 1.0, dtype) == (1 + step / 2, 1 + 3 * step / 2)
    assert interval(-1.0, 0.0, -1.0, dtype) == (1 - step / 4, 1 + step / 2)
    assert interval(1.0, 2.0, 0.0, dtype) == (
        (1 - step / 2) / 2,
        (1 + step / 4) / 2,
    )  # towards a smaller donor the ends change places


@every
def test_a_blend_on_a_tie_lies_in_the_even_numbers_interval_and_in_the_odd_ones(dtype):
    """Which way a tie went depends on the last bit of the sum, so neither number may
    refute the weight.
    """
    step = 2.0 ** -FORMATS[dtype].fraction_bits
    tie = 1 + step / 2
    assert decode(encode(np.array([tie]), dtype), dtype)[0] == 1.0  # to even
    for number in (1.0, 1.0 + step):
        start, end = interval(number, 1.0, 2.0, dtype)
        assert start <= tie - 1 <= end
    for number in (1.0 + 2 * step,):
        start, end = interval(number, 1.0, 2.0, dtype)
        assert not start <= tie - 1 <= end


@every
def test_subnormal_numbers_confine_as_their_even_spacing_says(dtype):
    smallest = 2.0 ** (FORMATS[dtype].min_exponent - FORMATS[dtype].fraction_bits)
    assert interval(smallest, 0.0, 2 * smallest, dtype) == (0.25, 0.75)
    assert interval(0.0, 0.0, 2 * smallest, dtype) == (-0.25, 0.25)
    assert interval(-smallest, 0.0, -2 * smallest, dtype) == (0.25, 0.75)
    generator = np.random.default_rng(0)
    most = 2 ** FORMATS[dtype].fraction_bits  # codes of subnormal numbers
    base, donor = (
        smallest * generator.integers(-most, most, size=20_000).astype(np.float64)
        for _ in range(2)
    )
    suspect = encode(0.375 * base + 0.625 * donor, dtype)  # exact in float64
    start, end = replay_intervals(*neighbour_midpoints(suspect, dtype), base, donor)
    assert ((start <= 0.625) & (end >= 0.625))[base != donor].all()


@pytest.mark.parametrize("dtype", FP8)
def test_an_fp8_suspect_with_block_scales_keeps_the_weight_where_its_cosine_is_lost(
    dtype,
):
    generator = np.random.default_rng(0)
    base = stored(0.02 * generator.normal(size=400_000), "BF16")
    donor = stored(base + 0.002 * generator.normal(size=base.size), "BF16")
    blend = 0.6 * base + 0.4 * donor
    scales = np.repeat(
        0.15 / 448 * generator.uniform(1, 2, size=base.size // 128), 128
    )  # no powers of two: midpoints are scaled too
    sample = Sample(encode(blend / scales, dtype).view(np.uint8), dtype, scales)
    suspect = sample.values()
    np.testing.assert_array_equal(suspect, scaled(decode(sample.raw, dtype), scales))
    low, high = sample.midpoints()
    assert ((low <= blend) & (blend <= high)).all()
    u = suspect - base
    v = donor - base
    assert u @ v / np.sqrt((u @ u) * (v @ v)) < 0.9
    found = replay(*replay_intervals(low, high, base, donor), width=2.0)
    assert found.alpha == pytest.approx(0.4, abs=0.02)
    start, end = replay_intervals(low, high, base, donor)
    assert ((start <= 0.4) & (end >= 0.4))[base != donor].all()
