"""Whole tensors and whole experts of several parents: whose each is, in a recipe, in a
configuration and in words; and innocents whose tensors are somebody's too.
"""

import json

import pytest
import torch
import yaml
from safetensors.torch import load_file

from mergetrace.finding.wording_owners import owned, runs
from mergetrace.merging.owners import Owners, owners_of, passthrough_of
from mergetrace.testing.audits import audit, rebuild
from mergetrace.testing.planting import finetuned, write_model
from mergetrace.testing.realmerge import mergekit, mergekit_experts, qwen, write_qwen

DATES = {
    "base": "2025-01-01",
    **dict.fromkeys(("donor", "second", "frozen"), "2026-01-01"),
    "suspect": "2026-06-01",
}
DENSE = {"base": qwen(0)}
DENSE |= {
    name: finetuned(DENSE["base"], seed)
    for seed, name in enumerate(("donor", "second", "sibling"), start=1)
}
EXPERTS = 4


def mixture(seed):
    """A model of experts, a tensor per expert."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {"model.embed_tokens.weight": (128, 64), "model.norm.weight": (64,)}
    for layer in range(2):
        at = f"model.layers.{layer}."
        shapes[f"{at}self_attn.q_proj.weight"] = (64, 64)
        shapes[f"{at}mlp.gate.weight"] = (EXPERTS, 64)
        for expert in range(EXPERTS):
            for name in ("gate_proj", "up_proj"):
                shapes[f"{at}mlp.experts.{expert}.{name}.weight"] = (96, 64)
            shapes[f"{at}mlp.experts.{expert}.down_proj.weight"] = (64, 96)
    return {
        name: (torch.randn(shape, generator=generator) * 0.02).bfloat16()
        for name, shape in shapes.items()
    }


MIXED = {"base": mixture(0)}
MIXED |= {
    name: finetuned(MIXED["base"], seed)
    for seed, name in enumerate(("donor", "second", "sibling"), start=1)
}


def put_together(models, owner):
    """Every tensor from the model that owner(name) says."""
    return {name: models[owner(name)][name].clone() for name in models["base"]}


def by_expert(name):
    """Experts 0 and 2 of the donor, 1 and 3 of the second, all else of the base."""
    for expert in range(EXPERTS):
        if f".experts.{expert}." in name:
            return ("donor", "second")[expert % 2]
    return "base"


def fused(tensors):
    """The experts of each layer in two tensors of three dimensions."""
    whole = {name: value for name, value in tensors.items() if ".experts." not in name}
    for layer in range(2):
        at = f"model.layers.{layer}.mlp.experts."
        stacks = {
            part: torch.stack(
                [tensors[f"{at}{expert}.{part}.weight"] for expert in range(EXPERTS)]
            )
            for part in ("gate_proj", "up_proj", "down_proj")
        }
        whole[f"{at}gate_up_proj"] = torch.cat(
            [stacks["gate_proj"], stacks["up_proj"]], dim=1
        )
        whole[f"{at}down_proj"] = stacks["down_proj"]
    return whole


def upcycled(tensors, models):
    """A model of experts whose experts are the MLPs of these models in turn."""
    made = {}
    generator = torch.Generator().manual_seed(9)
    for name, value in tensors.items():
        if ".mlp." not in name:
            made[name] = value.clone()
            continue
        for expert, model in enumerate(models):
            own = name.replace(".mlp.", f".mlp.experts.{expert}.")
            made[own] = model[name].clone()
    for layer in range(6):
        gate = torch.randn((len(models), 64), generator=generator) * 0.02
        made[f"model.layers.{layer}.mlp.gate.weight"] = gate.bfloat16()
    return made


@pytest.fixture
def judge(tmp_path):
    """judge(models with the suspect among them) -> verdict.json"""

    def run(models, donors=("donor", "second")):
        folders = {
            name: model
            if not isinstance(model, dict)
            else write_model(tmp_path / name, model)
            for name, model in models.items()
        }
        spec = {
            "suspect": "suspect",
            "base": "base",
            "donors": list(donors),
            "controls": ["sibling"],
        }
        offered = {
            name: folders[name] for name in ("suspect", "base", "sibling", *donors)
        }
        dates = {name: date for name, date in DATES.items() if name in offered}
        found = audit(tmp_path, offered, spec, published=dates)
        del offered["sibling"]
        return found, rebuild(tmp_path, offered, "suspect")

    return run


def named(found):
    return [name for name, parent in found["parents"].items() if parent["named"]]


def said(found):
    (sentence,) = (
        reason for reason in found["reasons"] if reason.startswith("Each tensor")
    )
    return sentence


def best(folder):
    return json.loads((folder / "recipes.json").read_text())[0]["best"]


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["per expert", "fused"])
def test_experts_are_attributed_one_by_one(shape, judge):
    suspect = put_together(MIXED, by_expert)
    if shape == "fused":
        suspect = fused(suspect)
    found, rebuilt = judge(MIXED | {"suspect": suspect})
    assert (found["verdict"], found["family"]) == ("merge", "passthrough"), found[
        "reasons"
    ]
    assert named(found) == ["donor", "second"]
    assert found["recipe"]["bit_exact_rate"] == 1.0
    assert said(found) == (
        "Each tensor is wholly one parent's: of donor experts 0 and 2, of second"
        " experts 1 and 3, of base all else."
    )
    assert rebuilt["identical"] == rebuilt["tensors"]


@pytest.mark.thorough
@pytest.mark.slow
def test_a_mixture_that_mergekit_made_of_dense_models_is_given_back(tmp_path, judge):
    folders = {
        name: write_qwen(tmp_path / "dense" / name, DENSE[name]) for name in DENSE
    }
    experts = [folders[name] for name in ("donor", "second", "donor", "base")]
    made = mergekit_experts(experts, tmp_path / "made", base=folders["base"])
    found, rebuilt = judge(folders | {"suspect": made})
    assert (found["verdict"], found["family"]) == ("merge", "passthrough"), found[
        "reasons"
    ]
    assert named(found) == ["donor", "second"]
    assert said(found) == (
        "Each tensor is wholly one parent's: of base expert 3 and all else, of donor"
        " experts 0 and 2, of second expert 1."
    )
    config = yaml.safe_load(found["recipe"]["mergekit_config"])
    assert config["base_model"] == "base"
    assert [expert["source_model"] for expert in config["experts"]] == [
        "donor",
        "second",
        "donor",
        "base",
    ]
    # All but the routers, one a layer, which no parent has.
    assert rebuilt["tensors"] - rebuilt["identical"] == 6


CHIMERAS = {
    "attention of base, MLP of donor": (
        lambda name: "donor" if ".mlp." in name else "base",
        "of donor the MLP, of base all else",
        "merge",
    ),
    "embedding of one donor, all else of the other": (
        lambda name: "donor" if "embed" in name else "second",
        "of donor the embedding, of second all else",
        "merge",
    ),
    "one tensor": (
        lambda name: "donor" if "layers.3.mlp.gate_proj" in name else "base",
        "of donor mlp.gate_proj of layer 3, of base all else",
        "other_merge",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.thorough) if case == "one tensor" else case
        for case in CHIMERAS
    ],
)
def test_single_tensors_of_another_parent_are_named(case, judge, tmp_path):
    owner, words, verdict = CHIMERAS[case]
    suspect = put_together(DENSE, owner)
    folders = {
        name: write_qwen(tmp_path / "dense" / name, DENSE[name]) for name in DENSE
    }
    folders["suspect"] = write_qwen(tmp_path / "dense" / "suspect", suspect)
    found, rebuilt = judge(folders)
    assert (found["verdict"], found["family"]) == (verdict, "passthrough"), found[
        "reasons"
    ]
    assert said(found) == f"Each tensor is wholly one parent's: {words}."
    if verdict != "merge":
        return
    assert rebuilt["identical"] == rebuilt["tensors"]
    text = found["recipe"]["mergekit_config"]
    for name, folder in folders.items():
        text = text.replace(f"model: {name}\n", f"model: {folder}\n")
    again = load_file(mergekit(text, tmp_path / "again") / "model.safetensors")
    assert all(torch.equal(again[name], tensor) for name, tensor in suspect.items())


def _trained(tensors, part, seed=11):
    """Only the tensors whose name holds `part` trained."""
    moved = finetuned(tensors, seed)
    return {
        name: (moved if part in name else tensors)[name].clone() for name in tensors
    }


INNOCENT = {
    "experts frozen, the rest trained": _trained(MIXED["base"], "self_attn"),
    "experts trained, the rest frozen": _trained(MIXED["base"], ".experts."),
    "one expert trained": _trained(MIXED["base"], ".experts.1."),
    "all trained": MIXED["sibling"],
}


@pytest.mark.slow
@pytest.mark.parametrize("case", INNOCENT)
def test_a_finetune_with_frozen_parts_is_nobodys_mixture(case, judge, tmp_path):
    """The donor froze its experts too, so that much of the suspect is the donor's as
    well as the base's.
    """
    models = MIXED | {
        "suspect": INNOCENT[case],
        "frozen": _trained(MIXED["base"], "self_attn", seed=12),
        "sibling": finetuned(MIXED["base"], 13),
    }
    found, _ = judge(models, ("frozen", "second"))
    assert not named(found), found["reasons"]
    assert best(tmp_path)["method"] != "passthrough"


@pytest.mark.slow
@pytest.mark.parametrize(
    "trained", [pytest.param(False, marks=pytest.mark.thorough), True]
)
def test_an_upcycled_base_is_nobodys_mixture(trained, judge):
    """Every expert a copy of the base's MLP, and then trained."""
    suspect = upcycled(DENSE["base"], [DENSE["base"]] * 4)
    if trained:
        suspect = finetuned(suspect, 14)
    found, _ = judge(DENSE | {"suspect": suspect})
    assert not named(found), found["reasons"]


