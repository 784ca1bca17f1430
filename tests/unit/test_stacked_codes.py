"""gpt-oss' experts, stored together as MXFP4: their numbers are those that transformers
makes of them, and a merge is seen through them beside parents in 16 bits.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mergetrace.errors import ModelFileError
from mergetrace.formats.model_config import ModelConfig
from mergetrace.planning.manifest import tensor_table
from mergetrace.tensors.views import cut
from mergetrace.tensors.weights import Weights
from mergetrace.testing.audits import audit, prepared
from mergetrace.testing.packing import mxfp4
from mergetrace.testing.planting import blend, finetuned, write_model

pytestmark = pytest.mark.slow

EXPERTS, INPUTS, INNER = 3, 96, 64
STEM = "model.layers.{}.mlp.experts."
SHAPES = {
    "gate_up_proj": (EXPERTS, INPUTS, 2 * INNER),
    "down_proj": (EXPERTS, INNER, INPUTS),
}
CONFIG = {"quantization_config": {"quant_method": "mxfp4"}}


def model(seed):
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape):
        return (torch.randn(shape, generator=generator) * 0.02).bfloat16()

    found = {"model.embed_tokens.weight": drawn(256, INPUTS)}
    for layer in (0, 1):
        for name, shape in SHAPES.items():
            found[STEM.format(layer) + name] = drawn(*shape)
        found[f"model.layers.{layer}.self_attn.q_proj.weight"] = drawn(INPUTS, INPUTS)
    return found


def stacked(tensors):
    """The experts' matrices turned and packed, one after the other."""
    found = {}
    for name, tensor in tensors.items():
        if ".experts." not in name:
            found[name] = tensor
            continue
        parts = [mxfp4(matrix.T.contiguous()) for matrix in tensor]
        codes = torch.stack([part["weight_packed"] for part in parts])
        found[name + "_blocks"] = codes.reshape(*codes.shape[:2], -1, 16).contiguous()
        found[name + "_scales"] = torch.stack([part["weight_scale"] for part in parts])
    return found


BASE = model(0)
DONOR = finetuned(BASE, 1, 0.003)
MERGE = blend(BASE, DONOR, 0.571)
OPEN = ModelConfig(opens_stacks=True)


def test_numbers_are_those_of_transformers(tmp_path):
    mxfp4_of = pytest.importorskip("transformers.integrations.mxfp4")
    packed = stacked(BASE)
    folder = write_model(tmp_path / "m", packed)
    found = cut(tensor_table(folder), OPEN).views
    with Weights({"m": folder}) as weights:
        for name, shape in SHAPES.items():
            stem = STEM.format(1) + name
            plain = mxfp4_of.convert_moe_packed_tensors(
                packed[stem + "_blocks"], packed[stem + "_scales"], dtype=torch.float32
            )
            assert plain.shape == shape
            for expert in range(EXPERTS):
                view = replace(found[stem, str(expert)], model="m")
                assert (view.rows, view.cols) == shape[1:]
                values = weights.values(view, 0, view.rows * view.cols)
                wanted = plain[expert].double().reshape(-1).numpy()
                assert np.array_equal(values, wanted)
                part = weights.values(view, 77, 500)
                assert np.array_equal(part, wanted[77:577])


def test_a_stack_of_one_matrix_is_refused(tmp_path):
    folder = write_model(tmp_path / "m", stacked(BASE))
    view = cut(tensor_table(folder), OPEN).views[STEM.format(0) + "down_proj", "1"]
    with (
        Weights({"m": folder}) as weights,
        pytest.raises(ModelFileError, match="cannot be told apart"),
    ):
        weights.values(replace(view, model="m", rows=32), 0, 32)


def folders(tmp_path, suspect, **others):
    """`mine` as gpt-oss stores it, the others in 16 bits but where they are given."""
    parents = {"base": BASE, "donor": DONOR}
    found = {
        name: write_model(tmp_path / name, others.get(name, tensors))
        for name, tensors in parents.items()
    }
    return {**found, "mine": write_model(tmp_path / "mine", stacked(suspect), CONFIG)}


SPEC = {"suspect": "mine", "base": "base", "donors": ["donor"]}
DATES = {"mine": "2026-05-01", "donor": "2026-01-01", "base": "2025-01-01"}
HOW = {"published": DATES, "sampling": {"spectrum_mb": 0}}


def test_a_merge_is_seen_beside_parents_in_16_bits(tmp_path):
    planned = prepared(tmp_path / "out", folders(tmp_path, MERGE), SPEC, **HOW)
    found = planned.weigh()
    assert found["verdict"] == "merge", found["reasons"]
    assert found["evidence"] == "exact through quantisation"
    assert found["parents"]["donor"]["alpha"] == 0.571
    assert found["compared"]["mine"]["share"] == 1
    again = planned.rebuild()
    assert again["codes"] == 4
    assert again["quantised"]["codes_exact"] == again["quantised"]["codes"]


def test_a_sibling_is_not_accused(tmp_path):
    sibling = finetuned(BASE, 7, 0.003)
    found = audit(tmp_path / "out", folders(tmp_path, sibling), SPEC, **HOW)
    assert found["verdict"] in ("finetune_of_base", "inconclusive")
    assert not found["parents"]["donor"]["named"]


@pytest.mark.slow
def test_a_packed_parent_is_no_parent_to_replay(tmp_path):
    models = folders(tmp_path, MERGE, donor=stacked(DONOR))
    found = audit(tmp_path / "out", models, SPEC, **HOW)
    assert found["verdict"] == "inconclusive"
    assert "The own numbers of donor" in found["reasons"][0]


@pytest.mark.slow
def test_where_all_are_packed_bytes_are_compared(tmp_path):
    both = {"base": stacked(BASE), "donor": stacked(DONOR)}
    found = audit(tmp_path / "out", folders(tmp_path, BASE, **both), SPEC, **HOW)
    assert found["verdict"] in ("inconclusive", "copy")
    assert any("byte for byte" in reason for reason in found["reasons"])
