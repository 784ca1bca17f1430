"""Tensors that do not vote may have weights of their own: those are found once a recipe
stands, and given back with it.
"""

import json

import pytest
import torch

from mergetrace.testing.giving_back import Rerun, give_back, rerun
from mergetrace.testing.planting import finetuned
from mergetrace.testing.realmerge import mergekit, qwen, write_qwen

BASE = qwen(0)
TENSORS = len(BASE)


def with_other_norms(tensors, seed=3):
    """Norms that lie so far apart that their weight shows."""
    generator = torch.Generator().manual_seed(seed)
    return tensors | {
        name: (tensor + torch.randn(tensor.shape, generator=generator) / 8).bfloat16()
        for name, tensor in tensors.items()
        if "norm" in name
    }


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents")
    donor = with_other_norms(finetuned(BASE, 1))
    other = with_other_norms(finetuned(BASE, 2), 4)
    models = {"base": BASE, "donor": donor, "other": other}
    return {name: write_qwen(folder / name, held) for name, held in models.items()}


def linear(norms, others):
    return [{"filter": "norm", "value": norms}, {"value": others}]


SLERP = {"t": [{"filter": "layernorm", "value": [0.2, 0.8]}, {"value": 0.4}]}


def configuration(parents, own):
    base, donor = (str(parents[name]) for name in ("base", "donor"))
    if own == "deltas":
        weights = {str(parents["donor"]): 0.5, str(parents["other"]): 0.4}
        return {
            "merge_method": "task_arithmetic",
            "base_model": base,
            "models": [
                {"model": model, "parameters": {"weight": linear(1 - weight, weight)}}
                for model, weight in weights.items()
            ],
            "parameters": {"lambda": 0.8},
            "dtype": "bfloat16",
        }
    if own == "gradient":
        return {
            "merge_method": "slerp",
            "base_model": base,
            "models": [{"model": base}, {"model": donor}],
            "parameters": SLERP,
            "dtype": "bfloat16",
        }
    weights = {base: linear(1 - own, 0.43), donor: linear(own, 0.57)}
    return {
        "merge_method": "linear",
        "models": [
            {"model": model, "parameters": {"weight": weight}}
            for model, weight in weights.items()
        ],
        "dtype": "bfloat16",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "own",
    [
        pytest.param(0.2, marks=pytest.mark.thorough),
        0.0,
        "gradient",
        pytest.param("deltas", marks=pytest.mark.thorough),
    ],
)
def test_norms_of_another_weight_come_back(parents, tmp_path, own):
    models = parents | {
        "suspect": mergekit(configuration(parents, own), tmp_path / "suspect")
    }
    donors = ["donor", "other"] if own == "deltas" else ["donor"]
    spec = {"suspect": "suspect", "base": "base", "donors": donors}
    recipe = give_back(tmp_path / "x", models, spec)
    (search,) = json.loads((tmp_path / "x/recipes.json").read_text())
    alpha = search["best"]["parameters"]["shares"]
    assert isinstance(own, str) or alpha == {"donor": 0.57}
    assert search["completed"]["bit_exact_rate"] == search["best"]["bit_exact_rate"]
    runs = {run.file: run for run in rerun(recipe, models["suspect"])}
    assert runs["mergekit.yml"] == Rerun("mergekit.yml", TENSORS, TENSORS)
