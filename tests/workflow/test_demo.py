"""The demo from nothing to the report, as `make audit` runs it; then killed in the
middle of the probe and finished.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from mergetrace.testing.workplace import copy_workflow, run_snakemake

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    workplace = copy_workflow(tmp_path_factory.mktemp("demo") / "workplace")
    run_snakemake(workplace)
    return workplace


@pytest.fixture(scope="module")
def verdict(demo):
    return json.loads((demo / "results/demo/verdict.json").read_text())


def test_the_hidden_blend_is_found_and_reproduced(verdict):
    assert verdict["verdict"] == "merge", verdict["reasons"]
    assert verdict["parents"]["nex"]["named"]
    assert verdict["parents"]["nex"]["alpha"] == pytest.approx(0.571, abs=0.0005)
    assert verdict["parents"]["nex"]["alpha_ols"] == pytest.approx(0.571, abs=0.002)
    assert verdict["base"]["name"] == "qwen"
    assert verdict["recipe"]["bit_exact_rate"] == 1.0


def test_the_control_is_not_accused(verdict):
    control = verdict["controls"]["tuiuti"]
    assert control["verdict"] in ("finetune_of_base", "inconclusive")
    assert not any(parent["named"] for parent in control["parents"].values())


def test_the_mask_falls_when_the_template_is_stripped(verdict):
    def share(model, condition, identity):
        cell = verdict["probe"][model][condition][identity]
        assert cell["n"] == 120
        return cell["hits"] / cell["n"]

    assert share("rio", "shipped", "Rio") >= 0.95
    assert share("rio", "stripped", "Rio") <= 0.02
    assert share("rio", "stripped", "Nex") >= 0.95
    assert share("rio", "neutral", "Nex") >= 0.95
    assert share("rio", "adversarial", "Nex") <= 0.05
    assert share("qwen", "shipped", "Qwen") >= 0.95
    assert share("nex", "shipped", "Nex") >= 0.95
    assert share("tuiuti", "shipped", "Tuiuti") >= 0.95


def test_the_report_is_one_file_that_says_it(demo):
    report = (demo / "results/demo/report.html").read_text()
    assert "57.1" in report
    assert 'src="http' not in report
    assert len(report) < 3_000_000


@pytest.mark.parametrize("form", ["bundle", "bundle.zip"])
def test_the_bundle_verifies(demo, form):
    done = subprocess.run(
        [sys.executable, "scripts/verify.py", f"results/demo/{form}"],
        cwd=demo,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "Everything that can be recomputed agrees." in done.stdout
    assert "answers that give a name: 80 of 80" in done.stdout


@pytest.mark.thorough
def test_killed_while_asking_the_next_run_ends_with_the_same_bytes(demo):
    verdict = demo / "results/demo/verdict.json"
    expected = verdict.read_bytes()
    answers = demo / "results/probe/rio"
    shutil.rmtree(answers)
    shutil.rmtree(demo / "results/demo/probe")
    verdict.unlink()
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "1",
        "results/demo/verdict.json",
    ]
    running = subprocess.Popen(
        command,
        cwd=demo,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not (
        answers.is_dir() and any(path.stat().st_size for path in answers.iterdir())
    ):
        assert time.monotonic() < deadline, "nobody was asked"
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    run_snakemake(demo, "--unlock")
    run_snakemake(demo, "results/demo/verdict.json")
    assert verdict.read_bytes() == expected


def test_snakemakes_own_report_holds_the_page(demo):
    run_snakemake(demo, "--report", "workflow-report.zip")
    assert (demo / "workflow-report.zip").stat().st_size > 10_000
