"""Interrupted in every way but politely: `scripts/resume.py` ends with the results of
an undisturbed run, and redoes nothing that was finished.
"""

import base64
import contextlib
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

from mergetrace.outputs import write_json
from mergetrace.running.leftovers import UNFINISHED, started
from mergetrace.testing.planting import blend, finetuned, random_model, write_model
from mergetrace.testing.workplace import copy_workflow, run_snakemake

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

CONFIG = {
    "models": {
        name: {"path": f"models/{name}"} for name in ("suspect", "base", "donor")
    },
    "audits": {"x": {"suspect": "suspect", "base": "base", "donors": ["donor"]}},
    "mode": "full",
    "probe": {"enabled": False},
}


NO_SLURM = (  # Debian's client where no cluster is configured
    "squeue: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host"
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A workplace whose audit ran through once."""
    workplace = copy_workflow(tmp_path_factory.mktemp("undisturbed") / "workplace")
    base = random_model(0)
    donor = finetuned(base, 1)
    for name, tensors in {
        "suspect": blend(base, donor, 0.571),
        "base": base,
        "donor": donor,
    }.items():
        write_model(workplace / "models" / name, tensors)
    run_snakemake(workplace, config=CONFIG)
    return workplace


@pytest.fixture
def disk(tmp_path):
    """A file system of its own for `place`; the function given gives it so many bytes
    of room from then on.
    """

    def mount(*options: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["mount", *options, tmp_path], capture_output=True, text=True, check=False
        )

    def leave(room: int) -> None:
        usage = shutil.disk_usage(tmp_path)
        assert mount("-o", f"remount,size={usage.used + room}").returncode == 0

    if os.geteuid() or mount("-t", "tmpfs", "-o", "size=64m", "tmpfs").returncode:
        pytest.skip("mounting a small file system needs root")
    yield leave
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


@pytest.fixture
def place(undisturbed, tmp_path):
    """A workplace with the same models where nothing ran yet; whatever becomes of the
    test, no process stays in it.
    """
    workplace = copy_workflow(tmp_path / "workplace")
    shutil.copytree(undisturbed / "models", workplace / "models")
    shutil.copy(undisturbed / "mine.yaml", workplace)
    yield workplace
    for process in inside(workplace):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def resume(place: Path, *options: str, **variables: str) -> subprocess.CompletedProcess:
    env = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, "scripts/resume.py", *options],
        cwd=place,
        capture_output=True,
        text=True,
        env=env,
        check=False,
    )


def check_resumed(place: Path, undisturbed: Path) -> str:
    """Resumed, a run ends with the undisturbed one's results, and leaves nothing
    behind. Returns what was said.
    """
    done = resume(place)
    assert done.returncode == 0, done.stdout + done.stderr
    assert hashes(place) == hashes(undisturbed)
    assert not inside(place)
    assert not list((place / "results").rglob(".*.partial"))
    return done.stdout + done.stderr


def hashes(place: Path) -> dict[str, str]:
    """sha256 of every result; logs and timings apart."""
    paths = [
        path
        for path in (place / "results").rglob("*")
        if path.is_file() and not path.name.startswith(".snakemake")
    ]
    results = {
        str(path.relative_to(place / "results")): (
            hashlib.sha256(path.read_bytes()).hexdigest()
        )
        for path in paths
    }
    return {
        name: value
        for name, value in results.items()
        if not name.startswith(("logs", "benchmarks"))
    }


def inside(place: Path) -> list[psutil.Process]:
    """The processes whose working directory is `place`: Snakemake and its jobs."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if Path(process.cwd()) == place:
                found.append(process)
    return found


def start(place: Path) -> subprocess.Popen:
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--cores",
        "1",
        "--configfile",
        "mine.yaml",
    ]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(
        command,
        cwd=place,
        start_new_session=True,
        preexec_fn=heed_ctrl_c,  # noqa: PLW1509
        **output,
    )


