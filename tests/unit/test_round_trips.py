"""Blends of parents that were quantised and written back, where the parents are offered
as they were published.
"""

import pytest
import torch

from mergetrace.numerics.levels import NORMAL_4
from mergetrace.search.round_trips import TRIPS
from mergetrace.testing.audits import audit
from mergetrace.testing.planting import blend, finetuned, random_model, write_model
from mergetrace.testing.quantising import in_fp8, meaning

BASE = random_model(0)
DONOR = finetuned(BASE, 1, 0.003)
SIBLING = finetuned(BASE, 3, 0.003)
DATES = {"mine": "2026-05-01", "donor": "2026-01-01", "base": "2025-01-01"}
SPEC = {"suspect": "mine", "base": "base", "donors": ["donor"], "controls": ["other"]}


def through(kind, tensors):
    """A model as a tool gives it back that quantised its matrices."""
    found = dict(tensors)
    for name, tensor in tensors.items():
        if name.endswith("_proj.weight") and tensor.dim() == 2:
            moved = TRIPS[kind](tensor.double().numpy())
            found[name] = torch.from_numpy(moved).to(tensor.dtype)
    return found


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents")
    models = {"base": BASE, "donor": DONOR, "other": finetuned(BASE, 2, 0.003)}
    return {name: write_model(folder / name, model) for name, model in models.items()}


def audited(parents, tmp_path, tensors):
    models = {**parents, "mine": write_model(tmp_path / "mine", tensors)}
    return audit(tmp_path / "results", models, SPEC, published=DATES)


def bitsandbytes(weight):
    numbers = weight.float()
    greatest = numbers.abs().amax(1, keepdim=True)
    return (numbers * (127 / greatest)).round() * greatest / 127


def nf4(weight):
    blocks = weight.float().reshape(-1, 64)
    greatest = blocks.abs().amax(1, keepdim=True)
    levels = torch.tensor(NORMAL_4)
    nearest = (blocks[..., None] / greatest[..., None] - levels).abs().argmin(-1)
    return (levels[nearest] * greatest).reshape(weight.shape)


def fp8_rows(weight):
    return meaning(*in_fp8(weight, "row"), "row").float()


@pytest.mark.parametrize(
    ("kind", "tool"),
    [("int8", bitsandbytes), ("nf4", nf4), ("FP8 by rows", fp8_rows)],
)
def test_what_a_tool_gives_back(kind, tool):
    matrix = torch.randn(96, 256, generator=torch.Generator().manual_seed(1)) * 0.02
    matrix = matrix.bfloat16()
    expected = tool(matrix).bfloat16()
    found = torch.from_numpy(TRIPS[kind](matrix.double().numpy())).bfloat16()
    assert (found == expected).float().mean() > 0.999


def test_blocks_that_do_not_fit_are_left():
    assert TRIPS["nf4"](torch.ones(3, 5).double().numpy()) is None
    assert TRIPS["Q8_0"](torch.ones(3, 5).double().numpy()) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("of_base", "of_donor"),
    [("int8", "int8"), ("nf4", "nf4"), ("Q8_0", "Q8_0"), (None, "nf4")],
)
def test_a_blend_of_such_parents_was_not_trained(of_base, of_donor, parents, tmp_path):
    base = through(of_base, BASE) if of_base else BASE
    found = audited(parents, tmp_path, blend(base, through(of_donor, DONOR), 0.4))
    assert found["verdict"] == "other_merge"
    assert found["parents"]["donor"]["alpha"] == 0.4
    said = " ".join(found["reasons"])
    assert f"quantised to {of_donor} and written back" in said
    assert "no training afterwards" in said


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["int8", "nf4"])
def test_nobody_else_is_such_a_blend(kind, parents, tmp_path):
    blended = blend(through(kind, BASE), through(kind, SIBLING), 0.4)
    found = audited(parents, tmp_path / "sibling", blended)
    assert found["verdict"] in ("inconclusive", "finetune_of_base")
    merge = blend(through(kind, BASE), through(kind, DONOR), 0.4)
    found = audited(parents, tmp_path / "trained", finetuned(merge, 7, 0.0003))
    assert found["verdict"] != "other_merge"
