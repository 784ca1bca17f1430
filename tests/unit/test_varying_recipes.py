"""Weights that differ between tensors, of any of the models offered, and merges of many
donors: each planted by real mergekit or torch, and found by a whole audit.
"""

import json
import math
import re

import pytest
import torch

from mergetrace.merging.settings import setting_from_json, value_at
from mergetrace.testing.audits import audit
from mergetrace.testing.planting import finetuned, write_model
from mergetrace.testing.realmerge import LAYERS, mergekit, qwen, write_qwen

pytestmark = pytest.mark.slow

BASE = qwen(20)
DONORS = {f"d{i}": finetuned(BASE, 21 + i) for i in range(10)}
MODELS = {"base": BASE, **DONORS}
NEURALPIPE = [
    {"filter": "self_attn", "value": [0, 0.5, 0.3, 0.7, 1]},
    {"filter": "mlp", "value": [1, 0.5, 0.7, 0.3, 0]},
    {"value": 0.5},
]
"""The default of the notebook that most people merge with."""


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents")
    return {
        name: str(write_qwen(folder / name, tensors))
        for name, tensors in MODELS.items()
    }


@pytest.fixture
def found(parents, tmp_path):
    """found(suspect's folder, donors) -> (verdict, best recipe) of an audit with the
    ancestor as base.
    """

    def run(suspect, donors, folders=parents):
        offered = {name: folders[name] for name in ("base", *donors)}
        spec = {"suspect": "suspect", "base": "base", "donors": donors, "controls": []}
        verdict = audit(tmp_path / "out", {**offered, "suspect": suspect}, spec)
        (search, *_) = json.loads((tmp_path / "out/recipes.json").read_text())
        return verdict["verdict"], search["best"]

    return run


def layer_of(name):
    found = re.search(r"layers\.(\d+)\.", name)
    return int(found[1]) if found else None


def mixed(models, weights_of, narrow=False):
    """A mixture: weights_of(name of a tensor) gives each model's weight. narrow: as a
    script in bf16 adds the changes from the first model.
    """
    merged = {}
    first = next(iter(models.values()))
    for name in first:
        weights = weights_of(name)
        if narrow:
            merged[name] = first[name].clone()
            for model, weight in list(weights.items())[1:]:
                merged[name] += weight * (models[model][name] - first[name])
            continue
        parts = [models[model][name].float() * w for model, w in weights.items()]
        merged[name] = sum(parts).bfloat16()
    return merged


def along(share_of):
    """A share in every layer."""
    return [share_of(f"layers.{layer}.") for layer in range(LAYERS)]


def written(best, model):
    """A model's weight in every layer's attention, however the recipe writes it."""
    setting = setting_from_json(best["parameters"]["weights"][model])
    return [
        value_at(
            setting,
            f"model.layers.{layer}.self_attn.q_proj.weight",
            layer / (LAYERS - 1),
        )
        for layer in range(LAYERS)
    ]


def between(first, second, share_of):
    """weights_of two models by a share of the second."""

    def weights_of(name):
        share = share_of(name)
        return {first: 1 - share, second: share}

    return weights_of


def test_slerp_of_two_finetunes_with_a_gradient_per_filter(found, parents, tmp_path):
    config = {
        "merge_method": "slerp",
        "base_model": parents["d0"],
        "slices": [
            {
                "sources": [
                    {"model": parents[name], "layer_range": [0, LAYERS]}
                    for name in ("d0", "d1")
                ]
            }
        ],
        "parameters": {"t": NEURALPIPE},
        "dtype": "bfloat16",
    }
    verdict, best = found(mergekit(config, tmp_path / "merged"), ["d0", "d1"])
    assert verdict == "merge"
    assert best["method"] == "slerp"
    assert best["parameters"]["weights"]["d1"] == NEURALPIPE


@pytest.mark.thorough
def test_a_filter_that_keeps_one_donors_embedding(found, parents, tmp_path):
    config = {
        "merge_method": "linear",
        "models": [
            {"model": parents["d0"], "parameters": {"weight": 1}},
            {
                "model": parents["d1"],
                "parameters": {
                    "weight": [{"filter": "embed", "value": 0}, {"value": 1}]
                },
            },
        ],
        "dtype": "bfloat16",
    }
    verdict, best = found(mergekit(config, tmp_path / "merged"), ["d0", "d1"])
    assert verdict == "merge"
    assert best["bit_exact_rate"] == 1
    assert best["parameters"]["weights"]["d1"] == [
        {"filter": "embed_tokens", "value": 0.0},
        {"value": 0.5},
    ]


@pytest.mark.thorough
def test_weights_by_filter_of_two_donors(found, parents, tmp_path):
    of_first = [{"filter": "self_attn", "value": 0.5}, {"value": 0.2}]
    of_second = [{"filter": "mlp", "value": 0.4}, {"value": 0.1}]
    config = {
        "merge_method": "task_arithmetic",
        "base_model": parents["base"],
        "models": [
            {"model": parents["d0"], "parameters": {"weight": of_first}},
            {"model": parents["d1"], "parameters": {"weight": of_second}},
        ],
        "dtype": "float32",
        "out_dtype": "bfloat16",
    }
    verdict, best = found(mergekit(config, tmp_path / "merged"), ["d0", "d1"])
    assert verdict == "merge"
    assert written(best, "d0") == pytest.approx([0.5] * LAYERS, abs=1e-4)
    assert written(best, "d1") == pytest.approx([0.1] * LAYERS, abs=1e-4)


