"""The recipe given back: run by mergekit and by torch, it makes the same tensors."""

import json
import runpy
import sys

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from mergetrace.giving_back.torch_lines import torch_lines
from mergetrace.merging.by_tool import as_tool_writes_it, tool_siblings
from mergetrace.merging.recipes import make, make_script
from mergetrace.merging.scripts import SCRIPTS
from mergetrace.testing.giving_back import Rerun, give_back, rerun
from mergetrace.testing.planting import finetuned, write_model
from mergetrace.testing.realmerge import CONFIG, mergekit, qwen, write_qwen

BASE = qwen(0)
MODELS = {"base": BASE, "first": finetuned(BASE, 1), "second": finetuned(BASE, 2)}
TENSORS = len(BASE)
NEURALPIPE = [
    {"filter": "self_attn", "value": [0, 0.5, 0.3, 0.7, 1]},
    {"filter": "mlp", "value": [1, 0.5, 0.7, 0.3, 0]},
    {"value": 0.5},
]


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    """In folders as people name them: a blank, and what mergekit takes for an adapter
    or a revision.
    """
    folder = tmp_path_factory.mktemp("my models+old@home")
    return {
        name: write_qwen(folder / name, tensors) for name, tensors in MODELS.items()
    }


def reference(path):
    return {"model": {"path": str(path)}}


def merged(parents, folder, method, models, **rest):
    """A merge by mergekit itself."""
    entries = [
        {"model": reference(parents[name]), "parameters": parameters}
        for name, parameters in models.items()
    ]
    base = {"base_model": reference(parents["base"])} if rest.pop("over", 0) else {}
    return mergekit(
        {"merge_method": method, "models": entries, "dtype": "bfloat16"} | base | rest,
        folder,
    )


def spec(*donors):
    return {"suspect": "suspect", "base": "base", "donors": list(donors)}


def given_back(parents, tmp_path, suspect, *donors):
    """The folder of the recipe, and what its files make again."""
    recipe = give_back(
        tmp_path / "results", {**parents, "suspect": suspect}, spec(*donors)
    )
    return recipe, {run.file: run for run in rerun(recipe, suspect)}


BY_MERGEKIT = {
    "linear": ("linear", {"base": {"weight": 0.43}, "first": {"weight": 0.57}}, {}),
    "task arithmetic": (
        "task_arithmetic",
        {"first": {"weight": 0.5}, "second": {"weight": 0.4}},
        {"over": 1},
    ),
    "slerp": (
        "slerp",
        {"base": {}, "first": {}},
        {"over": 1, "parameters": {"t": 0.4}},
    ),
    "ties": (
        "ties",
        {"first": {"weight": 0.6, "density": 0.6}},
        {"over": 1},
    ),
    "gradient per filter": (
        "slerp",
        {"base": {}, "first": {}},
        {"over": 1, "parameters": {"t": NEURALPIPE}},
    ),
}


