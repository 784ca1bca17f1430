"""Killed at random moments and resumed, again and again: are the results the same, and
is only that redone which was running? Writes kills.md.

python -m benchmarks.kills [--seed 0] [--gb 2] [--work results/kills]

Each audit runs through once, undisturbed, and every result's sha256 is kept. Then it is
started from nothing and killed a random time after a random number of jobs has ended,
so that kills spread over all jobs, long and short: Snakemake alone, Snakemake and all
its jobs, or one job. What is there under its final name must be whole.
`scripts/resume.py` takes it up, is killed in turn, and so on; after its last kill a run
is let finish. Interrupted itself, the benchmark goes on with the next run: finished
ones are lines of kills.jsonl in the work folder. Snakemake's output is kept there too,
one file a kill.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import yaml

from benchmarks.kernel import make
from mergetrace.outputs import write_text
from mergetrace.running.command_line import guarded
from mergetrace.running.log import say
from mergetrace.running.owner import RUN
from mergetrace.testing.workplace import copy_workflow

HERE = Path(__file__).parent
ROOT = HERE.parent

SETTINGS = {
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "SOURCE_DATE_EPOCH": "1795564800",  # the list of findings holds the day
}
"""Environment variables of every run: the same work has the same bytes."""

RUNS = (("summed", 8), ("demo", 14), ("summed", 8))
"""What is run, and how often each run is killed. Every run starts from nothing; the
demo trains its models too.
"""

VICTIMS = ("Snakemake", "Snakemake and its jobs", "one job")
NOT_RESULTS = ("logs", "benchmarks", "README.md")
STARTED = re.compile(r"^Job (\d+): (.+)\nReason: (.+)$", flags=re.M)
FINISHED = re.compile(r"^Finished jobid: (\d+) ", flags=re.M)
UNRECORDED = re.compile(
    r": its job was not recorded as finished", flags=re.M
)  # scripts/resume.py, of a file
SUMMED = {
    "models": {
        name: {"path": f"models/{name}"} for name in ("suspect", "base", "donor")
    },
    "audits": {"summed": {"suspect": "suspect", "base": "base", "donors": ["donor"]}},
    "mode": "full",
    "probe": {"enabled": False},
}
HEAD = " | ".join(
    (
        "| run",
        "audit",
        "killed once",
        "who",
        "jobs finished",
        "running",
        "files there, right",
        "done again",
        "files there by these",
        "finished, done again |",
    )
)
"""The names of the columns of a table of kills."""

PAGE = """\
# Killed and resumed

`python -m benchmarks.kills --seed {seed} --gb {gb:g}`: the demo, its models' training included,
and an audit of {gb:g} GB of planted models in full mode (`summed`), killed at random moments,
resumed by `scripts/resume.py` (which is what `make resume` calls), killed again, and let finish
after the last kill of a run.

**{same} of {runs} runs, killed {kills} times, ended with the results of an undisturbed run,
file by file and byte by byte. After {whole} of {kills} kills everything under a final name was
whole and right. {running} jobs were running when a kill came; {again} of them were done again,
and of the jobs that had finished {needlessly}.** {planned} kills are planned: where fewer are
shown, the command was interrupted itself and goes on with the rest.

A job counts as running until Snakemake has recorded it as finished, which it does after the job
has ended: {unrecorded} files were there, whole, by jobs that it had not. They are made again on
purpose: the record says with which program, parameters and inputs a file was made, and without
it a change of these would later go unnoticed.

{head}
|---:|---|---:|---|---:|---:|---:|---:|---:|---:|
{rows}

| run | audit | ends with | files | sha256 over the sorted list of their names and sha256 |
|---:|---|---|---:|---|
{ends}

Undisturbed:

{references}
"""


def prepare(work: Path, gb: float) -> None:
    """A copy of the workflow with the models of the second audit."""
    place = work / "workplace"
    if not (place / "models/donor/model.safetensors").exists():
        shutil.rmtree(place, ignore_errors=True)
        copy_workflow(place)
        (place / "summed.yaml").write_text(yaml.safe_dump(SUMMED))
        make(place / "models", gb)


def command(audit: str) -> list[str]:
    """The command line of an audit, without the interpreter."""
    return [
        "-m",
        "snakemake",
        "--cores",
        "2",
        *(["--configfile", "summed.yaml"] if audit == "summed" else []),
    ]


def clear(place: Path) -> None:
    """Start from nothing."""
    for folder in (place / "results", place / ".snakemake"):
        shutil.rmtree(folder, ignore_errors=True)
    (place / "results").mkdir()


def hashes(place: Path) -> dict[str, str]:
    """sha256 of every result, by its path; the demo's trained models are results
    too.
    """
    results = place / "results"
    files = {
        path.relative_to(results): path
        for path in sorted(results.rglob("*"))
        if path.is_file()
    }
    passing = (
        ".partial",
        ".snakemake_timestamp",
    )  # not under a final name; Snakemake's own
    kept = {
        name: path
        for name, path in files.items()
        if name.parts[0] not in NOT_RESULTS
        and not any(p.endswith(passing) for p in name.parts)
    }
    return {
        str(name): hashlib.sha256(path.read_bytes()).hexdigest()
        for name, path in kept.items()
    }


def digest(table: dict[str, str]) -> str:
    """One sha256 for a table of them."""
    return hashlib.sha256(
        "\n".join(f"{name} {value}" for name, value in sorted(table.items())).encode()
    ).hexdigest()


def start(place: Path, arguments: list[str], log: Path) -> subprocess.Popen:
    """A process in a session of its own, its output in `log`."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=place,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=os.environ | SETTINGS,
        )


