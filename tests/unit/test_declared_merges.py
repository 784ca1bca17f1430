"""What a folder says of the merge that made it is read with bounds, whoever wrote it."""

import json
from itertools import pairwise

import pytest
import torch
import yaml
from safetensors.torch import save_file

from mergetrace.files.declared_merges import declared_merges
from mergetrace.files.safetensors_file import read_model
from mergetrace.outputs import read_json
from mergetrace.planning.manifest import describe
from mergetrace.records.json_records import as_json, from_json
from mergetrace.records.verdict import Declared
from mergetrace.stages import manifest
from mergetrace.testing import realmerge

SLERP = """
slices:
  - sources:
      - model: org/A@main
        layer_range: [0, 4]
      - model: org/B
        layer_range: [0, 4]
merge_method: slerp
base_model: org/A@main
parameters:
  t:
    - filter: self_attn
      value: [0, 0.5, 1]
    - value: 0.5
dtype: bfloat16
"""
EXPERTS = """
base_model: org/A
gate_mode: hidden
dtype: bfloat16
experts:
  - source_model: org/B
    positive_prompts: ["a"]
  - source_model: org/C
"""


@pytest.fixture
def read(tmp_path):
    """read(file name -> text) -> the merges that the folder declares"""

    def read(files):
        for name, text in files.items():
            (tmp_path / name).write_text(text)
        return declared_merges(tmp_path)

    return read


def test_models_with_parameters_are_read(read):
    text = (
        "merge_method: ties\nbase_model: {model: {path: org/A, revision: v1}}\n"
        "models:\n- model: org/B\n  parameters: {weight: 0.5, density: [0.2, 1]}\n"
        "- {model: org/C+org/adapter, parameters: {weight: .nan}}\n"
        "parameters: {normalize: true}\ndtype: torch.float32\nout_dtype: bfloat16\n"
    )
    [merge] = read({"mergekit_config.yml": text})
    [part] = merge.slices
    assert merge.models == ("org/B", "org/C+org/adapter", "org/A@v1")
    assert part.sources[0].parameters == {"weight": 0.5, "density": [0.2, 1]}
    assert part.sources[1].parameters == {"weight": "nan"}
    assert (merge.dtype, merge.out_dtype) == ("float32", "bfloat16")
    assert merge.parameters == {"normalize": True}
    assert merge.fault is None


def test_slices_and_experts_are_read(read):
    slerp, experts = read(
        {
            "mergekit_config.yml": SLERP,
            "mergekit_moe_config.yml": EXPERTS,
        }
    )
    assert [source.layers for source in slerp.slices[0].sources] == [(0, 4), (0, 4)]
    assert slerp.parameters["t"][0] == {"filter": "self_attn", "value": [0, 0.5, 1]}
    assert experts.kind == "experts"
    assert experts.models == ("org/B", "org/C", "org/A")
    assert experts.gate_mode == "hidden"


def test_the_card_is_read_where_it_says_more_than_the_tool(read):
    card = (
        "---\nbase_model: [org/A, org/B]\n---\n# A merge\n```python\nmodels = 1\n```\n"
        f"```yaml\n{SLERP}\n```\n"
    )
    assert [merge.file for merge in read({"README.md": card})] == ["README.md"]
    own = read({"mergekit_config.yml": SLERP})
    assert [merge.file for merge in own] == ["mergekit_config.yml"]
    further = card + f"~~~yml\n{EXPERTS}\n~~~\n"
    assert [merge.kind for merge in read({"README.md": further})] == [
        "merge",
        "experts",
    ]


def test_the_head_of_a_card_may_name_a_method(read):
    card = "---\nmerge_method: karcher\nbase_model: [org/A, org/B]\n---\n# A merge\n"
    [merge] = read({"README.md": card})
    assert (merge.method, merge.models) == ("karcher", ("org/A", "org/B"))
    assert read({"README.md": card.replace("merge_method: karcher", "a: b")}) == []


