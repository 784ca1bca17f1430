"""The rounding bias: one blend weight explains every published pair of the public
case.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.lattice_bias import curves, shown, true_alpha

PUBLISHED = Path(__file__).parents[2] / "benchmarks/rio_published.csv"
GRID = curves(np.linspace(0.54, 0.60, 7), np.geomspace(0.0075, 0.12, 20), n=100_000)


def test_a_perfect_merge_shows_another_alpha_and_a_cosine_below_one():
    weights, noise = np.random.default_rng(0).normal(size=(2, 200_000))
    assert shown(4 / 7, 0.008, weights, noise) == (
        pytest.approx(0.650, abs=0.01),
        pytest.approx(0.962, abs=0.005),
    )
    low, _ = shown(0.37, 0.008, weights, noise)
    assert low < 0.33  # below one half the pull is downward
    assert shown(4 / 7, 0.3, weights, noise) == (
        pytest.approx(4 / 7, abs=0.001),
        pytest.approx(1, abs=1e-3),
    )


def test_one_weight_explains_every_published_pair():
    implied = [
        true_alpha(GRID, row.alpha, row.cos_fit)
        for row in pd.read_csv(PUBLISHED).itertuples()
    ]
    assert np.median(implied) == pytest.approx(0.566, abs=0.002)
    assert np.ptp(implied) < 0.006  # the published alphas themselves spread over 0.08


def test_the_inversion_finds_a_planted_weight():
    weights, noise = np.random.default_rng(5).normal(size=(2, 200_000))
    for ratio in (0.01, 0.03, 0.1):
        assert true_alpha(GRID, *shown(0.577, ratio, weights, noise)) == pytest.approx(
            0.577, abs=0.003
        )


def test_what_no_merge_shows_has_no_weight():
    assert np.isnan(true_alpha(GRID, 0.95, 0.99))
