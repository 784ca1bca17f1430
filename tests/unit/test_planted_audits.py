"""Whole audits of planted models: the merge is found, and nobody innocent is
accused.
"""

import json

import pandas as pd
import pytest
import torch

from mergetrace.errors import AuditError
from mergetrace.testing.audits import audit
from mergetrace.testing.planting import blend, finetuned, random_model, write_model

pytestmark = pytest.mark.slow

BASE = random_model(0)
DONOR = finetuned(BASE, 1)
SECOND = finetuned(BASE, 2)
SIBLING = finetuned(BASE, 3)
PARENTS = {"base": BASE, "donor": DONOR, "sibling": SIBLING}


@pytest.fixture
def judge(tmp_path):
    """judge(suspect=tensors, ..., base="base", donors=["donor"]) -> verdict.json"""

    def run(models=None, settings=None, options=None, **spec):
        tensors = {**PARENTS, **(models or {})}
        spec = {
            "suspect": "suspect",
            "base": "base",
            "donors": ["donor"],
            "controls": ["sibling"],
            **spec,
        }
        folders = {
            name: write_model(
                tmp_path / "models" / name,
                tensors[name],
                **(options or {}).get(name, {}),
            )
            for name in tensors
        }
        return audit(tmp_path, folders, spec, **(settings or {}))

    return run


def assert_merge(found, alpha, donor="donor"):
    assert found["verdict"] == "merge", found["reasons"]
    assert [name for name, parent in found["parents"].items() if parent["named"]] == [
        donor
    ]
    assert found["parents"][donor]["alpha"] == pytest.approx(alpha, abs=1e-6)
    assert found["recipe"]["bit_exact_rate"] > 0.9999
    assert found["base"]["share"] == pytest.approx(1 - alpha, abs=1e-6)
    assert all(
        control["verdict"] == "finetune_of_base"
        for control in found["controls"].values()
    )


def assert_not_accused(found, verdict="inconclusive"):
    assert found["verdict"] == verdict, found["reasons"]
    assert not any(parent["named"] for parent in found["parents"].values())
    assert found["recipe"] is None
    assert found["reasons"]


@pytest.mark.parametrize(
    "alpha",
    [
        0.571,
        pytest.param(0.25, marks=pytest.mark.thorough),
        pytest.param(0.9, marks=pytest.mark.thorough),
    ],
)
def test_a_planted_merge_is_found_with_its_weight(judge, alpha):
    assert_merge(judge({"suspect": blend(BASE, DONOR, alpha)}), alpha)


def nudged(model, seed, share=0.3, size=0.0005):
    """The model with some elements changed a little, as a few gentle steps of training
    do.
    """
    generator = torch.Generator().manual_seed(seed)

    def nudge(tensor):
        moved = torch.rand(tensor.shape, generator=generator) < share
        return torch.where(
            moved,
            tensor.float() + torch.randn(tensor.shape, generator=generator) * size,
            tensor.float(),
        ).to(tensor.dtype)

    return {name: nudge(tensor) for name, tensor in model.items()}


def named(found):
    return [name for name, parent in found["parents"].items() if parent["named"]]


def test_a_merge_trained_a_little_is_found_with_its_weight_and_without_a_recipe(judge):
    found = judge(
        {"suspect": nudged(blend(BASE, DONOR, 0.571), 7), "second": SECOND},
        donors=["second", "donor"],
    )
    assert (found["verdict"], named(found)) == ("merge_then_trained", ["donor"]), found[
        "reasons"
    ]
    assert found["parents"]["donor"]["alpha"] == pytest.approx(0.571, abs=0.005)
    assert found["recipe"] is None
    assert found["after_merge"]["trained"] is True
    assert found["evidence"] == "exact"  # its traces are equal numbers


def test_a_donor_trained_a_little_is_a_finetune_of_the_donor_where_the_donor_is_the_older(
    judge,
):
    found = judge(
        {"suspect": nudged(DONOR, 7)},
        {"published": {"donor": "2026-01-01", "suspect": "2026-02-01"}},
    )
    assert (found["verdict"], named(found)) == ("finetune_of_donor", ["donor"]), found[
        "reasons"
    ]


def test_a_base_trained_a_little_accuses_nobody(judge):
    assert_not_accused(judge({"suspect": nudged(BASE, 7)}), "finetune_of_base")


def test_a_random_drop_is_another_merge_that_names_its_donor_without_a_weight(judge):
    generator = torch.Generator().manual_seed(3)
    kept = {
        name: torch.rand(tensor.shape, generator=generator) < 0.5
        for name, tensor in BASE.items()
    }
    dropped = {
        name: (
            (
                BASE[name].float()
                + 1.2 * (DONOR[name].float() - BASE[name].float()) * kept[name]
            ).bfloat16()
        )
        for name in BASE
    }
    found = judge({"suspect": dropped, "second": SECOND}, donors=["second", "donor"])
    assert (found["verdict"], named(found), found["family"]) == (
        "other_merge",
        ["donor"],
        "dare",
    ), found["reasons"]
    assert found["parents"]["donor"]["alpha"] is None


