"""Declared configurations become recipes: what `mergekit_yaml` writes is read back, and
what no recipe can hold is refused with its reason.
"""

import pytest

from mergetrace.files.declared_merges import declared_merges
from mergetrace.merging.mergekit_reading import Named, recipes_of
from mergetrace.merging.mergekit_yaml import mergekit_config
from mergetrace.merging.model_names import Offered, matched
from mergetrace.merging.recipes import donor_shares, make
from mergetrace.merging.setting_reading import NotReplayableError
from mergetrace.merging.settings import value_at

TENSORS = [
    "model.embed_tokens.weight",
    *(
        f"model.layers.{layer}.{part}.weight"
        for layer in range(6)
        for part in ("self_attn.q_proj", "mlp.up_proj")
    ),
    "model.norm.weight",
]
GRADIENT = (("self_attn", (0.0, 0.5, 0.3)), ("", (0.5,)))

RECIPES = [
    make("linear", {"a": 0.3, "b": 0.7}),
    make("linear", {"b": GRADIENT, "a": 1.0}, normalize=0),
    make("slerp", {"a": 0.4, "b": 0.6}),
    make("task_arithmetic", {"a": 1.0, "b": -0.5}, "base", "bfloat16"),
    make("task_arithmetic", {"a": 1.0}, "base", **{"lambda": 0.5}),
    make(
        "ties",
        {"a": 1.0, "b": 0.5},
        "base",
        density__a=0.3,
        density__b=0.7,
        normalize=1,
    ),
    make("breadcrumbs", {"a": 1.0}, "base", density__a=0.9, gamma__a=0.02, elect=1),
    make("nuslerp", {"a": 0.3, "b": 0.7}),
    make("multislerp", {"a": 0.3, "b": 0.7}, "base", "bfloat16"),
    make("karcher", {"a": 1.0, "b": 1.0}),
    make("model_stock", {"a": 1.0, "b": 1.0}, "base"),
    make("sce", {"a": 1.0, "b": 1.0}, "base", topk=0.5),
    make("nearswap", {"a": 0.001}, "base"),
    make("arcee_fusion", {"a": 1.0}, "base"),
]


@pytest.fixture
def read(tmp_path):
    """read(configuration) -> its recipes, the models called as they are"""

    def read(text, moved=None):
        (tmp_path / "mergekit_config.yml").write_text(text)
        [merge] = declared_merges(tmp_path)
        names = {name: name for name in merge.models}
        return recipes_of(merge, Named(names, TENSORS, moved))

    return read


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.method)
def test_what_we_write_is_read_back(read, recipe):
    found = read(mergekit_config(recipe, "bfloat16"))
    assert recipe in found
    assert len(found) <= 7


def test_slices_of_their_own_numbers_are_one_recipe(read):
    recipe, *_ = read(
        "merge_method: linear\ndtype: float32\nparameters: {weight: 1}\nslices:\n"
        "- sources:\n"
        "  - {model: a, layer_range: [0, 2], parameters: {weight: [0.1, 0.2]}}\n"
        "  - {model: b, layer_range: [0, 2]}\n"
        "- sources:\n"
        "  - model: a\n    layer_range: [2, 6]\n"
        "    parameters: {weight: [{filter: q_proj, value: 0}, {value: 0.4}]}\n"
        "  - {model: b, layer_range: [2, 6]}\n"
    )
    of_a, of_b = recipe.weights
    assert [value_at(of_a, tensor, 0.5) for tensor in TENSORS] == [
        0.1, 0.1, 0.1, 0.2, 0.2, *[0.0, 0.4] * 4, 0.4,
    ]  # fmt: skip
    assert {value_at(of_b, tensor, 0.5) for tensor in TENSORS} == {1}


STACK = (
    "merge_method: passthrough\ndtype: bfloat16\nslices:\n"
    "- sources: [{model: a, layer_range: [0, 2]}]\n"
    "- sources: [{model: b, layer_range: [1, 3]}]\n"
)


def test_a_stack_is_read_where_its_layers_lie_as_they_were_found(read):
    [recipe] = read(STACK, {2: 1, 3: 2})
    weights = dict(zip(recipe.models, recipe.weights, strict=True))
    owners = [
        next(model for model in weights if value_at(weights[model], tensor, 0))
        for tensor in (TENSORS[0], TENSORS[1], TENSORS[3], TENSORS[5], TENSORS[-1])
    ]
    assert owners == ["a", "a", "a", "b", "b"]
    with pytest.raises(NotReplayableError) as caught:
        read(STACK)
    assert (caught.value.code, caught.value.detail) == ("layers", "2")


