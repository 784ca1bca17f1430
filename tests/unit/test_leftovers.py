"""What is left of an interrupted run is found; what belongs to others is not
touched.
"""

import base64
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from mergetrace.running.leftovers import (
    UNFINISHED,
    cluster_jobs,
    end,
    half_written,
    is_snakemake,
    orphans,
    problems,
    started,
    unrecorded,
)
from mergetrace.running.owner import RUN, mark

ROOT = Path(__file__).parents[2]
RUN_ID = "mergetrace_c86e44e5-7046-4a89-b2ce-19a8a0a8ec7f"


def test_only_jobs_of_this_folder_and_of_this_program_are_ours(tmp_path):
    listing = (
        f"12|{RUN_ID}|{tmp_path}\n"
        f"13|{RUN_ID}|{tmp_path}/elsewhere\n"
        f"14|{RUN_ID[11:]}|{tmp_path}\n"
        f"15|mergetrace_notebook|{tmp_path}\n"
        f"16|other_{RUN_ID}|{tmp_path}\n"
        "slurm_load_jobs error: nobody there\n"
        f"17_3|{RUN_ID}|{tmp_path}\n"
    )
    assert cluster_jobs(listing, tmp_path) == ["12", "17_3"]


def test_a_folder_with_a_bar_in_its_name(tmp_path):
    folder = tmp_path / "a|b"
    folder.mkdir()
    assert cluster_jobs(f"1|{RUN_ID}|{folder}\n", folder) == ["1"]


@pytest.fixture
def sleeper(tmp_path):
    """sleeper(run, folder, origin): a process of a job in `folder` that says it belongs
    to the Snakemake `run` in `origin` (the same folder).
    """
    processes = []

    def start(run, folder=tmp_path, origin=None):
        code = "import time; print('here', flush=True); time.sleep(60)"
        env = {**os.environ, RUN: mark(run, origin or folder)}
        process = subprocess.Popen(
            [sys.executable, "-c", code], cwd=folder, env=env, stdout=subprocess.PIPE
        )
        process.stdout.readline()
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_processes_whose_snakemake_is_gone_are_ended(tmp_path, sleeper):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    orphan = sleeper(gone())
    other = sleeper(gone(), elsewhere)
    found = orphans(tmp_path)
    assert [process.pid for process in found] == [orphan.pid]
    end(found)
    assert not psutil.pid_exists(orphan.pid)
    assert other.poll() is None


def test_processes_that_another_folders_run_started_here_are_not_ours(
    tmp_path, sleeper
):
    other = sleeper(gone(), origin=tmp_path / "elsewhere")
    assert orphans(tmp_path) == []
    assert other.poll() is None


def test_a_folder_with_a_blank_in_its_name(tmp_path, sleeper):
    folder = tmp_path / "a b"
    folder.mkdir()
    orphan = sleeper(gone(), folder)
    assert [process.pid for process in orphans(folder)] == [orphan.pid]


@pytest.mark.parametrize("inherited", [None, "another folder's"])
def test_a_snakemake_at_work_keeps_its_jobs(tmp_path, sleeper, inherited):
    """Also one that was started from within a job of another folder."""
    env = {name: value for name, value in os.environ.items() if name != RUN} | (
        {RUN: mark(os.getpid(), tmp_path.parent)} if inherited else {}
    )
    code = "import time; print('here', flush=True); time.sleep(60)"
    with subprocess.Popen(
        [sys.executable, "-c", code, "snakemake"],
        cwd=tmp_path,
        env=env,
        stdout=subprocess.PIPE,
    ) as alive:
        alive.stdout.readline()
        job = sleeper(alive.pid)
        assert is_snakemake(alive.pid, tmp_path)
        assert not is_snakemake(alive.pid, tmp_path.parent)
        assert orphans(tmp_path) == []
        alive.kill()
    assert not is_snakemake(alive.pid, tmp_path)
    assert [process.pid for process in orphans(tmp_path)] == [job.pid]


@pytest.mark.parametrize(
    ("run", "abandoned"),
    [(gone, True), (os.getpid, False), (lambda: 1, False), (None, False)],
)
def test_a_job_whose_snakemake_is_gone_makes_nothing(tmp_path, run, abandoned):
    """Process 1 is somebody else's where we are not root."""
    env = {name: value for name, value in os.environ.items() if name != RUN} | (
        {RUN: mark(run(), tmp_path)} if run else {}
    )
    command = [sys.executable, ROOT / "scripts/manifest.py", "--help"]
    done = subprocess.run(
        command, env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == abandoned
    assert done.stderr == (
        "mergetrace: the Snakemake that started this job is gone; run `make resume`\n"
        if abandoned
        else ""
    )


def test_what_is_noted_of_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", "/")  # as of a program that was started from elsewhere
    note = started(["--cores", "2"], "local")
    assert note["arguments"] == ["--cores", "2"]
    assert note["executor"] == "local"
    assert note["folder"] == str(tmp_path)
    assert note["process"] == os.getpid()


def test_half_written_files_are_told_from_answers_that_go_on(tmp_path):
    for name in (
        ".verdict.json.123.partial",
        "shipped.jsonl.partial",
        ".hidden.partial",
    ):
        (tmp_path / name).touch()
    assert [path.name for path in half_written(tmp_path)] == [
        ".verdict.json.123.partial"
    ]


def test_what_went_wrong_is_one_line_each(tmp_path, monkeypatch):
    log = tmp_path / "log"
    log.write_text(
        "Error in rule fit:\nmergetrace: b.json: no such key\nmergetrace: a.json:"
        " damaged\nmergetrace: b.json: no such key\n"
    )
    assert problems([log], tmp_path) == [
        "mergetrace: a.json: damaged",
        "mergetrace: b.json: no such key",
    ]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=4096))
    assert f"{tmp_path} has no room left" in problems([log], tmp_path)[-1]
    log.write_text(
        "mergetrace: the disk is full while writing x; free some space and run again,"
        " finished work is kept\n"
    )
    assert len(problems([log], tmp_path)) == 1


def test_what_snakemake_did_not_record_as_finished(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    long = Path("results") / ("x" * 200) / "fits" / f"{'y' * 200}.parquet"
    for path in (
        Path("results/x/fits/0.parquet"),
        Path("results/x/recorded"),
        long,
        Path("models/mine"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    for name in (
        "results/x/fits/0.parquet",
        "results/x/fits/absent",
        str(long),
        "models/mine",
        "../x",
        "results/../models/mine",
    ):
        note = UNFINISHED / re.sub(
            "(.{254})(?=.)", r"@\1/", base64.urlsafe_b64encode(name.encode()).decode()
        )
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()
    (UNFINISHED / "migration_underway").touch()
    assert unrecorded(Path("results")) == sorted(
        [Path("results/x/fits/0.parquet"), long]
    )
    assert unrecorded(Path("results"), tmp_path / "nothing") == []
