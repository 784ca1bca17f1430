"""The rebuild on real mergekit merges: every byte given back, and what cannot be is
said.
"""

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from mergetrace.merging.facts import Delta, HeldFacts, StreamedFacts, gram_of
from mergetrace.merging.mergekit_yaml import mergekit_config
from mergetrace.merging.rebuild_result import why_not
from mergetrace.merging.recipes import make
from mergetrace.testing.audits import audit, rebuild
from mergetrace.testing.moe_models import make_moe_models
from mergetrace.testing.planting import finetuned
from mergetrace.testing.realmerge import mergekit, qwen, write_qwen

BASE = qwen(0)
FIRST = finetuned(BASE, 1)
MODELS = {"base": BASE, "first": FIRST, "sibling": finetuned(BASE, 2)}


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents")
    return {
        name: write_qwen(folder / name, tensors) for name, tensors in MODELS.items()
    }


def audited(folder, parents, suspect):
    models = {**parents, "suspect": suspect}
    audit(
        folder,
        models,
        {
            "suspect": "suspect",
            "base": "base",
            "donors": ["first"],
            "controls": ["sibling"],
        },
    )
    return models


def merged(parents, recipe, folder):
    return mergekit(
        mergekit_config(
            recipe, "bfloat16", {name: str(path) for name, path in parents.items()}
        ),
        folder,
    )


@pytest.fixture(scope="module")
def experts(tmp_path_factory):
    """A trained Qwen3.5-MoE family: the parents one tensor per expert, a linear merge
    by mergekit with its experts fused.
    """
    return make_moe_models(tmp_path_factory.mktemp("experts"))


FUSED = {
    "linear": None,  # as the family brings it
    "task_arithmetic": {
        "merge_method": "task_arithmetic",
        "base_model": "base",
        "models": [{"model": "donor", "parameters": {"weight": 0.6}}],
    },
    "slerp": {
        "merge_method": "slerp",
        "base_model": "base",
        "models": [{"model": "base"}, {"model": "donor"}],
        "parameters": {"t": 0.4},
    },
    "karcher": {
        "merge_method": "karcher",
        "models": [{"model": "base"}, {"model": "donor"}],
    },
}


REPEATED = ("linear", "task_arithmetic", "karcher")
"""The first is found in test_moe_audit; the others go by element as it does, and over
whole tensors as slerp does.
"""


TIES = {
    "merge_method": "ties",
    "base_model": "base",
    "models": [{"model": "donor", "parameters": {"weight": 0.7, "density": 0.6}}],
    "parameters": {"normalize": False},
}


def with_folders(config, folders):
    """The configuration with every model's short name replaced by its folder."""
    models = [
        {**entry, "model": str(folders[entry["model"]])} for entry in config["models"]
    ]
    base = (
        {"base_model": str(folders[config["base_model"]])}
        if "base_model" in config
        else {}
    )
    return {
        "dtype": "float32",
        "out_dtype": "bfloat16",
        **config,
        **base,
        "models": models,
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method, marks=pytest.mark.thorough)
        if method in REPEATED
        else method
        for method in FUSED
    ],
)
def test_every_tensor_of_a_fused_mixture_of_experts_is_given_back(
    experts, tmp_path, method
):
    suspect = (
        experts["suspect"]
        if FUSED[method] is None
        else mergekit(with_folders(FUSED[method], experts), tmp_path / "suspect")
    )
    models = {**experts, "suspect": suspect}
    verdict = audit(
        tmp_path / "results",
        models,
        {
            "suspect": "suspect",
            "base": "base",
            "donors": ["donor"],
            "controls": ["sibling"],
        },
    )
    assert verdict["verdict"] == "merge", verdict["reasons"]
    assert verdict["recipe"]["bit_exact_rate"] == 1.0
    found = rebuild(tmp_path / "results", models, "suspect")
    table = pd.read_csv(tmp_path / "results/rebuild.csv")
    stored = {
        name: tensor
        for path in suspect.glob("*.safetensors")
        for name, tensor in load_file(path).items()
    }
    assert found["rebuilt"]
    assert found["exact_rate"] == 1.0
    assert found["identical"] == found["tensors"] == len(table) == len(stored)
    assert (table["sha256"] == table["sha256_rebuilt"]).all()
    assert (
        found["elements"]
        == found["compared"]
        == sum(tensor.numel() for tensor in stored.values())
    )
    assert any(table["tensor"].str.endswith("experts.gate_up_proj"))
    assert found["first_differences"] == []


@pytest.mark.thorough
@pytest.mark.slow
def test_fused_experts_merged_by_size_are_given_back_but_where_streamed_at_the_threshold(
    experts, tmp_path
):
    """Many deltas of bf16 models share a magnitude: which of those at the threshold are
    kept is a sort's choice, made on the whole tensor.
    """
    models = {
        **experts,
        "suspect": mergekit(with_folders(TIES, experts), tmp_path / "suspect"),
    }
    verdict = audit(
        tmp_path / "results",
        models,
        {
            "suspect": "suspect",
            "base": "base",
            "donors": ["donor"],
            "controls": ["sibling"],
        },
    )
    assert (verdict["verdict"], verdict["family"]) == ("merge", "ties"), verdict[
        "reasons"
    ]
    found = rebuild(tmp_path / "results", models, "suspect")
    assert (found["identical"], found["undecided"], found["remainder"]) == (
        found["tensors"],
        0,
        None,
    )
    found = rebuild(tmp_path / "results", models, "suspect", whole_elements=1)
    assert found["exact"] + found["undecided"] == found["compared"] > found["exact"]
    assert found["exact_rate"] > 0.98
    assert "threshold" in found["remainder"]


