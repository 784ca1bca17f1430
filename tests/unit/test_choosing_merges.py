"""Real merges that choose elements, of models whose changes are a few steps of the number lattice: many deltas share a size."""

import json

import pytest
from inprocess import audit
from planting import finetuned
from realmerge import mergekit, qwen, write_qwen

pytestmark = pytest.mark.slow

BASE = qwen(0)
MODELS = {"base": BASE, **{name: finetuned(BASE, seed, size=3e-4) for seed, name in enumerate(("first", "second", "sibling"), start=1)}}


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents")
    return {name: write_qwen(folder / name, tensors) for name, tensors in MODELS.items()}


@pytest.fixture
def judge(parents, tmp_path):
    """judge(mergekit's configuration with models' names, donors) -> verdict.json and the entry of recipes.json"""

    def run(config, donors):
        text = json.dumps(config)
        for name, folder in parents.items():
            text = text.replace(f'"{name}"', f'"{folder}"')
        folders = {name: parents[name] for name in ("base", "sibling", *donors)} | {"suspect": mergekit(text, tmp_path / "suspect")}
        verdict = audit(tmp_path, folders, {"suspect": "suspect", "base": "base", "donors": list(donors), "controls": ["sibling"]})
        return verdict, json.loads((tmp_path / "recipes.json").read_text())[0]

    return run


@pytest.mark.parametrize("density", [0.4, 0.7])
def test_the_densities_of_two_donors_are_found_where_many_deltas_share_a_size(judge, density):
    models = [{"model": name, "parameters": {"weight": weight, "density": density}} for name, weight in (("first", 0.6), ("second", 0.5))]
    verdict, found = judge({"merge_method": "ties", "base_model": "base", "models": models, "dtype": "bfloat16"}, ("first", "second"))
    assert verdict["verdict"] == "merge", verdict["reasons"]
    assert found["best"]["bit_exact_rate"] == 1.0
    assert {found["best"]["parameters"][f"density.{name}"] for name in ("first", "second")} == {density}
