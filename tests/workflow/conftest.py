"""A copy of the workflow to run in, so that tests neither see nor disturb anyone's
results.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PARTS = ("rules", "scripts", "config", "envs", "profiles", "docs")

Snakemake = Callable[..., subprocess.CompletedProcess]


def copy_workflow(target: Path) -> Path:
    """Copy what a run needs to `target`."""
    for part in PARTS:
        shutil.copytree(
            ROOT / part, target / part, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in ("Snakefile", "requirements.lock"):
        shutil.copy(ROOT / file, target)
    return target


def run_snakemake(
    workplace: Path,
    *arguments: str,
    config: dict | None = None,
    check: bool = True,
    env: dict | None = None,
) -> subprocess.CompletedProcess:
    """Run Snakemake as a user would; the output is kept. `config` is written to
    mine.yaml and given as --configfile; `env` adds variables.
    """
    extra = []
    if config is not None:
        (workplace / "mine.yaml").write_text(yaml.safe_dump(config))
        extra = ["--configfile", "mine.yaml"]
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments, *extra]
    # A bare PATH: the workflow must find its own Python where nobody activated the
    # environment.
    env = {
        **os.environ,
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HF_HUB_OFFLINE": "1",
        **(env or {}),
    }
    done = subprocess.run(
        command, cwd=workplace, capture_output=True, text=True, env=env, check=False
    )
    if check and done.returncode:
        raise AssertionError(
            f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        )
    return done


@pytest.fixture
def workplace(tmp_path) -> Path:
    """A fresh copy of the workflow."""
    return copy_workflow(tmp_path / "workplace")
