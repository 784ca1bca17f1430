"""The open-world zoo's bookkeeping: what it covers, that its folders can be made, how
answers are graded; and a few of its cases.
"""

import json

import pytest

from benchmarks.openworld import run, table
from benchmarks.openworld.case import Case
from benchmarks.openworld.cases import REPORTING, TUNING, all_cases, all_trials
from benchmarks.openworld.grading import grade
from benchmarks.openworld.publishing import Folder, publish
from benchmarks.openworld.world import GEOMETRIES, World


def test_half_of_the_cases_are_innocents_and_every_one_is_told_apart():
    cases = all_cases()
    trials = all_trials()
    assert len({trial.id for trial in trials}) == len(trials)
    assert len(cases) >= 60
    assert sum(not case.guilty for case in cases) >= len(cases) / 2
    assert {trial.part for trial in trials} == {TUNING, REPORTING}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "seed"), [key for key in GEOMETRIES if key[1] == 2], ids=str
)
def test_every_folder_of_the_planted_worlds_can_be_made(name, seed, tmp_path):
    world = World(name, seed, tmp_path)
    for number, case in enumerate(case for case in all_cases() if name in case.worlds):
        made = case.build(world)
        assert "suspect" in made, case.name
        for model, folder in made.items():
            assert model in case.offered(), (case.name, model)
            publish(
                tmp_path / f"{number}-{model}",
                folder if isinstance(folder, Folder) else Folder(folder),
                world.config,
            )


def case(**rest):
    return Case("c", "k", "", lambda world: {}, **rest)


def finding(verdict, named=(), reasons=("Because.",), controls=None, **rest):
    parents = {
        name: {"named": name in named, "alpha": 0.571} for name in ("donor", "second")
    }
    return {
        "finding": {
            "verdict": verdict,
            "reasons": list(reasons),
            "parents": parents,
            "controls": controls or {},
            **rest,
        }
    }


def outcome(answer, share=None, world="planted", **rest):
    return grade(case(**rest), world, answer, share).outcome


def test_whoever_accuses_an_innocent_a_stranger_or_a_control_is_counted():
    assert outcome(finding("finetune_of_base")) == "right"
    assert outcome(finding("copy")) == "accusation"
    assert outcome(finding("inconclusive", named=("donor",))) == "accusation"
    assert (
        outcome(finding("inconclusive", controls={"sibling": {"verdict": "merge"}}))
        == "accusation"
    )
    guilty = {"right": ("merge",), "guilty": True, "named": ("donor",)}
    assert outcome(finding("merge", named=("donor",)), **guilty) == "right"
    assert (
        outcome(finding("merge", named=("donor", "second")), **guilty) == "accusation"
    )
    assert outcome(finding("copy", named=("donor",)), **guilty) == "wrong"
    assert outcome(finding("merge", named=("donor",)), **guilty, alpha=0.5) == "wrong"


def test_what_has_to_be_said_and_what_must_not():
    assert outcome(finding("inconclusive"), says=("packed",)) == "wrong"
    assert (
        outcome(
            finding("inconclusive", reasons=("Most of it is packed.",)),
            says=("packed",),
        )
        == "right"
    )
    assert outcome(finding("inconclusive", reasons=("Download it again.",))) == "wrong"
    assert (
        outcome(
            finding("inconclusive", reasons=("Packed: 90 %.",)),
            right=("merge",),
            guilty=True,
            tolerated=("packed",),
        )
        == "tolerated"
    )
    assert (
        outcome(
            finding("inconclusive"),
            right=("merge",),
            guilty=True,
            tolerated=("packed",),
        )
        == "wrong"
    )


def test_the_stated_coverage_has_to_be_true():
    stated = {"compared": {"suspect": {"share": 0.5}}}
    assert outcome(finding("inconclusive", **stated), share=0.51) == "right"
    assert outcome(finding("inconclusive", **stated), share=0.9) == "wrong"
    assert outcome(finding("inconclusive"), share=0.5) == "wrong"


def test_a_refusal_is_right_only_where_it_is_the_answer_and_a_traceback_never():
    assert outcome({"error": "x: an adapter"}) == "wrong"
    assert outcome({"error": "x: an adapter"}, right=(), error=("adapter",)) == "right"
    assert outcome({"error": "x: shapes"}, right=(), error=("adapter",)) == "wrong"
    assert (
        outcome(
            {"traceback": "Traceback ...\nValueError: nan"}, right=(), error=("nan",)
        )
        == "traceback"
    )


def test_really_trained_innocents_may_lie_beyond_an_acquittal():
    assert outcome(finding("inconclusive"), right=("finetune_of_base",)) == "wrong"
    assert (
        outcome(finding("inconclusive"), right=("finetune_of_base",), world="trained")
        == "right"
    )


def test_the_page_and_the_rates_count_what_was_graded(tmp_path):
    trials = {
        trial.id: trial for trial in all_trials() if trial.case.kind == "native names"
    }
    refused = grade(case(), "planted", {"error": "no"})
    grades = dict.fromkeys(trials, refused)
    assert table.rates(trials, grades)["cases"] == len(trials) / 2
    assert table.rates(trials, grades)["right"] == 0
    table.write_readme(tmp_path / "README.md", trials, grades, {}, 10.0)
    assert "consolidated.safetensors of a merge" in (tmp_path / "README.md").read_text()


def test_rates_of_both_zoos_stand_in_one_file():
    rates = json.loads(run.RATES.read_text())
    assert {"copy", "merge"} <= set(rates)


QUICK = (
    "few bits: GPTQ around random numbers, all else the base's",
    "native names: consolidated.safetensors of an innocent finetune",
    "fused rows: llamafied: only the split parts trained, parents fused",
    "infinite and NaN: one infinity in an innocent finetune",
    "indexes: promises a tensor that no shard holds",
    "unmerged adapters: an adapter alone",
)


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_folder_as_people_publish_it_gets_the_right_answer(name, tmp_path):
    trial = run.trials_by_id()[f"planted-1/{name}"]
    answer = run.ask(trial, tmp_path, World(trial.world, trial.seed, tmp_path))
    found = run.judged(trial, {"answer": answer})
    assert found.outcome == "right", found.faults
