"""The zoo's bookkeeping: what it covers, what makes a measurement stale, who counts as
falsely accused.
"""

import json

import pytest
import torch

from benchmarks.zoo import cases, grading, run, scripts, table

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


def test_the_zoo_holds_every_way_to_write_a_merge():
    made = [source for case in cases.all_cases() for source in sources(case)]
    assert {source["lines"] for source in made if "lines" in source} == set(
        scripts.LINES
    )
    assert {source["along"][0] for source in made if "along" in source} == set(
        scripts.ALONG
    )


def sources(case):
    return [case.made, *case.extra.values()]


@pytest.mark.parametrize("name", scripts.LINES)
def test_lines_make_a_model_of_the_bases_dtype_between_its_parents(name):
    drawn = torch.Generator().manual_seed(1)
    shapes = {"embed": (8, 4), "model.layers.0.self_attn": (6, 4)}
    shapes["model.layers.1.mlp"] = (4,)
    models = {
        model: {
            tensor: torch.randn(shape, generator=drawn).bfloat16()
            for tensor, shape in shapes.items()
        }
        for model in ("base", "donor")
    }
    made = {"lines": name, "of": ["base", "donor"], "weights": [0.5, 0.5]}
    merged = scripts.merge_by_script(made, models)
    for tensor, own in merged.items():
        ends = torch.stack([model[tensor] for model in models.values()])
        assert own.dtype == torch.bfloat16
        assert own.shape == shapes[tensor]
        if "slerp" in name:
            continue
        room = 1 / 64
        assert (own >= ends.amin(0) - room).all()
        assert (own <= ends.amax(0) + room).all()


def test_weights_along_the_layers_and_tensors_left_out():
    names = ("embed", *(f"model.layers.{i}.mlp" for i in range(3)))
    models = {
        model: {name: torch.full((2, 2), value) for name in names}
        for model, value in (("base", 0.0), ("donor", 1.0))
    }
    made = {"lines": "float64 sum", "of": ["base", "donor"], "along": ["ramp", 0, 1]}
    merged = scripts.merge_by_script({**made, "skip": ["embed"], "new_rows": 1}, models)
    assert [merged[name].mean().item() for name in names[1:]] == [0, 0.5, 1]
    assert merged["embed"].shape == (2, 2)
    longer = scripts.merge_by_script({**made, "new_rows": 1}, models)
    assert longer["embed"].shape == (3, 2)


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
    assert grading.false_accusations(row()) == []
    assert grading.false_accusations(row(verdict="merge", named=("donor",))) == [
        "merge of an innocent",
        "names donor",
    ]
    assert (
        grading.false_accusations(
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
    assert grading.false_accusations(
        row("merge", True, "merge", ("donor", "decoy"), ("donor",), ("merge",))
    ) == ["names decoy"]
    assert grading.false_accusations(
        row(controls={"sibling": {"verdict": "merge"}})
    ) == ["control sibling: merge"]


def test_a_merge_is_recovered_only_whole_and_with_its_shares():
    found = row("merge by hand", True, "merge", ("donor",), ("donor",), ("merge",))
    found["case"] |= {"pure": True, "families": ["linear"], "alphas": {"donor": 0.5}}
    found["verdict"] |= {"family": "linear", "recipe": {"bit_exact_rate": 1.0}}
    found["verdict"]["parents"]["donor"]["alpha"] = 0.5005
    assert grading.recovered(found)
    found["verdict"]["parents"]["donor"]["alpha"] = 0.502
    assert not grading.recovered(found)
    found["verdict"]["parents"]["donor"]["alpha"] = 0.5
    found["verdict"]["recipe"]["bit_exact_rate"] = 0.9999
    assert not grading.recovered(found)


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
