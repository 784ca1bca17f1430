"""mergetrace called from Python, as a notebook would."""

import json
import subprocess
import sys

import pytest
import yaml

import mergetrace
from mergetrace.errors import AuditError
from mergetrace.testing.planting import blend, finetuned, random_model, write_model

BASE = random_model(0)
DONOR = finetuned(BASE, 1)
MODELS = {"mine": blend(BASE, DONOR, 0.571), "base": BASE, "donor": DONOR}
SPEC = {"suspect": "mine", "base": "base", "donors": ["donor"]}


@pytest.fixture
def configuration(tmp_path):
    sources = {
        name: {"path": str(write_model(tmp_path / "models" / name, tensors))}
        for name, tensors in MODELS.items()
    }
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"models": sources, "audits": {"x": SPEC}}))
    return path


@pytest.mark.slow
def test_three_lines_audit_a_configuration(configuration, tmp_path):
    """In a process of its own, in a folder that is not the workflow's."""
    notebook = (
        "from mergetrace import audit\n"
        f"finding = audit({str(configuration)!r})\n"
        "print(finding.verdict, finding.sentence, finding.report, sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", notebook],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    verdict, sentence, report = done.stdout.splitlines()
    assert verdict == "merge"
    assert "57.1\xa0% donor" in sentence
    assert "57.1\xa0%" in (tmp_path / report).read_text()
    receipt = json.loads((tmp_path / "results/x/verdict.json").read_text())
    assert receipt["parents"]["donor"]["named"]


def test_what_a_user_can_cause_is_a_sentence(configuration, tmp_path):
    with pytest.raises(AuditError, match="no audit `y`"):
        mergetrace.audit(configuration, tmp_path, "y")
    raw = yaml.safe_load(configuration.read_text())
    raw["audits"]["z"] = SPEC
    configuration.write_text(yaml.safe_dump(raw))
    with pytest.raises(AuditError, match="several audits: x, z"):
        mergetrace.audit(configuration, tmp_path)
    raw["models"]["base"]["path"] = "nowhere"
    configuration.write_text(yaml.safe_dump(raw))
    with pytest.raises(AuditError, match="there is no folder nowhere"):
        mergetrace.audit(configuration, tmp_path, "x")


@pytest.mark.parametrize("text", [None, "a: [", "just words", "", "\xff\x00"])
def test_a_file_that_is_no_configuration_is_named(tmp_path, text):
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(AuditError, match=r"mine\.yaml"):
        mergetrace.audit(path)


def test_the_version_costs_no_library():
    code = (
        "import sys, mergetrace; print({'pandas', 'numba', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
