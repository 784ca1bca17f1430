"""The demo on a real SLURM cluster, with everything that can go wrong there: jobs
cancelled, over their memory, over their time; Snakemake killed.
"""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from mergetrace.testing.workplace import copy_workflow
from slurm import cluster

pytestmark = pytest.mark.real

# What the README tells a reader to change in the profile, given on the command line;
# and limits that the first attempt does not keep.
OPTIONS = [
    *("--workflow-profile", "config/slurm", "--config", "compute={device: auto}"),
    *(
        "--slurm-init-seconds-before-status-checks",
        "2",
        "--latency-wait",
        "10",
        "--group-components",
        "models=16",
        "layers=4",
    ),
    *(
        "--set-resources",
        "ask:slurm_partition=gpus",
        "ask:gpu_model=standin",
        "ask:runtime=1 if attempt == 1 else 30",
    ),
    "layout:mem_mb=60 if attempt == 1 else 3000",
]
PATIENCE = 900


class Watch(threading.Thread):
    """Notes, twice a second, which jobs are where."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.samples: list[list[dict[str, str]]] = []
        self.ending = threading.Event()

    def run(self) -> None:
        while not self.ending.wait(0.5):
            self.samples.append(cluster.jobs())

    def ids(self, comment: str) -> list[str]:
        """The ids of the jobs whose comment begins so, in the order they were seen."""
        return list(
            dict.fromkeys(
                job["id"]
                for sample in self.samples
                for job in sample
                if job["comment"].startswith(comment)
            )
        )


def snakemake(workplace: Path, *command: str) -> subprocess.Popen:
    # A bare PATH: the workflow must find its own Python where nobody activated the
    # environment.
    env = {**os.environ, "PATH": "/usr/local/bin:/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}
    with (workplace / "output.txt").open("a") as output:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=workplace,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=env,
        )


def running(run: subprocess.Popen, comment: str, count: int = 1) -> list[str]:
    """Wait until `count` jobs of a run whose comments begin so are running, and give
    their ids.
    """
    return _until(
        run,
        lambda: [
            job["id"]
            for job in cluster.jobs("RUNNING")
            if job["comment"].startswith(comment)
        ],
        count,
    )


def processes(run: subprocess.Popen, job: str) -> list[psutil.Process]:
    """Wait until a job's processes are there."""
    return _until(
        run,
        lambda: [
            each
            for each in psutil.process_iter()
            if _environment(each).get("SLURM_JOB_ID") == job
        ],
        1,
    )


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """The whole run; what happened to whom."""
    if reason := cluster.missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm")
    workplace = copy_workflow(folder / "workplace")
    watch = Watch()
    with cluster.cluster(folder / "cluster"):
        watch.start()
        try:
            yield SimpleNamespace(workplace=workplace, watch=watch, **_run(workplace))
        finally:
            watch.ending.set()
            watch.join()


def _run(workplace: Path) -> dict:
    first = snakemake(workplace, "-m", "snakemake", *OPTIONS)
    try:
        orphaned = running(first, "rule_train_standin_wildcards_", 2)  # both finetunes
        first.send_signal(signal.SIGKILL)
        first.wait()
        alive = [job["id"] for job in cluster.jobs("RUNNING")]
        second = snakemake(workplace, "scripts/resume.py")
    except BaseException:
        first.kill()
        raise
    try:
        [cancelled] = running(second, "rule_merge_standin")
        subprocess.run(["scancel", cancelled], check=True)
        hung = running(second, "rule_ask")[0]
        for process in processes(second, hung):
            process.send_signal(signal.SIGSTOP)
        code = second.wait(timeout=PATIENCE)
    finally:
        second.kill()
    output = (workplace / "output.txt").read_text()
    return {
        "code": code,
        "orphaned": orphaned,
        "alive": alive,
        "cancelled": cancelled,
        "hung": hung,
        "output": output,
    }


def test_the_verdict_is_the_demos(story):
    assert story.code == 0, story.output[-8000:]
    verdict = json.loads((story.workplace / "results/demo/verdict.json").read_text())
    assert verdict["verdict"] == "merge"
    assert verdict["recipe"]["bit_exact_rate"] == 1.0
    assert verdict["probe"]["rio"]["stripped"]["Nex"]["hits"] >= 114


def test_a_snakemake_killed_leaves_its_jobs_and_resume_ends_them(story):
    assert set(story.orphaned) <= set(story.alive), (
        "the jobs outlive Snakemake; else this test shows nothing"
    )
    for job in story.orphaned:
        assert cluster.ended(job)["JobState"] == "CANCELLED"
    assert len(story.watch.ids("rule_train_standin_wildcards_qwen")) == 1, (
        "what was finished is not done again"
    )


def test_no_job_ever_ran_twice_at_once(story):
    for sample in story.watch.samples:
        copies = Counter(job["comment"] for job in sample if job["state"] == "RUNNING")
        assert not [comment for comment, count in copies.items() if count > 1], sample


@pytest.mark.parametrize(
    ("fault", "state"), [("cancelled", "CANCELLED"), ("hung", "TIMEOUT")]
)
def test_a_job_lost_is_tried_again(story, fault, state):
    job = cluster.ended(getattr(story, fault))
    assert job["JobState"] == state
    again = story.watch.ids(job["Comment"])
    assert cluster.ended(again[-1])["JobState"] == "COMPLETED", again


def test_a_job_over_its_memory_is_tried_again_with_more(story):
    first, *_, last = (
        cluster.ended(job) for job in story.watch.ids("rule_layout_wildcards_demo")
    )
    assert "mem=60M" in first["TRES"]
    assert "exceeded memory limit" in Path(first["StdOut"]).read_text()
    assert "mem=3000M" in last["TRES"] or "mem=3G" in last["TRES"], last["TRES"]
    assert last["JobState"] == "COMPLETED"


def test_jobs_wait_for_a_gpu(story):
    """Four models are asked, each with a GPU; there are two."""
    asking = [
        [job for job in sample if job["comment"].startswith("rule_ask")]
        for sample in story.watch.samples
    ]
    assert {
        cluster.ended(job)["TresPerJob"] for job in story.watch.ids("rule_ask")
    } == {"gres:gpu:standin:1"}
    running = [sum(job["state"] == "RUNNING" for job in sample) for sample in asking]
    assert max(running) == 2
    assert any(
        count == 2 and any(job["state"] == "PENDING" for job in sample)
        for count, sample in zip(running, asking, strict=True)
    )


def test_small_jobs_share_one(story):
    assert len(story.watch.ids("rule_layers_deltas_fit")) == 1


def _until(run: subprocess.Popen, found: Callable[[], list], count: int) -> list:
    deadline = time.monotonic() + PATIENCE
    while len(result := found()) < count:
        assert run.poll() is None, "Snakemake ended before its time"
        assert time.monotonic() < deadline, "nothing happens"
        time.sleep(0.2)
    return result


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.Error:
        return {}