def jobs(log: Path) -> tuple[dict[str, str], set[str]]:
    """(started, finished): the messages of a log's jobs, those started with Snakemake's
    reason. Numbers are those of one run, messages name rule and wildcards.
    """
    text = log.read_text(errors="replace")
    began = {number: message.strip() for number, message, _ in STARTED.findall(text)}
    reasons = {message.strip(): reason for _, message, reason in STARTED.findall(text)}
    return reasons, {
        began[number] for number in FINISHED.findall(text) if number in began
    }


def victims(snakemake: subprocess.Popen, who: str) -> list[psutil.Process]:
    """The processes to kill; none where the run has just ended."""
    try:
        children = psutil.Process(snakemake.pid).children(recursive=True)
        if who == "one job":
            return children[:1] and [children[0], *children[0].children(recursive=True)]
        return [psutil.Process(snakemake.pid), *(children if who == VICTIMS[1] else [])]
    except psutil.NoSuchProcess:
        return []


def kill(
    snakemake: subprocess.Popen, log: Path, ends: int, moment: float, who: str
) -> bool:
    """Kill `moment` seconds after the first job began and `ends` jobs ended, and wait
    until Snakemake has ended. Whether there was something left.
    """
    while snakemake.poll() is None and not (
        STARTED.search(text := log.read_text(errors="replace"))
        and len(FINISHED.findall(text)) >= ends
    ):
        time.sleep(0.05)
    began = time.monotonic()
    while time.monotonic() - began < moment and snakemake.poll() is None:
        time.sleep(0.01)
    while snakemake.poll() is None:
        if doomed := victims(snakemake, who):
            for process in doomed:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)
            # where one job was killed, Snakemake lets the others end and fails
            snakemake.wait()
            return True
        time.sleep(0.01)  # no job runs just now
    return False


