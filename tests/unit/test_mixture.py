"""Shares of several donors: none negative, honest intervals, and no share where
directions coincide.
"""

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import nnls

from mergetrace.fit.mixture import Share, alike, inflations, mixture, nonnegative

DONORS = ["d1", "d2", "d3"]


def fits(shares, deltas, noise=0.0, layers=12, seed=0):
    """Sums of slices, one a layer, of a change that is made of these shares of the
    deltas ([layers, n, k]) and independent noise.
    """
    generator = np.random.default_rng(seed)
    rows = []
    for layer in range(layers):
        v = deltas[layer]
        u = v @ np.array(shares) + noise * generator.normal(size=len(v))
        row = {"votes": True, "layer": str(layer), "slice_id": layer, "uu": u @ u}
        row |= {f"uv.{donor}": u @ v[:, i] for i, donor in enumerate(DONORS)}
        row |= {
            f"vv.{one}.{other}": v[:, i] @ v[:, j]
            for i, one in enumerate(DONORS)
            for j, other in enumerate(DONORS)
            if j >= i
        }
        rows.append(row)
    return pd.DataFrame(rows)


def drawn(seed=0, layers=12, n=400, kinship=0.0):
    """Deltas of three donors, the second `kinship` parts the first's."""
    v = np.random.default_rng(seed).normal(size=(layers, n, 3))
    v[..., 1] = kinship * v[..., 0] + np.sqrt(1 - kinship**2) * v[..., 1]
    return v


def test_shares_come_back_and_the_unused_donor_stands_at_zero():
    found = mixture(fits([0.4, 0.3, 0.0], drawn()), DONORS)
    assert [found.donors[donor].share for donor in DONORS] == pytest.approx(
        [0.4, 0.3, 0.0], abs=1e-9
    )
    assert (found.groups, found.group_kind, found.reason) == (
        12,
        "layers",
        None,
    )
    assert found.donors["d1"].inflation == pytest.approx(1, abs=0.01)


def test_no_share_is_negative_and_no_interval_reaches_below_zero():
    found = mixture(fits([0.4, -0.2, 0.0], drawn(), noise=0.5), DONORS).donors
    assert found["d2"].share == 0
    assert found["d2"].ci95 == (0, 0)
    for entry in found.values():
        assert 0 <= entry.ci95[0] <= entry.share <= entry.ci95[1]


def test_the_intervals_hold_the_truth_about_as_often_as_they_say():
    truth = [0.4, 0.05, 0.0]
    held = np.zeros(3)
    for trial in range(200):
        found = mixture(
            fits(truth, drawn(trial, kinship=0.8), noise=1.0, seed=1000 + trial), DONORS
        ).donors
        held += [
            found[donor].ci95[0] <= share <= found[donor].ci95[1]
            for donor, share in zip(DONORS, truth, strict=True)
        ]
    assert (held / 200 >= 0.90).all()
    assert (held[:2] / 200 <= 0.99).all()


def test_kinship_widens_the_intervals_by_its_inflation():
    alone, akin = (
        mixture(
            fits([0.4, 0.0, 0.0], drawn(kinship=kinship), noise=1.0), DONORS
        ).donors["d1"]
        for kinship in (0.0, 0.95)
    )
    assert akin.inflation == pytest.approx(1 / (1 - 0.95**2), rel=0.1)
    width = (akin.ci95[1] - akin.ci95[0]) / (alone.ci95[1] - alone.ci95[0])
    assert width == pytest.approx(np.sqrt(akin.inflation), rel=0.5)


def test_donors_of_one_direction_have_no_share_of_their_own_and_the_others_do():
    v = drawn()
    v[..., 1] = 2 * v[..., 0]
    found = mixture(fits([0.4, 0.0, 0.1], v), DONORS)
    assert found.donors["d1"].share is found.donors["d2"].share is None
    assert found.donors["d3"].share == pytest.approx(0.1)
    assert "sum of others" in found.reason
    assert alike(fits([0.4, 0.0, 0.1], v), DONORS, limit=5) == [("d1", "d2")]


def test_few_groups_give_shares_without_an_interval():
    found = mixture(fits([0.4, 0.3, 0.0], drawn(), layers=3), DONORS)
    assert found.donors["d1"].share == pytest.approx(0.4)
    assert found.donors["d1"].ci95 is None
    assert "3 groups" in found.reason


def test_nothing_to_split_is_said():
    table = fits([0.0, 0.0, 0.0], drawn())
    assert "equals the base" in mixture(table, DONORS).reason
    assert mixture(table, DONORS).donors["d1"] == Share()
    assert "Nothing that counts" in mixture(table.assign(votes=False), DONORS).reason


def test_the_solution_is_that_of_the_plain_problem():
    v = drawn(3).reshape(-1, 3)
    u = v @ [0.5, -0.1, 0.2] + np.random.default_rng(4).normal(size=len(v))
    assert nonnegative(v.T @ v, v.T @ u) == pytest.approx(nnls(v, u)[0], abs=1e-9)
    correlation = np.corrcoef(v.T)
    assert inflations(np.cov(v.T)) == pytest.approx(np.diag(np.linalg.inv(correlation)))
