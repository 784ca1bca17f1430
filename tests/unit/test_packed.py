"""Weights that are packed codes are left out with the format's name, whatever else lies
beside them, and their bytes are compared all the same.
"""

import json
import time

import pytest
import torch

from mergetrace.files.tensor_records import records_of
from mergetrace.finding.wording_packed import packed_sentences
from mergetrace.formats.model_config import ModelConfig, read_config
from mergetrace.formats.packed import stands_for
from mergetrace.formats.quantization import Quantization
from mergetrace.planning.manifest import tensor_table
from mergetrace.planning.packed_bytes import WeightFiles, compared, undecoded
from mergetrace.planning.plan import pair_models
from mergetrace.records.packed import packed_comparisons
from mergetrace.tensors.views import views
from mergetrace.testing.audits import audit
from mergetrace.testing.planting import blend, finetuned, random_model, write_model
from mergetrace.testing.quantising import E4M3

MODULE = "model.layers.0.self_attn.q_proj"
ROWS = 128
COLS = 64
GENERATOR = torch.Generator().manual_seed(0)


def codes(*shape, dtype=torch.int32):
    limits = torch.iinfo(dtype)
    return torch.randint(
        limits.min, limits.max, shape, generator=GENERATOR, dtype=torch.int64
    ).to(dtype)


