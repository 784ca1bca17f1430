"""What an interrupted run leaves behind in its folder: cluster jobs, processes,
half-written files, reasons.

They are ended before the run is taken up again: two copies of a job would write the
same files.
"""

import base64
import contextlib
import os
import re
import shutil
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil

from mergetrace.running.owner import RUN, mark

QUEUE = (
    "squeue",
    "--me",
    "--noheader",
    "--states=PENDING,RUNNING,SUSPENDED,COMPLETING,CONFIGURING",
    "--format=%i|%j|%Z",
)
"""Asks SLURM for our jobs: id, name, and the folder that each was submitted from."""

SLURM_CONF = Path("/etc/slurm/slurm.conf")
"""Where a cluster's configuration lies unless the environment variable SLURM_CONF says
otherwise.
"""

RUN_ID = re.compile(
    r"mergetrace_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
)  # the profile's prefix and the executor's run id
UNFINISHED = Path(
    ".snakemake/incomplete"
    # where Snakemake notes the outputs of a job from its start until it is recorded as
    # finished
)
NO_ROOM = 1 << 20  # bytes: with less, a disk is full
HALF_WRITTEN = re.compile(r"\..+\.[0-9]+\.partial")  # see files.whole


def started(
    arguments: Sequence[str], executor: str, folder: str | Path
) -> dict[str, Any]:
    """What is noted of a run when it starts: its command line and the folder that its
    paths start from, what carries out its jobs, and where Snakemake runs.
    """
    return {
        "folder": str(folder),
        "arguments": list(arguments),
        "executor": executor,
        "host": socket.gethostname(),
        "process": os.getpid(),
    }


def is_snakemake(pid: int, folder: Path) -> bool:
    """Whether that process is a Snakemake at work in `folder`. One that has ended and
    that nobody waited for is not.
    """
    try:
        process = psutil.Process(pid)
        return (
            any("snakemake" in word for word in process.cmdline())
            and Path(process.cwd()) == folder.resolve()
        )
    except psutil.Error:
        return False


def cluster_jobs(listing: str, folder: Path) -> list[str]:
    """The ids of the jobs in QUEUE's answer that a mergetrace in `folder` submitted;
    other workflows, and other folders, are left alone.
    """
    rows = (
        line.split("|", maxsplit=2)
        for line in listing.splitlines()
        if line.count("|") >= 2
    )
    return [
        job
        for job, name, where in rows
        if RUN_ID.fullmatch(name) and Path(where.strip()) == folder.resolve()
    ]


def orphans(folder: Path) -> list[psutil.Process]:
    """The processes of jobs in `folder` whose Snakemake, which ran in `folder` too, is
    gone.
    """
    found = []
    for process in psutil.process_iter():
        try:
            run = process.environ().get(RUN, "")
            pid = run.partition(" ")[0]
            ours = (
                pid.isdigit()
                and run == mark(int(pid), folder)
                and process.pid != os.getpid()
            )
            if (
                ours
                and Path(process.cwd()) == folder.resolve()
                and not is_snakemake(int(pid), folder)
            ):
                found.append(process)
        except (psutil.Error, OSError):  # somebody else's, or ended meanwhile
            continue
    return found


def end(processes: Sequence[psutil.Process], patience: float = 5.0) -> None:
    """Ask processes to end; kill those that have not after `patience` seconds."""
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            try:
                stop(process)
            except psutil.NoSuchProcess:
                continue
        _, processes = psutil.wait_procs(processes, timeout=patience)


def half_written(results: Path) -> list[Path]:
    """Temporary files and folders that killed jobs left under `results`; only right
    while no job runs.
    """
    return sorted(
        path
        for path in results.rglob(".*.partial")
        if HALF_WRITTEN.fullmatch(path.name)
    )


def unrecorded(results: Path, notes: Path = UNFINISHED) -> list[Path]:
    """What lies under `results` and was made by a job that Snakemake did not record as
    finished; only right while no job runs.

    Such a file is whole, but nothing says with which program, parameters and inputs it
    was made: a change of these would go unnoticed. Snakemake's --rerun-incomplete
    overlooks those jobs that it only learns of at the checkpoint. In its notes a file
    is named after the output's path in base64, what is longer than a name may be in
    folders of @pieces.
    """
    found = []
    for note in notes.rglob("*"):
        coded = "".join(
            piece.removeprefix("@") for piece in note.relative_to(notes).parts
        )
        with contextlib.suppress(ValueError):  # not an output's
            path = Path(base64.urlsafe_b64decode(coded).decode())
            if (
                note.is_file()
                and path.exists()
                and path.resolve().is_relative_to(results.resolve())
            ):
                found.append(path)
    return sorted(found)


def problems(logs: Iterable[str | Path], results: Path) -> list[str]:
    """What went wrong, one line each: what failed jobs said in Snakemake's logs, and
    that the disk is full, for which there may be no room there.
    """
    said = {
        line
        for log in logs
        for line in Path(log).read_text(errors="replace").splitlines()
        if line.startswith("mergetrace: ")
    }
    if (
        not any("the disk is full" in line for line in said)
        and shutil.disk_usage(results).free < NO_ROOM
    ):
        said.add(
            f"mergetrace: the disk is full: {results.resolve()} has no room left; free"
            " some space and run `make resume`, finished work is kept"
        )
    return sorted(said)
