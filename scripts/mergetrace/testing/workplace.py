"""A copy of the workflow to run in, so that tests and benchmarks neither see nor
disturb anyone's results. It is copied from the checkout that this package lies in.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[3]
"""The checkout: the folder that holds the Snakefile."""

PARTS = ("rules", "scripts", "config", "envs", "profiles", "docs")
"""The folders that a run needs."""

FILES = ("Snakefile", "requirements.lock")
"""The files that a run needs."""


def copy_workflow(target: Path) -> Path:
    """Copy what a run needs to `target`, and return it."""
    for part in PARTS:
        shutil.copytree(
            ROOT / part, target / part, ignore=shutil.ignore_patterns("__pycache__")
        )
    for file in FILES:
        shutil.copy(ROOT / file, target)
    return target


def run_snakemake(
    workplace: Path,
    *arguments: str,
    config: dict[str, Any] | None = None,
    check: bool = True,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run Snakemake in `workplace` as a user would, on two cores, and keep its output.

    config: written to mine.yaml and given as --configfile. env: further environment
    variables. check: raise AssertionError, with the output, where Snakemake fails.
    """
    configured = []
    if config is not None:
        (workplace / "mine.yaml").write_text(yaml.safe_dump(config))
        configured = ["--configfile", "mine.yaml"]
    command = [sys.executable, "-m", "snakemake", "--cores", "2"]
    command += [*arguments, *configured]
    done = subprocess.run(
        command,
        cwd=workplace,
        capture_output=True,
        text=True,
        check=False,
        # A bare PATH: the workflow must find its own Python where nobody activated the
        # environment.
        env={
            **os.environ,
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HF_HUB_OFFLINE": "1",
            **(env or {}),
        },
    )
    if check and done.returncode:
        raise AssertionError(
            f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
        )
    return done
