"""A merge quantised again: every quantiser is its tool's to the last bit, and a rebuild
says which tensors come back byte for byte, and why the others do not.

What the tools write lies in tests/data/packed.safetensors (compressed-tensors 0.20.1,
bitsandbytes 0.50.2), or is known by its sha256 (compressed-tensors' FP8, transformers'
Fp8Quantize 5.23, gguf 0.19).
"""

import hashlib
import json
import math
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from mergetrace.formats.block_layouts import in_bytes
from mergetrace.merging.recipes import make, recipe_to_json
from mergetrace.numerics.arithmetic import to_float32
from mergetrace.numerics.block_scales import EXPONENTS, block_scales
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.numerics.quantisers import Asked, manners
from mergetrace.outputs import write_json
from mergetrace.sums.as_stored import codes_as_stored
from mergetrace.sums.dividing import divided, widened
from mergetrace.sums.evidence import Sample
from mergetrace.sums.recast import count_recast_misses
from mergetrace.sums.stored import Stored
from mergetrace.testing.audits import prepared
from mergetrace.testing.gguf_models import llama, write_gguf
from mergetrace.testing.packing import packed_model
from mergetrace.testing.planting import finetuned, write_model
from mergetrace.testing.quantising import model_in_fp8

STORED = load_file(Path(__file__).parents[1] / "data" / "packed.safetensors")
WEIGHT = STORED["weight"]
COLS = WEIGHT.shape[1]
# kind: packed format, dtype of its scales, columns that share one, codes, scales
WRITTEN = {
    "w4sym": ("INT4", "BF16", 32, "weight_packed", "weight_scale"),
    "w4asym": ("INT4_ZEROS", "BF16", 32, "weight_packed", "weight_scale"),
    "w8": ("INT8", "BF16", COLS, "weight_packed", "weight_scale"),
    "mxfp4": ("FP4_E2M1", EXPONENTS, 32, "weight_packed", "weight_scale"),
    "nf4": ("NF4", "F32", 64, "weight", "weight.absmax"),
    "fp4": ("FP4", "F32", 64, "weight", "weight.absmax"),
    "int8": ("I8_127", "F32", COLS, "weight", "SCB"),
}


def raw(tensor):
    return tensor.contiguous().view(torch.uint8).numpy().reshape(-1)


@pytest.mark.parametrize("kind", WRITTEN)
def test_codes_and_scales_are_the_tool_s(kind):
    dtype, scale_dtype, width, codes, scales = WRITTEN[kind]
    zeros = STORED.get(f"{kind}.weight_zero_point")
    first = next(iter(manners(dtype, scale_dtype, zeros is not None).values()))
    made = first(Asked(WEIGHT.double().numpy(), (1, width), scale_dtype))
    stored = raw(STORED[f"{kind}.{codes}"])
    assert np.array_equal(in_bytes(made.codes, dtype), stored)
    assert np.array_equal(made.scales, raw(STORED[f"{kind}.{scales}"]))
    if zeros is not None:
        assert np.array_equal(made.zeros, raw(zeros))


def sample():
    """Numbers in bf16 with a row of zeros and one of small ones."""
    x = (np.random.default_rng(1).standard_normal((48, 256)) * 0.02).astype(np.float32)
    weight = torch.from_numpy(x).bfloat16()
    weight[5], weight[7, :64] = 0, 0.125
    weight[9] *= 1e-3
    return weight.double().numpy()


# sha256 of codes and scales, the first 16 digits
FP8 = {
    ("narrow", "BF16", (1, 256)): "396060ca2c831f64",
    ("narrow", "BF16", (16, 128)): "0bb52f59b81b7363",
    ("inverse", "F32", (16, 128)): "d875b0014ca9fa61",
    ("power", EXPONENTS, (16, 128)): "381f511bccddc5dd",
}


@pytest.mark.parametrize("case", FP8)
def test_fp8_is_the_tool_s(case):
    manner, scale_dtype, block = case
    make = manners("F8_E4M3", scale_dtype, False)[manner]
    made = make(Asked(sample(), block, scale_dtype))
    text = made.codes.tobytes() + made.scales.tobytes()
    assert hashlib.sha256(text).hexdigest()[:16] == FP8[case]


