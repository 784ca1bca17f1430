"""What a folder declares of its merge is tried first and shown beside what was found; it
neither accuses nor acquits.
"""

import json
import shutil

import pytest
import yaml

from mergetrace.testing.audits import audit
from mergetrace.testing.planting import finetuned
from mergetrace.testing.realmerge import mergekit, mergekit_experts, qwen, write_qwen

pytestmark = pytest.mark.slow

BASE = qwen(0)
MODELS = {
    "base": BASE,
    **{
        name: finetuned(BASE, seed)
        for seed, name in enumerate(("nex", "sol", "lua"), 1)
    },
}
INNOCENT = finetuned(BASE, 9)


@pytest.fixture(scope="module")
def parents(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parents")
    return {
        name: write_qwen(folder / f"{name.title()}-8B", tensors)
        for name, tensors in MODELS.items()
    }


@pytest.fixture
def audited(parents, tmp_path):
    """audited(suspect, donors, declared) -> verdict.json and what became of what it
    declares. declared: its configuration, where that is not what it was made by.
    """

    def audited(suspect, donors=("nex", "sol"), declared=None):
        if declared is not None:
            text = yaml.safe_dump(declared, sort_keys=False)
            (suspect / "mergekit_config.yml").write_text(text)
            (suspect / "README.md").unlink(missing_ok=True)
        models = {name: parents[name] for name in ("base", *donors)}
        spec = {"suspect": "doubted", "base": "base", "donors": list(donors)}
        dates = dict.fromkeys(models, "2025-01-01") | {"doubted": "2026-01-01"}
        verdict = audit(
            tmp_path / "audit", {"doubted": suspect, **models}, spec, published=dates
        )
        [entry] = json.loads((tmp_path / "audit/recipes.json").read_text())
        return verdict, entry

    return audited


def spheres(first, second, base=None):
    """NeuralPipe's SLERP, with `t` along the layers by filter."""
    whole = [{"model": str(name), "layer_range": [0, 6]} for name in (first, second)]
    by_filter = [
        {"filter": "self_attn", "value": [0, 0.5, 0.3, 0.7, 1]},
        {"filter": "mlp", "value": [1, 0.5, 0.7, 0.3, 0]},
        {"value": 0.5},
    ]
    return {
        "slices": [{"sources": whole}],
        "merge_method": "slerp",
        "base_model": str(base or first),
        "parameters": {"t": by_filter},
        "dtype": "bfloat16",
    }


def averaged(weights, method="linear", **further):
    models = [
        {"model": str(model), "parameters": {"weight": weight}}
        for model, weight in weights.items()
    ]
    return {"merge_method": method, "models": models, "dtype": "bfloat16"} | further


def items(verdict, what):
    [merge] = verdict["declared_merges"]
    return {
        item["name"]: (item["declared"], item["found"], item["agrees"])
        for item in merge["items"]
        if item["what"] == what
    }


def test_a_declared_recipe_that_replays_is_found_at_once(parents, audited, tmp_path):
    config = spheres(parents["nex"], parents["sol"])
    suspect = mergekit(config, tmp_path / "merged", write_card=True)
    verdict, entry = audited(suspect)
    assert verdict["verdict"] == "merge"
    assert entry["best"]["method"] == "slerp"
    assert entry["best"]["bit_exact_rate"] == 1
    assert entry["tried"] < 100
    [declared] = entry["declared"]
    assert declared["recipe"] == entry["best"]
    assert set(declared["matched"].values()) == {"nex", "sol"}
    [beside] = verdict["declared_merges"]
    assert beside["holds"]
    assert items(verdict, "method")[""] == ("slerp", "slerp", True)
    assert items(verdict, "model")[str(parents["sol"])] == ("sol", "sol", True)
    assert items(verdict, "parameter")["t"][2]
    assert items(verdict, "dtype")[""][2]


def test_renamed_models_are_matched(parents, audited, tmp_path):
    made = averaged(
        {parents["nex"]: 1.0, parents["sol"]: 0.5},
        "ties",
        base_model=str(parents["base"]),
        parameters={"density": 0.6, "normalize": True},
    )
    suspect = mergekit(made, tmp_path / "merged")
    text = yaml.safe_dump(made)
    for model in ("nex", "sol", "base"):
        text = text.replace(str(parents[model]), f"someone/{model}-8b@main")
    _, entry = audited(suspect, declared=yaml.safe_load(text))
    [declared] = entry["declared"]
    assert declared["matched"]["someone/nex-8b@main"] == "nex"
    assert declared["recipe"]["method"] == "ties"
    assert declared["recipe"]["bit_exact_rate"] > 0.999


def test_a_lying_configuration_changes_nothing(parents, audited, tmp_path):
    made = averaged({parents["base"]: 0.4, parents["nex"]: 0.6})
    suspect = mergekit(made, tmp_path / "merged")
    lie = averaged({parents["base"]: 0.4, parents["sol"]: 0.6})
    verdict, entry = audited(suspect, declared=lie)
    assert verdict["verdict"] == "merge"
    assert [name for name, each in verdict["parents"].items() if each["named"]] == [
        "nex"
    ]
    [declared] = entry["declared"]
    assert declared["recipe"]["bit_exact_rate"] < 0.1
    assert items(verdict, "model") == {
        str(parents["base"]): ("base", "base", True),
        str(parents["sol"]): ("sol", None, False),
    }
    assert any("gives back only" in reason for reason in verdict["reasons"])


def test_a_declaration_that_holds_in_most_places_does_not_end_the_search(
    parents, audited, tmp_path
):
    made = averaged({parents["base"]: 0.4, parents["nex"]: 0.6})
    suspect = mergekit(made, tmp_path / "merged")
    places = [f"layers.{layer}.mlp.{part}_proj" for layer in (1, 3) for part in ("up",)]
    wrong = [{"filter": place, "value": 0.3} for place in places]
    lie = averaged({parents["base"]: 0.4, parents["nex"]: [*wrong, {"value": 0.6}]})
    verdict, entry = audited(suspect, declared=lie)
    assert verdict["verdict"] == "merge"
    assert entry["best"]["parameters"]["weights"] == {"base": 0.4, "nex": 0.6}
    [declared] = entry["declared"]
    assert 0.8 < declared["recipe"]["bit_exact_rate"] < 0.999


def test_an_innocent_model_is_not_accused_for_what_it_declares(
    parents, audited, tmp_path
):
    suspect = write_qwen(tmp_path / "innocent", INNOCENT)
    lie = averaged({parents["base"]: 0.4, parents["nex"]: 0.6})
    verdict, entry = audited(suspect, declared=lie)
    assert verdict["verdict"] == "finetune_of_base"
    assert {agrees for *_, agrees in items(verdict, "model").values()} == {None}
    [declared] = entry["declared"]
    assert declared["recipe"]["bit_exact_rate"] < 0.1


def test_a_model_is_not_named_because_a_declaration_adds_it(parents, audited, tmp_path):
    made = averaged(
        {parents["nex"]: 0.5},
        "ties",
        base_model=str(parents["base"]),
        parameters={"density": 0.5, "normalize": False},
    )
    suspect = mergekit(made, tmp_path / "merged")
    more = made | {
        "models": [
            *made["models"],
            {"model": str(parents["sol"]), "parameters": {"weight": 1e-15}},
        ]
    }
    verdict, entry = audited(suspect, declared=more)
    named = [name for name, each in verdict["parents"].items() if each["named"]]
    assert named in (["nex"], [])
    assert "sol" not in entry["best"]["parameters"]["weights"]


def test_a_parent_that_was_not_offered_is_named(parents, audited, tmp_path):
    made = averaged({parents["nex"]: 0.5, parents["lua"]: 0.5})
    suspect = mergekit(made, tmp_path / "merged", write_card=True)
    shutil.rmtree(tmp_path / "audit", ignore_errors=True)
    verdict, entry = audited(suspect)
    [declared] = entry["declared"]
    assert declared["missing"] == [str(parents["lua"])]
    assert declared["problem"] == "missing"
    assert any(
        f"the parent {parents['lua']}, which was not offered" in reason
        for reason in verdict["reasons"]
    )
    assert verdict["verdict"] != "merge"


def test_a_card_alone_is_enough(parents, audited, tmp_path):
    made = averaged({parents["nex"]: [0.2, 0.8], parents["sol"]: [0.9, 0.35, 0.1]})
    suspect = mergekit(made, tmp_path / "merged", write_card=True)
    (suspect / "mergekit_config.yml").unlink()
    verdict, _ = audited(suspect)
    assert verdict["verdict"] == "merge"
    [beside] = verdict["declared_merges"]
    assert (beside["file"], beside["holds"]) == ("README.md", True)


def test_a_stack_is_compared_with_what_it_declares(parents, audited, tmp_path):
    ranges = {"nex": [0, 2], "sol": [2, 5], "base": [5, 6]}
    made = {
        "merge_method": "passthrough",
        "slices": [
            {"sources": [{"model": str(parents[name]), "layer_range": layers}]}
            for name, layers in ranges.items()
        ],
        "dtype": "bfloat16",
    }
    suspect = mergekit(made, tmp_path / "merged", write_card=True)
    verdict, entry = audited(suspect)
    assert (verdict["verdict"], entry["best"]["method"]) == ("merge", "passthrough")
    [beside] = verdict["declared_merges"]
    assert beside["holds"]
    assert items(verdict, "method")[""] == ("passthrough", "passthrough", True)
    assert items(verdict, "dtype")[""][2]


@pytest.mark.thorough
@pytest.mark.parametrize("order", [("nex", "sol"), ("sol", "nex")])
def test_experts_are_compared_with_what_is_declared(parents, audited, tmp_path, order):
    experts = [parents[name] for name in ("nex", "sol")]
    suspect = mergekit_experts(experts, tmp_path / "made", base=parents["base"])
    declared = {
        "base_model": str(parents["base"]),
        "gate_mode": "random",
        "dtype": "bfloat16",
        "experts": [{"source_model": str(parents[name])} for name in order],
    }
    (suspect / "mergekit_moe_config.yml").write_text(yaml.safe_dump(declared))
    verdict, _ = audited(suspect)
    assert verdict["verdict"] == "merge"
    [beside] = verdict["declared_merges"]
    assert beside["holds"] is (order == ("nex", "sol"))
    assert items(verdict, "method")[""][0] == "mixture of experts"
    assert set(items(verdict, "model")) == {
        str(parents[name]) for name in ("base", "nex", "sol")
    }


def test_what_drops_at_random_is_compared_by_its_family(parents, audited, tmp_path):
    made = averaged(
        {parents["nex"]: 1.0},
        "dare_linear",
        base_model=str(parents["base"]),
        parameters={"density": 0.5, "rescale": False},
        tokenizer_source="union",
    )
    declared = dict(made)
    made.pop("tokenizer_source")
    suspect = mergekit(made, tmp_path / "merged")
    verdict, _ = audited(suspect, donors=["nex"], declared=declared)
    assert verdict["verdict"] == "other_merge"
    assert items(verdict, "method")[""] == ("dare_linear", verdict["family"], True)
    assert items(verdict, "parameter")["tokenizer_source"][0] == "union"
    assert any("drops numbers at random" in reason for reason in verdict["reasons"])


def test_a_base_candidate_may_be_named_as_a_donor(parents, audited, tmp_path):
    made = averaged({parents["nex"]: [0.2, 0.7], parents["sol"]: 0.4})
    suspect = mergekit(made, tmp_path / "merged", write_card=True)
    verdict = audit(
        tmp_path / "bases",
        {
            "doubted": suspect,
            **{name: parents[name] for name in ("base", "nex", "sol")},
        },
        {"suspect": "doubted", "base": ["base", "nex"], "donors": ["sol"]},
    )
    [beside] = verdict["declared_merges"]
    assert beside["holds"]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a]\n",
        pytest.param("models: [", marks=pytest.mark.thorough),
        pytest.param("{}", marks=pytest.mark.thorough),
        "[" * 9000,
    ],
)
def test_a_hostile_configuration_hinders_nothing(parents, audited, tmp_path, text):
    made = averaged({parents["base"]: 0.4, parents["nex"]: 0.6})
    suspect = mergekit(made, tmp_path / "merged")
    (suspect / "mergekit_config.yml").write_text(text)
    verdict, _ = audited(suspect, donors=["nex"])
    assert verdict["verdict"] == "merge"
    [beside] = verdict["declared_merges"]
    assert (beside["problem"], beside["items"]) == ("fault", [])