@pytest.mark.slow
def test_a_linear_merge_is_given_back_and_a_changed_number_is_shown(parents, tmp_path):
    suspect = merged(
        parents, make("linear", {"base": 0.429, "first": 0.571}), tmp_path / "merged"
    )
    tensors = load_file(suspect / "model.safetensors")
    changed = "model.layers.2.mlp.up_proj.weight"
    copied = "model.layers.1.input_layernorm.weight"
    before = tensors[changed][3, 5].item()
    tensors[changed][3, 5] = 1.5
    tensors[copied] = BASE[copied]
    tensors["model.extra.weight"] = torch.zeros(4, 4, dtype=torch.bfloat16)
    folder = write_qwen(tmp_path / "changed", tensors)
    models = audited(tmp_path / "results", parents, folder)
    found = rebuild(tmp_path / "results", models, "suspect")
    rows = pd.read_csv(tmp_path / "results/rebuild.csv").set_index("tensor")
    shown = {
        difference["tensor"]: difference for difference in found["first_differences"]
    }
    assert shown[changed] == {
        "tensor": changed,
        "index": 3 * 64 + 5,
        "suspect": 1.5,
        "rebuilt": before,
    }
    assert rows.loc[changed, "status"] == "differs"
    assert rows.loc[copied, ["status", "note"]].tolist() == [
        "copied",
        "every number is that of base",
    ]
    assert rows.loc["model.extra.weight", "status"] == "not rebuilt"
    assert found["not_rebuilt"] == found["copied"] == found["differs"] == 1
    assert found["identical"] == found["tensors"] - 3


@pytest.mark.slow
def test_a_merge_stored_as_float32_is_given_back(parents, tmp_path):
    suspect = merged(
        parents, make("linear", {"base": 0.429, "first": 0.571}), tmp_path / "merged"
    )
    wide = {
        name: tensor.float()
        for name, tensor in load_file(suspect / "model.safetensors").items()
    }
    models = audited(tmp_path / "results", parents, write_qwen(tmp_path / "wide", wide))
    found = rebuild(tmp_path / "results", models, "suspect")
    assert found["identical"] == found["tensors"]


@pytest.mark.slow
def test_an_embedding_with_more_rows_is_compared_in_part(parents, tmp_path):
    suspect = merged(
        parents, make("linear", {"base": 0.429, "first": 0.571}), tmp_path / "merged"
    )
    tensors = load_file(suspect / "model.safetensors")
    name = "model.embed_tokens.weight"
    tensors[name] = torch.cat([tensors[name], torch.zeros(8, 64, dtype=torch.bfloat16)])
    models = audited(
        tmp_path / "results", parents, write_qwen(tmp_path / "resized", tensors)
    )
    found = rebuild(tmp_path / "results", models, "suspect")
    row = pd.read_csv(tmp_path / "results/rebuild.csv").set_index("tensor").loc[name]
    assert found["partial"] == 1
    assert found["identical"] == found["tensors"] - 1
    assert (row["status"], row["elements"] - row["compared"], row["exact"]) == (
        "partial",
        8 * 64,
        row["compared"],
    )


@pytest.mark.slow
def test_the_innocent_are_not_rebuilt(parents, tmp_path):
    models = audited(
        tmp_path / "results",
        {name: parents[name] for name in ("base", "first", "sibling")},
        write_qwen(tmp_path / "s", finetuned(BASE, 7)),
    )
    found = rebuild(tmp_path / "results", models, "suspect")
    assert not found["rebuilt"]
    assert "finetune_of_base" in found["reason"]
    assert pd.read_csv(tmp_path / "results/rebuild.csv").empty


def test_there_is_a_reason_where_nothing_is_rebuilt():
    assert why_not("auto", "full", "merge", {"method": "linear"}) is None
    assert why_not("always", "sample", "inconclusive", {"method": "linear"}) is None
    assert "sample" in why_not("auto", "sample", "merge", {"method": "linear"})
    assert "`inconclusive`" in why_not(
        "auto", "full", "inconclusive", {"method": "linear"}
    )
    assert "No recipe" in why_not("always", "full", "merge", None)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_facts_of_a_streamed_tensor_are_those_of_the_whole(dtype):
    generator = np.random.default_rng(0)
    values = {
        name: generator.normal(size=5000).astype(np.float32).astype(np.float64)
        for name in ("base", "first", "second")
    }
    names = tuple(values)
    whole = HeldFacts(
        base="base",
        donors=names[1:],
        gram=gram_of(values, names),
        values=values,
        elements=5000,
    )
    cuts = [
        {name: part[at : at + 700] for name, part in values.items()}
        for at in range(0, 5000, 700)
    ]
    streamed = StreamedFacts(
        base="base", donors=names[1:], elements=5000, blocks=lambda: iter(cuts)
    )
    delta = {"second": 1.0, "base": -1.0}
    assert streamed.norm(delta) == pytest.approx(whole.norm(delta), rel=1e-12)
    assert streamed.inner(delta, {"first": 2.0}) == pytest.approx(
        whole.inner(delta, {"first": 2.0}), rel=1e-12
    )
    first = Delta("base", "first", dtype)
    for share in (0.0, 0.003, 0.4, 0.9999, 1.0):
        assert streamed.smallest_kept(first, share) == whole.smallest_kept(first, share)
    if dtype == "float32":
        assert streamed.rescale_factor(first, 0.6, 0.05) == pytest.approx(
            whole.rescale_factor(first, 0.6, 0.05), rel=1e-6
        )
