"""The house rules that a machine can check."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAMS = (
    "testing/",
    "running/",
    "bundle/verify.py",
    "configuration/documentation.py",
    "scan/publishing.py",
)
"""What runs as a program: it prints, and reads its arguments."""


def run(*command):
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_is_clean():
    run("ruff", "check", ".")
    run("ruff", "format", "--check", ".")


def test_snakefmt_is_clean():
    run("snakefmt", "--check", "Snakefile", "rules")


@pytest.mark.slow
@pytest.mark.thorough
def test_the_library_is_typed():
    run("mypy")


@pytest.mark.slow
def test_snakemake_lint_is_clean():
    run("snakemake", "--lint")


def test_conda_environments_are_pinned_to_the_lock_file():
    done = subprocess.run(
        [sys.executable, "envs/pin.py", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_rule_says_what_it_needs():
    """Named inputs and outputs, a log, threads, memory, an environment and a message,
    in every rule that runs a command.
    """
    for path in (ROOT / "rules").glob("*.smk"):
        for rule in re.split(r"^(?=rule |checkpoint )", path.read_text(), flags=re.M)[
            1:
        ]:
            missing = [
                word
                for word in (
                    "input:",
                    "output:",
                    "log:",
                    "threads:",
                    "mem_mb=",
                    "conda:",
                    "message:",
                    "shell:",
                )
                if word not in rule
            ]
            assert not missing, f"{path.name}: {rule.split(':')[0]} lacks {missing}"


def test_memory_grows_with_the_attempt():
    """A job that a cluster killed for its memory gets more when it is tried again."""
    for path in (ROOT / "rules").glob("*.smk"):
        fixed = [
            line.strip()
            for line in path.read_text().splitlines()
            if "mem_mb=" in line and "growing(" not in line and "attempt" not in line
        ]
        assert not fixed, f"{path.name}: {fixed}"


def test_the_snakefile_imports_nothing_heavy():
    """Every job of a cluster starts Snakemake twice."""
    modules = re.findall(
        r"^from (mergetrace[\w.]+) import",
        (ROOT / "rules/common.smk").read_text(),
        flags=re.M,
    )
    code = (
        f"import sys; import {', '.join(modules)};"
        " print({'pandas', 'scipy', 'torch', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "set()"


def test_the_library_neither_prints_nor_parses_arguments():
    library = ROOT / "scripts/mergetrace"
    for path in library.rglob("*.py"):
        if path.relative_to(library).as_posix().startswith(PROGRAMS):
            continue
        assert not re.search(
            r"^\s*print\(|^import argparse|^from snakemake|^import snakemake",
            path.read_text(),
            flags=re.M,
        ), path


def test_a_folder_of_the_library_imports_only_from_those_above_it():
    """In the order of the table of contents, which names every module."""
    library = ROOT / "scripts/mergetrace"
    contents = (library / "__init__.py").read_text()
    order = re.findall(r"^(\w+): ", contents, flags=re.M)
    assert sorted(order) == sorted(
        path.name for path in library.iterdir() if (path / "__init__.py").exists()
    )
    for path in library.rglob("*.py"):
        if path.stem in {"__init__", "__main__"}:
            continue
        assert re.search(rf"\b{path.stem}\b", contents), path
        folder = path.relative_to(library).parts[0]
        above = order[: order.index(folder) + 1] if folder in order else []
        folders = set(
            re.findall(
                r"^\s*from mergetrace\.(\w+)(?:\.\w+)? import",
                path.read_text(),
                flags=re.M,
            )
        ) & set(order)
        assert folders <= set(above), path
