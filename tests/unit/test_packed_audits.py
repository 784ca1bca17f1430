"""Audits of models in few bits: a planted merge comes back through them, a copy is told,
and innocents are not accused.
"""

import json

import pytest
import torch

from mergetrace.testing.audits import audit, prepared
from mergetrace.testing.gguf_models import llama, write_gguf
from mergetrace.testing.planting import blend, finetuned, write_model

pytestmark = pytest.mark.slow
LONG = pytest.mark.thorough

BASE = llama(0)
DONOR = finetuned(BASE, 1, 0.003)
OTHER = finetuned(BASE, 2, 0.003)
MERGE = blend(BASE, DONOR, 0.571)
DATES = {"mine": "2026-05-01", "donor": "2026-01-01", "base": "2025-01-01"}
SPEC = {
    "suspect": "mine",
    "base": "base",
    "donors": ["donor"],
    "controls": ["other"],
}


def noisy(model, size, seed):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (
            tensor.float() + torch.randn(tensor.shape, generator=generator) * size
        ).to(tensor.dtype)
        for name, tensor in model.items()
    }


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents")
    models = {"base": BASE, "donor": DONOR, "other": OTHER}
    return {name: write_model(folder / name, model) for name, model in models.items()}


def audited(parents, tmp_path, tensors, kind, dates=DATES, **settings):
    path = write_gguf(tmp_path / "mine" / "m.gguf", tensors, kind)
    models = {**parents, "mine": path}
    spec = settings.pop("spec", SPEC)
    return audit(tmp_path / "results", models, spec, published=dates, **settings)


@pytest.mark.parametrize(
    "kind",
    [
        "Q4_K",
        *(pytest.param(kind, marks=LONG) for kind in ("Q8_0", "Q5_1", "Q6_K", "Q4_0")),
    ],
)
def test_a_merge_comes_back_through_quantisation(kind, parents, tmp_path):
    found = audited(parents, tmp_path, MERGE, kind)
    assert found["verdict"] == "merge"
    assert found["evidence"] == "exact through quantisation"
    assert found["parents"]["donor"]["alpha"] == 0.571
    assert found["recipe"]["bit_exact_rate"] == 1
    assert found["recipe"]["out_dtype"] == "bfloat16"
    said = " ".join(found["reasons"])
    assert "bit for bit" not in said
    assert f"mine is stored as {kind}" in said
    assert "Evidence: exact through quantisation." in said
    assert "Changes that leave a number in its cell are not seen" in said


@pytest.mark.parametrize("kind", ["Q4_K", pytest.param("Q8_0", marks=LONG)])
def test_a_copy_is_called_requantised(kind, parents, tmp_path):
    found = audited(parents, tmp_path, DONOR, kind)
    assert (found["verdict"], found["family"]) == ("copy", "requantised")
    assert found["parents"]["donor"]["named"]


INNOCENT = {
    "a sibling": finetuned(BASE, 5, 0.003),
    "on the donor's way": noisy(blend(BASE, DONOR, 0.57), 0.0003, 6),
    "a light finetune of the base": noisy(BASE, 0.0002, 7),
    "a light finetune of the donor": noisy(DONOR, 0.0002, 8),
    "of the donor's task": noisy(blend(BASE, DONOR, 0.96), 0.0009, 9),
    "trained after a merge": noisy(MERGE, 0.0002, 10),
    "a stranger": llama(77),
}


QUICK = {
    ("a light finetune of the donor", "Q4_K"),
    ("on the donor's way", "Q8_0"),
}
"""One trained from the donor, and one from between."""


