"""How much of a model was compared is part of every finding: nobody is accused or
acquitted on what was not read.
"""

import json

import pandas as pd
import pytest
import torch

from mergetrace.formats.model_config import ModelConfig
from mergetrace.planning.coverage import coverage, is_buffer
from mergetrace.planning.manifest import tensor_table
from mergetrace.testing.audits import audit
from mergetrace.testing.planting import blend, finetuned, random_model, write_model

BASE = random_model(0)
DONOR = finetuned(BASE, 1)
SIBLING = finetuned(BASE, 3)
PARENTS = {"base": BASE, "donor": DONOR, "sibling": SIBLING}
MXFP4 = (("gate_up_proj", (4, 128, 2, 16)), ("down_proj", (4, 64, 4, 16)))


@pytest.fixture
def judge(tmp_path):
    """judge(suspect=tensors, ...) -> verdict.json, with `base`, `donor`, `sibling`
    replaced where they are given.
    """

    def run(settings=None, configs=None, **models):
        models = {**PARENTS, **models}
        folders = {
            name: write_model(
                tmp_path / "models" / name, tensors, (configs or {}).get(name)
            )
            for name, tensors in models.items()
        }
        return audit(
            tmp_path,
            folders,
            {
                "suspect": "suspect",
                "base": "base",
                "donors": ["donor"],
                "controls": ["sibling"],
            },
            **(settings or {}),
        )

    return run


def cast(model, dtype):
    return {name: tensor.to(dtype) for name, tensor in model.items()}


def in_float32(seed, start=None, size=0.002):
    """A model of float32 numbers that are no bf16 numbers, or a finetune of one."""
    generator = torch.Generator().manual_seed(seed)
    start = start or random_model(0, torch.float32)
    return {
        name: tensor + torch.randn(tensor.shape, generator=generator) * size
        for name, tensor in start.items()
    }


