"""Task vectors as people add and take them away: what comes back bit for bit is a merge
whatever the weight, and a model that was offered in its child's place is never accused.
"""

import json

import pandas as pd
import pytest
import torch

from mergetrace.records.verdict import ParentFinding, Verdict
from mergetrace.report.offered import donors
from mergetrace.report.terminal import lines
from mergetrace.testing.audits import audit, prepared
from mergetrace.testing.planting import finetuned, random_model, write_model
from mergetrace.testing.realmerge import mergekit, qwen, write_qwen

pytestmark = pytest.mark.slow

BASE = random_model(10)
DONOR = finetuned(BASE, 11)
SECOND = finetuned(BASE, 12)
SIBLING = finetuned(BASE, 13)
TO = {"bf16": torch.bfloat16, "f16": torch.float16, "f32": torch.float32}


def added(**weights):
    """base + weight (model - base) for each, in float32, rounded once."""
    models = {"donor": DONOR, "second": SECOND}
    return {
        name: (
            tensor.float()
            + sum(
                weight * (models[model][name].float() - tensor.float())
                for model, weight in weights.items()
            )
        ).to(tensor.dtype)
        for name, tensor in BASE.items()
    }


def summed(parts, dtype="bf16"):
    """The sum of weight times model, stored in a dtype."""
    return {
        name: sum(weight * model[name].double() for weight, model in parts).to(
            TO[dtype]
        )
        for name in BASE
    }


@pytest.fixture
def judge(tmp_path):
    """judge(suspect=tensors, ..., base="base", donors=[...]) -> verdict.json"""

    def run(models, donors, base="base", write=write_model):
        folders = {
            name: write(tmp_path / "models" / name, tensors)
            for name, tensors in models.items()
        }
        spec = {"suspect": "suspect", "base": base, "donors": donors}
        if "sibling" in models:
            spec["controls"] = ["sibling"]
        return audit(tmp_path, folders, spec)

    return run


def assert_shares(found, shares):
    assert found["verdict"] == "merge", found["reasons"]
    given = {name: entry["alpha"] for name, entry in found["parents"].items()}
    assert given == pytest.approx(shares, abs=1e-6)
    rest = 1 - sum(shares.values())
    assert found["base"]["share"] == pytest.approx(rest, abs=1e-6)
    assert all(entry["named"] for entry in found["parents"].values())


WEIGHTS = (
    {"donor": 1.0, "second": 0.8},
    {"donor": 1.0, "second": -0.5},
    {"donor": 1.2},
    {"donor": 1.05},
    {"donor": -0.5},
)


@pytest.mark.parametrize("weights", WEIGHTS, ids=str)
def test_a_task_vector_added_by_torch_is_a_merge_with_its_weights(judge, weights):
    models = {
        "suspect": added(**weights),
        "base": BASE,
        "donor": DONOR,
        "second": SECOND,
        "sibling": SIBLING,
    }
    found = judge(models, list(weights))
    assert_shares(found, weights)
    # dates are not known, so it rests on the recipe turned round
    assert all(entry["before"] for entry in found["order"].values())


@pytest.mark.parametrize(
    ("weights", "dtype"),
    [
        pytest.param(
            weights,
            dtype,
            marks=[] if weights is WEIGHTS[0] else pytest.mark.thorough,
        )
        for dtype in ("float32", "bfloat16")
        for weights in WEIGHTS
    ],
    ids=str,
)
def test_a_task_vector_added_by_mergekit_is_a_merge_with_its_weights(
    tmp_path, weights, dtype
):
    base = qwen(20)
    models = {
        "base": base,
        "donor": finetuned(base, 21),
        "second": finetuned(base, 22),
    }
    folders = {
        name: write_qwen(tmp_path / "models" / name, tensors)
        for name, tensors in models.items()
        if name == "base" or name in weights
    }
    config = {
        "merge_method": "task_arithmetic",
        "base_model": str(folders["base"]),
        "models": [
            {"model": str(folders[name]), "parameters": {"weight": weight}}
            for name, weight in weights.items()
        ],
        "dtype": dtype,
        "out_dtype": "bfloat16",
    }
    folders["suspect"] = mergekit(config, tmp_path / "models" / "suspect")
    spec = {"suspect": "suspect", "base": "base", "donors": list(weights)}
    dates = {name: "2026-01-01" for name in weights} | {"suspect": "2026-06-01"}
    assert_shares(audit(tmp_path, folders, spec, published=dates), weights)