@pytest.mark.parametrize(
    ("who", "kind"),
    [
        pytest.param(who, kind, marks=[] if (who, kind) in QUICK else LONG)
        for kind in ("Q4_K", "Q8_0")
        for who in INNOCENT
        if kind == "Q4_K" or who in ("on the donor's way", "of the donor's task")
    ],
)
def test_nobody_else_is_accused(kind, who, parents, tmp_path):
    found = audited(parents, tmp_path, INNOCENT[who], kind)
    assert found["verdict"] in ("inconclusive", "finetune_of_base", "unrelated"), found
    assert not any(parent["named"] for parent in found["parents"].values())
    assert found["evidence"] is None


def test_without_dates_cells_do_not_say_who_came_first(parents, tmp_path):
    found = audited(parents, tmp_path, MERGE, "Q4_K", dates={})
    assert found["verdict"] == "inconclusive"
    assert any("Two stories fit" in reason for reason in found["reasons"])


def test_ties_comes_back_though_no_cell_says_what_was_kept(parents, tmp_path):
    trimmed = {}
    for name, base in BASE.items():
        change = (DONOR[name] - base).flatten()
        kept = change.abs().float().argsort(descending=True)[: change.numel() // 2]
        sparse = torch.zeros_like(change)
        sparse[kept] = change[kept]
        weighted = sparse.reshape(base.shape) * torch.tensor(0.6, dtype=base.dtype)
        trimmed[name] = base + weighted
    found = audited(parents, tmp_path, trimmed, "Q4_K")
    assert (found["verdict"], found["family"]) == ("merge", "ties")
    said = found["recipe"]["parameters"]
    assert abs(said["weights"]["donor"] - 0.6) < 0.005
    assert abs(said["density.donor"] - 0.5) < 0.02


@pytest.mark.thorough
def test_two_donors_come_back(parents, tmp_path):
    both = {
        name: (
            base.float()
            + 0.4 * (DONOR[name].float() - base.float())
            + 0.3 * (OTHER[name].float() - base.float())
        ).to(base.dtype)
        for name, base in BASE.items()
    }
    spec = {"suspect": "mine", "base": "base", "donors": ["donor", "other"]}
    dates = {**DATES, "other": "2026-01-01"}
    found = audited(parents, tmp_path, both, "Q8_0", dates=dates, spec=spec)
    assert found["verdict"] == "merge"
    shares = {name: found["parents"][name]["alpha"] for name in ("donor", "other")}
    assert shares == {"donor": 0.4, "other": 0.3}


def test_a_packed_parent_is_no_parent_to_replay(parents, tmp_path):
    path = write_gguf(tmp_path / "g" / "m.gguf", DONOR, "Q4_K")
    mine = write_model(tmp_path / "mine", MERGE)
    models = {**parents, "donor": path, "mine": mine}
    found = audit(tmp_path / "results", models, SPEC, published=DATES)
    assert found["verdict"] == "inconclusive"
    assert "The own numbers of donor (Q4_K) are not known" in found["reasons"][0]


def test_a_gguf_file_in_16_bits_is_as_exact_as_any(parents, tmp_path):
    found = audited(parents, tmp_path, MERGE, "BF16")
    assert (found["verdict"], found["evidence"]) == ("merge", "exact")


def test_a_sample_is_enough_and_the_page_says_what_it_rests_on(parents, tmp_path):
    path = write_gguf(tmp_path / "mine" / "m.gguf", MERGE, "Q4_K")
    planned = prepared(
        tmp_path / "results",
        {**parents, "mine": path},
        SPEC,
        published=DATES,
        mode="sample",
        sampling={"block_elements": 1000},
    )
    assert planned.weigh()["verdict"] == "merge"
    page = planned.write_report().read_text()
    assert "exact through quantisation" in page
    assert "outside their cells" in page or "lie in their cells" in page
    assert not planned.rebuild()["rebuilt"]
    text = (planned.give_back() / "README.md").read_text()
    assert "--check" not in text
    summary = json.loads((tmp_path / "results/summary.json").read_text())
    assert summary["models"]["mine"]["recipe"]["packed"] == ["Q4_K"]
    assert summary["models"]["mine"]["turns"] == {}
