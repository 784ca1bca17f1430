"""Take up the run that was interrupted in this folder: end what is left of it, unlock,
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

from mergetrace.errors import AuditError
from mergetrace.outputs import read_json
from mergetrace.running.leftovers import (
    QUEUE,
    SLURM_CONF,
    cluster_jobs,
    end,
    half_written,
    is_snakemake,
    orphans,
    unrecorded,
)
from mergetrace.running.log import say

NOTE = Path("results/logs/started.json")
"""What a run notes of itself when it starts, under its working directory."""
FOR_UNLOCKING = (
    ("--snakefile", "-s"),
    ("--directory", "-d"),
    ("--configfile", "--configfiles"),
)
"""The options of the run that unlocking needs too."""
PATIENCE = 120  # seconds for cancelled jobs to leave the queue


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
    if not NOTE.is_file():
        raise AuditError(
            f"{here / NOTE}: nothing was started in this folder; run `make audit`, or the"
            " snakemake command you want"
        )
    note = read_json(NOTE)
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
    cancel_cluster_jobs(here, submitted=note.get("executor") == "slurm")
    while left := orphans(here):  # one may start another while it is ended
        say(f"ending {len(left)} processes that the interrupted run left behind")
        end(left)
    unsure = unrecorded(Path("results"))
    for path in unsure:
        say(f"{path}: its job was not recorded as finished and is done again")
    for path in [*half_written(Path("results")), *unsure]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    snakemake = [sys.executable, "-m", "snakemake"]
    command = [
        *snakemake,
        *note["arguments"],
        *([] if "--rerun-incomplete" in note["arguments"] else ["--rerun-incomplete"]),
    ]
    os.chdir(note.get("folder", here))
    unlock = [*snakemake, "--unlock", "--quiet", "all"]
    for names in FOR_UNLOCKING:
        unlock += _option(note["arguments"], *names)
    subprocess.run(unlock, check=True)
    if arguments.only_end:
        return
    say("again: snakemake " + " ".join(command[len(snakemake) :]))
    os.execv(sys.executable, command)


def cancel_cluster_jobs(here: Path, submitted: bool) -> None:
    """Cancel the SLURM jobs that were submitted from this folder, and wait until none
    is left.

    A run that `submitted` jobs needs squeue's answer. For any other it is asked where a cluster is configured (an earlier run may have left jobs
    there), and may fail: SLURM's packages on a workstation, with no cluster, must not stand in the way.
    """
    if not shutil.which("squeue") or not (
        submitted or "SLURM_CONF" in os.environ or SLURM_CONF.exists()
    ):
        return
    deadline = time.monotonic() + PATIENCE
    cancelled: set[str] = set()
    while left := cluster_jobs(_queue(submitted or bool(cancelled)), here):
        if new := set(left) - cancelled:
            say(
                f"cancelling {len(new)} cluster jobs that the interrupted run left"
                " behind"
            )
            subprocess.run(["scancel", *sorted(new)], check=False)
            cancelled |= new
        if time.monotonic() > deadline:
            raise AuditError(
                f"the cluster jobs {', '.join(left)} do not end; look at them with"
                " `squeue --me`, then run `make resume` again"
            )
        time.sleep(1)


def _queue(needed: bool) -> str:
    done = subprocess.run(QUEUE, capture_output=True, text=True, check=False)
    if not done.returncode:
        return done.stdout
    reason = f"squeue cannot say which jobs are left: {done.stderr.strip()[:200]}"
    if needed:
        raise AuditError(f"{reason}; try again when SLURM answers")
    say(f"{reason}; this run submitted none")
    return ""


def _option(arguments: list[str], *names: str) -> list[str]:
    """An option of a command line with its values."""
    where = next(
        (i for i, word in enumerate(arguments) if word.split("=")[0] in names), None
    )
    if where is None:
        return []
    values = iter(arguments[where + 1 :])
    return [arguments[where], *([] if "=" in arguments[where] else [next(values, "")])]