def test_mode_sample_reads_less_and_finds_the_same(judge):
    found = judge(
        {"suspect": blend(BASE, DONOR, 0.571)},
        {"mode": "sample", "sampling": {"alpha_se": 0.02, "block_elements": 64}},
    )
    assert_merge(found, 0.571)
    assert found["read"]["elements"] < 0.5 * sum(
        tensor.numel() for tensor in BASE.values()
    )
    assert any("Only the evidence sample" in reason for reason in found["reasons"])


def test_shards_dtypes_and_prefixes_do_not_matter(judge):
    suspect = {
        "model.language_model." + name.removeprefix("model."): tensor.float()
        for name, tensor in blend(BASE, DONOR, 0.571).items()
    }
    found = judge(
        {"suspect": suspect}, options={"suspect": {"shards": 3}, "donor": {"shards": 2}}
    )
    assert_merge(found, 0.571)
    assert (
        found["recipe"]["out_dtype"] == "bfloat16"
    )  # stored as float32, rounded to bf16


def test_f16_parents_and_an_enlarged_vocabulary(judge):
    base, donor, sibling = (
        {name: tensor.half() for name, tensor in model.items()}
        for model in (BASE, DONOR, SIBLING)
    )
    suspect = blend(base, donor, 0.6)
    rows = suspect["model.embed_tokens.weight"]
    suspect["model.embed_tokens.weight"] = torch.cat(
        [rows, torch.zeros(8, rows.shape[1], dtype=rows.dtype)]
    )
    assert_merge(
        judge({"base": base, "donor": donor, "sibling": sibling, "suspect": suspect}),
        0.6,
    )


def test_elements_that_are_not_finite_are_counted_named_and_left_out(judge, tmp_path):
    suspect = blend(BASE, DONOR, 0.571)
    suspect["model.layers.0.mlp.up_proj.weight"][3, :5] = float("nan")
    found = judge({"suspect": suspect})
    assert_merge(found, 0.571)
    assert any(
        reason.startswith("5 elements of model.layers.0.mlp.up_proj.weight are NaN")
        for reason in found["reasons"]
    )
    table = pd.read_csv(tmp_path / "tensors.csv").set_index("tensor")
    assert table.loc["model.layers.0.mlp.up_proj.weight", "nonfinite"] == 5


def test_a_decoy_is_not_named(judge):
    found = judge(
        {"suspect": blend(BASE, DONOR, 0.571), "second": SECOND},
        donors=["second", "donor"],
    )
    assert_merge(found, 0.571)
    assert abs(found["parents"]["second"]["alpha"]) < 0.01


def test_two_parents_and_a_decoy_have_shares_with_intervals(judge):
    parts = [0.4, 0.3, 0.3]
    suspect = {
        name: (
            sum(
                part * model[name].float()
                for part, model in zip(parts, (BASE, DONOR, SECOND), strict=True)
            ).bfloat16()
        )
        for name in BASE
    }
    found = judge(
        {"suspect": suspect, "second": SECOND, "decoy": finetuned(BASE, 6)},
        donors=["decoy", "donor", "second"],
    )
    assert (found["verdict"], named(found)) == ("merge", ["donor", "second"]), found[
        "reasons"
    ]
    for donor in ("donor", "second"):
        low, high = found["parents"][donor]["alpha_ci95"]
        assert low < 0.3 < high < low + 1e-4
    decoy = found["parents"]["decoy"]
    assert decoy["share"] < 0.001
    assert decoy["share_ci95"][0] >= 0
    assert decoy["share_ci95"][1] < 0.01


@pytest.mark.parametrize(
    "suspect", [blend(BASE, DONOR, 0.571), DONOR], ids=["merge", "copy"]
)
def test_of_two_donors_that_are_the_same_neither_is_named(judge, suspect):
    found = judge({"suspect": suspect, "twin": DONOR}, donors=["twin", "donor"])
    assert_not_accused(found)
    assert any(
        "twin and donor cannot be told apart" in reason for reason in found["reasons"]
    )
    assert found["parents"]["donor"]["share"] is None


@pytest.mark.parametrize("size", [pytest.param(1e-4, marks=pytest.mark.thorough), 1e-5])
def test_a_donor_is_told_from_its_near_copy(judge, size):
    found = judge(
        {"suspect": blend(BASE, DONOR, 0.571), "near": finetuned(DONOR, 9, size)},
        donors=["near", "donor"],
    )
    assert_merge(found, 0.571)
    assert any(
        "donor and near are alike but told apart" in reason
        for reason in found["reasons"]
    )
    assert found["parents"]["near"]["inflation"] > 100


@pytest.mark.thorough
def test_relatives_of_a_parent_that_was_not_offered_are_not_told_apart(judge):
    relatives = {"one": finetuned(DONOR, 9, 1e-5), "other": finetuned(DONOR, 10, 1e-5)}
    assert_not_accused(
        judge(
            {"suspect": blend(BASE, DONOR, 0.571), **relatives}, donors=["one", "other"]
        )
    )


WRONG = finetuned(BASE, 5, size=0.01)


