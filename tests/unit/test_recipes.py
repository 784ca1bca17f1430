"""Recipes: the numbers a person would write, applied as mergekit applies them, and
written as a configuration that mergekit runs.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from mergetrace.merging.applying import Piece, apply_and_store
from mergetrace.merging.facts import Delta, HeldFacts
from mergetrace.merging.mergekit_yaml import FORMS, mergekit_config, widest_dtype
from mergetrace.merging.methods import METHODS
from mergetrace.merging.recipes import make, recipe_from_json, recipe_to_json
from mergetrace.merging.settings import constant, value_at
from mergetrace.numerics.simple import simple_weights
from mergetrace.search.gradients import Allowed, well_inside
from mergetrace.search.patterns import explain
from mergetrace.sums.evidence import Sample
from mergetrace.testing.planting import finetuned
from mergetrace.testing.realmerge import LAYERS, mergekit, qwen, write_qwen

DONORS = ("first", "second", "third")
BASE = qwen(0)
MODELS = {
    "base": BASE,
    **{donor: finetuned(BASE, seed) for seed, donor in enumerate(DONORS, start=1)},
}
GRADIENT = (("", (1.0, 0.5, 0.2)),)
RISING = (("", (0.0, 0.5, 0.8)),)
SLERP_T = (
    ("self_attn", (0.0, 0.5, 0.3, 0.7, 1.0)),
    ("mlp", (1.0, 0.5, 0.7, 0.3, 0.0)),
    ("", (0.5,)),
)
SLERP_REST = (
    ("self_attn", (1.0, 0.5, 0.7, 0.3, 0.0)),
    ("mlp", (0.0, 0.5, 0.3, 0.7, 1.0)),
    ("", (0.5,)),
)
TRIMMED = {f"density__{donor}": 0.6 for donor in DONORS[:2]}
CRUMBS = {**TRIMMED, **{f"gamma__{donor}": 0.05 for donor in DONORS[:2]}}


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents")
    return {
        name: str(write_qwen(folder / name, tensors))
        for name, tensors in MODELS.items()
    }


def piece(name, suspect):
    values = {
        model: tensors[name].double().numpy().ravel()
        for model, tensors in MODELS.items()
    }
    rows = np.stack(
        [values["base"], *(values[donor] - values["base"] for donor in DONORS)]
    )
    layer = name.split(".")[2] if ".layers." in name else "0"
    facts = HeldFacts(
        base="base",
        donors=DONORS,
        gram=rows @ rows.T,
        values=values,
        elements=values["base"].size,
        columns=suspect[name].shape[-1],
    )
    raw = suspect[name].contiguous().view(torch.uint8).numpy().ravel()
    return Piece(name, int(layer) / (LAYERS - 1), values, Sample(raw, "BF16"), facts)


DETERMINISTIC = [
    make("linear", {"base": 0.429, "first": 0.571}),
    make("linear", {"second": 0.3, "base": 0.4, "first": 0.5}),
    make("linear", {"first": 0.5, "base": 0.6}, normalize=0),
    make("linear", {"base": GRADIENT, "first": RISING}),
    make("slerp", {"base": 0.4, "first": 0.6}),
    make("slerp", {"base": SLERP_REST, "first": SLERP_T}),
    *(
        recipe
        for dtype in ("float32", "bfloat16")
        for recipe in (
            make("task_arithmetic", {"first": 0.571}, "base", dtype),
            make(
                "task_arithmetic",
                {"first": 0.6, "second": 0.3, "third": 0.4},
                "base",
                dtype,
                **{"lambda": 0.7},
            ),
            make("nuslerp", {"base": 0.4, "first": 0.6}, None, dtype),
            make("nuslerp", {"first": 0.4, "second": 0.6}, "base", dtype),
            make("model_stock", {"first": 1, "second": 1}, "base", dtype),
            make("nearswap", {"first": 0.0008}, "base", dtype),
            make(
                "ties", {"first": 0.5}, "base", dtype, normalize=1, density__first=0.6
            ),
            make(
                "ties",
                {"first": 0.5, "second": 0.3},
                "base",
                dtype,
                normalize=1,
                **TRIMMED,
            ),
            make(
                "ties",
                {"first": 0.5, "second": 0.3},
                "base",
                dtype,
                normalize=0,
                rescale=1,
                **TRIMMED,
            ),
            make("arcee_fusion", {"first": 1}, "base", dtype),
            make(
                "breadcrumbs",
                {"first": 0.7, "second": 0.4},
                "base",
                dtype,
                elect=0,
                **CRUMBS,
            ),
            make(
                "breadcrumbs",
                {"first": 0.7, "second": 0.4},
                "base",
                dtype,
                elect=1,
                **CRUMBS,
            ),
        )
    ),
    *(
        recipe
        for dtype in ("float32", "bfloat16")
        for recipe in (
            make("multislerp", {"first": 0.4, "second": 0.6}, "base", dtype),
            make("multislerp", {"first": 0.4, "second": 0.6}, None, dtype),
            make("karcher", {"base": 1, "first": 1}, None, dtype),
            make("sce", {"first": 1, "second": 1}, "base", dtype),
            make("sce", {"first": 1, "second": 1}, "base", dtype, topk=0.4),
            make("ram", {"first": 1, "second": 1}, "base", dtype),
            make("ram", {"first": 1, "second": 1}, "base", dtype, epsilon=0.001),
            make("ramplus_tl", {"first": 1, "second": 1}, "base", dtype),
            make(
                "ramplus_tl",
                {"second": 1, "third": 1},
                "base",
                dtype,
                epsilon=0.001,
                r=0.3,
                greatest_ratio=3.0,
            ),
            make("nuslerp", {"base": 0.4, "first": 0.6}, None, dtype, flatten=0),
            make(
                "nuslerp",
                {"first": 0.6, "second": 0.3},
                "base",
                dtype,
                flatten=0,
                row_wise=1,
            ),
            make(
                "multislerp",
                {"first": 0.6, "second": 0.3},
                "base",
                dtype,
                normalize_weights=0,
            ),
            make("karcher", {"base": 1, "first": 1}, None, dtype, max_iter=1),
            make(
                "model_stock", {"first": 1, "second": 1}, "base", dtype, filter_wise=1
            ),
        )
    ),
]
LAST_BIT = (
    "nuslerp",
    "multislerp",
    # a few elements in a million differ in float32, as with `rescale`: the order of an
    # operation is not known
)


@pytest.mark.parametrize(
    "recipe",
    DETERMINISTIC,
    ids=lambda recipe: f"{recipe.method}-{len(recipe.models)}-{recipe.dtype}",
)
def test_a_recipe_gives_mergekits_own_bytes(recipe, parents, tmp_path):
    """The recipe's configuration is run by mergekit; our formula gives every element
    back.
    """
    suspect = load_file(
        mergekit(mergekit_config(recipe, "bfloat16", parents), tmp_path / "merged")
        / "model.safetensors"
    )
    exact = informative = 0
    for name in BASE:
        if "norm" in name:
            continue
        one = piece(name, suspect)
        counted = one.values["first"] != one.values["base"]
        exact += int(
            ((apply_and_store(recipe, one) == one.audited.values()) & counted).sum()
        )
        informative += int(counted.sum())
    assert informative > 150_000
    open_to_order = recipe.dtype == "float32" and (
        recipe.method in LAST_BIT or "rescale" in dict(recipe.settings)
    )
    assert informative - exact <= (10 if open_to_order else 0)


@pytest.mark.parametrize("recipe", DETERMINISTIC, ids=lambda recipe: recipe.method)
def test_recipes_survive_json(recipe):
    assert recipe_from_json(recipe_to_json(recipe, "base")) == recipe


def test_the_share_of_the_donors_is_one_number_where_it_is_one():
    assert recipe_to_json(make("linear", {"base": 3, "first": 4}), "base")[
        "parameters"
    ]["alpha"] == pytest.approx(4 / 7)
    assert recipe_to_json(
        make("task_arithmetic", {"first": 0.5, "second": 0.2}, "base"), "base"
    )["parameters"]["alpha"] == pytest.approx(0.7)
    assert (
        recipe_to_json(make("linear", {"base": GRADIENT, "first": RISING}), "base")[
            "parameters"
        ]["alpha"]
        is None
    )
    assert (
        recipe_to_json(
            make("ties", {"first": 0.5}, "base", density__first=0.5), "base"
        )["parameters"]["alpha"]
        is None
    )


def test_the_configuration_names_models_in_order():
    config = yaml.safe_load(
        mergekit_config(
            make("linear", {"donor": 0.571, "base": 0.429}),
            "bfloat16",
            {"donor": "nex/donor"},
        )
    )
    assert [model["model"] for model in config["models"]] == ["nex/donor", "base"]
    assert config["models"][0]["parameters"]["weight"] == 0.571
    assert config["dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("low", "high", "weights"),
    [
        (0.57099, 0.57101, (0.429, 0.571)),
        (0.5, 0.5, (0.5, 0.5)),
        (0.29999, 0.30001, (0.7, 0.3)),
    ],
)
def test_the_simplest_decimals_come_first(low, high, weights):
    assert simple_weights([(low, high)])[0] == weights


def test_small_whole_numbers_are_tried():
    assert (3.0, 4.0) in simple_weights([(0.571428, 0.571429)])


def test_weights_that_do_not_sum_to_one_are_tried():
    shares = (0.5 / 1.4, 0.3 / 1.4, 0.2 / 1.4)
    assert (0.4, 0.5, 0.3, 0.2) in simple_weights(
        [(share - 1e-6, share + 1e-6) for share in shares]
    )


def test_an_interval_without_simple_weights_is_tried_in_its_middle():
    assert simple_weights([(0.1234567811, 0.1234567812)]) == [
        (pytest.approx(1 - 0.12345678115), pytest.approx(0.12345678115))
    ]


def test_settings_follow_filters_and_layers():
    assert value_at(SLERP_T, "model.layers.3.mlp.up_proj.weight", 0.25) == 0.5
    assert value_at(
        SLERP_T, "model.layers.3.self_attn.q_proj.weight", 0.625
    ) == pytest.approx(0.5)
    assert value_at(SLERP_T, "model.embed_tokens.weight", 0.0) == 0.5
    assert value_at((("mlp", (1.0,)),), "model.embed_tokens.weight", 0.0) != value_at(
        constant(1.0), "", 0.0
    )


def test_patterns_are_explained_by_the_fewest_numbers():
    names = [
        (f"model.layers.{layer}.{part}.weight", layer / 11)
        for layer in range(12)
        for part in ("self_attn.q_proj", "mlp.up_proj")
    ]
    for setting in (
        constant(0.3),
        RISING,
        (("self_attn", (0.3,)), ("mlp", (0.7,))),
        SLERP_T[:2],
    ):
        true = [value_at(setting, name, position) for name, position in names]
        allowed = [
            Allowed(name, position, value - 1e-4, value + 1e-4)
            for (name, position), value in zip(names, true, strict=True)
        ]
        explained = explain(allowed)
        assert explained[: len(setting)] == setting
        assert [value for _, value in explained[len(setting) :]] == [
            value for _, value in setting[:1] if setting[-1][0]
        ], "tensors of other names have a number too"


def test_no_pattern_is_found_where_there_is_none():
    generator = np.random.default_rng(0)
    allowed = [
        Allowed(
            f"model.layers.{layer}.mlp.up_proj.weight", layer / 11, value, value + 1e-5
        )
        for layer, value in enumerate(generator.random(12))
    ]
    assert explain(allowed) is None


def test_every_method_has_a_form_in_mergekits_configuration():
    assert set(FORMS) == set(METHODS) - {"passthrough"}


def test_what_a_recipe_does_not_set_is_the_methods_default():
    recipe = make("ties", {"first": 0.5}, "base", density__first=0.4)
    assert recipe.setting("density.first") == 0.4
    assert (recipe.setting("lambda"), recipe.setting("rescale")) == (1, 0)
    assert METHODS["breadcrumbs"].defaults(["a", "b"])["density.b"] == 1
    with pytest.raises(KeyError, match="linear has no value for rescale"):
        make("linear", {"first": 1}).setting("rescale")


def test_a_file_of_several_dtypes_is_written_in_the_widest():
    assert widest_dtype(["bfloat16", "float32"]) == "float32"
    assert widest_dtype(["float8_e4m3fn"]) == "float8_e4m3fn"


def test_a_number_that_nobody_writes_lies_in_the_middle_of_what_is_allowed():
    slack = 1e-6
    assert well_inside(0.3 - 2 * slack, 0.3 + slack) == 0.3
    true = (5**0.5 - 1) / 2
    assert abs(well_inside(true - slack, true + slack) - true) < 1e-7


def facts_of_first(held, whole):
    """Of the whole change of a donor the first numbers are known."""
    return HeldFacts(
        base="base",
        donors=("donor",),
        elements=whole.size,
        gram=np.zeros((2, 2)),
        values={"base": np.zeros(held), "donor": whole[:held]},
    )


def test_a_threshold_that_a_sample_shows_is_as_uncertain_as_the_sample():
    generator = np.random.default_rng(3)
    whole = generator.standard_normal(1 << 16)
    held = 1 << 14
    sampled = facts_of_first(held, whole)
    delta = Delta("base", "donor", "float32")
    error = sampled.share_error(delta, 0.3)
    true = np.sort(np.abs(whole))[-int(0.3 * whole.size)]
    least = sampled.smallest_kept(delta, 0.3 + error)
    assert least < true < sampled.smallest_kept(delta, 0.3 - error)
    assert replace(sampled, elements=held).share_error(delta, 0.3) == 0


def test_a_threshold_is_more_uncertain_where_blocks_of_the_sample_differ():
    generator = np.random.default_rng(4)
    sizes = np.repeat(np.exp(0.3 * generator.standard_normal(64)), 1024)
    whole = sizes * generator.standard_normal(sizes.size)
    held = 1 << 14
    facts = facts_of_first(held, whole)
    delta = Delta("base", "donor", "float32")
    mixed = {"base": np.zeros(held), "donor": generator.permutation(whole[:held])}
    alike = replace(facts, values=mixed)
    error = facts.share_error(delta, 0.3)
    assert error > 2 * alike.share_error(delta, 0.3)
    true = np.sort(np.abs(whole))[-int(0.3 * whole.size)]
    least = facts.smallest_kept(delta, 0.3 + error)
    assert least < true < facts.smallest_kept(delta, 0.3 - error)
