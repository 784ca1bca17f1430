"""Replay sees a merge through its rounding."""

import numpy as np
import pytest

from mergetrace.dtypes import decode, encode, neighbour_midpoints
from mergetrace.rounding import coverage, replay, replay_intervals, shuffled_coverage


def stored(values, dtype):
    return decode(encode(values, dtype), dtype)


def planted(alpha, dtype="BF16", size=200_000, delta=0.05, drift=0.0, seed=0):
    """(low, high, base, donor) of round((1-a) b + a d), with delta and drift relative to the weights' own spread."""
    generator = np.random.default_rng(seed)
    base = stored(generator.normal(size=size), dtype)
    donor = stored(base + delta * generator.normal(size=size), dtype)
    blend = np.float32(1 - alpha) * base.astype(np.float32) + np.float32(alpha) * donor.astype(np.float32)
    blend += (drift * delta * generator.normal(size=size)).astype(np.float32)
    return (*neighbour_midpoints(encode(blend, dtype), dtype), base, donor)


@pytest.mark.parametrize("dtype", ["BF16", "F16", "F32", "F8_E4M3"])
def test_a_pure_merge_is_covered_whole_and_its_weight_found(dtype):
    delta = 1.0 if dtype == "F8_E4M3" else 0.05
    found = replay(*replay_intervals(*planted(4 / 7, dtype, delta=delta)), width=0.5)
    # float32 sums move a few elements of a float32 merge by one unit in the last place
    assert found.coverage > (0.6 if dtype == "F32" else 0.9999)
    assert found.alpha == pytest.approx(4 / 7, abs=1e-3 if dtype == "F8_E4M3" else 1e-5)
    assert found.informative > 1000


def test_least_squares_is_pulled_where_replay_is_not():
    """Deltas of a few ulp: the published router of layer 15 shows .647 for one and the same merge."""
    low, high, base, donor = planted(4 / 7, size=500_000, delta=0.008)
    blend = stored((np.float32(3 / 7) * base + np.float32(4 / 7) * donor).astype(np.float32), "BF16")
    u, v = blend - base, donor - base
    assert u @ v / (v @ v) == pytest.approx(0.65, abs=0.02)
    assert replay(*replay_intervals(low, high, base, donor), 1.0).alpha == pytest.approx(4 / 7, abs=2e-4)


def test_drift_lowers_coverage():
    exact, little, much = (replay(*replay_intervals(*planted(0.571, drift=drift)), 0.25).coverage for drift in (0, 0.01, 0.1))
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
    tried = np.array([np.mean((start <= a) & (a <= end)) for a in np.concatenate([start, end])])
    assert found.coverage == pytest.approx(tried.max())
    assert np.mean((start <= found.alpha) & (found.alpha <= end)) == pytest.approx(found.coverage)
    assert coverage(np.sort(start), np.sort(end), 0.5) == pytest.approx(np.mean((start <= 0.5) & (end >= 0.5)))


def test_a_copy_is_covered_at_its_parent():
    low, high, base, donor = planted(0.0, size=10_000)
    assert replay(*replay_intervals(low, high, base, donor), 0.25).coverage_base == 1