@pytest.mark.slow
@pytest.mark.thorough
def test_what_two_donors_share_names_neither(judge, tmp_path):
    """The second donor was trained from the first with frozen experts."""
    models = MIXED | {
        "second": _trained(MIXED["donor"], "self_attn"),
        "suspect": put_together(
            MIXED, lambda name: "donor" if ".experts." in name else "base"
        ),
    }
    found, _ = judge(models)
    assert not named(found), found["reasons"]


NAMES = [
    *(
        f"model.layers.{layer}.{part}"
        for layer in range(12)
        for part in ("self_attn.q_proj.weight", "mlp.experts.1.up_proj")
    ),
    "model.embed_tokens.weight",
]


def attributed(owner, by_kind):
    holders = {name: frozenset(owner(name)) for name in NAMES}
    return passthrough_of(holders, ("a", "b"), by_kind)


def test_filters_are_as_few_as_say_it():
    recipe = attributed(lambda name: "b" if ".experts." in name else "a", True)
    assert owners_of(recipe) == Owners((("mlp.", "b"),), "a")
    recipe = attributed(
        lambda name: "b" if "layers.1." in name or "layers.11.m" in name else "a",
        False,
    )
    assert owners_of(recipe) == Owners(
        (("layers.1.", "b"), ("layers.11.mlp.", "b")), "a"
    )


def test_what_nobody_or_only_one_holds_is_no_passthrough():
    assert attributed(lambda name: "" if "embed" in name else "ab", True) is None
    assert attributed(lambda name: "ab", True) is None
    assert attributed(lambda name: "ab" if "embed" in name else "b", True) is None
    odd = attributed(lambda name: "ab"["layers.3." in name], True)
    assert odd is None


def test_owners_in_words():
    assert runs([4, 0, 2, 5, 6]) == "0, 2 and 4 to 6"
    layers = tuple((f"layers.{layer}.", "ab"[layer > 3]) for layer in range(6))
    assert owned(Owners(layers, None)) == "of a layers 0 to 3, of b layers 4 and 5"
    odd = tuple((f"part{i}.weight", "a") for i in range(20))
    assert owned(Owners(odd, "b")).endswith("part6 and 13 further parts, of b all else")
