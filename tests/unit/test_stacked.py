"""Stacks of layers by mergekit's passthrough: given back with their slices; and what
only looks like one.
"""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

from mergetrace.merging.mergekit_yaml import mergekit_config
from mergetrace.merging.recipes import recipe_from_json
from mergetrace.testing.audits import audit, rebuild
from mergetrace.testing.planting import finetuned
from mergetrace.testing.realmerge import mergekit, qwen, write_qwen

pytestmark = pytest.mark.slow

BASE = qwen(0)
DONOR, SECOND, SIBLING = (finetuned(BASE, seed) for seed in (1, 2, 3))
MODELS = {"base": BASE, "donor": DONOR, "second": SECOND, "sibling": SIBLING}


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents")
    return {
        name: write_qwen(folder / name, tensors) for name, tensors in MODELS.items()
    }


@pytest.fixture
def judge(parents, tmp_path):
    """judge(tensors or folder of the suspect, donors, other parents) -> verdict.json"""

    def run(suspect, donors=("donor",), **others):
        folders = {name: parents[name] for name in MODELS} | {
            name: write_qwen(tmp_path / name, tensors)
            for name, tensors in others.items()
        }
        folders["suspect"] = (
            write_qwen(tmp_path / "suspect", suspect)
            if isinstance(suspect, dict)
            else suspect
        )
        spec = {
            "suspect": "suspect",
            "base": "base",
            "donors": list(donors),
            "controls": ["sibling"],
        }
        offered = {
            name: folders[name] for name in ("suspect", "base", "sibling", *donors)
        }
        return audit(
            tmp_path,
            offered,
            spec,
            published={**dict.fromkeys(donors, "2026-01-01"), "suspect": "2026-06-01"},
        )

    return run


def stack(parents, runs, output):
    parts = [
        {"sources": [{"model": str(parents[name]), "layer_range": [first, end]}]}
        for name, first, end in runs
    ]
    return mergekit(
        {"merge_method": "passthrough", "slices": parts, "dtype": "bfloat16"}, output
    )


def of(owner, others):
    """The tensors of `owner`, those of the layers in `others` ({layer: model}) from
    there.
    """
    return {
        name: next(
            (
                held[name]
                for layer, held in others.items()
                if f"layers.{layer}." in name
            ),
            tensor,
        )
        for name, tensor in owner.items()
    }


def named(found):
    return [name for name, parent in found["parents"].items() if parent["named"]]


STACKS = {
    "half and half": ([("base", 0, 3), ("donor", 3, 6)], ("donor",)),
    "three runs": ([("donor", 0, 2), ("base", 2, 5), ("donor", 5, 6)], ("donor",)),
    "of two donors": ([("donor", 0, 3), ("second", 3, 6)], ("donor", "second")),
    "moved and repeated": ([("donor", 0, 3), ("base", 1, 4)], ("donor",)),
}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param("half and half", marks=pytest.mark.thorough),
        pytest.param("three runs", marks=pytest.mark.thorough),
        pytest.param("of two donors", marks=pytest.mark.thorough),
        "moved and repeated",
    ],
)
def test_a_stack_is_given_back_and_its_slices_make_it_again(
    case, judge, parents, tmp_path
):
    runs, donors = STACKS[case]
    suspect = stack(parents, runs, tmp_path / "suspect")
    found = judge(suspect, donors)
    assert (found["verdict"], found["family"], tuple(named(found))) == (
        "merge",
        "passthrough",
        donors,
    ), found["reasons"]
    assert found["recipe"]["bit_exact_rate"] == 1.0
    assert any(
        "Order: donor is older than suspect" in reason for reason in found["reasons"]
    )
    text = found["recipe"]["mergekit_config"]
    for name, folder in parents.items():
        text = text.replace(f"model: {name}\n", f"model: {folder}\n")
    again, first = (
        load_file(folder / "model.safetensors")
        for folder in (mergekit(text, tmp_path / "again"), suspect)
    )
    assert all(torch.equal(again[name], tensor) for name, tensor in first.items())
    rebuilt = rebuild(
        tmp_path,
        {name: parents[name] for name in ("base", *donors)} | {"suspect": suspect},
        "suspect",
    )
    assert rebuilt["identical"] == rebuilt["tensors"]


@pytest.mark.thorough
def test_an_embedding_from_elsewhere_is_in_the_configuration(judge, parents, tmp_path):
    suspect = of(BASE, {layer: DONOR for layer in (0, 1, 2)})
    found = judge(suspect)
    assert found["verdict"] == "merge", found["reasons"]
    text = found["recipe"]["mergekit_config"]
    assert text.startswith("# mergekit's passthrough takes layers whole")
    for name, folder in parents.items():
        text = text.replace(f"model: {name}\n", f"model: {folder}\n")
    again = load_file(mergekit(text, tmp_path / "again") / "model.safetensors")
    assert all(torch.equal(again[name], tensor) for name, tensor in suspect.items())


INNOCENT = {
    "layers frozen in the finetune": (of(SIBLING, {0: BASE, 1: BASE, 2: BASE}), {}),
    "the donor's first layers are the base's, as the finetune's are": (
        of(SECOND, {0: BASE, 1: BASE, 2: BASE}),
        {"donor-frozen": of(DONOR, {0: BASE})},
    ),
    "all but one layer frozen": (of(BASE, {3: SIBLING}), {}),
}


@pytest.mark.parametrize("case", INNOCENT)
def test_a_finetune_with_frozen_layers_is_no_stack(case, judge, tmp_path):
    suspect, others = INNOCENT[case]
    found = judge(suspect, tuple(others) or ("donor",), **others)
    assert found["verdict"] in ("finetune_of_base", "inconclusive"), found["reasons"]
    assert not named(found)
    entries = json.loads((tmp_path / "recipes.json").read_text())
    assert all(
        entry["best"] is None or entry["best"]["method"] != "passthrough"
        for entry in entries
    )


@pytest.mark.thorough
def test_a_stack_of_which_one_element_moved_is_no_stack(judge, tmp_path):
    suspect = of(BASE, {layer: DONOR for layer in (3, 4, 5)})
    suspect["model.layers.1.mlp.up_proj.weight"] = suspect[
        "model.layers.1.mlp.up_proj.weight"
    ].clone()
    suspect["model.layers.1.mlp.up_proj.weight"][3, 4] += 1
    judge(suspect)
    assert (
        json.loads((tmp_path / "recipes.json").read_text())[0]["best"]["method"]
        != "passthrough"
    )


@pytest.mark.thorough
def test_two_donors_with_the_same_layers_are_not_told_apart(judge):
    """The same model offered twice: the elements speak for neither."""
    assert not named(
        judge(
            of(BASE, {layer: DONOR for layer in (3, 4, 5)}),
            ("donor", "copy"),
            copy=DONOR,
        )
    )


def test_the_configuration_of_a_stack_survives_json(judge, tmp_path):
    judge(of(BASE, {layer: DONOR for layer in (3, 4, 5)}))
    recipe = recipe_from_json(
        json.loads((tmp_path / "recipes.json").read_text())[0]["best"]
    )
    slices = yaml.safe_load(mergekit_config(recipe, "bfloat16", layers={5: 4}))[
        "slices"
    ]
    assert [
        (part["sources"][0]["model"], part["sources"][0]["layer_range"])
        for part in slices
    ] == [
        ("base", [0, 3]),
        ("donor", [3, 5]),
        ("donor", [4, 5]),
    ]