def run_killed(
    work: Path, number: int, kills: int, seed: int, undisturbed: dict[str, Any]
) -> dict[str, Any]:
    """One run, killed `kills` times. Moments and victims depend on the seed and the
    run's number only.
    """
    place = work / "workplace"
    audit = undisturbed["audit"]
    expected = undisturbed["hashes"]
    generator = random.Random(f"{seed} {number}")
    clear(place)
    arguments = command(audit)
    rows: list[dict[str, Any]] = []
    unfinished: dict[str, int] = {}  # jobs that ran when a kill came, and which kill
    finished: set[str] = set()
    for attempt in range(kills + 1):
        ends = generator.randint(0, undisturbed["jobs"] // kills)
        moment = generator.uniform(0, undisturbed["seconds"] / undisturbed["jobs"])
        who = generator.choice(VICTIMS)
        log = work / f"run-{number}-{attempt}.log"
        snakemake = start(place, arguments, log)
        killed = attempt < kills and kill(snakemake, log, ends, moment, who)
        code = snakemake.wait()
        started, ended = jobs(log)
        if rows:
            rows[-1]["unrecorded"] = len(
                UNRECORDED.findall(log.read_text(errors="replace"))
            )
        for job, reason in started.items():
            if job in unfinished:
                rows[unfinished.pop(job)]["again"].append((job, reason))
            elif job in finished:
                rows[-1]["needlessly"].append((job, reason))
        if not killed:
            break
        finished |= ended
        running = sorted(started.keys() - ended)
        unfinished |= dict.fromkeys(running, len(rows))
        found = hashes(place)
        right = sum(expected.get(name) == value for name, value in found.items())
        counts = {
            "finished": len(ended),
            "running": running,
            "there": len(found),
            "right": right,
        }
        rows.append(
            {
                "ends": ends,
                "after": moment,
                "who": who,
                **counts,
                "again": [],
                "needlessly": [],
            }
        )
        if (place / "results/logs/started.json").exists():
            arguments = ["scripts/resume.py"]
    if not rows:
        sys.exit(f"{audit} ended before it could be killed; see {log}")
    found = hashes(place)
    different = sorted(
        name
        for name in expected.keys() | found.keys()
        if expected.get(name) != found.get(name)
    )
    left = [process.pid for process in psutil.process_iter() if _of(process, place)] + [
        str(path) for path in (place / "results").rglob("*.partial")
    ]
    end = {
        "code": code,
        "left": left,
        "different": different,
        "files": len(found),
        "digest": digest(found),
    }
    return {"number": number, "audit": audit, "kills": rows, **end}


def _of(process: psutil.Process, place: Path) -> bool:
    try:
        return RUN in process.environ() and Path(process.cwd()) == place.resolve()
    except (psutil.Error, OSError):
        return False


def reference(work: Path, audit: str) -> dict[str, Any]:
    """The undisturbed run: its seconds and hashes; kept, so that an interrupted
    benchmark need not repeat it.
    """
    path = work / f"{audit}.json"
    place = work / "workplace"
    log = work / f"{audit}.log"
    if not path.exists():
        clear(place)
        began = time.monotonic()
        if code := start(place, command(audit), log).wait():
            sys.exit(f"the undisturbed {audit} failed with {code}; see {log}")
        seconds = time.monotonic() - began
        write_text(
            path,
            json.dumps(
                {
                    "audit": audit,
                    "seconds": seconds,
                    "jobs": len(jobs(log)[1]),
                    "hashes": hashes(place),
                }
            ),
        )
        say(f"{audit}: {seconds:.0f} s undisturbed")
    return json.loads(path.read_text())


def page(
    runs: list[dict[str, Any]],
    references: dict[str, dict[str, Any]],
    arguments: argparse.Namespace,
) -> str:
    """The tables as markdown."""
    kills = [(run["number"], run["audit"], row) for run in runs for row in run["kills"]]
    rows = [
        f"| {number} | {audit} | {row['ends']} ended, {row['after']:.0f} s |"
        f" {row['who']} | {row['finished']} | {len(row['running'])} | {row['right']} of"
        f" {row['there']} | {len(row['again'])} | {row['unrecorded']} |"
        f" {'; '.join(f'{job} ({reason})' for job, reason in row['needlessly']) or 0} |"
        for number, audit, row in kills
    ]
    ends = [
        f"| {run['number']} | {run['audit']} |"
        f" {'identical results' if same(run) else f'DIFFERENT: {run}'} | {run['files']}"
        f" | `{run['digest']}` |"
        for run in runs
    ]
    return PAGE.format(
        head=HEAD,
        seed=arguments.seed,
        gb=arguments.gb,
        same=sum(map(same, runs)),
        runs=len(runs),
        kills=len(kills),
        planned=sum(planned for _, planned in RUNS),
        whole=sum(row["right"] == row["there"] for *_, row in kills),
        running=sum(len(row["running"]) for *_, row in kills),
        again=sum(len(row["again"]) for *_, row in kills),
        unrecorded=sum(row["unrecorded"] for *_, row in kills),
        needlessly=sum(len(row["needlessly"]) for *_, row in kills) or "none",
        rows="\n".join(rows),
        ends="\n".join(ends),
        references="\n".join(
            f"- {name}: {len(each['hashes'])} files, `{digest(each['hashes'])}`"
            for name, each in references.items()
        ),
    )


def same(run: dict[str, Any]) -> bool:
    """Whether a run ended well, with the undisturbed run's results, and left nothing
    behind.
    """
    return not run["different"] and run["code"] == 0 and not run["left"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--gb", type=float, default=2.0, help="size of the planted models together"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=ROOT / "results/kills")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit(
                f"another kills.py works in {work}: two in one folder disturb each"
                " other"
            )
        prepare(work, arguments.gb)
        log = work / "kills.jsonl"
        references = {}
        runs = (
            [json.loads(line) for line in log.read_text().splitlines()]
            if log.exists()
            else []
        )
        for number, (audit, kills) in enumerate(RUNS, start=1):
            references[audit] = reference(work, audit)
            if number not in {run["number"] for run in runs}:
                done = run_killed(
                    work, number, kills, arguments.seed, references[audit]
                )
                runs.append(done)
                with log.open("a") as handle:
                    handle.write(json.dumps(done) + "\n")
                say(
                    f"run {number}, {audit}: killed {len(done['kills'])} times,"
                    f" {'identical' if same(done) else done}"
                )
            write_text(HERE / "kills.md", page(runs, references, arguments))


if __name__ == "__main__":
    guarded(main)
