"""Resume the run that was interrupted in this folder: end what is left of it, unlock,
and run the same command again.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mergetrace.errors import AuditError
from mergetrace.outputs import read_json
from mergetrace.running.leftovers import (
    PATHS,
    QUEUE,
    SLURM_CONF,
    cluster_jobs,
    end,
    half_written,
    is_snakemake,
    option,
    orphans,
    unrecorded,
)
from mergetrace.running.log import say

NOTE = Path("results/logs/started.json")
"""What a run notes of itself when it starts, under its working directory."""

PATIENCE = 120
"""Seconds that cancelled jobs have to leave the queue."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--only-end",
        action="store_true",
        help="end what is left of the run and unlock, but do not run again",
    )
    parser.add_argument(
        "--directory",
        type=Path,
        default=Path(),
        help="the working directory of the run (snakemake's --directory)",
    )
    arguments = parser.parse_args()

    os.chdir(arguments.directory)
    here = Path.cwd()
    note = _note_of_the_run(here)
    cancel_cluster_jobs(here, submitted=note.get("executor") == "slurm")
    _clean_up(here)

    snakemake = [sys.executable, "-m", "snakemake"]
    os.chdir(note.get("folder", here))
    unlock = [*snakemake, "--unlock", "--quiet", "all"]
    for names in PATHS:
        unlock += option(note["arguments"], *names)
    subprocess.run(unlock, check=True)
    if arguments.only_end:
        return
    again = list(note["arguments"])
    if "--rerun-incomplete" not in again:
        again.append("--rerun-incomplete")
    say("again: snakemake " + " ".join(again))
    os.execv(sys.executable, [*snakemake, *again])


def _note_of_the_run(here: Path) -> dict[str, Any]:
    """What the interrupted run noted when it started (see `leftovers.started`).

    Raises AuditError where there is none, and where that run can still be at work.
    """
    if not NOTE.is_file():
        raise AuditError(
            f"{here / NOTE}: nothing was started in this folder; run `make audit`, or"
            " the snakemake command you want"
        )
    note: dict[str, Any] = read_json(NOTE)
    if note["host"] != socket.gethostname():
        raise AuditError(
            f"the run was started on {note['host']}: resume it there, or delete {NOTE}"
            " if that machine is gone for good"
        )
    if is_snakemake(note["process"], here):
        raise AuditError(
            f"Snakemake still runs in this folder (process {note['process']}); let it"
            f" finish, or stop it with `kill -INT {note['process']}`"
        )
    return note


def _clean_up(here: Path) -> None:
    """End the processes that the run left, and delete what they had not finished."""
    while left := orphans(here):  # one may start another while it is ended
        say(f"ending {len(left)} processes that the interrupted run left behind")
        end(left)
    unsure = unrecorded(Path("results"))
    for path in unsure:
        say(f"{path}: its job was not recorded as finished and is done again")
    for path in [*half_written(Path("results")), *unsure]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def cancel_cluster_jobs(here: Path, submitted: bool) -> None:
    """Cancel the SLURM jobs that were submitted from this folder, and wait until none
    is left.

    submitted: whether the run submitted jobs; then squeue must answer. For any other
    run it is asked where a cluster is configured, since an earlier run may have left
    jobs there, and may fail: SLURM's packages on a workstation that belongs to no
    cluster must not stand in the way.
    """
    configured = "SLURM_CONF" in os.environ or SLURM_CONF.exists()
    if not shutil.which("squeue") or not (submitted or configured):
        return
    deadline = time.monotonic() + PATIENCE
    cancelled: set[str] = set()
    while True:
        left = cluster_jobs(_queue(submitted or bool(cancelled)), here)
        if not left:
            return
        to_cancel = sorted(set(left) - cancelled)
        if to_cancel:
            number = len(to_cancel)
            say(
                f"cancelling {number} cluster jobs that the interrupted run left behind"
            )
            subprocess.run(["scancel", *to_cancel], check=False)
            cancelled.update(to_cancel)
        if time.monotonic() > deadline:
            raise AuditError(
                f"the cluster jobs {', '.join(left)} do not end; look at them with"
                " `squeue --me`, then run `make resume` again"
            )
        time.sleep(1)


def _queue(needed: bool) -> str:
    """SLURM's list of our jobs; empty where it does not answer and is not needed."""
    done = subprocess.run(QUEUE, capture_output=True, text=True, check=False)
    if not done.returncode:
        return done.stdout
    reason = f"squeue cannot say which jobs are left: {done.stderr.strip()[:200]}"
    if needed:
        raise AuditError(f"{reason}; try again when SLURM answers")
    say(f"{reason}; this run submitted none")
    return ""