def three_bits(group=32):
    return {
        "qweight": codes(COLS * 3 // 32, ROWS),
        "qzeros": codes(COLS // group, ROWS * 3 // 32),
        "scales": torch.rand(COLS // group, ROWS).half(),
        "g_idx": torch.arange(COLS, dtype=torch.int32) // group,
        "bias": torch.rand(ROWS).half(),
    }


def hqq():
    return {
        "W_q": codes(ROWS // 2, COLS, dtype=torch.uint8),
        "scale": torch.rand(ROWS, 1),
        "zero": torch.rand(ROWS, 1),
        "nbits": torch.tensor(4),
    }


FORMATS = {
    "GPTQ of 3 bits": (
        three_bits(),
        {"quant_method": "gptq", "bits": 3},
        "packed by GPTQ, 3 bits; not decoded",
    ),
    "ExLlamaV3": (
        {
            "trellis": codes(4, 8, 64, dtype=torch.int16),
            "suh": torch.rand(COLS).half(),
            "svh": torch.rand(ROWS).half(),
        },
        {"quant_method": "exl3", "bits": 4.0},
        "packed by ExLlamaV3, 4 bits; not decoded",
    ),
    "HQQ": (
        hqq(),
        {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4}}},
        "packed by HQQ, 4 bits; not decoded",
    ),
    "quanto": (
        {
            "weight._data": codes(ROWS, COLS, dtype=torch.int8),
            "weight._scale": torch.rand(ROWS, 1),
            "input_scale": torch.tensor(1.0),
        },
        {"quant_method": "quanto", "weights": "int8"},
        "packed by quanto, 8 bits; not decoded",
    ),
    "a method nobody knows": (
        {"weight": codes(ROWS, COLS // 8), "weight_scale": torch.rand(ROWS, 2)},
        {"quant_method": "brandnew"},
        "packed into I32, 4 bits; not decoded",
    ),
}


@pytest.mark.parametrize("case", FORMATS)
def test_every_packed_format_is_left_out_by_its_name_with_all_that_goes_with_it(
    tmp_path, case
):
    tensors, said, reason = FORMATS[case]
    config = {"quantization_config": said} if said else {}
    model = {f"{MODULE}.{leaf}": tensor for leaf, tensor in tensors.items()} | {
        "model.norm.weight": torch.ones(COLS).bfloat16()
    }
    folder = write_model(tmp_path / "model", model, config)
    facts = read_config(folder / "config.json")
    table = tensor_table(folder)
    found, left_out = views(table, facts)
    assert {view.source.rpartition(".")[2] for view in found.values()} <= {
        "bias",
        "weight",
    }
    assert {view.dtype for view in found.values()} <= {"F16", "BF16"}
    reasons = {
        entry["tensor"].removeprefix(MODULE + "."): entry["reason"]
        for entry in left_out
    }
    packed = [leaf for leaf, why in reasons.items() if why == reason]
    assert packed == [next(iter(tensors))], reasons
    assert all(
        why.startswith("goes with weights packed")
        for leaf, why in reasons.items()
        if leaf not in packed
    ), reasons
    total = sum(
        stands_for(row.name, row.dtype, row.shape, facts) for row in table.itertuples()
    )
    expected = ROWS * COLS + COLS + (ROWS if "bias" in tensors else 0)
    if (
        case == "ExLlamaV3"  # the trellis of this test has its own size
    ):
        return
    assert total == expected


def test_mxfp4_experts_are_left_out_but_not_their_biases(tmp_path):
    prefix = "model.layers.0.mlp.experts."
    model = {
        prefix + "gate_up_proj_blocks": codes(4, 64, 2, 16, dtype=torch.uint8),
        prefix + "gate_up_proj_scales": codes(4, 64, 2, dtype=torch.uint8),
        prefix + "gate_up_proj_bias": torch.rand(4, 64).bfloat16(),
        "model.layers.0.mlp.router.weight": torch.rand(4, 64).bfloat16(),
    }
    folder = write_model(
        tmp_path / "model", model, {"quantization_config": {"quant_method": "mxfp4"}}
    )
    facts = read_config(folder / "config.json")
    table = tensor_table(folder)
    found, left_out = views(table, facts)
    assert {view.source for view in found.values()} == {
        prefix + "gate_up_proj_bias",
        "model.layers.0.mlp.router.weight",
    }
    assert {
        entry["tensor"].rpartition("_")[2]: entry["reason"] for entry in left_out
    } == {
        "blocks": "packed as MXFP4, 4 bits; not decoded",
        "scales": "goes with weights packed as MXFP4; not compared",
    }
    counts = {
        row.name: stands_for(row.name, row.dtype, row.shape, facts)
        for row in table.itertuples()
    }
    assert counts[prefix + "gate_up_proj_blocks"] == 4 * 64 * 64
    assert counts[prefix + "gate_up_proj_scales"] == 0
    assert counts[prefix + "gate_up_proj_bias"] == 256


def test_buffers_of_integers_take_nothing_with_them(tmp_path):
    model = {
        "visual.embeddings.position_ids": torch.arange(10)[None],
        "visual.embeddings.class_embedding": torch.rand(64).bfloat16(),
        "model.layers.0.attn.bias": torch.ones(1, 1, 8, 8, dtype=torch.uint8),
        "model.layers.0.attn.masked_bias": torch.tensor(-1e4),
        "model.layers.0.attn.weight": torch.rand(8, 8).bfloat16(),
    }
    found, left_out = views(tensor_table(write_model(tmp_path / "model", model)))
    assert len(found) == 3
    assert {entry["tensor"] for entry in left_out} == {
        "model.layers.0.attn.bias",
        "visual.embeddings.position_ids",
    }
    assert all("holds no weights" in entry["reason"] for entry in left_out)


@pytest.mark.slow
def test_hostile_names_cost_no_time(tmp_path):
    names = [
        "quant_state." * 40_000 + "-",
        "a.weight." * 40_000,
        "_scale" * 40_000,
        "x_blocks_" * 40_000,
        "." * 300_000,
    ]
    model = {name + "weight": codes(4, dtype=torch.uint8) for name in names} | {
        name: torch.ones(4).to(E4M3) for name in names
    }
    folder = write_model(
        tmp_path / "model", model, {"quantization_config": {"quant_method": "gptq"}}
    )
    table = tensor_table(folder)
    started = time.monotonic()
    views(table, read_config(folder / "config.json"))
    for row in table.itertuples():
        stands_for(
            row.name,
            row.dtype,
            row.shape,
            ModelConfig(quantization=Quantization(method="gptq")),
        )
    assert time.monotonic() - started < 10


BASE = random_model(0)
DONOR = finetuned(BASE, 1)


def with_experts(model, blocks, scales):
    prefix = "model.layers.0.mlp.experts.gate_up_proj"
    return model | {prefix + "_blocks": blocks, prefix + "_scales": scales}


def judged(tmp_path, models, mode="full"):
    folders = {
        name: write_model(tmp_path / "models" / name, tensors)
        for name, tensors in models.items()
    }
    found = audit(
        tmp_path / "run",
        folders,
        {"suspect": "suspect", "base": "base", "donors": ["donor"]},
        mode=mode,
    )
    return found, json.loads((tmp_path / "run/packed.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["full", "sample"])
def test_packed_experts_are_said_to_be_the_bases_or_not(tmp_path, mode):
    size = (4, 1 << 14, 4, 16)
    blocks = codes(*size, dtype=torch.uint8)
    scales = codes(*size[:3], dtype=torch.uint8)
    other = blocks.clone()
    other.view(-1)[-1] ^= 1
    models = {
        "suspect": with_experts(blend(BASE, DONOR, 0.571), blocks, scales),
        "base": with_experts(BASE, blocks, scales),
        "donor": with_experts(DONOR, other, scales),
    }
    found, packed = judged(tmp_path, models, mode)
    beside = {entry["parent"]: entry for entry in packed}
    assert (
        beside["base"]["tensors"],
        beside["base"]["equal"],
        beside["base"]["different"],
    ) == (2, 2, 0)
    assert (beside["donor"]["equal"], beside["donor"]["different"]) == (1, 1)
    said = [reason for reason in found["reasons"] if "byte for byte" in reason]
    assert (
        "The packed routed experts of suspect (2 tensors, MXFP4) are byte for byte"
        " base's" in said[0]
    )
    assert ("at most 1 MB" in said[0]) == (mode == "sample")
    assert said[0].endswith("what they stand for was not decoded.")
    assert "1 are other bytes than donor's" in said[1]
    if mode == "full":
        assert beside["base"]["bytes"] == blocks.numel() + scales.numel()


@pytest.mark.slow
def test_an_audit_with_nothing_packed_says_nothing_of_it(tmp_path):
    found, packed = judged(
        tmp_path, {"suspect": blend(BASE, DONOR, 0.571), "base": BASE, "donor": DONOR}
    )
    assert packed == []
    assert found["verdict"] == "merge"


@pytest.mark.parametrize("form", [three_bits, hqq])
@pytest.mark.parametrize("who", ["suspect", "donor"])
def test_what_a_model_holds_packed_is_not_said_to_be_missing(tmp_path, form, who):
    plain = {
        MODULE + ".weight": torch.rand(ROWS, COLS).half(),
        "model.norm.weight": torch.ones(COLS).half(),
    }
    packed = {
        f"{MODULE}.{leaf}": tensor for leaf, tensor in form().items() if leaf != "bias"
    } | {"model.norm.weight": torch.ones(COLS).half()}
    folders = {
        name: write_model(tmp_path / name, packed if name == who else plain)
        for name in ("suspect", "base", "donor")
    }
    tables = {name: tensor_table(folder) for name, folder in folders.items()}
    manifests = {
        name: {"model": name, "config": read_config(folder / "config.json").as_json()}
        for name, folder in folders.items()
    }
    _, found = pair_models(tables, manifests, ["base", "donor"], "suspect")
    how = "by GPTQ" if form is three_bits else "by HQQ"
    of = {model: set(entries["reason"]) for model, entries in found.groupby("model")}
    assert of.pop(who) == {
        f"packed {how}, 4 bits; not decoded",
        f"goes with weights packed {how}; not compared",
    }
    if who == "donor":
        assert of == {
            key: {f"not read in donor: packed {how}, 4 bits; not decoded"}
            for key in ("suspect", "base")
        }


def rows(folder):
    return records_of(tensor_table(folder))


def test_models_on_the_hub_are_compared_by_the_hashes_of_whole_files(tmp_path):
    model = with_experts(
        {}, codes(2, 4, 2, 16, dtype=torch.uint8), codes(2, 4, 2, dtype=torch.uint8)
    )
    one, two = (
        write_model(tmp_path / name, model, shards=2) for name in ("one", "two")
    )
    held = [
        undecoded(rows(folder), ModelConfig(), {name: name for name in model})
        for folder in (one, two)
    ]
    shards = sorted({record.shard for record in rows(one)})
    mine = dict.fromkeys(shards, "a" * 64)
    its = {shards[0]: "a" * 64, shards[1]: "b" * 64}
    found = compared(
        *held, WeightFiles(sha256=mine), WeightFiles(sha256=its), whole=False
    )
    assert (found["tensors"], found["equal"], found["different"]) == (2, 1, 0)
    assert "hash" in found["reason"]
    found = compared(
        *held, WeightFiles(sha256=mine), WeightFiles(folder=two), whole=True
    )
    assert (found["equal"], found["different"]) == (0, 0)
    entry = {"model": "suspect", "parent": "base", **found}
    assert packed_sentences(packed_comparisons([entry]), "suspect") == []