def packed(model, seed=5):
    """As a GPTQ file holds it, in an order that nobody knows: projections are random
    codes here, embeddings and norms the model's own.
    """
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name, tensor in model.items():
        if "proj" not in name:
            found[name] = tensor
            continue
        module, (rows, cols) = name.removesuffix(".weight"), tensor.shape
        found[f"{module}.qweight"] = torch.randint(
            -(2**31),
            2**31 - 1,
            (cols // 8, rows),
            generator=generator,
            dtype=torch.int64,
        ).to(torch.int32)
        found |= {
            f"{module}.qzeros": torch.zeros((1, rows // 8), dtype=torch.int32),
            f"{module}.perm": torch.zeros(cols, dtype=torch.int32),
        }
        found[f"{module}.scales"] = torch.rand((1, rows), generator=generator).half()
    return found


def with_mxfp4_experts(model, seed):
    """The model and, beside it, experts as gpt-oss stores them."""
    generator = torch.Generator().manual_seed(seed)
    found = dict(model)
    for layer in (0, 1):
        for name, shape in MXFP4:
            stem = f"model.layers.{layer}.mlp.experts.{name}"
            found[f"{stem}_blocks"] = torch.randint(
                0, 256, shape, generator=generator, dtype=torch.int64
            ).to(torch.uint8)
            found[f"{stem}_scales"] = torch.randint(
                110, 130, shape[:3], generator=generator, dtype=torch.int64
            ).to(torch.uint8)
    return found


def quantised(model):
    """The model in FP8 with a scale per tensor, rounded once."""
    found = {}
    for name, tensor in model.items():
        if tensor.dim() < 2:
            found[name] = tensor
            continue
        scale = tensor.float().abs().max() / 448
        found |= {
            name: (tensor.float() / scale).to(torch.float8_e4m3fn),
            f"{name}_scale": scale.reshape(1),
        }
    return found


def assert_open(found, *texts):
    """Nobody is accused or acquitted, and the reasons say why."""
    assert found["verdict"] == "inconclusive", found["reasons"]
    assert not any(parent["named"] for parent in found["parents"].values())
    for text in texts:
        assert text in " ".join(found["reasons"]).replace("\u00a0", " "), found[
            "reasons"
        ]


@pytest.mark.slow
def test_a_packed_model_that_shares_its_embeddings_is_no_copy(judge):
    found = judge(suspect=packed(BASE))
    assert_open(
        found,
        "40.1 % of suspect's 82,048 parameters were compared",
        "59.9 % of its parameters were not read",
        "16-bit original",
    )
    own = found["compared"]["suspect"]
    assert own["share"] == pytest.approx(32_896 / 82_048)
    assert {part for entry in own["not_compared"] for part in entry["components"]} == {
        "mlp",
        "attention",
    }
    assert found["compared"]["base"]["parameters"] == 82_048


@pytest.mark.slow
@pytest.mark.parametrize("other", [6, pytest.param(7, marks=pytest.mark.thorough)])
def test_packed_experts_trained_beside_a_frozen_rest_are_no_copy(judge, other):
    parents = {name: with_mxfp4_experts(PARENTS[name], 6) for name in PARENTS}
    found = judge(**parents, suspect=with_mxfp4_experts(BASE, other))
    assert_open(found, "Every compared element of suspect equals that of base, but")
    assert found["compared"]["suspect"]["share"] < 0.6
    assert (
        found["controls"]["sibling"]["verdict"] == "inconclusive"
    )  # acquitted is nobody of whom that much is unread either


@pytest.mark.slow
def test_one_shared_norm_makes_no_copy_of_a_stranger(judge):
    ones = {"model.norm.weight": torch.ones(64, dtype=torch.bfloat16)}
    stranger = {
        f"block{i}.kernel": tensor for i, tensor in enumerate(random_model(9).values())
    } | ones
    parents = {name: {**PARENTS[name], **ones} for name in PARENTS}
    assert_open(
        judge(**parents, suspect=stranger),
        "0.1 % of suspect's 82,112 parameters were compared",
    )


@pytest.mark.slow
def test_a_finetune_of_parts_that_have_no_counterpart_is_neither_a_copy_nor_acquitted(
    judge,
):
    tower = {
        f"model.visual.blocks.{i}.mlp.fc.weight": torch.randn(64, 32).bfloat16()
        for i in range(2)
    }
    found = judge(suspect={**DONOR, **tower})
    assert_open(
        found,
        "Every compared element of suspect equals that of donor, but 4.8 % of its"
        " parameters were not read",
        "vision tower 4,096",
    )
    assert "not in base, donor" in " ".join(found["reasons"])


@pytest.mark.slow
def test_a_merge_of_which_half_finds_no_counterpart_is_not_called(judge):
    merge = {
        name.replace("model.layers.1", "strange.tower"): tensor
        for name, tensor in blend(BASE, DONOR, 0.571).items()
    }
    found = judge(suspect=merge)
    assert_open(
        found,
        "70.0 % of suspect's 82,048 parameters",
        "traces of `merge`, which hold for that part alone",
    )
    assert found["family"] == "unread"


@pytest.mark.slow
def test_a_merge_with_a_small_unread_part_is_called_and_the_part_is_said(judge):
    tower = {"model.visual.blocks.0.mlp.fc.weight": torch.randn(64, 32).bfloat16()}
    found = judge(suspect={**blend(BASE, DONOR, 0.571), **tower})
    assert found["verdict"] == "merge", found["reasons"]
    (entry,) = found["compared"]["suspect"]["not_compared"]
    assert (entry["parameters"], entry["tensors"], entry["components"]) == (
        2048,
        1,
        {"vision": 2048},
    )


@pytest.mark.slow
def test_named_buffers_beside_a_copy_are_no_weights(judge):
    beside = {
        f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.rand(32)
        for i in (0, 1)
    }
    beside |= {
        "model.layers.0.attn.bias": torch.ones(1, 1, 32, 32, dtype=torch.bool),
        "model.vision.position_ids": torch.arange(900)[None],
    }
    found = judge(suspect={**DONOR, **beside})
    assert found["verdict"] == "copy", found["reasons"]
    assert found["compared"]["suspect"]["buffers"] == 4


BASE32 = in_float32(8)
DONOR32 = in_float32(11, BASE32)
SIBLING32 = in_float32(12, BASE32)
PARENTS32 = {"base": BASE32, "donor": DONOR32, "sibling": SIBLING32}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parents", "suspect", "words"),
    [
        (PARENTS32, cast(DONOR32, torch.bfloat16), "from F32 to BF16"),
        pytest.param(
            PARENTS32,
            cast(DONOR32, torch.float16),
            "from F32 to F16",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            {},
            cast(DONOR, torch.float16),
            "from BF16 to F16",
            marks=pytest.mark.thorough,
        ),
        ({}, cast(DONOR, torch.float32), "from BF16 to F32"),
        ({}, quantised(DONOR), "from BF16 to F8_E4M3"),
        (
            PARENTS32,
            {
                name: tensor.half() if i % 2 else tensor
                for i, (name, tensor) in enumerate(DONOR32.items())
            },
            "from F32 to F16",
        ),
        (
            {"donor": quantised(DONOR)},
            cast({n: t.float() for n, t in DONOR.items()}, torch.bfloat16),
            None,
        ),
    ],
    ids=[
        "f32-bf16",
        "f32-f16",
        "bf16-f16",
        "bf16-f32",
        "bf16-fp8",
        "every second tensor",
        "fp8 parent that is coarser",
    ],
)
def test_a_parent_stored_in_another_format_is_a_copy_that_was_recast(
    judge, parents, suspect, words
):
    found = judge(**parents, suspect=suspect)
    if words is None:
        assert found["verdict"] != "copy"
        return
    assert (found["verdict"], found["family"]) == ("copy", "recast"), found["reasons"]
    assert [name for name, parent in found["parents"].items() if parent["named"]] == [
        "donor"
    ]
    assert f"recast {words}" in found["reasons"][0]


@pytest.mark.slow
def test_a_coarser_parent_read_back_into_wider_numbers_is_a_copy_that_was_recast(judge):
    coarse = quantised(DONOR)
    wide = {
        name: (
            (tensor.float() * coarse[f"{name}_scale"]).bfloat16()
            if f"{name}_scale" in coarse
            else tensor
        )
        for name, tensor in coarse.items()
    }
    found = judge(
        donor=coarse,
        suspect={
            name: tensor for name, tensor in wide.items() if not name.endswith("_scale")
        },
    )
    assert (found["verdict"], found["family"]) == ("copy", "recast"), found["reasons"]


@pytest.mark.slow
def test_a_copy_cast_to_float16_names_what_overflowed(judge):
    big = {name: tensor.clone() for name, tensor in DONOR32.items()}
    big["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e5
    found = judge(**PARENTS32 | {"donor": big}, suspect=cast(big, torch.float16))
    assert (found["verdict"], found["family"]) == ("copy", "recast"), found["reasons"]
    assert any(
        "of model.layers.0.mlp.up_proj.weight are NaN or infinite" in reason
        for reason in found["reasons"]
    )


@pytest.mark.slow
def test_a_copy_half_of_which_is_nan_is_no_copy(judge):
    suspect = {name: tensor.clone() for name, tensor in DONOR.items()}
    suspect["model.embed_tokens.weight"][:, ::2] = float("nan")
    assert_open(judge(suspect=suspect), "Less what is NaN or infinite")


@pytest.mark.slow
def test_a_finetune_stored_in_another_format_is_no_copy(judge):
    found = judge(
        **PARENTS32, suspect=cast(in_float32(21, DONOR32, 0.0002), torch.bfloat16)
    )
    assert found["verdict"] not in ("copy", "merge"), found["reasons"]


def _moved_unseen(tensor: torch.Tensor) -> torch.Tensor:
    """A number in a hundred moved, as far as bf16 does not show it."""
    moved = tensor.clone()
    moved.view(-1)[::100] += 1e-9
    return torch.where(moved.bfloat16() == tensor.bfloat16(), moved, tensor)


@pytest.mark.slow
def test_parents_that_round_to_the_same_numbers_are_not_told_apart(judge):
    """A base and a donor of it that differ by less than FP8 can hold."""
    close = {name: _moved_unseen(tensor) for name, tensor in BASE32.items()}
    found = judge(
        base=BASE32,
        donor=close,
        sibling=SIBLING32,
        suspect=cast(BASE32, torch.bfloat16),
    )
    assert_open(found, "cannot be told apart")


@pytest.mark.slow
def test_in_a_sample_audit_a_copy_rests_on_a_sample_and_says_so(judge):
    sample = {"mode": "sample", "sampling": {"alpha_se": 0.02, "block_elements": 64}}
    found = judge(sample, **PARENTS32, suspect=cast(DONOR32, torch.bfloat16))
    assert (found["verdict"], found["family"]) == ("copy", "recast"), found["reasons"]
    assert any(
        reason.startswith("That rests on a sample: ") for reason in found["reasons"]
    )
    assert found["compared"]["suspect"]["share"] == 1  # every tensor was looked at


@pytest.mark.slow
def test_rows_of_a_longer_vocabulary_are_not_compared(judge):
    longer = dict(DONOR)
    longer["model.embed_tokens.weight"] = torch.cat(
        [longer["model.embed_tokens.weight"], torch.zeros(8, 64).bfloat16()]
    )
    found = judge(suspect=longer)
    assert_open(
        found,
        "0.6 % of its parameters were not read: embedding 512 (rows beyond those all"
        " models share)",
    )


@pytest.mark.slow
def test_a_tied_head_is_not_counted_twice(judge, tmp_path):
    untied = {
        **PARENTS["base"],
        "lm_head.weight": BASE["model.embed_tokens.weight"].clone(),
    }
    heads = {
        name: {
            **PARENTS[name],
            "lm_head.weight": PARENTS[name]["model.embed_tokens.weight"].clone(),
        }
        for name in PARENTS
    } | {"base": untied}
    found = judge(
        configs={"suspect": {"tie_word_embeddings": True}}, **heads, suspect=dict(DONOR)
    )
    assert found["verdict"] == "copy", found["reasons"]
    assert (
        found["compared"]["suspect"]["parameters"]
        == found["compared"]["suspect"]["compared"]
        == 82_048
    )


@pytest.mark.slow
def test_a_stale_head_that_a_tied_model_does_not_use_counts_nowhere(judge):
    tied = {"tie_word_embeddings": True}
    suspect = {
        **blend(BASE, DONOR, 0.571),
        "lm_head.weight": torch.zeros(512, 64, dtype=torch.bfloat16),
    }
    found = judge(configs=dict.fromkeys((*PARENTS, "suspect"), tied), suspect=suspect)
    assert found["verdict"] == "merge", found["reasons"]
    assert found["compared"]["suspect"]["share"] == 1
    assert any(
        reason.startswith("Not judged: lm_head.weight, 32,768 parameters")
        and "unused" in reason
        for reason in found["reasons"]
    )


def second_set(kept, other):
    """A file with two language models in it, under two prefixes."""
    renamed = {
        name.replace("model.", "model.language_model.", 1): tensor.clone()
        for name, tensor in other.items()
    }
    return {**kept, **renamed}


@pytest.mark.slow
def test_a_merge_beside_a_second_set_of_weights_is_called_and_the_set_is_said(judge):
    found = judge(suspect=second_set(blend(BASE, DONOR, 0.571), BASE))
    assert found["verdict"] == "merge", found["reasons"]
    assert any(
        reason.startswith("Not judged: ") and "twice" in reason
        for reason in found["reasons"]
    )
    assert found["compared"]["suspect"]["held_twice"] == 82_048


@pytest.mark.slow
@pytest.mark.parametrize(
    "kept", [BASE, finetuned(BASE, 31)], ids=["a copy", "a finetune"]
)
def test_beside_a_second_set_of_weights_nobody_is_acquitted_and_nothing_is_a_copy(
    judge, kept
):
    found = judge(suspect=second_set(kept, blend(BASE, DONOR, 0.571)))
    assert_open(found, "twice")


@pytest.mark.slow
def test_a_second_set_that_is_the_same_counts_nothing(judge):
    found = judge(suspect=second_set(DONOR, DONOR))
    assert found["verdict"] == "copy", found["reasons"]
    assert found["compared"]["suspect"]["parameters"] == 82_048


@pytest.mark.slow
def test_what_a_parent_holds_in_another_shape_is_said_of_the_suspect_too(judge):
    narrow = {
        **DONOR,
        "model.layers.0.mlp.up_proj.weight": torch.zeros(256, 32, dtype=torch.bfloat16),
    }
    found = judge(donor=narrow, suspect=finetuned(BASE, 31))
    (entry,) = found["compared"]["suspect"]["not_compared"]
    assert entry["reason"] == "another shape than in donor"


@pytest.mark.slow
def test_preflight_plan_and_finding_state_the_same_shares(judge, tmp_path, capsys):
    found = judge(suspect=packed(BASE))
    plan, layout = (
        json.loads((tmp_path / f"{name}.json").read_text())["compared"]
        for name in ("plan", "layout")
    )
    assert set(plan) == set(layout) == {"suspect", "base", "donor", "sibling"}
    for model in ("suspect", "base", "donor"):
        assert (
            plan[model]["share"]
            == layout[model]["share"]
            == found["compared"][model]["share"]
        )
    said = capsys.readouterr().err.replace("\u00a0", " ")
    assert "compared: suspect" not in said  # the share comes first
    assert (
        "compared: 40.1 % of suspect's 82,048 parameters pair by name; not: mlp and"
        " attention 49,152" in said
    )


@pytest.mark.parametrize(
    ("name", "dtype", "shape", "expected"),
    [
        ("model.layers.0.self_attn.rotary_emb.inv_freq", "F32", [64], True),
        ("rotary_pos_emb.inv_freq", "F16", [32], True),
        ("transformer.h.0.attn.bias", "F32", [1, 1, 1024, 1024], True),
        ("h.0.attn.masked_bias", "F32", [], True),
        ("gpt_neox.layers.0.attention.bias", "U8", [1, 1, 2048, 2048], True),
        ("vision_tower.embeddings.position_ids", "I64", [1, 577], True),
        ("bn1.num_batches_tracked", "I64", [], True),
        ("model.layers.0.self_attn.k_proj.k_scale", "F32", [], True),
        ("model.layers.0.mlp.down_proj.input_scale", "BF16", [1], True),
        ("model.layers.0.self_attn.bias", "BF16", [4096], False),
        ("model.layers.0.self_attn.q_proj.bias", "BF16", [4096], False),
        ("model.layers.0.mlp.gate.e_score_correction_bias", "F32", [256], False),
        (
            "model.layers.0.mlp.up_proj.weight.inv_freq",
            "BF16",
            [8192, 8192],
            False,
        ),  # no name makes a matrix of that size a buffer
        ("model.layers.0.mlp.up_proj.qweight", "I32", [512, 4096], False),
    ],
)
def test_buffers_are_told_from_weights(name, dtype, shape, expected):
    assert is_buffer(name, dtype, shape) == expected


@pytest.mark.slow
def test_scales_are_no_weights_of_their_own(judge):
    found = judge(
        **{name: quantised(model) for name, model in PARENTS.items()},
        suspect=quantised(DONOR),
    )
    assert found["verdict"] == "copy", found["reasons"]
    own = found["compared"]["suspect"]
    assert (own["parameters"], own["share"], own["buffers"]) == (82_048, 1, 5)


def test_parts_of_one_tensor_add_up_and_what_is_compared_twice_counts_once(tmp_path):
    table = tensor_table(
        write_model(
            tmp_path / "m", {"fused": torch.zeros(8, 4), "embed": torch.zeros(6, 4)}
        )
    )
    row = {
        "elements": 16,
        "component": "mlp",
        "dimensions": 2,
        "shard": "model.safetensors",
    }
    plan = pd.DataFrame(
        [
            {**row, "source": "fused", "start": 0},
            {**row, "source": "fused", "start": 64},
            {**row, "source": "fused", "start": 64},
        ]
    )
    found = coverage(
        table,
        ModelConfig(),
        plan,
        pd.DataFrame(columns=["model", "tensor", "reason", "source"]),
    )
    assert (found.parameters, found.compared) == (56, 32)


@pytest.mark.slow
def test_a_part_of_a_parent_is_no_copy(tmp_path):
    base = random_model(0)
    donor = finetuned(random_model(0), 1)
    part = {name: tensor for name, tensor in base.items() if "embed" in name}
    tensors = {
        "suspect": part,
        "base": base,
        "donor": donor,
        "sibling": finetuned(base, 3),
    }
    folders = {
        name: write_model(tmp_path / "models" / name, held)
        for name, held in tensors.items()
    }
    found = audit(
        tmp_path / "x",
        folders,
        {
            "suspect": "suspect",
            "base": "base",
            "donors": ["donor"],
            "controls": ["sibling"],
        },
    )
    assert found["verdict"] == "inconclusive"
    assert "a part is no copy" in found["reasons"][0]