@pytest.mark.thorough
def test_a_ramp_is_found_by_its_end_points(found, tmp_path):
    def share(name):
        return 0.1234567 + 0.6543219 * (layer_of(name) or 0) / (LAYERS - 1)

    merged = mixed(MODELS, between("base", "d0", share))
    verdict, best = found(write_qwen(tmp_path / "merged", merged), ["d0", "d1"])
    assert verdict == "merge"
    assert written(best, "d0") == pytest.approx(along(share), abs=1e-4)


@pytest.mark.thorough
def test_a_cosine_between_two_finetunes(found, tmp_path):
    def share(name):
        return 0.5 - 0.5 * math.cos(math.pi * (layer_of(name) or 0) / (LAYERS - 1))

    merged = mixed(MODELS, between("d1", "d0", share))
    verdict, best = found(write_qwen(tmp_path / "merged", merged), ["d0", "d1", "d2"])
    assert verdict == "merge"
    assert written(best, "d0") == pytest.approx(along(share), abs=1e-4)


def test_embeddings_that_a_script_left_untouched(found, tmp_path):
    def share(name):
        return 0.0 if layer_of(name) is None else 0.6

    merged = mixed(MODELS, between("base", "d0", share), narrow=True)
    verdict, best = found(write_qwen(tmp_path / "merged", merged), ["d0"])
    assert verdict == "merge"
    assert best["bit_exact_rate"] == 1


DEPTH = 60
SHAPES = {"self_attn.q_proj.weight": (64, 64), "mlp.up_proj.weight": (96, 64)}


def deep(seed):
    """A model of more layers than the pilot holds tensors."""
    generator = torch.Generator().manual_seed(seed)
    return {
        f"model.layers.{layer}.{name}": (
            torch.randn(shape, generator=generator) * 0.02
        ).bfloat16()
        for layer in range(DEPTH)
        for name, shape in SHAPES.items()
    }


@pytest.mark.thorough
@pytest.mark.parametrize(
    "narrow",
    [
        pytest.param(False, id="float32"),
        pytest.param(True, id="bfloat16"),
    ],
)
def test_random_weights_of_every_layer_of_a_deep_model(found, tmp_path, narrow):
    base = deep(0)
    models = {"base": base, "d0": finetuned(base, 1)}
    shares = torch.rand(DEPTH, generator=torch.Generator().manual_seed(5)).tolist()
    merged = mixed(
        models, between("base", "d0", lambda name: shares[layer_of(name)]), narrow
    )
    folders = {
        name: write_model(tmp_path / name, tensors)
        for name, tensors in (*models.items(), ("merged", merged))
    }
    verdict, best = found(folders["merged"], ["d0"], folders)
    assert verdict == "merge"
    assert best["bit_exact_rate"] > 0.999


@pytest.mark.thorough
def test_two_of_ten_donors(found, tmp_path):
    weights = {"base": 0.42, "d3": 0.55, "d7": 0.03}
    merged = mixed(MODELS, lambda _: weights)
    verdict, best = found(write_qwen(tmp_path / "merged", merged), list(DONORS))
    assert verdict == "merge"
    assert best["parameters"]["shares"] == pytest.approx({"d3": 0.55, "d7": 0.03})


@pytest.mark.thorough
def test_an_average_of_four_that_needs_no_base(found, parents, tmp_path):
    names = list(DONORS)[:4]
    config = {
        "merge_method": "linear",
        "models": [
            {"model": parents[name], "parameters": {"weight": 1}} for name in names
        ],
        "dtype": "bfloat16",
    }
    verdict, best = found(mergekit(config, tmp_path / "merged"), names)
    assert verdict == "merge"
    assert best["parameters"]["shares"] == pytest.approx(dict.fromkeys(names, 1 / 4))


def test_an_innocent_finetune_varies_by_no_weights(found, tmp_path):
    sibling = finetuned(BASE, 99)
    verdict, best = found(write_qwen(tmp_path / "sibling", sibling), ["d0", "d1"])
    assert verdict == "finetune_of_base"
    assert best["bit_exact_rate"] < 0.1


def parts_of(name):
    """A share for attention, another for the MLPs, a third for the rest."""
    if "self_attn" in name:
        return 0.41
    return 0.58 if "mlp" in name else 0.85


IN_TURN = {
    "multiplied, then added": lambda a, b, share: a.mul_(1 - share).add_(
        b, alpha=share
    ),
    "added to zeros": lambda a, b, share: (
        torch.zeros_like(a).add_(a, alpha=1 - share).add_(b, alpha=share)
    ),
}


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("lines", "models"),
    [
        ("multiplied, then added", ("d1", "d0")),
        ("added to zeros", ("d0", "d1")),
        ("multiplied, then added", ("d0", "d1")),
        ("added to zeros", ("d1", "d0")),
    ],
)
def test_weights_by_filter_in_lines_of_bf16_whoever_comes_first(
    found, tmp_path, lines, models
):
    first, second = models
    merged = {
        name: IN_TURN[lines](
            MODELS[first][name].clone(), MODELS[second][name], parts_of(name)
        )
        for name in BASE
    }
    verdict, best = found(write_qwen(tmp_path / "merged", merged), ["d0", "d1"])
    assert verdict == "merge"
    assert best["bit_exact_rate"] == 1.0
    weights = setting_from_json(best["parameters"]["weights"][second])
    for name in (f"model.layers.1.{part}.weight" for part in ("self_attn.q", "mlp.up")):
        share = value_at(weights, name, 0.2)
        assert share == pytest.approx(parts_of(name), abs=0.003)