EXCHANGED = (
    ("bf16", {"base": 0.05, "donor": 0.95}),
    pytest.param("f16", {"base": 0.5, "donor": 0.5}, marks=pytest.mark.thorough),
    pytest.param(
        "bf16", {"base": -0.8, "donor": 1.0, "second": 0.8}, marks=pytest.mark.thorough
    ),
    ("f32", {"base": 0.8, "donor": 0.2}),
    ("f32", {"base": 0.05, "donor": 0.95}),
    ("f32", {"base": 0.2, "donor": 0.4, "second": 0.4}),
)


@pytest.mark.parametrize(("dtype", "weights"), EXCHANGED, ids=str)
def test_a_donor_is_not_accused_beside_a_merge_of_it(judge, dtype, weights):
    parents = {"base": BASE, "donor": DONOR, "second": SECOND}
    made = summed([(share, parents[name]) for name, share in weights.items()], dtype)
    models = {"suspect": DONOR, "base": BASE, "merged": made}
    if "second" in weights:
        models["second"] = SECOND
    found = judge(models, [name for name in models if name in ("merged", "second")])
    assert found["verdict"] == "inconclusive", found["reasons"]
    assert not any(entry["named"] for entry in found["parents"].values())


@pytest.mark.parametrize(("dtype", "share"), [("bf16", 0.8), ("f32", 0.2)])
def test_nor_where_its_merge_is_offered_as_the_base(judge, dtype, share):
    made = summed([(1 - share, BASE), (share, DONOR)], dtype)
    found = judge({"suspect": DONOR, "base": made, "donor": BASE}, ["donor"])
    assert found["verdict"] == "inconclusive", found["reasons"]


@pytest.mark.parametrize(("dtype", "share"), [("bf16", 0.2), ("f32", 0.8)])
def test_nor_the_base_where_donor_and_base_are_exchanged_too(judge, dtype, share):
    made = summed([(1 - share, BASE), (share, DONOR)], dtype)
    found = judge({"suspect": BASE, "base": DONOR, "merged": made}, ["merged"])
    assert found["verdict"] == "inconclusive", found["reasons"]


def test_the_finding_is_worded_as_changes_and_no_share_of_a_whole(judge, tmp_path):
    models = {
        "suspect": added(donor=1.0, second=-0.5),
        "base": BASE,
        "donor": DONOR,
        "second": SECOND,
    }
    found = judge(models, ["donor", "second"])
    words = "base plus 1.0 times donor's change minus 0.5 times second's change"
    assert words in found["reasons"][0]
    assert json.loads((tmp_path / "verdict.json").read_text()) == found
    said = dict(lines(Verdict.of(found), tmp_path / "report.html"))
    assert words in said["parents"]


def test_pictures_and_tables_reach_a_task_that_was_taken_away(tmp_path):
    models = {"suspect": added(donor=-0.5), "base": BASE, "donor": DONOR}
    folders = {
        name: write_model(tmp_path / "models" / name, tensors)
        for name, tensors in models.items()
    }
    spec = {"suspect": "suspect", "base": "base", "donors": ["donor"]}
    made = prepared(tmp_path, folders, spec)
    made.weigh()
    page = made.write_report().read_text()
    assert "suspect is base minus 0.5 times donor’s change." in page.replace(
        "&#39;", "’"
    )
    curve = pd.read_csv(tmp_path / "curves.csv")
    assert curve["alpha"].min() <= -0.7
    assert curve["coverage"].max() > 0.99


def test_the_shares_of_donors_side_by_side_are_the_verdicts_where_one_is_taken_away():
    away = ParentFinding(True, -0.5, (-0.5, -0.5), -0.5, -0.4, 0.0, (0.0, 0.0), 1.0)
    whole = ParentFinding(True, 1.0, (1.0, 1.0), 1.0, 0.9, 0.998, (0.99, 1.0), 1.0)
    other = ParentFinding(False, 0.1, None, 0.1, 0.1, 0.02, (0.0, 0.03), 1.0)
    rows = donors({"away": away, "whole": whole, "other": other})
    shares = {row.name: row.share.replace("\u00a0", " ") for row in rows}
    assert shares == {"whole": "100.00 %", "other": "2.00 %", "away": "−50.00 %"}
