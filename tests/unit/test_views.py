"""Views of fused and rearranged rows hold the numbers that their names say; what a
model holds twice is decided by rules and named.
"""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from mergetrace.files.safetensors_file import read_model
from mergetrace.files.sampled import write_sampled
from mergetrace.formats.model_config import ModelConfig, read_config
from mergetrace.planning.manifest import describe, tensor_table
from mergetrace.planning.plan import cut_models
from mergetrace.planning.sampling import evidence_of, ranges_of
from mergetrace.planning.slices import planned_slices
from mergetrace.tensors.doubles import looked_at
from mergetrace.tensors.views import cut
from mergetrace.tensors.weights import Weights
from mergetrace.testing.planting import write_model
from mergetrace.testing.spellings import (
    CONFIG,
    LAYERS,
    SHARED,
    fused,
    grouped,
    llama,
    native,
    renamed,
)

MODEL = llama(0)
FP8 = torch.float8_e4m3fn


def cuts_of(folder, config=CONFIG, **models):
    """The views of models in one audit, and their folders."""
    paths = {
        name: write_model(folder / name, tensors, config)
        for name, tensors in models.items()
    }
    manifests = {
        name: {"config": read_config(path / "config.json").as_json()}
        for name, path in paths.items()
    }
    return (
        cut_models(
            {name: tensor_table(path) for name, path in paths.items()}, manifests
        ),
        paths,
    )


def numbers(weights, model, view):
    return torch.from_numpy(
        weights.values(replace(view, model=model), 0, view.rows * view.cols)
    ).view(view.rows, view.cols)


@pytest.mark.parametrize(
    "store",
    [
        native,
        fused,
        grouped,
        lambda model: fused(model, "self_attn.W_pack", None),
        lambda model: grouped(model, "attention.wqkv"),
    ],
    ids=["native", "fused", "grouped", "W_pack", "wqkv"],
)
@pytest.mark.parametrize("shared", [1, SHARED, 4])
def test_every_matrix_is_found_in_every_form(tmp_path, store, shared):
    model = llama(3, shared)
    cuts, paths = cuts_of(
        tmp_path,
        CONFIG | {"num_key_value_heads": shared},
        plain=model,
        other=store(model),
    )
    assert set(cuts["other"].views) == set(cuts["plain"].views)
    with Weights(paths) as weights:
        for key, view in cuts["plain"].views.items():
            assert torch.equal(
                numbers(weights, "other", cuts["other"].views[key]),
                numbers(weights, "plain", view),
            ), key


def test_what_all_models_hold_fused_stays_one_slice(tmp_path):
    cuts, _ = cuts_of(tmp_path, a=fused(MODEL), b=fused(MODEL))
    assert ("model.layers.0.self_attn.qkv_proj.weight", "") in cuts["a"].views
    assert all(view.row_map is None for view in cuts["a"].views.values())


def test_biases_are_cut_like_their_matrices(tmp_path):
    q, k, v = (
        torch.arange(rows) + 100.0 * part for part, rows in enumerate((64, 32, 32))
    )
    apart = {
        f"model.layers.0.self_attn.{part}_proj.bias": value
        for part, value in zip("qkv", (q, k, v), strict=True)
    }
    turns = torch.cat(
        [
            torch.cat(
                [
                    q[32 * i : 32 * i + 32],
                    k[16 * i : 16 * i + 16],
                    v[16 * i : 16 * i + 16],
                ]
            )
            for i in range(2)
        ]
    )
    cuts, paths = cuts_of(
        tmp_path, a=apart, b={"model.layers.0.self_attn.query_key_value.bias": turns}
    )
    with Weights(paths) as weights:
        for key, view in cuts["b"].views.items():
            assert (
                numbers(weights, "b", view).flatten().tolist() == apart[key[0]].tolist()
            )


def test_a_block_of_scales_that_lies_across_q_and_k_is_read_right(tmp_path):
    q, k, v = (torch.randn(rows, 128) for rows in (192, 64, 64))
    codes = torch.cat([q, k, v]).to(FP8)
    scale = torch.rand(3, 1) + 0.5
    whole = {
        "model.layers.0.self_attn.qkv_proj.weight": codes,
        "model.layers.0.self_attn.qkv_proj.weight_scale_inv": scale,
    }
    apart = {
        f"model.layers.0.self_attn.{part}_proj.weight": value
        for part, value in zip("qkv", (q, k, v), strict=True)
    }
    cuts, paths = cuts_of(tmp_path, {}, apart=apart, whole=whole)
    wanted = (codes.double() * scale.double().repeat_interleave(128, 0)[:320]).split(
        [192, 64, 64]
    )
    with Weights(paths) as weights:
        for part, value in zip("qkv", wanted, strict=True):
            view = cuts["whole"].views[
                f"model.layers.0.self_attn.{part}_proj.weight", ""
            ]
            assert torch.equal(numbers(weights, "whole", view), value)


