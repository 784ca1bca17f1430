"""The descent zoo's bookkeeping, and one tiny family of it that is trained and audited:
nobody is accused wrongly.
"""

from collections import Counter

import pytest
import torch

from benchmarks.descent import cases, evasions, grading, shapes, tasks
from benchmarks.descent.auditing import audit_of
from benchmarks.descent.case import Case
from benchmarks.descent.framed import framed_members
from benchmarks.descent.making import Household
from benchmarks.descent.members import MEMBERS, keeper
from mergetrace.finding.case import ACCUSING

TINY = shapes.Family("tiny", 90, 1e-3, length=0.1)


def test_no_family_both_tunes_and_reports_and_innocents_abound():
    names = [family.name for family in cases.families(None)]
    assert len(set(names)) == len(names)
    reporting = cases.all_cases(reporting=True)
    assert sum(not case.guilty for case in reporting) >= 150
    kinds = Counter(case.kind for case in reporting if not case.guilty)
    for kind in ("hidden ancestor", "wrong base", "sibling of the donor's task"):
        assert kinds[kind] >= 10


@pytest.mark.parametrize("family", cases.families(None), ids=str)
def test_every_case_is_another_one_of_members_that_can_be_made(family):
    found = cases.family_cases(family)
    assert len({case.id for case in found}) == len(found)
    known = {*MEMBERS, *framed_members()}
    for name in cases.members(found):
        assert keeper(name) in known
    for case in found:
        assert set(case.truth) <= set(case.donors)
        assert not {case.suspect, *case.controls} & {case.base, *case.donors}


def test_tasks_are_written_by_their_seed_alone():
    assert tasks.texts("donor", 1, 1, 3) == tasks.texts("donor", 1, 1, 3)
    assert tasks.texts("donor", 1, 1, 3) != tasks.texts("donor", 1, 2, 3)
    assert len({tasks.tasks_of(role, 1) for role in tasks.ROLES}) == len(tasks.ROLES)


def test_evasions_change_little_and_only_what_they_say():
    drawn = torch.Generator().manual_seed(0)
    base = {"w": torch.randn(16, 16, generator=drawn).bfloat16()}
    change = torch.randn(16, 16, generator=drawn) * 0.1
    model = {"w": (base["w"].float() + change).bfloat16()}
    pruned = evasions.pruned(model, base, 0.5)["w"]
    assert (pruned == base["w"]).float().mean() >= 0.5
    low = evasions.low_rank(model, base, 0.25)["w"].float() - base["w"].float()
    assert torch.linalg.svdvals(low)[4:].max() < 0.2 * torch.linalg.svdvals(low)[0]
    assert (evasions.requantised(model)["w"] - model["w"]).abs().max() < 0.03
    assert (evasions.noisy(model, 3)["w"] - model["w"]).abs().max() < 0.1
    again = evasions.unblended(model, base, 0.5, noise=0.0)["w"].float()
    blend = 0.5 * base["w"].float() + 0.5 * again
    assert (blend - model["w"].float()).abs().max() < 0.02


@pytest.mark.parametrize(
    ("truth", "word", "named", "at_most", "expected"),
    [
        ({}, "inconclusive", {}, None, "inconclusive"),
        ({}, "inconclusive", {}, 0.01, "acquitted"),
        ({}, "finetune_of_base", {}, None, "acquitted"),
        ({}, "merge_then_trained", {"donor": 0.5}, None, "accused"),
        ({"donor": 0.5}, "merge_then_trained", {"donor": 0.51}, None, "named"),
        ({"donor": 0.5}, "merge_then_trained", {"donor": 0.55}, None, "wrong weight"),
        ({"donor": 0.5}, "finetune_of_base", {}, None, "wrongly acquitted"),
        ({"donor": 0.5}, "inconclusive", {}, 0.05, "wrongly acquitted"),
        ({"donor": 0.05}, "finetune_of_base", {}, 0.06, "acquitted"),
        ({"donor": 0.2}, "finetune_of_base", {}, 0.26, "wrongly acquitted"),
        ({"donor": 0.2}, "inconclusive", {}, 0.26, "bounded"),
        ({}, "inconclusive", {}, 0.5, "bounded"),
        ({}, "inconclusive", {}, 0.7, "inconclusive"),
        (
            {"donor": 0.6},
            "merge_then_trained",
            {"donor": 0.6},
            0.5,
            "wrongly acquitted",
        ),
    ],
)
def test_grades(truth, word, named, at_most, expected):
    case = Case("x", "tiny-90", "kind", "suspect", truth=truth)
    parent = {"named": "donor" in named, "alpha": named.get("donor"), "alpha_ols": 0.6}
    verdict = {
        "verdict": word,
        "parents": {"donor": parent | {"at_most": at_most}},
        "controls": {},
        "reasons": [],
    }
    row = {"case": case.as_json(), "verdict": verdict}
    assert grading.grade(row)["grade"] == expected


@pytest.fixture(scope="module")
def household(tmp_path_factory):
    return Household(tmp_path_factory.mktemp("descent"), TINY)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("suspect", "donor", "innocent"),
    [
        ("linear-571-usual", "donor", False),
        ("sibling-b", "donor", True),
        ("heir-150-other", "heir-150-donor", True),
    ],
)
def test_nobody_is_accused_wrongly(household, tmp_path, suspect, donor, innocent):
    case = Case("x", TINY.name, "kind", suspect, donors=(donor,))
    found = audit_of(tmp_path, household.members(case.models()), case).weigh()
    assert not innocent or found["verdict"] not in ACCUSING
    assert found["verdict"] not in ("merge", "other_merge", "copy")
    for control in found["controls"].values():
        assert control["verdict"] not in ACCUSING