PAIR = "models: [{model: a, parameters: {weight: 1}}, {model: b, parameters: %s}]\n"
REFUSED = {
    "unknown": ("merge_method: alchemy\n" + PAIR % "{weight: 1}", "method", "alchemy"),
    "random": ("merge_method: dare_ties\n" + PAIR % "{}", "random", "dare_ties"),
    "no weight": ("merge_method: linear\n" + PAIR % "{}", "weight", "weight"),
    "text": ("merge_method: linear\n" + PAIR % "{weight: half}", "number", "weight"),
    "NaN": ("merge_method: linear\n" + PAIR % "{weight: .nan}", "number", "weight"),
    "text NaN": ("merge_method: linear\n" + PAIR % "{weight: nan}", "number", "weight"),
    "nested": (
        "merge_method: linear\n" + PAIR % "{weight: [[[0.5]]]}", "number", "weight",
    ),
    "no base": ("merge_method: ties\n" + PAIR % "{weight: 1}", "base", ""),
    "another tolerance": (
        "merge_method: karcher\nparameters: {tol: 0.1}\n" + PAIR % "{}",
        "parameter",
        "tol",
    ),
    "a model twice": (
        "merge_method: linear\nmodels: [{model: a}, {model: a}]\n", "models", "",
    ),
    "three of two": (
        "merge_method: slerp\nbase_model: a\nparameters: {t: 0.5}\n"
        "models: [{model: a}, {model: b}, {model: c}]\n",
        "models",
        "",
    ),
    "endless layers": (
        "merge_method: linear\nslices:\n"
        "- sources: [{model: a, layer_range: [0, 999999999999]}]\n"
        "- sources: [{model: a, layer_range: [5, 1]}]\n",
        "slices",
        "",
    ),
    "three of two on the sphere": (
        "merge_method: nuslerp\nparameters: {weight: 1}\n"
        "models: [{model: a}, {model: b}, {model: c}]\n",
        "models",
        "",
    ),
    "one of two": (
        "merge_method: nuslerp\nparameters: {weight: 1}\nmodels: [{model: a}]\n",
        "models",
        "",
    ),
    "more than all": (
        "merge_method: ties\nbase_model: b\nparameters: {density: 1.5, weight: 1}\n"
        "models: [{model: a}]\n",
        "number",
        "density",
    ),
    "too large a weight": (
        "merge_method: linear\nparameters: {weight: 1e300}\n"
        "models: [{model: a}, {model: b}]\n",
        "number",
        "weight",
    ),
    "experts without a base": ("experts: [{source_model: a}]", "experts", ""),
    "changed experts": (
        "base_model: b\nexperts: [{source_model: a, residual_scale: 0.1}]",
        "experts",
        "",
    ),
    "shared experts": (
        "base_model: b\nexperts: [{source_model: a}]\n"
        "shared_experts: [{source_model: a}]",
        "experts",
        "",
    ),
    "nothing": ("models: [", "fault", "unreadable"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_recipe_holds_is_refused(read, what):
    text, code, detail = REFUSED[what]
    with pytest.raises(NotReplayableError) as caught:
        read(text)
    assert (caught.value.code, caught.value.detail) == (code, detail)


OFFERED = [
    Offered("base", "Qwen/Qwen3-8B", None, ("main", "abc")),
    Offered("donor", None, "/data/models/Nex-8B"),
    Offered("old", "org/twin", None, ("v1", "123")),
    Offered("new", "org/twin", None, ("v2", "456")),
    Offered("left", "x/same"),
    Offered("right", "y/same"),
]


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("Qwen/Qwen3-8B", "base"),
        ("qwen/qwen3-8b@main", "base"),
        ("https://huggingface.co/Qwen/Qwen3-8B/", "base"),
        ("/root/.cache/huggingface/hub/models--Qwen--Qwen3-8B/snapshots/a1", "base"),
        ("someone/nex-8b", "donor"),
        ("/DATA/models/Nex-8B/", "donor"),
        (r"C:\models\Nex-8B", "donor"),
        ("donor", "donor"),
        ("org/twin@v2", "new"),
        ("org/twin@123", "old"),
        ("org/twin", None),
        ("same", None),
        ("x/same", "left"),
        ("z/same", None),
        ("Qwen/Qwen3-8B+org/adapter", None),
        ("Qwen/Qwen3", None),
        ("", None),
        ("/", None),
    ],
)
def test_models_are_matched_by_name_where_one_is_meant(name, model):
    assert matched([name], OFFERED).get(name) == model


def test_shares_that_no_number_says_are_unknown():
    cancelling = make("linear", {"a": 1.0, "base": -1.0})
    assert donor_shares(cancelling, "base") is None
    varying = make(
        "task_arithmetic", {"a": 1.0}, "base", **{"lambda": (("", (0.2, 0.8)),)}
    )
    assert donor_shares(varying, "base") is None