@pytest.mark.parametrize(
    ("rows", "config", "reason"),
    [
        (
            100,
            {},
            (
                "100 rows cannot be divided between them, its configuration does not"
                " say how many heads it has"
            ),
        ),
        (
            100,
            CONFIG,
            (
                "100 rows cannot be divided between them, its configuration says 4 and"
                " 2 heads of 16"
            ),
        ),
    ],
)
def test_fused_rows_that_fit_nothing_are_left_out_with_the_reason(
    tmp_path, rows, config, reason
):
    name = "model.layers.0.self_attn.qkv_proj.weight"
    cuts, _ = cuts_of(
        tmp_path, config, plain=MODEL, odd=MODEL | {name: torch.zeros(rows, 64)}
    )
    (entry,) = [entry for entry in cuts["odd"].left_out if entry["source"] == name]
    assert reason in entry["reason"]
    assert (name, "") not in cuts["odd"].views


def test_heads_that_configurations_do_not_agree_on_are_not_taken_apart(tmp_path):
    paths = {"plain": write_model(tmp_path / "plain", MODEL, CONFIG)}
    paths["odd"] = write_model(
        tmp_path / "odd",
        grouped(MODEL),
        CONFIG | {"head_dim": 32, "num_attention_heads": 2, "num_key_value_heads": 1},
    )
    manifests = {
        name: {"config": read_config(path / "config.json").as_json()}
        for name, path in paths.items()
    }
    cuts = cut_models(
        {name: tensor_table(path) for name, path in paths.items()}, manifests
    )
    reasons = {entry["reason"] for entry in cuts["odd"].left_out}
    assert reasons == {
        "fused rows of q, k and v take turns head by head, and the models'"
        " configurations say heads of different lengths"
    }


def test_a_head_that_is_the_embedding_s_bytes_is_one_with_it(tmp_path):
    tied = CONFIG | {"tie_word_embeddings": True}
    cuts, paths = cuts_of(
        tmp_path,
        tied,
        same=MODEL | {"lm_head.weight": MODEL["model.embed_tokens.weight"].clone()},
        other=MODEL,
    )
    with Weights(paths) as weights:
        listed = {
            model: looked_at(own.doubles, weights, model)[0]
            for model, own in cuts.items()
        }
    assert not listed["same"]
    assert [entry["source"] for entry in listed["other"]] == ["lm_head.weight"]


def test_columns_that_hold_q_k_and_v_are_left_out(tmp_path):
    columns = renamed(
        fused(MODEL, "attn.c_attn", None), ("model.layers", "transformer.h")
    )
    columns = {
        name: tensor.T.contiguous() if "c_attn" in name else tensor
        for name, tensor in columns.items()
    }
    cuts, _ = cuts_of(tmp_path, plain=MODEL, gpt2=columns)
    assert len(cuts["gpt2"].left_out) == LAYERS


def test_gate_above_up_that_cannot_be_halved_is_left_out(tmp_path):
    cuts, _ = cuts_of(
        tmp_path,
        plain=MODEL,
        odd={"model.layers.0.mlp.gate_up_proj.weight": torch.zeros(7, 64)},
    )
    assert "cannot be divided between gate and up" in cuts["odd"].left_out[0]["reason"]


def test_a_model_with_fused_rows_and_rows_apart_names_the_second_set(tmp_path):
    cuts, paths = cuts_of(tmp_path, plain=MODEL, both=MODEL | fused(llama(5)))
    with Weights(paths) as weights:
        listed, _ = looked_at(cuts["both"].doubles, weights, "both")
    assert {entry["source"].rsplit(".", 2)[1] for entry in listed} == {
        "qkv_proj",
        "gate_up_proj",
    }
    assert all("the two differ" in entry["reason"] for entry in listed)


