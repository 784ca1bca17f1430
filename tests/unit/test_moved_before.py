"""What is known of models whose numbers were moved before they were rounded: GPTQ's column
that comes first, and AWQ's factors of columns.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mergetrace.disguises.column_factors import (
    blended,
    density_kept,
    fitted_blend,
    largest_kept,
)
from mergetrace.formats.block_layouts import Unpacked
from mergetrace.numerics.cell_replay import cell_intervals
from mergetrace.outputs import read_json
from mergetrace.sums.cells import cell_ends
from mergetrace.sums.evidence import Sample
from mergetrace.tensors.elements import adjusted
from mergetrace.testing.audits import audit
from mergetrace.testing.gguf_models import llama
from mergetrace.testing.packing import gptq_view, packed_model
from mergetrace.testing.planting import blend, finetuned, write_model

WEIGHT = 0.571
SPEC = {"suspect": "suspect", "base": "base", "donors": ["donor"], "controls": ["own"]}
DATES = {"suspect": "2026-05-01", "base": "2025-01-01", "donor": "2026-01-01"}
VIEW = gptq_view(4, 6)


def with_norms(tensors, seed=9):
    """A model whose norms are not all one number."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (tensor * (1 + 0.2 * torch.randn(tensor.shape, generator=generator))).to(
            tensor.dtype
        )
        if "norm" in name
        else tensor
        for name, tensor in tensors.items()
    }


BASE = with_norms(llama(3))
DONOR = finetuned(BASE, 1, 0.003)
OWN = finetuned(BASE, 2, 0.003)
OTHER = finetuned(BASE, 4, 0.003)
"""Whom nobody offers."""
TRAINED = finetuned(OTHER, 5, 0.0003)
FROZEN = {
    name: TRAINED[name] if "_proj" in name else tensor for name, tensor in OTHER.items()
}
"""Trained from there, but for embeddings and norms."""
SUSPECTS = {
    "merge": blend(BASE, DONOR, WEIGHT),
    "sibling": blend(finetuned(BASE, 3, 0.001), DONOR, 0.9),
    "donor": DONOR,
    "blend with another": blend(BASE, OTHER, WEIGHT),
}


