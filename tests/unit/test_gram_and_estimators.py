"""One pass gives the sums; the sums give alpha, cos_fit and honest errors."""

import numpy as np
import pytest

from mergetrace.estimators import fit, solve
from mergetrace.frames import Frame
from mergetrace.gram import CHUNK, slice_sums
from mergetrace.sampling import tiles

GENERATOR = np.random.default_rng(0)


def sums(values: dict[str, np.ndarray], donors=("donor",), blocks=None) -> dict[str, np.ndarray]:
    size = values["base"].size

    def read(model, first, count):
        return values[model][first : first + count], np.full(count, 0.5)

    rows = list(slice_sums([Frame("suspect", "base", donors)], tiles(size) if blocks is None else blocks, read))
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def planted(size: int, alpha: float, noise: float = 0.0) -> dict[str, np.ndarray]:
    base, v = GENERATOR.normal(size=size), GENERATOR.normal(size=size)
    return {"base": base, "donor": base + v, "suspect": base + alpha * v + noise * GENERATOR.normal(size=size)}


def test_sums_equal_the_plain_formula_over_many_chunks():
    values = planted(3 * CHUNK + 17, 0.4, 0.1)
    found = sums(values, blocks=np.array([[0, 3 * CHUNK + 17]]))
    u, v = values["suspect"] - values["base"], values["donor"] - values["base"]
    for key, expected in {"uu": u @ u, "uv.donor": u @ v, "vv.donor.donor": v @ v, "ub": u @ values["base"], "bv.donor": v @ values["base"]}.items():
        assert found[key].sum() == pytest.approx(expected, rel=1e-12)
    assert found["rounding"].sum() == pytest.approx(u.size * 0.25 / 12)


def test_counts_are_exact():
    values = {
        "base": np.array([1.0, 1, 1, 1, 1, 1]),
        "donor": np.array([1.0, 1, 2, 2, 2, 0]),
        "suspect": np.array([1.0, 3, 1, 2, 4, 3]),
    }
    found = {key: value.sum() for key, value in sums(values).items() if key not in ("model", "base")}
    assert found["equal_base"] == 2
    assert found["equal_donor.donor"] == 2
    assert found["parents_agree.donor"] == 2
    assert found["moved_alone.donor"] == 1
    assert found["stayed_alone.donor"] == 1
    assert found["same_sign.donor"] == 2
    assert found["both_moved.donor"] == 3


def test_non_finite_elements_are_counted_and_left_out():
    values = planted(1000, 0.4)
    values["donor"][3], values["suspect"][77] = np.inf, np.nan
    found = sums(values)
    assert found["nonfinite"].sum() == 2
    assert found["n"].sum() == 998
    assert np.isfinite(found["uu"]).all()


def test_the_planted_alpha_is_found_within_its_error():
    found = sums(planted(100_000, 0.571, noise=0.3))
    result = fit(found["uu"], found["uv.donor"][:, None], found["vv.donor.donor"][:, None, None])
    assert abs(result.alpha[0] - 0.571) < 4 * result.alpha_se[0]
    assert result.alpha_se[0] == pytest.approx(0.3 / np.sqrt(100_000), rel=0.5)
    assert result.cos_fit == pytest.approx(0.571 / np.hypot(0.571, 0.3), abs=0.01)


def test_two_donors_are_told_apart_and_a_decoy_gets_nothing():
    base, v, w = (GENERATOR.normal(size=50_000) for _ in range(3))
    values = {"base": base, "d1": base + v, "d2": base + w, "suspect": base + 0.3 * v}
    found = sums(values, donors=("d1", "d2"))
    uv = np.stack([found["uv.d1"], found["uv.d2"]], axis=1)
    vv = np.array([[found["vv.d1.d1"], found["vv.d1.d2"]], [found["vv.d1.d2"], found["vv.d2.d2"]]]).transpose(2, 0, 1)
    result = fit(found["uu"], uv, vv)
    assert result.alpha == pytest.approx([0.3, 0.0], abs=1e-9)
    assert result.cos_fit == pytest.approx(1)


@pytest.mark.parametrize("still", ["suspect", "donor"])
def test_a_delta_of_zero_has_no_alpha(still):
    values = planted(1000, 0.4)
    values[still] = values["base"].copy()
    found = sums(values)
    result = fit(found["uu"], found["uv.donor"][:, None], found["vv.donor.donor"][:, None, None])
    assert np.isnan(result.alpha).all()
    assert np.isnan(result.cos_fit)


def test_collinear_donors_have_no_solution():
    assert np.isnan(solve(np.array([[1.0, 2.0], [2.0, 4.0]]), np.array([1.0, 2.0]))).all()


def test_cosines_stay_within_one_on_a_large_tensor():
    """A naive float32 pass over so many elements gave 1.0045."""
    v = GENERATOR.normal(size=2**22)
    base = GENERATOR.normal(size=2**22)
    found = sums({"base": base, "donor": base + v, "suspect": base + v})
    result = fit(found["uu"], found["uv.donor"][:, None], found["vv.donor.donor"][:, None, None])
    assert result.cos_fit == pytest.approx(1, abs=1e-12)
    assert result.cos_fit <= 1