@pytest.mark.parametrize(("again", "listed"), [("the same", 0), ("other", 1)])
def test_a_tensor_in_two_shards_is_taken_from_the_last(tmp_path, again, listed):
    name = "model.layers.0.mlp.up_proj.weight"
    tensors = {
        shard: torch.full((4, 4), value)
        for shard, value in (
            ("a.safetensors", 1.0 if again == "the same" else 3.0),
            ("b.safetensors", 1.0),
        )
    }
    rows = []
    for shard, tensor in tensors.items():
        (tmp_path / shard[0]).mkdir()
        save_file({name: tensor}, tmp_path / shard[0] / "model.safetensors")
        rows.append(tensor_table(tmp_path / shard[0]).assign(shard=shard))
        (tmp_path / shard[0] / "model.safetensors").rename(tmp_path / shard)
    found = cut(pd.concat(rows), ModelConfig())
    assert found.views[name, ""].shard == "b.safetensors"
    with Weights({"m": tmp_path}) as weights:
        entries, equal = looked_at(found.doubles, weights, "m")
    assert len(entries) == listed
    assert equal == (set() if listed else {(name, "a.safetensors")})
    assert all(
        "compared is what b.safetensors holds" in entry["reason"] for entry in entries
    )


def test_rows_in_another_order_are_sampled_where_they_lie(tmp_path):
    """A model on the Hub of which only the sampled ranges are here."""
    cuts, paths = cuts_of(tmp_path, plain=MODEL, other=native(MODEL))
    views = [view for view in cuts["other"].views.values() if view.row_map is not None]
    plan = pd.DataFrame(
        {
            **vars(view),
            "model": "other",
            "slice_id": number,
            "layer": "0",
            "component": "attention",
            "blocks": 2,
            "elements": view.rows * view.cols,
        }
        for number, view in enumerate(views)
    )
    ranges = ranges_of(plan, 128, 0)
    whole = (paths["other"] / "model.safetensors").read_bytes()
    pieces = (whole[start : start + length] for _, start, length in ranges)
    write_sampled(
        tmp_path / "sample.safetensors",
        ranges,
        pieces,
        {"repo": "o/m", "commit": "0" * 40},
    )
    with (
        Weights({"other": tmp_path / "sample.safetensors"}) as sampled,
        Weights(paths) as weights,
    ):
        for planned in planned_slices(plan):
            view = planned.members["other"]
            for first, count in evidence_of(planned, 128, 0).tolist():
                assert (
                    sampled.values(view, first, count)
                    == weights.values(view, first, count)
                ).all()
    assert len(views) == 2 * LAYERS


def test_silence_about_tied_heads_is_kept_apart_from_a_no(tmp_path):
    for said, expected in (
        ({}, None),
        ({"tie_word_embeddings": False}, False),
        ({"text_config": {"tie_word_embeddings": True}}, True),
    ):
        path = write_model(tmp_path / str(expected), MODEL, said)
        assert (
            describe("m", path, read_model(path))["config"]["tie_word_embeddings"]
            is expected
        )


@pytest.mark.parametrize(
    ("config", "facts"),
    [
        (
            {
                "n_head": 71,
                "hidden_size": 4544,
                "multi_query": True,
                "num_kv_heads": 71,
            },
            (71, 1, None, 4544),
        ),
        (
            {
                "n_head": 128,
                "hidden_size": 8192,
                "multi_query": True,
                "num_kv_heads": 8,
                "new_decoder_architecture": True,
            },
            (128, 8, None, 8192),
        ),
        (
            {
                "num_attention_heads": 32,
                "kv_channels": 128,
                "multi_query_attention": True,
                "multi_query_group_num": 2,
            },
            (32, 2, 128, None),
        ),
        (
            {
                "text_config": {
                    "num_attention_heads": 4,
                    "num_key_value_heads": 2,
                    "head_dim": 16,
                    "hidden_size": 64,
                }
            },
            (4, 2, 16, 64),
        ),
        (
            {"n_heads": 8, "d_model": 64, "attn_config": {"kv_n_heads": 2}},
            (8, 2, None, 64),
        ),
        (
            {"num_attention_heads": "4", "head_dim": -1, "hidden_size": True},
            (None, None, None, None),
        ),
    ],
)
def test_heads_are_read_under_every_writer_s_names(tmp_path, config, facts):
    read = read_config(write_model(tmp_path / "m", MODEL, config) / "config.json")
    assert (
        tuple(
            getattr(read.heads, name)
            for name in (
                "num_attention_heads",
                "num_key_value_heads",
                "head_dim",
                "hidden_size",
            )
        )
        == facts
    )
