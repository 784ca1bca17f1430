"""Run from another folder, and as a module of somebody else's workflow."""

import json
import os
import subprocess
import sys

import pytest
import yaml

from mergetrace.testing.planting import blend, finetuned, random_model, write_model
from mergetrace.testing.workplace import copy_workflow

BASE = random_model(0)
DONOR = finetuned(BASE, 1)
MODELS = {"mine": blend(BASE, DONOR, 0.571), "base": BASE, "donor": DONOR}
CONFIG = {
    "models": {name: {"path": f"models/{name}"} for name in MODELS},
    "audits": {"x": {"suspect": "mine", "base": "base", "donors": ["donor"]}},
    "mode": "full",
    "probe": {"enabled": False},
    "rebuild": {"enabled": "always"},
}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout of the workflow, in a folder that may not be written to afterwards."""
    return copy_workflow(tmp_path_factory.mktemp("checkout") / "mergetrace")


@pytest.fixture
def scratch(tmp_path):
    """A working directory with models and a configuration, and nothing of ours."""
    folder = tmp_path / "run 1"
    for name, tensors in MODELS.items():
        write_model(folder / "models" / name, tensors)
    (folder / "mine.yaml").write_text(yaml.safe_dump(CONFIG))
    return folder


def snakemake(cwd, *arguments):
    """Run Snakemake; returns what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": "/usr/local/bin:/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-6000:]
    return done.stdout + done.stderr


def files_of(folder):
    """All but what Python keeps beside modules."""
    return {
        path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def verdict(folder):
    return json.loads((folder / "results/x/verdict.json").read_text())["verdict"]


@pytest.mark.slow
def test_a_run_elsewhere_is_taken_up_from_anywhere_and_the_checkout_stays_clean(
    checkout, scratch, tmp_path
):
    before = files_of(checkout)
    where = ["-s", checkout / "Snakefile", "--directory", scratch.name]
    where += ["--configfile", f"{scratch.name}/mine.yaml"]
    snakemake(tmp_path, "results/x/plan.json", *where)
    note = scratch / "results/logs/started.json"
    started = json.loads(note.read_text())
    started["arguments"].remove("results/x/plan.json")
    note.write_text(json.dumps(started))
    resume = [sys.executable, checkout / "scripts/resume.py", "--directory", scratch]
    done = subprocess.run(resume, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine is a blend" in done.stdout + done.stderr
    assert verdict(scratch) == "merge"
    assert (scratch / "results/x/bundle.zip").is_file()
    progress = [sys.executable, checkout / "scripts/progress.py", scratch / "results"]
    done = subprocess.run(progress, cwd="/", capture_output=True, text=True, check=True)
    assert "All planned outputs exist" in done.stdout
    whole = ["-s", checkout / "Snakefile", "--directory", scratch]
    whole += ["--configfile", scratch / "mine.yaml"]
    assert "Nothing to be done" in snakemake(tmp_path, *whole)
    assert files_of(checkout) == before


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.parametrize("prefix", ["", "audit"])
def test_another_workflow_uses_it_as_a_module(checkout, scratch, prefix):
    placed = f'    prefix: "{prefix}"\n' if prefix else ""
    own = scratch / prefix
    (scratch / "Snakefile").write_text(
        'configfile: "mine.yaml"\n\n\n'
        "module mergetrace:\n"
        f'    snakefile: "{checkout}/Snakefile"\n'
        "    config: config\n"
        f"{placed}\n\n"
        "use rule * from mergetrace as mergetrace_*\n\n\n"
        "rule everything:\n"
        "    default_target: True\n"
        "    input:\n"
        "        rules.mergetrace_all.input,\n"
        "        rules.mergetrace_rebuilds.input,\n"
    )
    snakemake(scratch)
    assert verdict(own) == "merge"
    rebuilt = json.loads((own / "results/x/rebuild.json").read_text())
    assert rebuilt["identical"] == rebuilt["tensors"]
    assert "mine" in (own / "results/index.html").read_text()
    assert not prefix or not (scratch / "results").exists()
    snakemake(scratch)  # the report, now that there is a rebuild to speak of
    assert "Nothing to be done" in snakemake(scratch)
