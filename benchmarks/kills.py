"""Killed at random moments and resumed: do the results come out the same, and is only the work redone that was running? Writes kills.md.

python benchmarks/kills.py [--kills 30] [--seed 0] [--gb 2] [--work results/kills]

Two audits run through once, undisturbed, and every result's sha256 is kept. Then, kill by kill, a run is started from nothing (most runs
of the demo keep its trained models), one of three is killed at a random moment (Snakemake alone, Snakemake and all its jobs, or one job), and
`scripts/resume.py` is called. Interrupted itself, it goes on with the next kill: finished ones are lines of kills.jsonl in the work folder.
"""

import argparse
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

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests"), str(HERE)]
os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}

import psutil  # noqa: E402
import yaml  # noqa: E402
from kernel import make  # noqa: E402
from workflow.conftest import copy_workflow  # noqa: E402

from frontdoor import run, say  # noqa: E402
from mergetrace.files import whole, write_text  # noqa: E402
from mergetrace.leftovers import RUN  # noqa: E402

VICTIMS = ("Snakemake", "Snakemake and its jobs", "one job")
NOT_RESULTS = ("logs", "benchmarks", "README.md")
DEMO, TRAINED = 5, 15  # every so manyth kill is of the demo, and of a demo that trains its models too
STARTED = re.compile(r"^Job (\d+): (.+)$", flags=re.M)
FINISHED = re.compile(r"^Finished jobid: (\d+) ", flags=re.M)
SUMMED = {
    "models": {name: {"path": f"models/{name}"} for name in ("suspect", "base", "donor")},
    "audits": {"summed": {"suspect": "suspect", "base": "base", "donors": ["donor"]}},
    "mode": "full",
    "probe": {"enabled": False},
}
PAGE = """\
# Killed and resumed

`{command}`: {audits}. Killed at random moments (seed {seed}) and taken up again by `scripts/resume.py`, which is what `make resume` calls.

**{same} of {total} resumed runs ended with the results of an undisturbed run, file by file and byte by byte; {clean} of {total} redid no job that had
finished.** {jobs} jobs were running when the kill came.

| | audit | killed after | who | jobs finished | running | done again | finished jobs redone | files | results |
|---:|---|---:|---|---:|---:|---:|---:|---:|---|
{rows}

The results of the undisturbed runs, as sha256 over the sorted list of every file's name and sha256 (logs and timings apart):

{references}
"""


def prepare(work: Path, gb: float) -> Path:
    """A copy of the workflow with the models of the second audit."""
    place = work / "workplace"
    if not (place / "models/donor/model.safetensors").exists():
        shutil.rmtree(place, ignore_errors=True)
        copy_workflow(place)
        (place / "results").mkdir()
        (place / "summed.yaml").write_text(yaml.safe_dump(SUMMED))
        make(place / "models", gb)
    return place


def command(audit: str) -> list[str]:
    """The command line of an audit, without the interpreter."""
    return ["-m", "snakemake", "--cores", "2", *(["--configfile", "summed.yaml"] if audit == "summed" else [])]


def clear(place: Path, audit: str, standins: bool) -> None:
    """Start from nothing, or from trained models."""
    kept = [] if audit == "demo" and standins else ["stand-ins"]
    for path in (place / "results").iterdir():
        if path.name not in kept:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    shutil.rmtree(place / ".snakemake/incomplete", ignore_errors=True)


def hashes(place: Path, audit: str) -> dict[str, str]:
    """sha256 of every result, by its path; the demo's trained models are results too."""
    results, others = place / "results", (*NOT_RESULTS, *(["stand-ins"] if audit != "demo" else []))
    paths = (path for path in sorted(results.rglob("*")) if path.is_file() and path.relative_to(results).parts[0] not in others)
    return {str(path.relative_to(results)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths if not path.name.startswith(".snakemake")}


def digest(table: dict[str, str]) -> str:
    """One sha256 for a table of them."""
    return hashlib.sha256("\n".join(f"{name} {value}" for name, value in sorted(table.items())).encode()).hexdigest()


def start(place: Path, arguments: list[str], log: str) -> subprocess.Popen:
    """A process in a session of its own, its output in `log`."""
    with (place / log).open("wb") as output:
        return subprocess.Popen([sys.executable, *arguments], cwd=place, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)


def jobs(text: str) -> tuple[set[str], set[str]]:
    """(started, finished): the messages of a log's jobs. Numbers are those of one run, messages name rule and wildcards."""
    began = {number: message.strip() for number, message in STARTED.findall(text)}
    return set(began.values()), {began[number] for number in FINISHED.findall(text) if number in began}


def victims(place: Path, snakemake: subprocess.Popen, who: str) -> list[psutil.Process]:
    """The processes to kill."""
    children = psutil.Process(snakemake.pid).children(recursive=True)
    if who == "one job":
        return children[:1] and [children[0], *children[0].children(recursive=True)]
    return [psutil.Process(snakemake.pid), *(children if who == VICTIMS[1] else [])]


def kill_one(place: Path, number: int, seed: int, audit: str, seconds: float, standins: bool, expected: dict[str, str]) -> dict[str, Any]:
    """One kill and what came of it. The moment and the victim depend on the seed and the kill's number only."""
    generator = random.Random(f"{seed} {number}")
    moment, who = generator.uniform(0.03, 0.97) * seconds, generator.choice(VICTIMS)
    clear(place, audit, standins)
    began = time.monotonic()
    snakemake = start(place, command(audit), "first.log")
    while time.monotonic() - began < moment and snakemake.poll() is None:
        time.sleep(0.01)
    doomed = victims(place, snakemake, who) if snakemake.poll() is None else []
    for process in doomed:
        try:
            process.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    if who == "one job":  # Snakemake notices, lets the others end, and fails; unless the job had just ended by itself
        snakemake.wait()
    else:
        snakemake.kill()
        snakemake.wait()
    after = time.monotonic() - began
    started, finished = jobs((place / "first.log").read_text(errors="replace"))
    resumed = started if (place / "results/logs/started.json").exists() else None
    again = start(place, ["scripts/resume.py"] if resumed is not None else command(audit), "second.log")
    code = again.wait()
    left = [process.pid for process in psutil.process_iter() if _of(process, place)]
    redone, _ = jobs((place / "second.log").read_text(errors="replace"))
    found = hashes(place, audit)
    return {
        "number": number,
        "audit": audit + (", models trained" if standins else ""),
        "after": after,
        "of": seconds,
        "who": who,
        "finished": len(finished),
        "running": len(started - finished),
        "redone": sorted(redone & started),
        "needlessly": sorted(redone & finished),
        "code": code,
        "processes_left": left,
        "files": len(found),
        "different": sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name)),
    }


