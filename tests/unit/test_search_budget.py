"""A search that may try few recipes ends with the best so far, and says so."""

import json
from dataclasses import replace

import pytest
import torch

from mergetrace.finding.reasons_following import ArithmeticUnknown
from mergetrace.finding.wording_following import arithmetic_unknown
from mergetrace.testing.audits import audit
from mergetrace.testing.planting import finetuned, random_model, write_model

FEW = 100
BASE = random_model(0)
FIRST, SECOND = (finetuned(BASE, seed) for seed in (1, 2))


def rounded_often(tensor):
    """A blend on a lattice of its own before it is stored: nobody's arithmetic."""
    total = BASE[tensor].float() * 0.4177 + FIRST[tensor].float() * 0.5823
    return (torch.round(total * 200_000) / 200_000).bfloat16()


@pytest.fixture
def audited(tmp_path, capfd):
    """audited(most) -> verdict.json, the entry of recipes.json, and the log"""
    models = {
        "base": BASE,
        "first": FIRST,
        "second": SECOND,
        "suspect": {tensor: rounded_often(tensor) for tensor in BASE},
        "sibling": finetuned(BASE, 5),
    }
    folders = {
        name: write_model(tmp_path / name, model) for name, model in models.items()
    }
    spec = {
        "suspect": "suspect",
        "base": "base",
        "donors": ["first", "second"],
        "controls": ["sibling"],
    }

    def run(**limits):
        verdict = audit(tmp_path / "audit", folders, spec, verdict=limits)
        recipes = json.loads((tmp_path / "audit/recipes.json").read_text())
        return verdict, recipes[0], capfd.readouterr().err

    return run


@pytest.mark.slow
def test_a_search_ends_where_the_configuration_says(audited):
    verdict, found, log = audited(max_recipes=FEW)
    assert found["tried"] == FEW
    assert found["ended_early"]
    assert found["best"]["bit_exact_rate"] > 0.1
    assert "suspect on base: linear:" in log
    assert "of the screen" in log
    assert "(max_recipes reached)" in log
    assert verdict["verdict"] in ("other_merge", "inconclusive")


def test_the_reason_says_that_the_search_was_ended():
    reason = ArithmeticUnknown(FEW, "linear", 0.93, ended_early=True)
    assert "(`max_recipes` allows no more)" in arithmetic_unknown(reason)
    by_itself = replace(reason, ended_early=False)
    assert "max_recipes" not in arithmetic_unknown(by_itself)


@pytest.mark.slow
def test_a_search_ends_by_itself_before(audited):
    _, found, log = audited()
    assert FEW < found["tried"] < 20_000
    assert not found["ended_early"]
    assert "max_recipes" not in log


@pytest.mark.slow
def test_the_best_so_far_is_the_same_every_time(audited):
    assert audited(max_recipes=FEW)[1] == audited(max_recipes=FEW)[1]
