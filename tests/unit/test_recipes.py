"""Recipes: the weights a person would write, applied as a merging tool applies them."""

import numpy as np
import pytest
import yaml

from mergetrace.dtypes import decode, encode
from mergetrace.evidence import Sample
from mergetrace.recipe_search import as_json, from_json
from mergetrace.recipes import Recipe, candidates, decoded_merge, mergekit_config, simple_weights


@pytest.mark.parametrize(("low", "high", "weights"), [(0.57099, 0.57101, (0.429, 0.571)), (0.5, 0.5, (0.5, 0.5)), (0.29999, 0.30001, (0.7, 0.3))])
def test_the_simplest_decimals_come_first(low, high, weights):
    assert simple_weights(low, high)[0] == weights


def test_small_whole_numbers_are_tried():
    assert (3.0, 4.0) in simple_weights(0.571428, 0.571429)


def test_an_interval_without_simple_weights_is_tried_in_its_middle():
    assert simple_weights(0.1234567811, 0.1234567812) == [(pytest.approx(1 - 0.12345678115), pytest.approx(0.12345678115))]


def test_a_merge_is_given_back_only_by_its_own_weights():
    generator = np.random.default_rng(0)
    base, donor = (decode(encode(generator.normal(size=20_000), "BF16"), "BF16") for _ in range(2))
    made = Recipe(0.429, 0.571, donor_first=False, fused=False)
    merged = (base.astype(np.float32) * np.float32(0.429) + donor.astype(np.float32) * np.float32(0.571)) / (np.float32(0.429) + np.float32(0.571))
    suspect = Sample(encode(merged, "BF16").view(np.uint8), "BF16")
    assert (decoded_merge(made, base, donor, suspect) == suspect.values()).all()
    other = decoded_merge(Recipe(3.0, 4.0), base, donor, suspect) == suspect.values()
    assert 0.5 < other.mean() < 0.99


def test_recipes_survive_json_and_become_mergekit_configurations():
    for recipe in candidates(0.5709, 0.5711):
        assert from_json(as_json(recipe)) == recipe
    config = yaml.safe_load(mergekit_config(Recipe(0.429, 0.571, donor_first=True), "Qwen/base", "nex/donor", "bfloat16"))
    assert [model["model"] for model in config["models"]] == ["nex/donor", "Qwen/base"]
    assert config["models"][0]["parameters"]["weight"] == 0.571
    assert config["dtype"] == "bfloat16"