def heed_ctrl_c() -> None:
    """A shell starts its background jobs deaf to Ctrl-C, and whatever they start stays
    so; a user's terminal does not.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def wait_for_log(running: subprocess.Popen, place: Path, rule: str) -> None:
    deadline = time.monotonic() + 120
    while not list((place / "results/logs").glob(f"{rule}/*")):
        assert running.poll() is None, running.stdout.read()
        assert time.monotonic() < deadline, f"{rule} never started"
        time.sleep(0.02)


def test_killed_its_jobs_left_running(place, undisturbed):
    running = start(place)
    wait_for_log(running, place, "deltas")
    running.kill()
    running.wait()
    check_resumed(place, undisturbed)


def test_what_snakemake_never_recorded_is_made_again(place, undisturbed):
    """A job behind the checkpoint that ends, and Snakemake is killed before it takes
    notice. Left to itself, Snakemake would keep its output without a record of what it
    was made from, and later keep it where a threshold had changed.
    """
    running = start(place)
    wait_for_log(running, place, "fit")
    deadline = time.monotonic() + 120
    # Snakemake notes what a job makes when the job runs already (command_line.main).
    while not any((place / UNFINISHED).iterdir()):
        assert time.monotonic() < deadline
    running.send_signal(signal.SIGSTOP)
    while not (made := list((place / "results/x/fits").glob("*.parquet"))):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    running.kill()
    running.wait()
    name = str(made[0].relative_to(place))
    record = (
        place / ".snakemake/metadata" / base64.urlsafe_b64encode(name.encode()).decode()
    )
    assert not record.exists()
    assert f"{name}: its job was not recorded as finished" in check_resumed(
        place, undisturbed
    )
    assert record.exists()


def test_a_job_killed_as_by_the_system_short_of_memory(place, undisturbed):
    running = start(place)
    wait_for_log(running, place, "fit")
    while (
        running.poll() is None
    ):  # a job may end just before it is killed; then the next one is
        with contextlib.suppress(psutil.NoSuchProcess):
            for process in psutil.Process(running.pid).children(recursive=True):
                process.kill()
        time.sleep(0.02)
    assert running.returncode == 1
    assert "Error in rule" in running.stdout.read()
    check_resumed(place, undisturbed)


def test_ctrl_c(place, undisturbed):
    running = start(place)
    wait_for_log(running, place, "deltas")
    os.killpg(running.pid, signal.SIGINT)  # as a terminal does
    output, _ = running.communicate(timeout=120)
    assert running.returncode
    assert "user request" in output, output
    check_resumed(place, undisturbed)


@pytest.mark.real
def test_a_full_disk(disk, place, undisturbed, monkeypatch):
    """Logs, Snakemake's own notes and results lie on it. What does not fit is named,
    what is there is whole, the rest is done when there is room.
    """
    # Compiled modules would fill it before Snakemake writes its own notes.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    disk(1_850_000)  # of 4 MB; what plan.json asks for is there
    done = run_snakemake(place, config=CONFIG, check=False)
    assert done.returncode == 1
    assert "mergetrace: the disk is full" in done.stdout
    assert "while writing results/" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert hashes(place).items() <= hashes(undisturbed).items()
    disk(32_000_000)
    check_resumed(place, undisturbed)


@pytest.mark.parametrize("executor", ["local", "slurm"])
@pytest.mark.parametrize("configured", [False, True])
def test_only_a_run_that_submitted_jobs_needs_slurm(
    place, tmp_path, monkeypatch, executor, configured
):
    """A `squeue` that fails as Debian's does where no cluster is configured."""
    squeue = tmp_path / "bin" / "squeue"
    squeue.parent.mkdir()
    squeue.write_text(f"#!/bin/sh\necho '{NO_SLURM}' >&2\nexit 1\n")
    squeue.chmod(0o755)
    monkeypatch.delenv("SLURM_CONF", raising=False)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    write_json(
        place / "results/logs/started.json",
        started(["--configfile", "mine.yaml"], executor)
        | {"process": ended.pid, "folder": str(place)},
    )

    variables = {"SLURM_CONF": str(tmp_path / "slurm.conf")} if configured else {}
    done = resume(
        place, "--only-end", PATH=f"{squeue.parent}:{os.environ['PATH']}", **variables
    )
    assert done.returncode == (executor == "slurm"), done.stderr
    if executor == "slurm" or configured:
        assert NO_SLURM in done.stderr