@pytest.mark.parametrize("place", ["index", "file"])
def test_the_version_of_the_tool_is_read_from_either_place(tmp_path, place):
    folder = realmerge.write_qwen(tmp_path / "m", {"a": torch.zeros(2, 2)})
    stated = {"mergekit_version": "0.1.5"}
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    metadata = stated if place == "file" else {}
    save_file({"a": torch.zeros(2, 2)}, folder / "model.safetensors", metadata)
    if place == "index":
        index = {"metadata": stated, "weight_map": {"a": "model.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    described = describe("m", folder, read_model(folder))
    assert described["declared"]["merge_tool"] == "0.1.5"


def test_anchors_are_written_out(read):
    text = (
        "merge_method: linear\nmodels:\n- model: org/A\n  parameters: &half\n"
        "    weight: 0.5\n- model: org/B\n  parameters: {<<: *half, density: 1}\n"
    )
    [merge] = read({"mergekit_config.yml": text})
    assert merge.slices[0].sources[1].parameters == {"weight": 0.5, "density": 1}


def _laughs(link):
    chain = pairwise("abcdefghijk")
    return "a: &a [x, y]\n" + "".join(
        f"{new}: &{new} {link.format(', '.join([f'*{old}'] * 9))}\n"
        for old, new in chain
    )


HOSTILE = {
    "a billion laughs": (_laughs("[{}]"), "grown"),
    "laughs by merge keys": (_laughs("{{<<: [{}]}}"), "grown"),
    "a document that holds itself": ("a: &a [*a]\n", "grown"),
    "deep nesting": ("a: " + "[" * 60 + "]" * 60, "grown"),
    "deeper nesting": ("[" * 20_000, "unreadable"),
    "a list": ("- merge_method: linear\n", "no mapping"),
    "a number": ("5", "no mapping"),
    "nothing": ("", "unreadable"),
    "code": ("model: !!python/object/apply:os.system [id]", "unreadable"),
    "models that are none": ("merge_method: linear\nmodels: {a: 1}\n", "no models"),
    "names that are none": ("models: [{model: 5}, {model: [a]}, x]\n", "no models"),
    "several modules": (
        "merge_method: linear\nmodules: {a: {models: []}, b: {models: []}}",
        "several modules",
    ),
    "50 MB": ("models: [{model: a}]\n" + "#" * 50 * 2**20, "long"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_configuration_is_said_to_be_unread(read, what):
    text, fault = HOSTILE[what]
    [merge] = read({"mergekit_config.yml": text})
    assert merge.fault == fault
    assert merge.slices == ()


def test_odd_values_become_text(read):
    text = (
        "merge_method: linear\nmodels:\n- model: org/A\n  parameters:\n"
        "    weight: .inf\n    density: 2024-01-01\n    gamma: 0x" + "f" * 9000 + "\n"
        "    1: x\n    t: [half, 1e-3, '0.5']\n"
    )
    [merge] = read({"mergekit_config.yml": text})
    parameters = merge.slices[0].sources[0].parameters
    assert parameters["weight"] == "inf"
    assert parameters["t"] == ["half", "1e-3", "0.5"]
    assert len(parameters["gamma"]) == 200
    assert set(parameters) == {"weight", "density", "gamma", "t"}
    assert from_json(type(merge), as_json(merge), "x") == merge


def test_mergekits_own_file_reaches_the_manifest(tmp_path):
    parents = [
        realmerge.write_qwen(tmp_path / name, realmerge.qwen(seed))
        for seed, name in enumerate("ab")
    ]
    config = {
        "merge_method": "linear",
        "models": [
            {"model": str(parent), "parameters": {"weight": weight}}
            for parent, weight in zip(parents, (0.25, 0.75), strict=True)
        ],
        "dtype": "bfloat16",
    }
    folder = realmerge.mergekit(config, tmp_path / "merged", write_card=True)
    outputs = manifest.Outputs(
        tmp_path / "m.json", tmp_path / "m.parquet", tmp_path / "files"
    )
    manifest.run(manifest.Inputs(folder=folder), manifest.Params("merged"), outputs)
    written = read_json(tmp_path / "m.json")
    declared = from_json(Declared, written["declared"], "m.json")
    [merge] = declared.merges
    assert merge.file == "mergekit_config.yml"
    assert merge.models == tuple(map(str, parents))
    assert yaml.safe_load((tmp_path / "files/mergekit_config.yml").read_text())
