"""Interrupted in every way but politely: `scripts/resume.py` ends with the results of an undisturbed run, and redoes nothing that was finished."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from planting import blend, finetuned, random_model, write_model

from mergetrace.leftovers import RUN
from workflow.conftest import copy_workflow, run_snakemake

pytestmark = pytest.mark.slow

CONFIG = {
    "models": {name: {"path": f"models/{name}"} for name in ("suspect", "base", "donor")},
    "audits": {"x": {"suspect": "suspect", "base": "base", "donors": ["donor"]}},
    "mode": "full",
    "probe": {"enabled": False},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A workplace whose audit ran through once, and the hashes of its results."""
    workplace = copy_workflow(tmp_path_factory.mktemp("interrupted") / "workplace")
    base = random_model(0)
    donor = finetuned(base, 1)
    for name, tensors in {"suspect": blend(base, donor, 0.571), "base": base, "donor": donor}.items():
        write_model(workplace / "models" / name, tensors)
    run_snakemake(workplace, config=CONFIG)
    return workplace


@pytest.fixture
def interrupted(place):
    """interrupted(): start from nothing; finished(): resume, and check everything."""
    expected = hashes(place)
    shutil.rmtree(place / "results")
    yield place
    resumed = subprocess.run([sys.executable, "scripts/resume.py"], cwd=place, capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert hashes(place) == expected
    assert not [process for process in psutil.process_iter() if belongs(process, place)]
    assert not list((place / "results").rglob(".*.partial"))


def hashes(place: Path) -> dict[str, str]:
    """sha256 of every result; logs and timings apart."""
    paths = [path for path in (place / "results").rglob("*") if path.is_file() and not path.name.startswith(".snakemake")]
    results = {str(path.relative_to(place / "results")): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return {name: value for name, value in results.items() if not name.startswith(("logs", "benchmarks"))}


def belongs(process: psutil.Process, place: Path) -> bool:
    try:
        return RUN in process.environ() and Path(process.cwd()) == place
    except (psutil.Error, OSError):
        return False


def start(place: Path, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", "mine.yaml"]
    return subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True, **options)


def wait_for_log(place: Path, rule: str) -> None:
    deadline = time.monotonic() + 120
    while not list((place / "results/logs").glob(f"{rule}/*")):
        assert time.monotonic() < deadline, f"{rule} never started"
        time.sleep(0.02)


def test_killed_its_jobs_left_running(interrupted):
    running = start(interrupted)
    wait_for_log(interrupted, "deltas")
    running.kill()
    running.communicate()


def test_a_job_killed_as_by_the_system_short_of_memory(interrupted):
    running = start(interrupted)
    wait_for_log(interrupted, "fit")
    for process in psutil.Process(running.pid).children(recursive=True):
        process.kill()
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 1
    assert "Error in rule" in output


def test_ctrl_c(interrupted):
    running = start(interrupted)
    wait_for_log(interrupted, "deltas")
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    output, _ = running.communicate(timeout=120)
    assert running.returncode
    assert "user request" in output, output