REPEATED = ("linear", "slerp")
"""`blend` is a linear merge that is given back, a gradient is a slerp."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.thorough) if case in REPEATED else case
        for case in BY_MERGEKIT
    ],
)
def test_every_tensor_of_a_merge_by_mergekit_comes_back(parents, tmp_path, case):
    method, models, rest = BY_MERGEKIT[case]
    suspect = merged(parents, tmp_path / "suspect", method, models, **dict(rest))
    donors = [name for name in models if name != "base"]
    recipe, runs = given_back(parents, tmp_path, suspect, *donors)
    assert runs["mergekit.yml"] == Rerun("mergekit.yml", TENSORS, TENSORS)
    assert all(run.same == TENSORS for run in runs.values())
    proof = json.loads((recipe / "proof.json").read_text())
    assert proof["recipe_found"]
    assert all(row["sha256"] == row["sha256_rebuilt"] for row in proof["tensors"])
    assert "comes back byte for byte" in (recipe / "README.md").read_text()


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parents_in_f16_are_opened_in_the_dtype_that_was_merged_in(tmp_path, dtype):
    base = qwen(70, torch.float16)
    models = {"base": base, "first": finetuned(base, 71)}
    parents = {
        name: write_qwen(tmp_path / name, tensors) for name, tensors in models.items()
    }
    weights = {"base": 0.43, "first": 0.57}
    entries = [
        {"model": str(parents[name]), "parameters": {"weight": weight}}
        for name, weight in weights.items()
    ]
    config = {"merge_method": "linear", "models": entries, "dtype": dtype}
    config["out_dtype"] = "bfloat16"
    suspect = mergekit(config, tmp_path / "suspect")
    recipe, runs = given_back(parents, tmp_path, suspect, "first")
    written = yaml.safe_load((recipe / "mergekit.yml").read_text())
    assert written["dtype"] == dtype
    assert runs["mergekit.yml"].same == TENSORS


@pytest.mark.slow
def test_layers_of_two_models_come_back(parents, tmp_path):
    slices = [
        {"sources": [{"model": reference(parents[name]), "layer_range": layers}]}
        for name, layers in (("base", [0, 3]), ("first", [3, 6]))
    ]
    config = {"merge_method": "passthrough", "slices": slices, "dtype": "bfloat16"}
    suspect = mergekit(config, tmp_path / "suspect")
    _, runs = given_back(parents, tmp_path, suspect, "first")
    assert {run.same for run in runs.values()} == {TENSORS}
    assert set(runs) == {"mergekit.yml", "merge.py"}


@pytest.mark.slow
def test_a_merge_by_hand_comes_back_as_lines_of_torch(parents, tmp_path):
    product = {
        name: tensor * 0.43 + MODELS["first"][name] * 0.57
        for name, tensor in BASE.items()
    }
    suspect = write_model(tmp_path / "suspect", product, CONFIG, shards=3)
    recipe, runs = given_back(parents, tmp_path, suspect, "first")
    assert runs == {"merge.py": Rerun("merge.py", TENSORS, TENSORS)}
    assert not (recipe / "mergekit.yml").exists()


def elected(changes, sign_of_nothing):
    """The mean of the changes that have the elected sign."""
    sign = torch.stack(changes).sum(dim=0).sign()
    sign[sign == 0] = sign_of_nothing
    agree = [(change.sign() == sign) * (change != 0) for change in changes]
    whole = torch.stack(agree).sum(dim=0).clamp(min=1)
    return sum(change * one for change, one in zip(changes, agree, strict=True)) / whole


def ties_by_hand(least_of, sign_of_nothing):
    """TIES of two models; least_of: from all changes of a model and those of a tensor
    to the size from which they are kept.
    """
    changes = [
        {name: MODELS[model][name].float() - BASE[name].float() for name in BASE}
        for model in ("first", "second")
    ]
    product = {}
    for name, tensor in BASE.items():
        kept = [
            own[name] * (own[name].abs() >= least_of(own, own[name])) for own in changes
        ]
        merged = tensor.float() + elected(kept, sign_of_nothing)
        product[name] = merged.to(torch.bfloat16)
    return product


def least_of_largest(changes, share):
    sizes = changes.abs().flatten()
    return sizes.kthvalue(sizes.numel() - int(share * sizes.numel()) + 1).values


def of_all_tensors(own, change):
    return least_of_largest(torch.cat([own[name].flatten() for name in BASE]), 0.2)


def of_each_tensor(own, change):
    return least_of_largest(change, 0.3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("least_of", "sign_of_nothing"),
    [
        (of_all_tensors, -1),
        pytest.param(of_each_tensor, 0, marks=pytest.mark.thorough),
    ],
)
def test_ties_in_somebody_s_own_lines_comes_back(
    parents, tmp_path, least_of, sign_of_nothing
):
    product = ties_by_hand(least_of, sign_of_nothing)
    suspect = write_model(tmp_path / "suspect", product, CONFIG)
    _, runs = given_back(parents, tmp_path, suspect, "first", "second")
    assert runs["merge.py"] == Rerun("merge.py", TENSORS, TENSORS)


@pytest.mark.slow
def test_half_of_one_model_s_changes_in_somebody_s_own_lines_comes_back(
    parents, tmp_path
):
    product = {}
    for name, tensor in BASE.items():
        change = MODELS["first"][name].float() - tensor.float()
        least = least_of_largest(change, 0.5)
        kept = torch.where(change.abs() >= least, change, 0.0)
        product[name] = (tensor.float() + kept).to(torch.bfloat16)
    suspect = write_model(tmp_path / "suspect", product, CONFIG)
    _, runs = given_back(parents, tmp_path, suspect, "first")
    assert runs["merge.py"] == Rerun("merge.py", TENSORS, TENSORS)


SHARES = (0.31415, 0.45921, 0.27182, 0.55527, 0.53213, 0.41273)
OUTSIDE = 1 / 2.0543


@pytest.mark.slow
def test_what_lies_in_no_layer_has_one_share_in_somebody_s_own_lines(parents, tmp_path):
    noise = torch.randn(64, generator=torch.Generator().manual_seed(1))
    norm = {"model.norm.weight": (BASE["model.norm.weight"] + noise).bfloat16()}
    first, second = MODELS["first"] | norm, MODELS["second"]
    product = {}
    for name, tensor in BASE.items():
        _, inside, rest = name.partition(".layers.")
        share = SHARES[int(rest[0])] if inside else OUTSIDE
        kept = tensor.float() * (0.75 - share) + second[name].float() * 0.25
        product[name] = (kept + first[name].float() * share).bfloat16()
    suspect = write_model(tmp_path / "suspect", product, CONFIG)
    own = parents | {"first": write_qwen(tmp_path / "first", first)}
    _, runs = given_back(own, tmp_path, suspect, "first", "second")
    assert runs["merge.py"] == Rerun("merge.py", TENSORS, TENSORS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_is_given_back_by_its_own_lines(name):
    recipe = make_script(name, {"base": 0.5, "first": 0.5}, "second")
    assert torch_lines(recipe) == SCRIPTS[name].lines


def test_a_method_without_lines_is_left_to_mergekit():
    assert torch_lines(make("model_stock", {"first": 1.0}, "base")) is None


def run_programme(path, *words):
    before, sys.argv = sys.argv, [str(path), *map(str, words)]
    try:
        runpy.run_path(str(path), run_name="__main__")
    finally:
        sys.argv = before


@pytest.fixture(scope="module")
def blend(parents, tmp_path_factory):
    """A merge with a tensor of its own, and the folder of its recipe."""
    folder = tmp_path_factory.mktemp("blend")
    models = {"base": {"weight": 0.43}, "first": {"weight": 0.57}}
    suspect = merged(parents, folder / "suspect", "linear", models)
    path = suspect / "model.safetensors"
    tensors = load_file(path)
    tensors["model.extra.weight"] = torch.ones(8, 8, dtype=torch.bfloat16)
    save_file(tensors, path)
    recipe = give_back(
        folder / "results", {**parents, "suspect": suspect}, spec("first")
    )
    return recipe, suspect


@pytest.mark.slow
def test_what_no_parent_holds_is_said(blend, capsys):
    recipe, suspect = blend
    page = (recipe / "README.md").read_text()
    assert f"{TENSORS} of its {TENSORS + 1} tensors come back byte for byte" in page
    assert "some tensors of the model are in no parent" in page
    with pytest.raises(SystemExit) as ended:
        run_programme(recipe / "merge.py", "--check", suspect)
    assert ended.value.code == 1
    assert f"{TENSORS} of {TENSORS + 1} tensors" in capsys.readouterr().out


@pytest.mark.slow
def test_the_programme_writes_into_no_parent_and_asks_for_what_is_not_there(
    blend, parents, tmp_path
):
    recipe, _ = blend
    with pytest.raises(SystemExit, match="is a parent; name a new folder"):
        run_programme(recipe / "merge.py", parents["base"])
    with pytest.raises(SystemExit, match="say where first lies: first=FOLDER"):
        run_programme(recipe / "merge.py", tmp_path / "new", "first=nowhere")


def test_the_configuration_names_the_models_as_their_owner_does(blend, parents):
    recipe, _ = blend
    config = yaml.safe_load((recipe / "mergekit.yml").read_text())
    assert config["models"][0]["model"] == reference(parents["base"])


@pytest.mark.slow
def test_where_no_recipe_is_found_the_page_says_what_would_help(parents, tmp_path):
    suspect = write_qwen(tmp_path / "suspect", finetuned(BASE, 9))
    recipe, runs = given_back(parents, tmp_path, suspect, "first")
    page = (recipe / "README.md").read_text()
    assert not runs
    assert "No recipe over the offered models gives it back" in page
    assert "What would help" in page
    assert not json.loads((recipe / "proof.json").read_text())["recipe_found"]


def product(first=BASE, second=MODELS["first"]):
    """A merge by hand in bf16."""
    return {name: tensor * 0.43 + second[name] * 0.57 for name, tensor in first.items()}


EMBEDDING = "model.embed_tokens.weight"


def with_a_head(tensors):
    return {**tensors, "lm_head.weight": tensors[EMBEDDING].clone()}


def in_float32(tensors):
    return {name: tensor.float() for name, tensor in tensors.items()}


def with_fewer_rows(tensors):
    return {**tensors, EMBEDDING: tensors[EMBEDDING][:240].contiguous()}


def with_another_prefix(tensors):
    return {
        name.replace("model.", "model.language_model.", 1): tensor
        for name, tensor in tensors.items()
    }


def with_layers_exchanged(tensors):
    turned = {"3": "4", "4": "3"}
    exchanged = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        parts[2:3] = [turned.get(part, part) for part in parts[2:3]]
        exchanged[".".join(parts)] = tensor
    return exchanged


@pytest.mark.slow
@pytest.mark.parametrize(
    "publish",
    [
        with_a_head,
        pytest.param(in_float32, marks=pytest.mark.thorough),
        with_fewer_rows,
        with_another_prefix,
        with_layers_exchanged,
    ],
)
def test_the_programme_makes_files_as_they_were_published(parents, tmp_path, publish):
    config = {**CONFIG, "tie_word_embeddings": publish is not with_a_head}
    suspect = write_model(tmp_path / "suspect", publish(product()), config)
    _, runs = given_back(parents, tmp_path, suspect, "first")
    tensors = len(load_file(suspect / "model.safetensors"))
    assert runs == {"merge.py": Rerun("merge.py", tensors, tensors)}


@pytest.mark.slow
def test_fused_tensors_are_left_out_and_said(parents, tmp_path):
    fused = product()
    for layer in range(CONFIG["num_hidden_layers"]):
        at = f"model.layers.{layer}.mlp."
        gate, up = (fused.pop(f"{at}{name}_proj.weight") for name in ("gate", "up"))
        fused[f"{at}gate_up_proj.weight"] = torch.cat([gate, up])
    suspect = write_model(tmp_path / "suspect", fused, CONFIG)
    recipe, runs = given_back(parents, tmp_path, suspect, "first")
    assert runs["merge.py"].same == len(fused) - CONFIG["num_hidden_layers"]
    page = (recipe / "README.md").read_text()
    assert "tensors are fused or split otherwise than in the parents" in page


@pytest.mark.slow
def test_tensors_that_are_a_parents_as_they_are_come_back_too(parents, tmp_path):
    kept = [name for name in BASE if "norm" in name]
    tensors = product() | {name: MODELS["first"][name] for name in kept}
    suspect = write_model(tmp_path / "suspect", tensors, CONFIG)
    recipe, runs = given_back(parents, tmp_path, suspect, "first")
    assert runs == {"merge.py": Rerun("merge.py", TENSORS, TENSORS)}
    page = (recipe / "README.md").read_text()
    assert "of them are a parent's as they are" in page


def test_lines_that_are_the_tools_own_operations_become_its_configuration():
    pair = make_script(
        "sum_of_deltas", {"first": 0.5, "second": 0.4}, "base", "bfloat16", True
    )
    tool = make("task_arithmetic", {"first": 0.5, "second": 0.4}, "base", "bfloat16")
    assert as_tool_writes_it(pair) == tool
    kept = make_script("sum_of_deltas", {"first": 0.5, "second": 0.4}, "base")
    assert as_tool_writes_it(kept) == kept
    in_turn = make_script(
        "deltas_in_turn", {"first": 0.5, "second": 0.4}, "base", "bfloat16", True
    )
    assert as_tool_writes_it(in_turn) == in_turn


def test_the_tools_own_method_is_tried_beside_lines_by_hand():
    by_hand = make_script("sum_of_deltas", {"a": 0.5, "b": 0.25}, "base", "bfloat16")
    tool = make("task_arithmetic", {"a": 0.5, "b": 0.25}, "base", "bfloat16")
    assert tool_siblings(by_hand) == [tool]
    arc = make("nuslerp", {"a": 0.4, "b": 0.6})
    assert tool_siblings(arc) == [make("slerp", {"a": 0.4, "b": 0.6})]
    assert tool_siblings(make_script("products", {"a": 0.5, "b": 0.5})) == []