@pytest.mark.parametrize(("block", "form"), [((1, 256), "BF16"), ((16, 128), "F16")])
def test_cells_allow_a_division_in_16_bits(block, form):
    """The tool's own codes: a division in float32 gives others at one in fifty."""
    numbers = sample()
    if form == "F16":
        numbers = np.asarray(numbers, np.float16).astype(np.float64)
    made = manners("F8_E4M3", form, False)["narrow"](Asked(numbers, block, form))
    grid = decode(made.scales, form).reshape(48 // block[0], 256 // block[1])
    scales = block_scales(grid, 48, 256, 0, numbers.size, block)
    stored = Sample(made.codes, "F8_E4M3", scales, form)
    low, high = stored.midpoints()
    flat = numbers.reshape(-1)
    inside = (low <= flat) & (flat <= high)
    assert inside[np.isfinite(low)].all()
    assert np.array_equal(codes_as_stored(flat, stored, "F8_E4M3"), made.codes)
    in_float = to_float32(flat / np.where(scales == 0, 1, scales))
    differs = encode(in_float, "F8_E4M3") != made.codes
    assert differs.mean() > 0.002
    parent = Stored(flat.view(np.uint8), "F64")
    audited = Stored(made.codes, "F8_E4M3", scales)
    edges = np.array([0, flat.size])
    misses = count_recast_misses(audited, parent, audited.numbers(), flat, edges)
    assert misses.sum() == 0


def test_powers_of_two_and_scales_of_float32_are_as_they_were():
    numbers = sample().reshape(-1)
    low, high = np.full(3, 1.0), np.full(3, 2.0)
    wide = widened(low, high, np.array([0.25, 1 / 3, np.nan]))
    assert np.array_equal(wide[0], low)
    assert np.array_equal(wide[1], high)
    scale = np.full(numbers.size, 1 / 3000)
    codes = divided(numbers, scale, "F8_E4M3", np.zeros(numbers.size, np.uint8))
    assert np.array_equal(codes, encode(to_float32(numbers / scale), "F8_E4M3"))


BASE = llama(0, layers=1)
DONOR = finetuned(BASE, 1, 0.003)
MERGE = {
    name: (0.375 * base.float() + 0.625 * DONOR[name].float()).to(base.dtype)
    for name, base in BASE.items()
}
SPEC = {"suspect": "mine", "base": "base", "donors": ["donor"]}
DATES = {"mine": "2026-05-01", "donor": "2026-01-01", "base": "2025-01-01"}


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents")
    models = {"base": BASE, "donor": DONOR}
    return {name: write_model(folder / name, model) for name, model in models.items()}


def planned(parents, folder, mine):
    models = {**parents, "mine": mine}
    return prepared(folder / "results", models, SPEC, published=DATES)


def rebuilt(parents, folder, mine):
    """rebuild.json and the table of a suspect whose recipe is known."""
    audit = planned(parents, folder, mine)
    audit.plan()
    recipe = make("linear", {"base": 0.375, "donor": 0.625})
    entry = {"model": "mine", "base": "base", "best": recipe_to_json(recipe, "base")}
    own = folder / "results"
    write_json(own / "recipes.json", [entry])
    write_json(own / "verdict.json", {"base": {"name": "base"}, "verdict": "merge"})
    found = audit.rebuild()
    return found, pd.read_csv(own / "rebuild.csv").set_index("tensor")


def in_fp8(folder, tensors):
    folder.mkdir()
    stored = model_in_fp8(tensors, "block")
    save_file(stored, folder / "model.safetensors")
    said = {"quant_method": "fp8", "weight_block_size": [128, 128]}
    (folder / "config.json").write_text(json.dumps({"quantization_config": said}))
    return folder


GRIDS = ["int4", "int4_zero", "int8", "scb", "nf4", "mxfp4", "fp8_rows", "fp8"]
IN_TURN = cycle(["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "MXFP4"])


class Mixed(dict):
    """A format for every tensor of a file, each in turn."""

    def __missing__(self, name):
        self[name] = next(IN_TURN)
        return self[name]


@pytest.mark.parametrize("kind", ["gguf", *GRIDS])
def test_every_tensor_of_a_quantised_merge_comes_back(kind, parents, tmp_path):
    if kind == "gguf":
        mine = write_gguf(tmp_path / "mine" / "m.gguf", MERGE, Mixed())
    elif kind == "fp8":
        mine = in_fp8(tmp_path / "mine", MERGE)
    else:
        mine = packed_model(tmp_path / "mine", MERGE, kind)
    found, table = rebuilt(parents, tmp_path, mine)
    wrong = table[table["status"] != "identical"]
    assert wrong.empty, wrong[["dtype", "status", "note"]].to_string()
    assert found["identical"] == found["tensors"]
    assert found["quantised"]["blocks"] == found["quantised"]["blocks_exact"] > 0
    assert "byte for byte" in found["quantised"]["sentence"]


def test_one_changed_block_is_told(parents, tmp_path):
    path = write_gguf(tmp_path / "mine" / "m.gguf", MERGE, "Q8_0")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 + 7] ^= 1
    path.write_bytes(data)
    found, table = rebuilt(parents, tmp_path, path)
    assert found["differs"] == 1
    quantised = found["quantised"]
    assert quantised["blocks"] - quantised["blocks_exact"] == 1
    row = table[table["status"] == "differs"].iloc[0]
    assert (row["elements"] - row["exact"], row["blocks"] - row["blocks_exact"]) == (
        1,
        1,
    )
    assert row["sha256"] != row["sha256_rebuilt"]


def test_by_way_of_float16_is_found_and_said(parents, tmp_path):
    """Numbers too small for float16 show that they went through it."""
    small = {name: tensor * 2.0**-12 for name, tensor in MERGE.items()}
    halves = {name: tensor.half().bfloat16() for name, tensor in small.items()}
    folders = {
        name: write_model(
            tmp_path / name, {key: it * 2.0**-12 for key, it in model.items()}
        )
        for name, model in {"base": BASE, "donor": DONOR}.items()
    }
    path = write_gguf(tmp_path / "mine" / "m.gguf", halves, "Q8_0")
    found, table = rebuilt(folders, tmp_path, path)
    matrices = table[table["blocks"] > 0]
    assert (matrices["manner"] == "by_float16").all()
    assert (matrices["note"] == "rounded to float16 before").all()
    assert (matrices["status"] == "identical").all()
    assert found["quantised"]["manners"] == {"by_float16": len(matrices)}


@pytest.mark.parametrize("kind", ["int4", "fp8"])
def test_scales_of_another_tool_are_told_from_the_codes(kind, parents, tmp_path):
    if kind == "fp8":
        mine = in_fp8(tmp_path / "mine", MERGE)
    else:
        mine = packed_model(tmp_path / "mine", MERGE, kind)
    name = "model.layers.0.mlp.up_proj.weight"
    scale = name + ("_scale_inv" if kind == "fp8" else "_scale")
    path = mine / "model.safetensors"
    tensors = load_file(path)
    tensors[scale].view(-1)[0] *= 1.03125
    save_file(tensors, path)
    found, table = rebuilt(parents, tmp_path, mine)
    assert table.loc[scale, "status"] == "differs"
    assert table.loc[scale, "elements"] - table.loc[scale, "exact"] == 1
    assert table.loc[scale, "note"].startswith("goes with model.layers.0.mlp.up_proj")
    assert found["quantised"]["blocks"] - found["quantised"]["blocks_exact"] == 1
    again = found["quantised"]
    assert again["tensors"] - again["identical"] == 1
    assert "the last bits of a scale" in again["sentence"]


@pytest.mark.parametrize(
    ("kind", "leaf", "none"),
    [("int4", "weight_scale", math.nan), ("mxfp4", "weight_scale", 255)],
)
def test_a_scale_that_is_none_is_told(kind, leaf, none, parents, tmp_path):
    mine = packed_model(tmp_path / "mine", MERGE, kind)
    path = mine / "model.safetensors"
    tensors = load_file(path)
    scales = tensors[f"model.layers.0.mlp.up_proj.{leaf}"]
    scales.view(-1)[:3] = none
    save_file(tensors, path)
    found, table = rebuilt(parents, tmp_path, mine)
    row = table.loc[f"model.layers.0.mlp.up_proj.{leaf}"]
    assert (row["status"], row["elements"] - row["exact"]) == ("differs", 3)
    again = found["quantised"]
    assert again["blocks"] - again["blocks_exact"] == 3
    assert again["tensors"] - again["identical"] == 1


@pytest.mark.thorough
def test_k_quants_are_not_tried_and_why_is_said(parents, tmp_path):
    path = write_gguf(tmp_path / "mine" / "m.gguf", MERGE, "Q4_K")
    audit = planned(parents, tmp_path, path)
    assert audit.weigh()["verdict"] == "merge"
    found = audit.rebuild()
    table = pd.read_csv(tmp_path / "results/rebuild.csv")
    codes = table[table["status"] == "codes"]
    assert len(codes) == found["codes"] > 5
    assert codes["note"].str.contains("searches for the scales").all()
    assert codes["sha256"].isna().all()
    assert found["quantised"]["codes_exact"] == found["quantised"]["codes"]
    page = audit.write_report().read_text()
    assert "scales were taken" in page
    assert "searches for the scales" in (audit.give_back() / "README.md").read_text()