def test_of_two_bases_the_one_that_fits_is_chosen_and_the_trap_explained(judge):
    found = judge(
        {"suspect": blend(BASE, DONOR, 0.571), "wrong": WRONG}, base=["wrong", "base"]
    )
    assert_merge(found, 0.571)
    assert found["base"]["name"] == "base"
    assert (found["bases"]["base"]["verdict"], found["bases"]["wrong"]["verdict"]) == (
        "merge",
        "inconclusive",
    )
    assert found["bases"]["wrong"]["control_cos_fit"] > 0.9
    assert found["bases"]["wrong"]["times"] > 10
    said = " ".join(found["reasons"])
    assert "base fits: a recipe on it gives 100" in said
    assert "trap of a wrong base: there a control's cos_fit is 0.96" in said


def test_of_two_bases_the_nearer_is_chosen_for_an_innocent(judge):
    found = judge(
        {"suspect": finetuned(BASE, 8), "wrong": WRONG},
        base=["wrong", "base"],
        controls=[],
    )
    assert_not_accused(found, "finetune_of_base")
    said = " ".join(found["reasons"])
    assert "suspect moved least from it" in said
    assert "trap of a wrong base: there suspect's cos_fit is 0.96" in said
    assert "No independent control was given" in said


@pytest.mark.parametrize(
    ("changes", "who"),
    [
        ({}, "The controls move"),
        ({"controls": [], "donors": ["donor", "sibling"]}, "All donors move alike"),
    ],
)
def test_a_wrong_base_alone_is_recognised(judge, changes, who):
    found = judge(
        {"suspect": blend(BASE, DONOR, 0.571), "wrong": WRONG}, base="wrong", **changes
    )
    assert_not_accused(found)
    assert any(
        who in reason and "wrong may be the wrong base" in reason
        for reason in found["reasons"]
    )


def test_copies_are_answers(judge):
    found = judge({"suspect": DONOR})
    assert (found["verdict"], found["parents"]["donor"]["named"]) == ("copy", True)


def test_the_base_itself_is_a_copy_that_names_no_donor(judge):
    found = judge({"suspect": BASE})
    assert (found["verdict"], found["base"]["share"]) == ("copy", 1.0)
    assert not found["parents"]["donor"]["named"]
    assert found["parents"]["donor"]["alpha"] is None


def test_an_innocent_finetune_is_a_finetune_of_the_base(judge):
    assert_not_accused(judge({"suspect": SECOND}), "finetune_of_base")


def test_a_sibling_that_moves_where_the_donor_moved_is_not_accused(judge):
    generator = torch.Generator().manual_seed(9)
    near = {
        name: BASE[name].float() + 0.96 * (DONOR[name].float() - BASE[name].float())
        for name in BASE
    }
    found = judge(
        {
            "suspect": {
                name: (
                    (
                        tensor + torch.randn(tensor.shape, generator=generator) * 0.0005
                    ).bfloat16()
                )
                for name, tensor in near.items()
            }
        }
    )
    assert_not_accused(found)
    assert found["parents"]["donor"]["cos_fit"] > 0.9


def test_a_stranger_is_unrelated_and_the_reason_says_what_was_looked_for(judge):
    found = judge({"suspect": random_model(77)})
    assert_not_accused(found, "unrelated")
    assert any("layers moved" in reason for reason in found["reasons"])


def test_suspect_and_donor_exchanged_are_not_a_merge(judge):
    assert_not_accused(
        judge(
            {"suspect": DONOR, "swapped": blend(BASE, DONOR, 0.571)}, donors=["swapped"]
        )
    )


def test_a_donor_that_equals_the_base_is_said(judge):
    found = judge({"suspect": blend(BASE, DONOR, 0.571), "twin": BASE}, donors=["twin"])
    assert_not_accused(found)
    assert any(
        "twin equals base in every compared element" in reason
        for reason in found["reasons"]
    )


def test_without_controls_the_finding_says_what_is_weaker(judge):
    found = judge({"suspect": blend(BASE, DONOR, 0.571)}, controls=[])
    assert_merge(found, 0.571)
    assert any(
        "No independent control was given" in reason for reason in found["reasons"]
    )


def test_nothing_in_common_is_refused(judge):
    with pytest.raises(AuditError, match="no tensor in common"):
        judge({"suspect": {"transformer.h.0.weight": torch.zeros(4, 4)}})


def test_files_are_json_and_tables_keep_their_promise(judge, tmp_path):
    judge({"suspect": blend(BASE, DONOR, 0.571)})
    for path in tmp_path.glob("*.json"):
        json.loads(path.read_text(), parse_constant=pytest.fail)
    table = pd.read_csv(tmp_path / "tensors.csv")
    promised = (
        "tensor slice layer component elements alpha alpha_se cos_fit alpha_replay"
        " coverage alpha_expected cos_expected bit_exact_rate status"
    )
    assert list(table.columns)[: len(promised.split())] == promised.split()
    assert len(table) == len(BASE)
    voting = table[table["votes"]]
    assert (voting["alpha_replay_low"] <= 0.57101).all()
    assert (voting["alpha_replay_high"] >= 0.57099).all()
    assert not table.loc[table["component"] == "norm", "votes"].any()
