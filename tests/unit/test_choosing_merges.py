"""Real merges that choose elements, of models whose changes are a few steps of the
number lattice: many deltas share a size.
"""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from mergetrace.merging.applying import Piece, apply_and_store, undecided_elements
from mergetrace.merging.facts import HeldFacts, gram_of
from mergetrace.merging.mergekit_yaml import mergekit_config
from mergetrace.merging.recipes import make
from mergetrace.sums.evidence import Sample
from mergetrace.testing.audits import audit, rebuild
from mergetrace.testing.planting import finetuned, write_model
from mergetrace.testing.realmerge import CONFIG, mergekit, qwen, write_qwen

pytestmark = pytest.mark.slow

BASE = qwen(0)
MODELS = {
    "base": BASE,
    **{
        name: finetuned(BASE, seed, size=3e-4)
        for seed, name in enumerate(("first", "second", "sibling"), start=1)
    },
}


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents")
    return {
        name: write_qwen(folder / name, tensors) for name, tensors in MODELS.items()
    }


@pytest.fixture
def judge(parents, tmp_path):
    """judge(mergekit's configuration with models' names, donors) -> verdict.json and
    the entry of recipes.json
    """

    def run(config, donors):
        text = json.dumps(config)
        for name, folder in parents.items():
            text = text.replace(f'"{name}"', f'"{folder}"')
        folders = {name: parents[name] for name in ("base", "sibling", *donors)} | {
            "suspect": mergekit(text, tmp_path / "suspect")
        }
        verdict = audit(
            tmp_path,
            folders,
            {
                "suspect": "suspect",
                "base": "base",
                "donors": list(donors),
                "controls": ["sibling"],
            },
        )
        return verdict, json.loads((tmp_path / "recipes.json").read_text())[0]

    return run


@pytest.mark.thorough
@pytest.mark.parametrize("density", [0.4, 0.7])
def test_the_densities_of_two_donors_are_found_where_many_deltas_share_a_size(
    judge, density
):
    models = [
        {"model": name, "parameters": {"weight": weight, "density": density}}
        for name, weight in (("first", 0.6), ("second", 0.5))
    ]
    verdict, found = judge(
        {
            "merge_method": "ties",
            "base_model": "base",
            "models": models,
            "dtype": "bfloat16",
        },
        ("first", "second"),
    )
    assert verdict["verdict"] == "merge", verdict["reasons"]
    assert found["best"]["bit_exact_rate"] == 1.0
    assert {
        found["best"]["parameters"][f"density.{name}"] for name in ("first", "second")
    } == {density}


@pytest.mark.parametrize(
    ("base", "model", "dtype"),
    [
        pytest.param("base", "first", "bfloat16", marks=pytest.mark.thorough),
        ("first", "base", "bfloat16"),
        pytest.param("base", "first", "float32", marks=pytest.mark.thorough),
    ],
)
def test_a_fusion_is_found_and_its_tensors_are_given_back(
    judge, parents, tmp_path, base, model, dtype
):
    models = [{"model": "base"}, {"model": "first"}]
    config = {
        "merge_method": "arcee_fusion",
        "base_model": base,
        "models": models,
        "dtype": dtype,
        "out_dtype": "bfloat16",
    }
    verdict, found = judge(config, ("first",))
    assert (verdict["verdict"], verdict["family"]) == (
        "merge",
        "arcee_fusion",
    ), verdict["reasons"]
    assert (found["best"]["bit_exact_rate"], found["best"]["dtype"]) == (1.0, dtype)
    assert (
        found["best"]["parameters"]["base_model"],
        list(found["best"]["parameters"]["weights"]),
    ) == (base, [model])
    rebuilt = rebuild(
        tmp_path,
        {name: parents[name] for name in ("base", "first")}
        | {"suspect": tmp_path / "suspect"},
        "suspect",
    )
    assert (rebuilt["identical"], rebuilt["differs"], rebuilt["undecided"]) == (
        rebuilt["tensors"],
        0,
        0,
    )


def test_of_a_large_fusion_only_elements_near_the_fence_stay_open(tmp_path):
    """Of more than a million elements the tool takes the quartiles of a random
    million.
    """
    name = "model.embed_tokens.weight"
    wide = {
        **BASE,
        "model.embed_tokens.weight": torch.randn(17_000, 64).mul(0.02).bfloat16(),
    }
    tensors = {"base": wide, "first": finetuned(wide, 1, size=3e-4)}
    folders = {
        model: str(write_model(tmp_path / model, held, CONFIG | {"vocab_size": 17_000}))
        for model, held in tensors.items()
    }
    recipe = make("arcee_fusion", {"first": 1}, "base", "bfloat16")
    merged = load_file(
        mergekit(mergekit_config(recipe, "bfloat16", folders), tmp_path / "merged")
        / "model.safetensors"
    )[name]
    one = piece({model: held[name] for model, held in tensors.items()}, merged)
    open_ones = undecided_elements(recipe, one)
    assert (apply_and_store(recipe, one) == one.audited.values())[~open_ones].all()
    assert 0 < open_ones.mean() < 0.02


def test_a_part_of_a_tensor_tells_nothing_of_a_fusion():
    whole = piece(
        {
            model: tensors["model.embed_tokens.weight"]
            for model, tensors in MODELS.items()
        },
        BASE["model.embed_tokens.weight"],
    )
    part = replace(whole, facts=replace(whole.facts, elements=10**6))
    assert undecided_elements(make("arcee_fusion", {"first": 1}, "base"), part).all()


def piece(parents, audited):
    """One whole tensor of base and first, and what was made of it."""
    values = {
        model: parents[model].double().numpy().ravel() for model in ("base", "first")
    }
    facts = HeldFacts(
        base="base",
        donors=("first",),
        gram=gram_of(values, ("base", "first")),
        values=values,
        elements=audited.numel(),
        columns=audited.shape[-1],
    )
    return Piece(
        "tensor",
        0.0,
        values,
        Sample(audited.contiguous().view(torch.uint8).numpy().ravel(), "BF16"),
        facts,
    )
