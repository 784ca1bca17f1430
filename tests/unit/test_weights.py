"""Elements read by offset are the ones torch reads, FP8 block scales applied."""

import os

import numpy as np
import pytest
import torch

from mergetrace.errors import AuditError
from mergetrace.files.reading_ahead import are_large
from mergetrace.files.safetensors_file import read_model
from mergetrace.planning.manifest import describe, tensor_table
from mergetrace.planning.plan import pair_models
from mergetrace.planning.sampling import evidence_blocks
from mergetrace.sums.deltas import keep_samples
from mergetrace.sums.evidence import read_evidence, write_evidence
from mergetrace.tensors.view import view_of
from mergetrace.tensors.weights import Weights
from mergetrace.testing.planting import write_model

PREFIX = "model.layers.0.mlp.experts."


def quantised(seed, rows=300, cols=200):
    """An FP8 matrix with one float32 scale per 128 x 128 block, and what it stands
    for.
    """
    generator = torch.Generator().manual_seed(seed)
    weight = (torch.randn(rows, cols, generator=generator) * 0.5).to(
        torch.float8_e4m3fn
    )
    scale = torch.rand(-(-rows // 128), -(-cols // 128), generator=generator) + 0.5
    meaning = (
        weight.double()
        * scale.double()
        .repeat_interleave(128, 0)[:rows]
        .repeat_interleave(128, 1)[:, :cols]
    )
    return weight, scale, meaning.numpy()


def planned(tmp_path, tensors):
    folders = {name: write_model(tmp_path / name, tensors[name]) for name in tensors}
    tables = {name: tensor_table(folder) for name, folder in folders.items()}
    manifests = {
        name: describe(name, folders[name], read_model(folders[name]))
        for name in folders
    }
    plan, _ = pair_models(tables, manifests, ["base", "donor"], "suspect")
    return folders, {
        (row["tensor"], row["slice"], row["model"]): view_of(row)
        for row in plan.to_dict("records")
    }


def by_model(views):
    """The views of the only slice, by model."""
    return {model: view for (_, _, model), view in views.items()}


def test_fp8_blocks_are_scaled(tmp_path):
    weight, scale, meaning = quantised(0)
    model = {
        "model.layers.0.a.weight": weight,
        "model.layers.0.a.weight_scale_inv": scale,
    }
    folders, plan = planned(
        tmp_path,
        {
            "suspect": model,
            "base": model,
            "donor": {
                "model.layers.0.a.weight": torch.zeros(300, 200, dtype=torch.bfloat16)
            },
        },
    )
    views = by_model(plan)
    with Weights(folders) as weights:
        assert (
            weights.values(views["suspect"], 0, 60_000) == meaning.reshape(-1)
        ).all()
        assert (
            weights.values(views["suspect"], 25_777, 3_333)
            == meaning.reshape(-1)[25_777 : 25_777 + 3_333]
        ).all()
        assert (weights.values(views["donor"], 0, 60_000) == 0).all()


def test_an_expert_is_the_same_numbers_fused_or_apart(tmp_path):
    generator = torch.Generator().manual_seed(0)
    gate_up = torch.randn(3, 2 * 16, 24, generator=generator).bfloat16()
    down = torch.randn(3, 24, 16, generator=generator).bfloat16()
    fused = {PREFIX + "gate_up_proj": gate_up, PREFIX + "down_proj": down}
    apart = {}
    for e in range(3):
        apart |= {
            f"{PREFIX}{e}.gate_proj.weight": gate_up[e, :16].clone(),
            f"{PREFIX}{e}.up_proj.weight": gate_up[e, 16:].clone(),
        }
        apart[f"{PREFIX}{e}.down_proj.weight"] = down[e].clone()
    folders, plan = planned(tmp_path, {"suspect": fused, "base": apart, "donor": fused})
    assert len(plan) == 27
    with Weights(folders) as weights:
        found = {
            key: weights.values(view, 0, view.rows * view.cols)
            for key, view in plan.items()
        }
    for tensor, number, _ in found:
        assert (found[tensor, number, "suspect"] == found[tensor, number, "base"]).all()


def test_evidence_keeps_the_stored_bytes_and_reads_back(tmp_path):
    weight, scale, meaning = quantised(1)
    model = {
        "model.layers.0.a.weight": weight,
        "model.layers.0.a.weight_scale_inv": scale,
    }
    plain = torch.from_numpy(
        meaning
    ).bfloat16()  # which lies in the file as it is, and is read the short way
    folders, plan = planned(
        tmp_path,
        {"suspect": model, "base": model, "donor": {"model.layers.0.a.weight": plain}},
    )
    blocks = evidence_blocks("a", 60_000, 4, 100, seed=0)
    with Weights(folders) as weights:
        samples = keep_samples(weights, by_model(plan), blocks)
    write_evidence(tmp_path / "e.safetensors", {5: (blocks, samples)}, {"layer": "0"})
    ((slice_id, read),) = read_evidence(tmp_path / "e.safetensors")
    places = np.concatenate(
        [np.arange(start, start + length) for start, length in blocks]
    )
    assert slice_id == 5
    assert set(read) == {"suspect", "base", "donor"}
    assert (read["suspect"].values() == meaning.reshape(-1)[places]).all()
    assert (read["donor"].values() == plain.double().numpy().reshape(-1)[places]).all()
    low, high = read["suspect"].midpoints()
    assert ((low < read["suspect"].values()) & (read["suspect"].values() < high)).all()


def test_a_shard_that_went_away_is_named(tmp_path):
    model = {"model.layers.0.a.weight": torch.ones(4, 4)}
    folders, plan = planned(tmp_path, {"suspect": model, "base": model, "donor": model})
    (folders["base"] / "model.safetensors").unlink()
    with (
        Weights(folders) as weights,
        pytest.raises(AuditError, match=r"base/model.safetensors: gone since"),
    ):
        weights.values(by_model(plan)["base"], 0, 4)


@pytest.mark.parametrize("in_order", [False, True])
def test_weights_are_read_where_the_system_takes_no_advice(
    tmp_path, monkeypatch, in_order
):
    """As on a Mac: no posix_fadvise, and no preadv before macOS 11."""
    monkeypatch.setattr("mergetrace.tensors.weights.are_large", lambda _: True)
    for name in ("posix_fadvise", "POSIX_FADV_DONTNEED", "preadv"):
        monkeypatch.delattr(os, name, raising=False)
    model = {"model.layers.0.a.weight": torch.arange(12.0).reshape(3, 4)}
    folders, plan = planned(tmp_path, {"suspect": model, "base": model, "donor": model})
    with Weights(folders, in_order) as weights:
        for view in plan.values():
            assert weights.values(view, 2, 5).tolist() == [2, 3, 4, 5, 6]
            weights.forget(view)


def test_the_size_of_memory_may_be_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sysconf_names", {})
    assert not are_large([tmp_path])
