"""Packed codes of safetensors: read where what lies beside them says how, and left out
where anything else might change what they mean.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mergetrace.errors import ModelFileError
from mergetrace.files.tensor_records import TensorRecord
from mergetrace.formats.model_config import read_config
from mergetrace.formats.opening import opening
from mergetrace.formats.quantization import Quantization
from mergetrace.planning.manifest import tensor_table
from mergetrace.planning.packed_bytes import undecoded
from mergetrace.tensors.views import cut
from mergetrace.tensors.weights import Weights
from mergetrace.testing.audits import audit
from mergetrace.testing.gguf_models import llama
from mergetrace.testing.packing import CALIBRATED, PACKERS, SAID, gptq, packed_model
from mergetrace.testing.planting import blend, finetuned, write_model

GROUP = 32
INT4 = {
    "quant_method": "compressed-tensors",
    "format": "pack-quantized",
    "config_groups": {"group_0": {"weights": {"num_bits": 4, "symmetric": True}}},
}
INT8 = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "config_groups": {"group_0": {"weights": {"num_bits": 8, "symmetric": True}}},
}
BYTES = {"quant_method": "bitsandbytes", "load_in_8bit": True}


def record(name, dtype, *shape):
    return TensorRecord(name, "m", dtype, shape, 0, 1)


def rounded(weight, group, most):
    """Codes and scales as compressed-tensors rounds to nearest, dividing in bf16."""
    rows, cols = weight.shape
    groups = weight.reshape(rows, -1, group)
    scale = (groups.abs().amax(-1).float() / (most + 0.5)).to(weight.dtype)
    codes = torch.round(groups / scale[:, :, None]).clamp(-most - 1, most)
    return codes.reshape(rows, cols).to(torch.int64), scale


def words(codes):
    grouped = (codes + 8).reshape(len(codes), -1, 8)
    shifted = (grouped << torch.arange(0, 32, 4)).sum(-1)
    return torch.where(shifted >= 2**31, shifted - 2**32, shifted).to(torch.int32)


def quantised(tensors, kind):
    """A model whose projections are packed, and what the codes stand for."""
    found = {}
    meaning = {}
    for name, tensor in tensors.items():
        if not name.endswith("_proj.weight"):
            found[name] = tensor
            continue
        module = name.removesuffix(".weight")
        if kind == "INT4":
            codes, scale = rounded(tensor, GROUP, 7)
            found[module + ".weight_packed"] = words(codes)
            found[module + ".weight_scale"] = scale
            found[module + ".weight_shape"] = torch.tensor(tensor.shape)
            spread = scale.double().repeat_interleave(GROUP, 1)
        elif kind == "INT8":
            codes, scale = rounded(tensor, tensor.shape[1], 127)
            found[name] = codes.to(torch.int8)
            found[module + ".weight_scale"] = scale
            spread = scale.double()
        else:
            half = tensor.half()
            greatest = half.abs().amax(1).float()
            codes = torch.round(half * (127.0 / greatest[:, None])).to(torch.int64)
            found[name] = codes.to(torch.int8)
            found[module + ".SCB"] = greatest
            found[module + ".weight_format"] = torch.tensor(0, dtype=torch.uint8)
            spread = greatest.double()[:, None] / 127
        meaning[name] = codes.double() * spread
    return found, meaning


def write(folder, tensors, said):
    folder.mkdir(parents=True)
    save_file(
        {name: each.contiguous() for name, each in tensors.items()},
        folder / "model.safetensors",
    )
    config = {"tie_word_embeddings": True, "quantization_config": said}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


LONG = pytest.mark.thorough
OTHERS = sorted({*PACKERS} - {"int4", "nf4", "fp8_rows", *CALIBRATED})
KINDS = {"INT4": INT4, "INT8": INT8, "bytes": BYTES}


@pytest.mark.parametrize("kind", KINDS)
def test_codes_are_read_with_their_scales(kind, tmp_path):
    tensors, meaning = quantised(llama(0, layers=1), kind)
    folder = write(tmp_path / "m", tensors, KINDS[kind])
    table = tensor_table(folder)
    config = read_config(folder / "config.json")
    found = cut(table, config)
    assert all("not decoded" not in entry["reason"] for entry in found.left_out)
    own = {name: name for name in table["name"]}
    records = [
        TensorRecord(row.name, row.shard, row.dtype, tuple(row.shape), 0, 1)
        for row in table.itertuples(index=False)
    ]
    assert not undecoded(records, config, own)
    with Weights({"m": folder}) as weights:
        for name, wanted in meaning.items():
            view = replace(found.views[name, ""], model="m")
            values = weights.values(view, 0, view.rows * view.cols)
            assert np.allclose(values, wanted.reshape(-1).numpy(), rtol=1e-12)
            assert np.array_equal(weights.values(view, 77, 500), values[77:577])


LEAVES = {
    "weight_scale": record("m.weight_scale", "BF16", 8, 2),
    "weight_shape": record("m.weight_shape", "I64", 2),
}
CODES = record("m.weight_packed", "I32", 8, 8)


@pytest.mark.parametrize(
    ("beside", "bits"),
    [
        ({"weight_zero_point": record("z", "I32", 2, 2)}, 4),
        ({"weight_g_idx": record("g", "I32", 64)}, 4),
        ({"weight_scale": record("s", "F8_E4M3", 8, 2)}, 4),
        ({"weight_scale": record("s", "BF16", 8, 16)}, 4),
        ({}, None),
        ({}, 3),
    ],
)
def test_what_may_mean_something_else_stays_closed(beside, bits):
    four, said = Quantization(bits=4.0), Quantization(bits=bits)
    assert opening(".weight_packed", CODES, LEAVES, four) is not None
    assert opening(".weight_packed", CODES, {**LEAVES, **beside}, said) is None


def test_codes_without_their_scale_stay_closed():
    four = Quantization(bits=4.0)
    assert opening(".weight_packed", CODES, {}, four) is None
    assert opening(".weight", record("m.weight", "I8", 8, 8), {}, four) is None
    assert opening(".weight", record("m.weight", "U8", 8, 8), LEAVES, four) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind",
    ["nf4", *(pytest.param(kind, marks=LONG) for kind in ("int4", *OTHERS))],
)
def test_a_merge_and_a_sibling_through_packed_codes(kind, tmp_path):
    base = llama(0)
    donor = finetuned(base, 1, 0.003)
    near = finetuned(blend(base, donor, 0.96), 3, 0.0009)
    models = {
        "base": write_model(tmp_path / "base", base),
        "donor": write_model(tmp_path / "donor", donor),
    }
    spec = {"suspect": "mine", "base": "base", "donors": ["donor"]}
    dates = {"mine": "2026-05-01", "donor": "2026-01-01", "base": "2025-01-01"}
    found = []
    for name, tensors in (("merge", blend(base, donor, 0.571)), ("near", near)):
        mine = packed_model(tmp_path / name, tensors, kind)
        places = {**models, "mine": mine}
        found.append(audit(tmp_path / f"{name} out", places, spec, published=dates))
    assert [each["verdict"] for each in found] == ["merge", "inconclusive"]
    assert found[0]["evidence"] == "exact through quantisation"
    assert found[0]["parents"]["donor"]["alpha"] == 0.571
    assert not found[1]["parents"]["donor"]["named"]


@pytest.mark.parametrize("kind", ["gptq", "awq"])
def test_matrices_with_columns_as_rows_are_turned(kind, tmp_path):
    """Against the formulas of AutoGPTQ and AutoAWQ, code by code in plain loops."""
    weight = llama(3, layers=1)["model.layers.0.mlp.down_proj.weight"][:16, :64]
    name = "model.layers.0.mlp.down_proj"
    parts = {leaf: part.contiguous() for leaf, part in PACKERS[kind](weight).items()}
    if kind == "gptq":
        parts["g_idx"] = parts["g_idx"].flip(0).contiguous()
    folder = write(
        tmp_path / "m",
        {f"{name}.{leaf}": part for leaf, part in parts.items()},
        SAID[kind],
    )
    found = cut(tensor_table(folder), read_config(folder / "config.json"))
    view = replace(found.views[name + ".weight", ""], model="m")
    assert (view.rows, view.cols) == (16, 64)
    expected = np.empty((16, 64))
    for row in range(16):
        for col in range(64):
            group = int(parts["g_idx"][col]) if kind == "gptq" else col // 32
            scale = float(parts["scales"][group, row])
            place = row % 8 if kind == "gptq" else AWQ_PLACE[row % 8]
            zero = int(parts["qzeros"][group, row // 8]) >> (4 * place) & 15
            if kind == "gptq":
                code = int(parts["qweight"][col // 8, row]) >> (4 * (col % 8)) & 15
                zero += 1
            else:
                code = int(parts["qweight"][col, row // 8]) >> (4 * place) & 15
            expected[row, col] = (code - zero) * scale
    with Weights({"m": folder}) as weights:
        values = weights.values(view, 0, view.rows * view.cols)
        assert np.allclose(values, expected.reshape(-1), rtol=1e-12)
        assert np.array_equal(weights.values(view, 77, 500), values[77:577])
        turned = replace(view, row_map=np.arange(16)[::-1].copy())
        assert np.array_equal(
            weights.values(turned, 100, 300),
            expected[::-1].reshape(-1)[100:400],
        )


AWQ_PLACE = {0: 0, 2: 1, 4: 2, 6: 3, 1: 4, 3: 5, 5: 6, 7: 7}
TURNED = {
    "zero points of another shape": {"qzeros": lambda it: it[:1]},
    "no scales": {"scales": None},
    "groups that do not divide": {"scales": lambda it: it[:1].repeat(3, 1)},
    "an order of another length": {"g_idx": lambda it: it[:5]},
    "something unknown": {"perm": lambda it: torch.arange(4)},
}


@pytest.mark.parametrize("what", TURNED)
def test_what_does_not_fit_gptq_stays_closed(what, tmp_path):
    parts = gptq(llama(3, layers=1)["model.layers.0.mlp.down_proj.weight"][:16, :64])
    for leaf, change in TURNED[what].items():
        part = parts.pop(leaf, None)
        if change is not None:
            parts[leaf] = change(part)
    tensors = {f"model.layers.0.mlp.down_proj.{leaf}": it for leaf, it in parts.items()}
    folder = write(tmp_path / "m", tensors, SAID["gptq"])
    found = cut(tensor_table(folder), read_config(folder / "config.json"))
    assert not found.views
    assert any("not decoded" in entry["reason"] for entry in found.left_out)


def test_a_column_of_no_group_is_said(tmp_path):
    parts = gptq(llama(3, layers=1)["model.layers.0.mlp.down_proj.weight"][:16, :64])
    parts["g_idx"][7] = 99
    tensors = {f"model.layers.0.mlp.down_proj.{leaf}": it for leaf, it in parts.items()}
    folder = write(tmp_path / "m", tensors, SAID["gptq"])
    found = cut(tensor_table(folder), read_config(folder / "config.json"))
    (view,) = found.views.values()
    with (
        Weights({"m": folder}) as weights,
        pytest.raises(ModelFileError, match="g_idx"),
    ):
        weights.values(replace(view, model="m"), 0, 64)


@pytest.mark.slow
def test_a_packed_parent_is_no_parent_to_acquit_or_replay_with(tmp_path):
    base = llama(0)
    donor = finetuned(base, 1, 0.003)
    places = {
        "base": write_model(tmp_path / "base", base),
        "donor": packed_model(tmp_path / "donor", donor, "awq"),
        "mine": write_model(tmp_path / "mine", blend(base, donor, 0.571)),
    }
    spec = {"suspect": "mine", "base": "base", "donors": ["donor"]}
    found = audit(tmp_path / "out", places, spec)
    assert found["verdict"] == "inconclusive"
    assert "The own numbers of donor (AWQ4) are not known" in found["reasons"][0]


@pytest.mark.parametrize("bits", [4, 8])
def test_words_of_two_widths_are_told_apart_by_the_groups_of_a_row(bits):
    held = record("m.weight_packed", "I32", 8, 64 * bits // 32)
    beside = {
        "weight_scale": record("m.weight_scale", "BF16", 8, 2),
        "weight_shape": record("m.weight_shape", "I64", 2),
    }
    known = Quantization(block=(1, GROUP))
    found = opening(".weight_packed", held, beside, known)
    assert found is not None
    assert (found.record.dtype, found.record.shape) == (f"INT{bits}", (8, 64))
    assert opening(".weight_packed", held, beside, Quantization()) is None
    odd = replace(beside["weight_scale"], shape=(8, 3))
    assert (
        opening(".weight_packed", held, {**beside, "weight_scale": odd}, known) is None
    )
