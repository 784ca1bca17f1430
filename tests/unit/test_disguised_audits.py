"""Whole audits of real merges in disguise: the merge is reproduced bit for bit once the
disguise is undone, and nobody innocent is accused.
"""

import json

import pandas as pd
import pytest
import yaml
from safetensors.torch import load_file

from mergetrace.planning.batches import layer_order
from mergetrace.testing.audits import audit
from mergetrace.testing.disguises import (
    channels_scaled,
    experts_permuted,
    heads_permuted,
    hidden_permuted,
    in_half,
    neurons_permuted,
    noisy,
    norms_folded,
    quantised,
    scaled,
    vocabulary_permuted,
    vocabulary_pruned,
    with_layers,
)
from mergetrace.testing.moe_models import make_moe_models
from mergetrace.testing.planting import blend, finetuned, write_model
from mergetrace.testing.realmerge import (
    CONFIG,
    mergekit,
    mergekit_experts,
    qwen,
    write_qwen,
)

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

OF_MIXTURES = {
    "suspect": "suspect",
    "base": "base",
    "donors": ["donor"],
    "controls": ["sibling"],
}

BASE = qwen(0)
DONOR = finetuned(BASE, 1)
DONOR_FIRST = {
    "donor": "2026-01-01",
    "suspect": "2026-06-01",
}  # tensors that are wholly one model's do not say it
SIBLING = finetuned(BASE, 2)