def _of(process: psutil.Process, place: Path) -> bool:
    try:
        return RUN in process.environ() and Path(process.cwd()) == place.resolve()
    except (psutil.Error, OSError):
        return False


def reference(place: Path, work: Path, audit: str, standins: bool) -> dict[str, Any]:
    """The undisturbed run: its seconds and hashes; kept, so that an interrupted benchmark need not repeat it."""
    path = work / f"{audit}{'-trained' if standins else ''}.json"
    if not path.exists():
        clear(place, audit, standins)
        began = time.monotonic()
        if code := start(place, command(audit), "reference.log").wait():
            sys.exit(f"the undisturbed {audit} failed with {code}; see {place}/reference.log")
        write_text(path, json.dumps({"seconds": time.monotonic() - began, "hashes": hashes(place, audit)}))
        say(f"{path.stem}: {time.monotonic() - began:.0f} s undisturbed")
    return json.loads(path.read_text())


def page(rows: list[dict[str, Any]], references: dict[str, dict[str, Any]], arguments: argparse.Namespace) -> str:
    """The table as markdown."""
    outcome = {row["number"]: "identical" if same(row) else f"DIFFERENT: {row['different'][:3]}" for row in rows}
    lines = [
        f"| {row['number']} | {row['audit']} | {row['after']:.1f} of {row['of']:.1f} s | {row['who']} | {row['finished']} | {row['running']} "
        f"| {len(row['redone'])} | {len(row['needlessly'])} | {row['files']} | {outcome[row['number']]} |"
        for row in rows
    ]
    return PAGE.format(
        command=f"python benchmarks/kills.py --kills {arguments.kills} --seed {arguments.seed} --gb {arguments.gb:g}",
        audits=f"the demo, and an audit of {arguments.gb:g} GB of planted models in full mode",
        seed=arguments.seed,
        same=sum(map(same, rows)),
        total=len(rows),
        clean=sum(not row["needlessly"] for row in rows),
        jobs=sum(row["running"] for row in rows),
        rows="\n".join(lines),
        references="\n".join(f"- {name}: {len(each['hashes'])} files, `{digest(each['hashes'])}`" for name, each in references.items()),
    )


def same(row: dict[str, Any]) -> bool:
    """Whether a resumed run ended well, with the undisturbed run's results, and left nothing running."""
    return not row["different"] and row["code"] == 0 and not row["processes_left"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gb", type=float, default=2.0, help="size of the second audit's models together")
    parser.add_argument("--work", type=Path, default=ROOT / "results/kills")
    arguments = parser.parse_args()
    place, log = prepare(arguments.work.resolve(), arguments.gb), arguments.work / "kills.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    references = {}
    plans = [("demo" if number % DEMO == 0 else "summed", number % TRAINED == 0) for number in range(arguments.kills)]
    for audit, standins in sorted(set(plans), reverse=True):
        references[f"{audit}{', models trained' if standins else ''}"] = reference(place, arguments.work, audit, standins)
    for number, (audit, standins) in enumerate(plans):
        if number in {row["number"] for row in rows}:
            continue
        undisturbed = references[f"{audit}{', models trained' if standins else ''}"]
        row = kill_one(place, number, arguments.seed, audit, undisturbed["seconds"], standins, undisturbed["hashes"])
        rows.append(row)
        with log.open("a") as handle:
            handle.write(json.dumps(row) + "\n")
        say(f"{number}: {row['audit']}, {row['who']} after {row['after']:.1f} s: {'identical' if same(row) else row}")
    with whole(HERE / "kills.md") as partial:
        partial.write_text(page(rows, references, arguments))


if __name__ == "__main__":
    run(main)
