"""What an interrupted run leaves behind in its folder: cluster jobs, processes,
half-written files, and in its logs the reasons.

Jobs and processes are ended before the run is resumed: two copies of a job would write
the same files.
"""

import base64
import contextlib
import itertools
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

JOB_NAME = re.compile(r"mergetrace_[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""The name of our jobs in SLURM: the profile's prefix and the executor's run id."""

UNFINISHED = Path(".snakemake/incomplete")
"""Where Snakemake notes the outputs of a job, from its start until it is recorded as
finished.
"""

FULL_DISK_BYTES = 1 << 20
"""A disk with less room counts as full."""

HALF_WRITTEN = re.compile(r"\..+\.[0-9]+\.partial")
"""The temporary names of outputs; see mergetrace.outputs."""


PATHS = (
    ("--snakefile", "-s"),
    ("--directory", "-d"),
    ("--configfile", "--configfiles"),
)
"""The options of Snakemake that name files and folders, each by its names."""


def started(arguments: Sequence[str], executor: str) -> dict[str, Any]:
    """What is noted of a run when it starts, so that it can be resumed.

    arguments: Snakemake's command line. executor: what carries out its jobs.
    """
    return {
        "folder": str(launched_from(arguments, Path.cwd())),
        "arguments": list(arguments),
        "executor": executor,
        "host": socket.gethostname(),
        "process": os.getpid(),
    }


def launched_from(arguments: Sequence[str], directory: Path) -> Path:
    """The folder that the relative paths of Snakemake's command line start from.

    directory: its working directory, to which --directory has brought it; where it came
    from Snakemake does not say. It is the first of likely folders in which the paths
    that the command line names exist.
    """
    given = option(arguments, "--directory", "-d")[1:]
    if not given:
        return directory
    named = [path for names in PATHS for path in option(arguments, *names)[1:]]
    pwd = os.environ.get("PWD")
    likely = [Path(pwd)] if pwd else []
    for folder in [*likely, directory, *directory.parents]:
        leads_here = (folder / given[0]).resolve() == directory.resolve()
        if leads_here and all((folder / path).exists() for path in named):
            return folder
    return directory


def option(arguments: Sequence[str], *names: str) -> list[str]:
    """An option of a command line, by its first name, with its values; else nothing."""
    words = list(arguments)
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name not in names:
            continue
        if equals:
            return [names[0], value]
        following = words[place + 1 :]
        if "--configfile" in names:
            values = itertools.takewhile(
                lambda each: not each.startswith("-"), following
            )
            return [names[0], *values]
        return [names[0], *following[:1]]
    return []


def is_snakemake(pid: int, folder: Path) -> bool:
    """Whether that process is a Snakemake at work in `folder`. A process that has ended
    and that nobody waited for is not.
    """
    try:
        process = psutil.Process(pid)
        command = process.cmdline()
        return (
            any("snakemake" in word for word in command)
            and Path(process.cwd()) == folder.resolve()
        )
    except psutil.Error:
        return False


def cluster_jobs(listing: str, folder: Path) -> list[str]:
    """The ids of the jobs that a mergetrace in `folder` submitted; other workflows, and
    other folders, are left alone.

    listing: the answer to QUEUE.
    """
    here = folder.resolve()
    ids = []
    for line in listing.splitlines():
        fields = line.split("|", maxsplit=2)
        if len(fields) == 3:
            job, name, submitted_from = fields
            if JOB_NAME.fullmatch(name) and Path(submitted_from.strip()) == here:
                ids.append(job)
    return ids


def orphans(folder: Path) -> list[psutil.Process]:
    """The processes of jobs in `folder` whose Snakemake, which ran in `folder` too, is
    gone.
    """
    found = []
    for process in psutil.process_iter():
        try:
            if _is_orphan(process, folder):
                found.append(process)
        except (psutil.Error, OSError):  # somebody else's, or ended meanwhile
            continue
    return found


def _is_orphan(process: psutil.Process, folder: Path) -> bool:
    if process.pid == os.getpid():
        return False
    run = process.environ().get(RUN, "")
    snakemake = run.partition(" ")[0]
    if not snakemake.isdigit() or run != mark(int(snakemake), folder):
        return False
    if Path(process.cwd()) != folder.resolve():
        return False
    return not is_snakemake(int(snakemake), folder)


def end(processes: Sequence[psutil.Process], patience: float = 5.0) -> None:
    """Ask processes to end; kill those that have not after `patience` seconds."""
    for stop in (psutil.Process.terminate, psutil.Process.kill):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                stop(process)
        _, processes = psutil.wait_procs(processes, timeout=patience)


def half_written(results: Path) -> list[Path]:
    """Temporary files and folders that killed jobs left under `results`; only right
    while no job runs.
    """
    candidates = results.rglob(".*.partial")
    return sorted(path for path in candidates if HALF_WRITTEN.fullmatch(path.name))


def unrecorded(results: Path, notes: Path = UNFINISHED) -> list[Path]:
    """The files and folders under `results` that a job made which Snakemake did not
    record as finished; only right while no job runs.

    Such a file is whole, but nothing says with which program, parameters and inputs it
    was made: a change of these would go unnoticed. Snakemake's --rerun-incomplete
    overlooks those jobs that it only learns of at the checkpoint.
    """
    below = results.resolve()
    found = []
    for note in notes.rglob("*"):
        output = _noted_output(note.relative_to(notes))
        if output is None or not note.is_file() or not output.exists():
            continue
        if output.resolve().is_relative_to(below):
            found.append(output)
    return sorted(found)


def _noted_output(note: Path) -> Path | None:
    """The output that a note of Snakemake's is about; None where it is about none.

    A note is named after the output's path in base64; a path that is longer than a name
    may be lies in folders that begin with @.
    """
    coded = "".join(part.removeprefix("@") for part in note.parts)
    try:
        return Path(base64.urlsafe_b64decode(coded).decode())
    except ValueError:
        return None


def problems(logs: Iterable[str | Path], results: Path) -> list[str]:
    """What went wrong, one line each: what failed jobs said in Snakemake's logs, and
    that the disk is full, which a log may have had no room to say.
    """
    lines = {
        line
        for log in logs
        for line in Path(log).read_text(errors="replace").splitlines()
        if line.startswith("mergetrace: ")
    }
    is_said = any("the disk is full" in line for line in lines)
    if not is_said and shutil.disk_usage(results).free < FULL_DISK_BYTES:
        lines.add(
            f"mergetrace: the disk is full: {results.resolve()} has no room left; free"
            " some space and run `make resume`, finished work is kept"
        )
    return sorted(lines)
