"""Packed codes of safetensors as the packages themselves wrote them, and the numbers
that the packages make of them.

tests/data/packed.safetensors holds a small matrix as compressed-tensors 0.20.1,
bitsandbytes 0.50.2 and MLX 0.32.4 quantise it, and what each decodes.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mergetrace.errors import ModelFileError
from mergetrace.formats.model_config import read_config
from mergetrace.planning.manifest import tensor_table
from mergetrace.sums.evidence import sample_of
from mergetrace.tensors.flat import with_shapes
from mergetrace.tensors.views import cut
from mergetrace.tensors.weights import Weights
from mergetrace.testing import packing

STORED = load_file(Path(__file__).parents[1] / "data" / "packed.safetensors")
WEIGHT = STORED["weight"]
ROWS, COLS = WEIGHT.shape
NAME = "model.layers.0.self_attn.q_proj"
KEY = (NAME + ".weight", "")


def groups(bits):
    return {
        "quant_method": "compressed-tensors",
        "config_groups": {"group_0": {"weights": {"num_bits": bits}}},
    }


BYTES = {"quant_method": "bitsandbytes"}
SAID = {
    "w4sym": groups(4),
    "w4asym": groups(4),
    "w8": groups(8),
    "nvfp4": {**groups(4), "format": "nvfp4-pack-quantized"},
    "mxfp4": {**groups(4), "format": "mxfp4-pack-quantized"},
    "nf4": {**BYTES, "load_in_4bit": True},
    "nf4_nested": {**BYTES, "load_in_4bit": True},
    "fp4": {**BYTES, "load_in_4bit": True},
    "fp4_nested": {**BYTES, "load_in_4bit": True},
    "int8": {**BYTES, "load_in_8bit": True},
    "mlx4": {"group_size": 64, "bits": 4},
    "mlx8": {"group_size": 64, "bits": 8},
}
# of what the tool computes in bf16, f16 or float32
TOLERANCE = {"int8": 2.0**-11, "nvfp4": 2.0**-7, "mlx4": 2.0**-7, "mlx8": 2.0**-7}
SUM_IN_BF16 = 3e-4  # of MLX's shifts


def parts_of(kind):
    return {
        key.removeprefix(kind + "."): tensor
        for key, tensor in STORED.items()
        if key.startswith(kind + ".")
    }


def unsigned(kind, leaf, tensor):
    if kind.startswith("mlx") and leaf == "weight":
        return tensor.view(torch.uint32)
    return tensor


def opened(folder, kind, parts, weight=WEIGHT):
    """The view of a model with these parts, beside a plain one."""
    folder.mkdir(parents=True)
    tensors = {
        f"{NAME}.{leaf}": unsigned(kind, leaf, tensor) for leaf, tensor in parts.items()
    }
    save_file(tensors, folder / "model.safetensors")
    said = {"quantization_config": SAID[kind]}
    (folder / "config.json").write_text(json.dumps(said))
    plain = folder / "plain"
    plain.mkdir()
    save_file({KEY[0]: weight}, plain / "model.safetensors")
    found = {
        "m": cut(tensor_table(folder), read_config(folder / "config.json")),
        "plain": cut(tensor_table(plain), read_config(plain / "config.json")),
    }
    with_shapes(found)
    return found["m"]


def values(folder, view):
    rows, cols = view.rows, view.cols
    with Weights({"m": folder}) as weights:
        view = replace(view, model="m")
        whole = weights.values(view, 0, ROWS * COLS)
        assert np.array_equal(weights.values(view, 77, 500), whole[77:577])
        backwards = replace(view, row_map=np.arange(rows)[::-1].copy())
        turned = weights.values(backwards, 0, ROWS * COLS).reshape(rows, cols)
        assert np.array_equal(turned[::-1].reshape(-1), whole)
        sample = sample_of(weights, view, [(0, ROWS * COLS)])
    return whole, replace(sample, through="BF16").midpoints()


@pytest.mark.parametrize("kind", SAID)
def test_numbers_are_those_of_the_package_and_cells_hold_what_they_were(kind, tmp_path):
    found = opened(tmp_path / "m", kind, parts_of(kind))
    assert (found.views[KEY].rows, found.views[KEY].cols) == (ROWS, COLS)
    numbers, (low, high) = values(tmp_path / "m", found.views[KEY])
    expected = STORED[f"{kind}/decoded"].double().reshape(-1).numpy()
    if kind in TOLERANCE:
        assert np.allclose(numbers, expected, rtol=TOLERANCE[kind], atol=SUM_IN_BF16)
    else:
        assert torch.equal(
            torch.tensor(numbers).bfloat16().double(), torch.tensor(expected)
        )
    made_of = WEIGHT.double().reshape(-1).numpy()
    holds = (low <= made_of) & (made_of <= high)
    assert holds.mean() > 0.995, holds.mean()


@pytest.mark.parametrize("kind", ["nf4", "nf4_nested", "fp4"])
def test_blocks_of_bitsandbytes_run_on_over_rows(kind, tmp_path):
    """The tool knows no rows: the same bytes hold a matrix of shorter ones."""
    parts = parts_of(kind)
    state = f"weight.quant_state.bitsandbytes__{kind.partition('_')[0]}"
    said = bytes(parts[state].tolist()).replace(b"[16, 128]", b"[64, 32]")
    parts[state] = torch.tensor(list(said), dtype=torch.uint8)
    folder = tmp_path / "m"
    view = opened(folder, kind, parts, WEIGHT.reshape(64, 32)).views[KEY]
    numbers, _ = values(folder, view)
    expected = STORED[f"{kind}/decoded"].double().reshape(-1)
    assert torch.equal(torch.tensor(numbers).bfloat16().double(), expected)


def test_blocks_may_end_anywhere_in_a_row(tmp_path):
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(48, 160, generator=generator).bfloat16()
    weight *= torch.linspace(0.1, 2, 48)[:, None]
    parts = packing.nf4(weight)
    greatest = parts["weight.absmax"].repeat_interleave(64).double().numpy()
    folder = tmp_path / "m"
    view = replace(opened(folder, "nf4", parts, weight).views[KEY], model="m")
    assert view.scales_run_on
    order = np.random.default_rng(0).permutation(160)
    turned = replace(view, col_map=order, row_map=np.arange(48)[::-1].copy())
    with Weights({"m": folder}) as weights:
        sample = sample_of(weights, view, [(0, 48 * 160)])
        part = sample_of(weights, view, [(50, 333), (4000, 70)])
        other = sample_of(weights, turned, [(77, 999)])
    assert np.array_equal(sample.scales, greatest)
    places = np.concatenate([np.arange(50, 383), np.arange(4000, 4070)])
    assert np.array_equal(part.scales, greatest[places])
    assert np.array_equal(part.values(), sample.values()[places])
    whole = sample.values().reshape(48, 160)[::-1, order].reshape(-1)
    assert np.array_equal(other.values(), whole[77 : 77 + 999])
    low, high = sample.midpoints()
    numbers = weight.double().reshape(-1).numpy()
    assert ((low <= numbers) & (numbers <= high)).all()


def test_modelopts_second_scale_multiplies(tmp_path):
    parts = parts_of("nvfp4")
    other = {
        "weight": parts["weight_packed"],
        "weight_scale": parts["weight_scale"],
        "weight_scale_2": 1 / parts["weight_global_scale"][0],
        "input_scale": torch.tensor(0.01),
    }
    numbers = [
        values(tmp_path / name, opened(tmp_path / name, "nvfp4", each).views[KEY])[0]
        for name, each in (("one", parts), ("two", other))
    ]
    assert np.allclose(*numbers, rtol=1e-6)


LIES = {
    "levels": ({"weight.quant_map": lambda it: it.flip(0)}, "other levels"),
    "state": (
        {"weight.quant_state.bitsandbytes__nf4": lambda it: it[:-3]},
        "no JSON object",
    ),
    "shape": (
        {
            "weight.quant_state.bitsandbytes__nf4": lambda it: torch.tensor(
                list(bytes(it.tolist()).replace(b"16, 128", b"8, 256")),
                dtype=torch.uint8,
            )
        },
        "its quant_state says",
    ),
    "scales of scales": (
        {"weight.nested_absmax": lambda it: it.repeat(3)},
        "do not fit",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_bitsandbytes_says_must_be_so(lie, tmp_path):
    changes, message = LIES[lie]
    parts = parts_of("nf4_nested")
    parts |= {leaf: change(parts[leaf]) for leaf, change in changes.items()}
    view = opened(tmp_path / "m", "nf4_nested", parts).views[KEY]
    with pytest.raises(ModelFileError, match=message) as error:
        values(tmp_path / "m", view)
    assert "\n" not in str(error.value)


UNFIT = {
    "a scale is missing": ("nf4", {"weight.absmax": None}),
    "half the scales": ("nf4", {"weight.absmax": lambda it: it[:7]}),
    "no levels": ("nf4", {"weight.quant_map": None}),
    "another group": ("nvfp4", {"weight_scale": lambda it: it[:, :4]}),
    "no scale for all": ("nvfp4", {"weight_global_scale": None}),
    "two scales for all": ("nvfp4", {"weight_global_scale": lambda it: it.repeat(2)}),
    "an exponent too few": ("mxfp4", {"weight_scale": lambda it: it[:, :3]}),
    "biases of another shape": ("mlx4", {"biases": lambda it: it[:, :1]}),
    "no biases": ("mlx4", {"biases": None}),
    "half a row of groups": ("mlx4", {"scales": lambda it: it[:, :1]}),
    "zero points of another shape": (
        "w4asym",
        {"weight_zero_point": lambda it: it[:1]},
    ),
    "an order of columns": ("w4sym", {"weight_g_idx": lambda it: torch.arange(COLS)}),
}


@pytest.mark.parametrize("what", UNFIT)
def test_what_does_not_fit_stays_closed(what, tmp_path):
    kind, changes = UNFIT[what]
    parts = parts_of(kind)
    for leaf, change in changes.items():
        tensor = parts.pop(leaf, None)
        if change is not None:
            parts[leaf] = change(tensor).contiguous()
    found = opened(tmp_path / "m", kind, parts)
    assert KEY not in found.views
    assert any("not decoded" in entry["reason"] for entry in found.left_out)


def test_a_scale_that_is_no_number_leaves_its_group_out(tmp_path):
    parts = parts_of("nf4")
    parts["weight.absmax"][1] = torch.nan
    view = opened(tmp_path / "m", "nf4", parts).views[KEY]
    with Weights({"m": tmp_path / "m"}) as weights:
        numbers = weights.values(replace(view, model="m"), 0, ROWS * COLS)
    assert np.isnan(numbers[64:128]).all()
    assert np.isfinite(numbers[:64]).all()
    assert np.isfinite(numbers[128:]).all()


def test_a_flat_weight_of_another_size_is_left_out(tmp_path):
    parts = {leaf: tensor for leaf, tensor in parts_of("nf4").items()}
    parts["weight"] = parts["weight"][:512]
    parts["weight.absmax"] = parts["weight.absmax"][:16]
    found = opened(tmp_path / "m", "nf4", parts)
    assert KEY not in found.views
    assert "1024 numbers, 16 x 128 in another model" in found.left_out[-1]["reason"]