@pytest.fixture
def audited(tmp_path):
    parents = {"base": BASE, "donor": DONOR, "own": OWN}
    places = {
        name: write_model(tmp_path / name, tensors) for name, tensors in parents.items()
    }

    def run(who, kind, donor=None):
        suspect = packed_model(tmp_path / "suspect", SUSPECTS[who], kind)
        models = {**places, "suspect": suspect}
        if donor is not None:
            models["donor"] = write_model(tmp_path / "in-place-of-the-donor", donor)
        found = audit(tmp_path / "out", models, SPEC, published=DATES)
        layout = read_json(tmp_path / "out" / "layout.json")["models"]["suspect"]
        return found, layout

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("gptq", marks=pytest.mark.thorough),
        pytest.param("gptq_order", marks=pytest.mark.thorough),
        pytest.param("awq", marks=pytest.mark.thorough),
        "int4_smoothed",
    ],
)
def test_a_merge_is_called_one_and_its_weight_known(audited, tmp_path, kind):
    found, layout = audited("merge", kind)
    assert found["verdict"] == "merge", found["reasons"]
    assert found["evidence"] == "exact through quantisation"
    assert found["parents"]["donor"]["alpha"] == pytest.approx(WEIGHT, abs=0.005)
    said = "only the column" if kind.startswith("gptq") else "as AWQ and SmoothQuant do"
    assert any(said in line for line in layout["undone"])
    assert not layout["visible"]
    behind = any("columns behind it decide too" in line for line in layout["undone"])
    assert behind == (kind == "gptq")
    unpaired = (tmp_path / "out" / "unpaired.csv").read_text()
    aside = unpaired.count("says nothing itself any more")
    assert (aside > 0) == (not kind.startswith("gptq"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("who", "kind"),
    [
        pytest.param("sibling", "gptq", marks=pytest.mark.thorough),
        pytest.param("sibling", "gptq_order", marks=pytest.mark.thorough),
        pytest.param("sibling", "awq", marks=pytest.mark.thorough),
        pytest.param("sibling", "int4_smoothed", marks=pytest.mark.thorough),
        ("donor", "gptq"),
    ],
)
def test_nobody_else_is_accused(audited, who, kind):
    found, _ = audited(who, kind)
    assert found["verdict"] == "inconclusive", found["reasons"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    [
        pytest.param("gptq", marks=pytest.mark.thorough),
        pytest.param("awq", marks=pytest.mark.thorough),
        "int4_smoothed",
    ],
)
def test_a_shared_embedding_alone_accuses_nobody(audited, kind):
    """The suspect was blended from another model than the donor, which was trained from
    that with frozen embedding: all that is in 16 bits gives the blend back.
    """
    found, _ = audited("blend with another", kind, FROZEN)
    assert found["verdict"] == "inconclusive", found["reasons"]


def sample(part):
    return Sample(part.codes, "GPTQ4", part.scales, shifts=part.shifts)


def test_cells_are_open_but_where_row_and_column_decide_and_numbers_stay():
    generator = np.random.default_rng(0)
    codes = generator.integers(1, 15, 24).astype(np.uint8)
    part = Unpacked(codes, np.full(24, 0.5), np.full(24, -4.0))
    columns, rows = np.zeros(6), np.ones(4)
    columns[2], rows[1] = 1.0, 0.0
    view = replace(VIEW, col_decides=columns, row_decides=rows)
    whole = sample(adjusted(VIEW, 0, part))
    few = sample(adjusted(view, 0, part))
    np.testing.assert_array_equal(few.values(), whole.values())
    low, high = few.midpoints()
    assert np.flatnonzero(np.isfinite(low)).tolist() == [2, 14, 20]
    np.testing.assert_array_equal(np.isfinite(low), np.isfinite(high))
    kept = [2, 14, 20]
    np.testing.assert_array_equal(low[kept], whole.midpoints()[0][kept])


def test_a_part_of_a_matrix_knows_its_own_rows_and_columns():
    codes = np.arange(24, dtype=np.uint8) % 16
    columns = np.zeros(6)
    columns[2] = 1.0
    view = replace(VIEW, col_decides=columns)
    part = Unpacked(codes[4:15], np.ones(11), np.zeros(11))
    low, _ = cell_ends(sample(adjusted(view, 4, part)))
    decides = np.flatnonzero(adjusted(view, 4, part).scales > 0)
    assert (decides + 4).tolist() == [8, 14]
    assert np.isinf(low[0])


def test_open_cells_confine_no_weight():
    part = Unpacked(np.full(24, 3, np.uint8), np.zeros(24), np.ones(24))
    low, high = sample(part).midpoints()
    start, end = cell_intervals(low, high, np.zeros(24), np.ones(24))
    assert np.isinf(start).all()
    assert np.isinf(end).all()


def test_a_blend_is_fitted_whatever_its_columns_were_multiplied_by():
    generator = np.random.default_rng(1)
    parents = generator.normal(size=(1, 64, 16)) + 0.05 * generator.normal(
        size=(3, 64, 16)
    )
    factors = np.exp(generator.normal(size=16))
    own = blended(parents, np.array([0.4, 0.3])) * factors
    shares, columns = fitted_blend(own, parents)
    np.testing.assert_allclose(shares, [0.4, 0.3], atol=1e-6)
    np.testing.assert_allclose(columns, factors, rtol=1e-6)


@pytest.mark.parametrize("density", [1.0, 0.8, 0.5, 0.3])
def test_the_share_of_changes_that_was_kept_is_known_whatever_columns_were_multiplied_by(
    density,
):
    generator = np.random.default_rng(2)
    first = generator.normal(size=(1, 256, 64))
    parents = np.concatenate([first, first + 0.1 * generator.normal(size=first.shape)])
    factors = np.exp(generator.normal(size=64))
    blend = blended(largest_kept(parents, density), np.array([0.4]))
    rounding = 0.05 * generator.normal(size=blend.shape)
    assert density_kept([((blend + rounding) * factors, parents)]) == density