def loaded(folder):
    return {
        name: tensor
        for path in sorted(folder.glob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def layout_of_suspect(results):
    return json.loads((results / "layout.json").read_text())["models"]["suspect"]


def findings_of_suspect(results):
    """What layout.json holds of the suspect's disguises, as codes and numbers."""
    return layout_of_suspect(results)["findings"]


def assert_nobody_named(found, verdict):
    assert found["verdict"] == verdict, found["reasons"]
    assert not any(parent["named"] for parent in found["parents"].values())


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """Folders of base, donor, and their linear merge by mergekit."""
    root = tmp_path_factory.mktemp("family")
    folders = {
        name: write_qwen(root / name, tensors)
        for name, tensors in {"base": BASE, "donor": DONOR, "sibling": SIBLING}.items()
    }
    models = [
        {"model": str(folders["base"]), "parameters": {"weight": 0.429}},
        {"model": str(folders["donor"]), "parameters": {"weight": 0.571}},
    ]
    mergekit(
        {
            "merge_method": "linear",
            "models": models,
            "dtype": "float32",
            "out_dtype": "bfloat16",
        },
        root / "merged",
    )
    return folders | {"merged": root / "merged"}


@pytest.fixture
def judge(tmp_path, family):
    """judge(suspect=tensors or folder, and other tensors for sibling, donor or base;
    published=dates) -> verdict.json
    """

    def run(suspect, published=None, **others):
        folders = {name: family[name] for name in ("base", "donor", "sibling")}
        folders |= {
            name: write_qwen(tmp_path / name, tensors)
            for name, tensors in others.items()
            if tensors is not None
        }
        folders["suspect"] = (
            write_qwen(tmp_path / "suspect", suspect)
            if isinstance(suspect, dict)
            else suspect
        )
        spec = {
            "suspect": "suspect",
            "base": "base",
            "donors": ["donor"],
            "controls": ["sibling"],
        }
        return audit(tmp_path / "results", folders, spec, published=published or {})

    return run


DISGUISES = {
    "neurons": neurons_permuted,
    "heads": heads_permuted,
    "orders": lambda model: hidden_permuted(heads_permuted(neurons_permuted(model))),
    "vocabulary too": lambda model: vocabulary_permuted(
        hidden_permuted(heads_permuted(model))
    ),
    "everything": lambda model: scaled(
        hidden_permuted(heads_permuted(neurons_permuted(model))), 0.5, "up_proj"
    ),
}


@pytest.mark.parametrize("hide", DISGUISES.values(), ids=DISGUISES)
def test_a_real_merge_in_disguise_is_reproduced_bit_for_bit(judge, family, hide):
    found = judge(hide(loaded(family["merged"])), sibling=hide(SIBLING))
    assert found["verdict"] == "merge", found["reasons"]
    assert found["recipe"]["bit_exact_rate"] == 1.0
    assert found["parents"]["donor"]["alpha"] == pytest.approx(0.571, abs=1e-6)
    assert found["layout"]["undone"]
    assert found["layout"]["not_undone"] == []
    assert_nobody_named(found["controls"]["sibling"], "finetune_of_base")


@pytest.mark.parametrize("hide", DISGUISES.values(), ids=DISGUISES)
def test_an_innocent_in_disguise_is_a_finetune_of_the_base(judge, hide):
    found = judge(hide(finetuned(BASE, 5)))
    assert_nobody_named(found, "finetune_of_base")
    assert found["layout"]["undone"]


@pytest.mark.parametrize("hide", DISGUISES.values(), ids=DISGUISES)
def test_an_independent_model_in_disguise_is_unrelated(judge, hide):
    found = judge(hide(qwen(50)))
    assert_nobody_named(found, "unrelated")
    assert found["layout"]["undone"] == []
    assert any("Looked for and not found" in reason for reason in found["reasons"])


def test_a_relative_reordered_beyond_finding_is_not_called_unrelated(judge):
    """Rows and columns of every matrix in orders of their own, the vocabulary's too:
    nothing is in place to begin with.
    """
    hide = DISGUISES["orders"]
    found = judge(vocabulary_permuted(hide(finetuned(BASE, 5))))
    assert_nobody_named(found, "inconclusive")


@pytest.mark.parametrize(
    "others", [{"donor": DONOR}, {"base": BASE}], ids=lambda others: next(iter(others))
)
def test_a_parent_in_disguise_hides_no_merge_and_makes_none(judge, family, others):
    hidden = {name: DISGUISES["orders"](model) for name, model in others.items()}
    found = judge(family["merged"], **hidden)
    assert (found["verdict"], found["recipe"]["bit_exact_rate"]) == (
        "merge",
        1.0,
    ), found["reasons"]
    assert_nobody_named(found["controls"]["sibling"], "finetune_of_base")


def test_a_parent_in_disguise_makes_nobody_guilty(judge):
    assert_nobody_named(
        judge(finetuned(BASE, 5), donor=DISGUISES["orders"](DONOR)), "finetune_of_base"
    )


STORED = {
    "multiplied": lambda model: scaled(model, 1.02),
    "noise": lambda model: noisy(model, 1e-7),
    "F16": in_half,
}


@pytest.mark.parametrize("store", STORED.values(), ids=STORED)
def test_a_real_merge_stored_otherwise_is_reproduced_on_its_own_lattice(
    judge, family, store
):
    found = judge(store(loaded(family["merged"])), sibling=store(SIBLING))
    assert found["verdict"] == "merge", found["reasons"]
    assert found["recipe"]["bit_exact_rate"] > 0.998
    assert found["parents"]["donor"]["alpha"] == pytest.approx(0.571, abs=1e-6)
    assert_nobody_named(found["controls"]["sibling"], "finetune_of_base")


CHANNELS = {
    "norms and vocabulary": lambda model: vocabulary_pruned(norms_folded(model)),
    "channels and neurons": lambda model: channels_scaled(neurons_permuted(model)),
}


@pytest.mark.parametrize("hide", CHANNELS.values(), ids=CHANNELS)
def test_a_real_merge_multiplied_by_channel_is_reproduced_bit_for_bit(
    judge, family, hide
):
    found = judge(hide(loaded(family["merged"])), sibling=hide(SIBLING))
    assert found["verdict"] == "merge", found["reasons"]
    assert found["recipe"]["bit_exact_rate"] == 1.0
    assert found["parents"]["donor"]["alpha"] == pytest.approx(0.571, abs=1e-6)
    assert found["layout"]["not_undone"] == []
    assert_nobody_named(found["controls"]["sibling"], "inconclusive")


@pytest.mark.parametrize("hide", CHANNELS.values(), ids=CHANNELS)
@pytest.mark.parametrize(
    ("model", "verdict"),
    [(finetuned(BASE, 5), "inconclusive"), (qwen(50), "unrelated")],
    ids=["finetune", "stranger"],
)
def test_an_innocent_multiplied_by_channel_is_not_accused(judge, hide, model, verdict):
    assert_nobody_named(judge(hide(model)), verdict)


@pytest.mark.parametrize("kind", ["normal", "signs", "tails"])
@pytest.mark.parametrize("model", [BASE, finetuned(BASE, 5)], ids=["base", "finetune"])
@pytest.mark.parametrize("where", [".", "mlp"])
def test_noise_makes_nobody_guilty(judge, kind, model, where):
    found = judge(noisy(model, 1e-6, kind=kind, pattern=where))
    assert found["verdict"] in ("finetune_of_base", "inconclusive"), found["reasons"]
    assert not any(parent["named"] for parent in found["parents"].values())


def test_a_donor_under_noise_is_no_copy_of_it_nor_a_merge(judge):
    found = judge(noisy(DONOR, 1e-7, kind="uniform"))
    assert found["verdict"] in ("finetune_of_donor", "inconclusive"), found["reasons"]


def test_an_fp8_copy_of_a_bf16_merge_is_reproduced_through_both_roundings(tmp_path):
    donor = finetuned(BASE, 1, size=0.01)
    sibling = finetuned(BASE, 2, size=0.01)  # finer changes would be lost in FP8
    tensors = {
        "base": BASE,
        "donor": donor,
        "sibling": quantised(sibling),
        "suspect": quantised(blend(BASE, donor, 0.4)),
    }
    models = {name: write_qwen(tmp_path / name, tensors[name]) for name in tensors}
    found = audit(
        tmp_path / "results",
        models,
        OF_MIXTURES,
    )
    assert found["verdict"] == "merge", found["reasons"]
    assert found["recipe"]["bit_exact_rate"] > 0.999
    assert found["parents"]["donor"]["alpha"] == pytest.approx(0.4, abs=1e-6)
    assert not found["controls"]["sibling"]["parents"]["donor"]["named"]


def test_slices_of_two_parents_moved_and_repeated_are_traced_to_them(tmp_path):
    llama = {
        **CONFIG,
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
    }  # mergekit cannot change the length of a Qwen3's layer_types
    family = {"base": BASE, "donor": DONOR, "sibling": SIBLING}
    models = {
        name: write_model(
            tmp_path / name,
            {
                key: tensor
                for key, tensor in tensors.items()
                if "q_norm" not in key and "k_norm" not in key
            },
            llama,
        )
        for name, tensors in family.items()
    }
    slices = [("base", [0, 3]), ("donor", [1, 4]), ("base", [2, 5]), ("donor", [5, 6])]
    parts = [
        {"sources": [{"model": str(models[name]), "layer_range": layers}]}
        for name, layers in slices
    ]
    models["suspect"] = mergekit(
        {"merge_method": "passthrough", "slices": parts, "dtype": "bfloat16"},
        tmp_path / "suspect",
    )
    spec = {
        "suspect": "suspect",
        "base": "base",
        "donors": ["donor"],
        "controls": ["sibling"],
    }
    found = audit(tmp_path / "results", models, spec, published=DONOR_FIRST)
    assert (found["verdict"], found["family"]) == ("merge", "passthrough"), found[
        "reasons"
    ]
    assert found["parents"]["donor"]["named"]
    config = yaml.safe_load(found["recipe"]["mergekit_config"])
    assert [
        (source["model"], source["layer_range"])
        for part in config["slices"]
        for source in part["sources"]
    ] == slices
    (finding,) = findings_of_suspect(tmp_path / "results")
    assert (finding["kind"], finding["repeated"]) == ("layers_moved", [1, 2, 3])
    assert layer_order(pd.read_parquet(tmp_path / "results/plan.parquet")["layer"]) == [
        *map(str, range(10)),
        "outer",
    ]


def test_layers_of_one_parent_repeated_are_a_copy(judge):
    found = judge(with_layers(BASE, [0, 1, 2, 3, 2, 3, 4, 5]))
    assert (found["verdict"], found["base"]["share"]) == ("copy", 1.0), found["reasons"]
    assert found["layout"]["undone"]


def test_experts_made_of_dense_parents_are_traced_to_them(judge, family, tmp_path):
    found = judge(
        mergekit_experts(
            [family[name] for name in ("base", "donor", "donor", "base")],
            tmp_path / "suspect",
        ),
        published=DONOR_FIRST,
    )
    assert (found["verdict"], found["family"]) == ("merge", "passthrough"), found[
        "reasons"
    ]
    assert found["parents"]["donor"]["named"]
    (copied,) = findings_of_suspect(tmp_path / "results")
    assert (copied["kind"], copied["experts"]) == ("experts_copied", 24)
    assert copied["agreement"] == pytest.approx(1, abs=0.005)
    assert found["layout"]["not_undone"] == []


@pytest.mark.parametrize(
    "hidden", [("suspect", "sibling"), ("donor",)], ids=lambda names: names[0]
)
def test_renumbered_experts_of_a_real_merge_are_put_back(tmp_path, hidden):
    models = make_moe_models(tmp_path / "models")
    for name in hidden:
        folder = models[name]
        config = json.loads((folder / "config.json").read_text())
        models[name] = write_model(
            tmp_path / f"hidden-{name}", experts_permuted(loaded(folder)), config
        )
    found = audit(
        tmp_path / "results",
        models,
        OF_MIXTURES,
    )
    assert found["verdict"] == "merge", found["reasons"]
    assert found["recipe"]["bit_exact_rate"] == 1.0
    if hidden == ("donor",):
        (renumbered,) = layout_of_suspect(tmp_path / "results")["findings_of_parents"][
            "donor"
        ]
    else:
        (renumbered,) = findings_of_suspect(tmp_path / "results")
    assert (renumbered["kind"], renumbered["layers"]) == ("experts_renumbered", 2)
    assert not found["controls"]["sibling"]["parents"]["donor"]["named"]


def test_experts_that_were_left_out_show_no_training(tmp_path):
    models = make_moe_models(tmp_path / "models")
    config = json.loads((models["suspect"] / "config.json").read_text())
    left = [0, 2, 3, 5, 6, 7]
    pruned = {
        name: tensor[left]
        if ".mlp.experts." in name or name.endswith(".mlp.gate.weight")
        else tensor
        for name, tensor in loaded(models["suspect"]).items()
    }
    models["suspect"] = write_model(
        tmp_path / "pruned", pruned, config | {"num_experts": len(left)}
    )
    found = audit(
        tmp_path / "results",
        models,
        OF_MIXTURES,
    )
    assert found["verdict"] == "merge", found["reasons"]
    assert found["recipe"]["bit_exact_rate"] == 1.0
    (renumbered,) = findings_of_suspect(tmp_path / "results")
    assert (renumbered["kind"], renumbered["layers"]) == ("experts_renumbered", 2)


def test_a_model_of_the_same_kind_trained_on_its_own_is_unrelated(tmp_path):
    models = make_moe_models(tmp_path / "models")
    other = make_moe_models(tmp_path / "other", seed=7)
    models = {
        "base": models["base"],
        "donor": models["donor"],
        "sibling": models["sibling"],
        "suspect": other["base"],
    }
    found = audit(
        tmp_path / "results",
        models,
        OF_MIXTURES,
    )
    assert_nobody_named(found, "unrelated")
