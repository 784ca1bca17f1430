"""The zoo's bookkeeping: what it covers, what makes a measurement stale, who counts as
falsely accused.
"""

import json

import pytest

from benchmarks.zoo import cases, run, table

METHODS = (
    "linear task_arithmetic slerp nuslerp multislerp karcher ties dare_linear dare_ties"
    " della della_linear breadcrumbs breadcrumbs_ties"
)
METHODS += " model_stock sce nearswap arcee_fusion passthrough"


def test_every_method_is_there_and_no_family_both_tunes_and_reports():
    assert len(cases.all_cases()) >= 300
    assert not set(cases.TUNING) & set(cases.REPORTING)
    made = json.dumps([case.made for case in cases.family_cases("dense", 1)])
    for method in METHODS.split():
        assert f'"merge_method": "{method}"' in made


@pytest.mark.parametrize(("arch", "seed"), [*cases.TUNING, *cases.REPORTING], ids=str)
def test_there_are_at_least_as_many_innocents_as_merges(arch, seed):
    family = cases.family_cases(arch, seed)
    assert len({case.id for case in family}) == len(family)
    assert sum(case.guilty for case in family) <= len(family) / 2
    assert arch != "moe" or len(family) == len(cases.MOE)


def test_a_changed_search_makes_measurements_stale_and_a_changed_rule_does_not():
    library = run.ROOT / "scripts/mergetrace"
    names = {
        path.relative_to(library).as_posix()
        for path in run.measuring()
        if path.is_relative_to(library)
    }
    assert {
        "search/recipe_search.py",
        "stages/deltas.py",
        "sums/gram_numba.py",
        "disguises/layout.py",
        "sums/frames.py",
    } <= names
    judging = ("finding/", "report/", "stages/verdict.py", "errors.py", "thresholds.py")
    assert not [name for name in names if name.startswith(judging)]


def row(
    group="sibling",
    guilty=False,
    verdict="inconclusive",
    named=(),
    planted=(),
    acceptable=("inconclusive",),
    controls=None,
):
    case = {
        "id": "dense-5/x",
        "arch": "dense",
        "seed": 5,
        "group": group,
        "guilty": guilty,
        "verdicts": acceptable,
        "named": planted,
        "excused": "",
    }
    found = {
        "verdict": verdict,
        "parents": {name: {"named": name in named} for name in ("donor", "decoy")},
    }
    return {
        "case": case,
        "verdict": {**found, "controls": controls or {}, "reasons": []},
    }


def test_who_is_falsely_accused():
    assert table.false_accusations(row()) == []
    assert table.false_accusations(row(verdict="merge", named=("donor",))) == [
        "merge of an innocent",
        "names donor",
    ]
    assert (
        table.false_accusations(
            row(
                "copy",
                verdict="copy",
                named=("donor",),
                planted=("donor",),
                acceptable=("copy",),
            )
        )
        == []
    )
    assert table.false_accusations(
        row("merge", True, "merge", ("donor", "decoy"), ("donor",), ("merge",))
    ) == ["names decoy"]
    assert table.false_accusations(row(controls={"sibling": {"verdict": "merge"}})) == [
        "control sibling: merge"
    ]


def test_error_rates_count_each_verdict_on_the_reporting_seeds():
    rows = [
        row(),
        row(verdict="finetune_of_donor", named=("donor",)),
        row("merge", True, "merge", ("donor",), ("donor",), ("merge",)),
    ]
    rates = table.error_rates(rows)
    assert rates["finetune_of_donor"]["innocents"] == 2
    assert rates["finetune_of_donor"]["false"] == 1
    assert rates["merge"]["false"] == 0
    assert rates["merge"]["ci95"][0] == 0.0 < rates["merge"]["ci95"][1]
