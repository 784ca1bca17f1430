"""The rules: accusations need exactness, and everything unclear stays inconclusive."""

from pathlib import Path

import pytest

from mergetrace.configuration import load_schema
from mergetrace.verdict import Case, decide

SCHEMA = load_schema(Path(__file__).parents[2] / "config/config.schema.yaml")
THRESHOLDS = {key: entry["default"] for key, entry in SCHEMA["properties"]["verdict"]["properties"].items()}


def numbers(*, cos=0.05, rate=0.01, exact_share=0.0, informative=100_000, alpha=0.571, donor=None, **changes):
    best = {"method": "linear", "parameters": {"alpha": alpha}, "bit_exact_rate": rate} if rate is not None else None
    entry = {"coverage_shuffled": 0.01, "same_sign": 0.5, "all_equal": False, "is_base": False, **(donor or {})}
    return {
        "slices": 10,
        "cos_fit": cos,
        "base_cos": 0.97,
        "all_equal_base": False,
        "exact_share": exact_share,
        "donors": {"nex": entry},
        "recipe": {"donor": "nex", "informative_elements": informative, "best": best},
        **changes,
    }


MERGE = {"cos": 0.99, "rate": 0.99999, "exact_share": 1.0, "donor": {"same_sign": 1.0}}
SIBLING = numbers()


def verdict(summary, controls=None):
    return decide(Case("rio", "qwen", summary, {"sibling": SIBLING} if controls is None else controls, THRESHOLDS))


def test_a_reproduced_merge_names_its_donor():
    decision = verdict(numbers(**MERGE))
    assert decision.verdict == "merge"
    assert decision.named == ["nex"]
    assert decision.base_share == pytest.approx(0.429)
    assert "control sibling" in " ".join(decision.reasons)


def test_without_a_control_the_reasons_say_what_is_weaker():
    decision = verdict(numbers(**MERGE), controls={})
    assert decision.verdict == "merge"
    assert "No control was given" in decision.reasons[-1]


@pytest.mark.parametrize(
    "weaker",
    [
        {"rate": 0.99},
        {"exact_share": 0.9},
        {"informative": 500},
        {"alpha": 1.0},
        {"alpha": 0.0},
        {"donor": {"same_sign": 1.0, "coverage_shuffled": 0.6}},
        {"rate": None},
    ],
)
def test_a_high_cosine_alone_never_convicts(weaker):
    decision = verdict(numbers(**{**MERGE, **weaker}))
    assert decision.verdict == "inconclusive"
    assert decision.named == []
    assert decision.reasons


def test_a_control_that_the_same_search_reproduces_stops_the_accusation():
    assert verdict(numbers(**MERGE), controls={"sibling": numbers(rate=0.9)}).verdict == "inconclusive"


def test_an_innocent_sibling_is_a_finetune_of_the_base():
    decision = verdict(numbers())
    assert decision.verdict == "finetune_of_base"
    assert decision.named == []


@pytest.mark.parametrize("doubt", [{"cos": 0.96}, {"donor": {"same_sign": 0.95}}, {"donor": {"is_base": True, "same_sign": None}}, {"cos": None}])
def test_what_an_innocent_would_not_show_is_not_called_innocent(doubt):
    assert verdict(numbers(**doubt)).verdict == "inconclusive"


def test_copies_are_answers():
    assert verdict(numbers(all_equal_base=True)).base_share == 1.0
    of_donor = verdict(numbers(donor={"all_equal": True}))
    assert (of_donor.verdict, of_donor.named) == ("copy", ["nex"])


def test_strangers_are_not_called_unrelated_while_disguises_are_possible():
    decision = verdict(numbers(base_cos=0.01))
    assert decision.verdict == "inconclusive"
    assert "common origin" in decision.reasons[0]


def test_nothing_that_votes_is_too_little():
    assert verdict(numbers(slices=0)).verdict == "inconclusive"
