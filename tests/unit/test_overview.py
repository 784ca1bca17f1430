"""Several findings: the index, two revisions of one suspect compared, and runs that
fail on what was found.
"""

import json
import os
import re

import pandas as pd
import pytest

from mergetrace.errors import AuditError
from mergetrace.finding.gate import failures
from mergetrace.records.verdict import Verdict
from mergetrace.stages import compare, gate, overview
from mergetrace.testing.audits import arrange, audit
from mergetrace.testing.planting import blend, finetuned, random_model, write_model
from mergetrace.testing.reporting import finding

BASE = random_model(0)
DONOR = finetuned(BASE, 1)
EVIL = "<script>alert(1)</script>"


def card(**declared):
    return {
        "rio": {
            "model": "rio",
            "source": {"repo": None},
            "declared": (
                {"base_model": None, "relation": None, "license": None} | declared
            ),
        }
    }


def test_an_undeclared_parent_fails_a_run_that_asks_for_it():
    assert failures(Verdict.of(finding("merge")), card(), []) == []
    (reason,) = failures(Verdict.of(finding("merge")), card(), ["undeclared_parent"])
    assert reason.startswith("undeclared_parent: rio is a blend")
    assert "nor a merge's configuration beside it lists nex;" in reason
    declared = finding("merge")
    declared["declared"]["base_model"] = ["qwen", "x/nex"]
    declared = Verdict.of(declared)
    assert failures(declared, card(), ["undeclared_parent", "inconclusive"]) == []
    assert failures(declared, card(), ["accusation"]) != []


@pytest.mark.parametrize("kind", ["finetune_of_base", "inconclusive", "unrelated"])
def test_nobody_fails_for_a_parent_that_no_verdict_names(kind):
    verdict = Verdict.of(finding(kind, named=False, share=1.0))
    assert failures(verdict, card(), ["undeclared_parent", "accusation"]) == []
    assert bool(failures(verdict, card(), ["inconclusive"])) == (kind == "inconclusive")


def test_the_gate_exits_with_a_sentence_or_leaves_its_mark(tmp_path):
    (tmp_path / "verdict.json").write_text(json.dumps(finding("merge")))
    (tmp_path / "rio.json").write_text(json.dumps(card()["rio"]))
    inputs = gate.Inputs(tmp_path / "verdict.json", (tmp_path / "rio.json",))
    outputs = gate.Outputs(tmp_path / "passed.txt")
    with pytest.raises(AuditError, match=r"audit demo fails by verdict\.fail_on"):
        gate.run(inputs, gate.Params(("undeclared_parent",)), outputs)
    assert not (tmp_path / "passed.txt").exists()
    gate.run(inputs, gate.Params(("inconclusive",)), outputs)
    assert (tmp_path / "passed.txt").read_text() == "rio, merge: none of inconclusive\n"


def test_the_index_lists_every_finding_of_the_folder(tmp_path, monkeypatch):
    for name, kind in (
        ("demo", "merge"),
        ("other", "finetune_of_base"),
        ("unfinished", "inconclusive"),
    ):
        verdict = finding(
            kind, named=kind == "merge", share=0.429 if kind == "merge" else 1.0
        )
        (tmp_path / name).mkdir()
        (tmp_path / name / "verdict.json").write_text(
            json.dumps(
                verdict | {"audit": name, "suspect": EVIL if name == "other" else "rio"}
            )
        )
        if name != "unfinished":
            (tmp_path / name / "report.html").touch()
    os.utime(tmp_path / "demo/verdict.json", (1_700_000_000, 1_700_000_000))
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    paths = (overview.Inputs(tmp_path), overview.Outputs(tmp_path / "index.html"))
    overview.run(paths[0], overview.Params(), paths[1])
    html = (tmp_path / "index.html").read_text()
    assert re.findall(r'<a href="([^"]+)"', html) == [
        "demo/report.html",
        "other/report.html",
    ]
    assert "2023-11-14" in html
    assert "nex 57.1" in html
    assert EVIL not in html
    assert "&lt;script&gt;" in html
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "86400")
    overview.run(paths[0], overview.Params(), paths[1])
    assert (tmp_path / "index.html").read_text().count("1970-01-02") == 2


@pytest.mark.slow
def test_two_revisions_are_compared_tensor_by_tensor(tmp_path):
    """The re-upload has one matrix blended otherwise, and one tensor renamed."""
    before = blend(BASE, DONOR, 0.571)
    name = "model.layers.1.mlp.up_proj.weight"
    after = {**before, name: blend(BASE, DONOR, 0.3)[name]}
    for revision, tensors in (("before", before), ("after", after)):
        folders = {
            key: write_model(tmp_path / revision / key, each)
            for key, each in {"s": tensors, "base": BASE, "donor": DONOR}.items()
        }
        audit(
            tmp_path / f"made-{revision}",
            folders,
            {"suspect": "s", "base": "base", "donors": ["donor"]},
        )
        arrange(tmp_path / f"made-{revision}", tmp_path / "results", revision)
    own = tmp_path / "results"
    compare.run(
        compare.Inputs(own / "before", own / "after"),
        compare.Params("x"),
        compare.Outputs(own / "x.csv", own / "x.json", own / "x.html"),
    )
    found = json.loads((own / "x.json").read_text())
    assert found["slices"] == {
        "changed": 1,
        "unchanged": 6,
        "only before": 0,
        "only after": 0,
        "not comparable": 0,
    }
    table = pd.read_csv(own / "x.csv").set_index("tensor")
    assert table.loc[name, "state"] == "changed"
    assert table.loc[name, "alpha_before"] == pytest.approx(0.571, abs=0.01)
    assert table.loc[name, "alpha_after"] == pytest.approx(0.3, abs=0.01)
    assert (table.drop(name)["changed"] == 0).all()
    html = (own / "x.html").read_text()
    assert name in html
    assert "1 of 7 slices differ" in html
