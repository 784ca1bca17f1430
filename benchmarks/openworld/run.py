"""The open-world zoo: folders as people publish them, audited and graded. Writes
benchmarks/openworld/README.md and the rates for reports.

Resumable as the zoo is: a finished case is one line of results/openworld/cases.jsonl,
valid as long as the program and what makes the case are the same; answers are graded
anew every time. Ends with 1 where an innocent is accused or an audit dies of a
traceback.
"""

import argparse
import contextlib
import hashlib
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.openworld.cases import Trial, all_trials
from benchmarks.openworld.grading import Grade, grade
from benchmarks.openworld.publishing import Folder, publish
from benchmarks.openworld.table import rates, write_readme
from benchmarks.openworld.world import World, world
from benchmarks.zoo.run import append, stored
from mergetrace.errors import AuditError
from mergetrace.outputs import read_json, write_json
from mergetrace.running.command_line import guarded
from mergetrace.running.dependencies import Programs
from mergetrace.running.log import say
from mergetrace.thresholds import Thresholds

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PLANTED = ROOT / "scripts/mergetrace/testing"

STAGES = (
    "manifest",
    "plan",
    "layout",
    "deltas",
    "fit",
    "recipe",
    "remainder",
    "reverse",
    "aggregate",
    "packed",
    "verdict",
)
MODELS = "results/zoo/models"  # families are the zoo's own
RATES = ROOT / "scripts/mergetrace/data/error_rates.json"


def main() -> int:
    """Run what is not there, write the page, and say whether anybody was wronged."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "results/openworld")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--only",
        default="",
        help=(
            "run the cases whose id holds this text, print their grades, and write no"
            " page"
        ),
    )
    parser.add_argument(
        "--part", default="", help="tuning or reporting: only these seeds, and no page"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep answers of an earlier state of the code",
    )
    arguments = parser.parse_args()
    log = arguments.results / "cases.jsonl"
    trials = {
        trial.id: trial
        for trial in all_trials()
        if arguments.only in trial.id and arguments.part in trial.part
    }
    rows = {
        name: row
        for name, row in stored(log).items()
        if name in trials and (arguments.keep or row["code"] == state(trials[name]))
    }
    todo = [name for name in trials if name not in rows]
    say(f"{len(rows)} of {len(trials)} cases are there, {len(todo)} to do")
    for row in answered(todo, arguments.workers):
        rows[row["case"]["id"]] = row
        append(log, row)
    grades = {name: judged(trials[name], rows[name]) for name in trials}
    partial = bool(arguments.only or arguments.part)
    if partial:
        for name, found in grades.items():
            print(
                f"{found.outcome:10} {name}"
                + "".join(f"\n             {fault}" for fault in found.faults)
            )
    else:
        seconds = sum(row["cpu_s"] for row in rows.values())
        write_readme(HERE / "README.md", trials, grades, rows, seconds)
        write_json(
            RATES,
            {
                **(read_json(RATES) if RATES.exists() else {}),
                "openworld": rates(trials, grades),
            },
        )
        say(f"wrote {HERE / 'README.md'} and {RATES}")
    wronged = [
        name
        for name, found in grades.items()
        if found.outcome in ("accusation", "traceback")
    ]
    for name in [] if partial else wronged:
        say(f"{grades[name].outcome}: {name}: {grades[name].faults[0]}")
    return 1 if wronged else 0


def answered(todo: list[str], workers: int) -> Iterator[dict[str, Any]]:
    """Make and audit every case; yields rows in the order they finish."""
    started = time.monotonic()
    worlds = {name.split("/", 1)[0] for name in todo}
    if any(name.startswith("trained") for name in worlds):
        say("training the families that are missing")
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(
            prepare,
            sorted(name for name in worlds if name.startswith("trained")),
            chunksize=1,
        )
        for count, row in enumerate(pool.imap_unordered(answer, todo), 1):
            if count % 20 == 0:
                say(
                    f"{count} of {len(todo)} cases,"
                    f" {(time.monotonic() - started) / count:.1f} s each"
                )
            yield row


def prepare(name: str) -> None:
    """Train the members of one family that cases need."""
    family, seed = name.rsplit("-", 1)
    models = world(family, int(seed), ROOT / MODELS)
    for model in ("base", "donor", "second", "sibling", "other", "twin", "stranger"):
        models[model]


def answer(name: str) -> dict[str, Any]:
    """Publish the folders of one case, audit them, keep what came: a finding, a refusal
    or a traceback.
    """
    trial = trials_by_id()[name]
    started = time.process_time()
    with tempfile.TemporaryDirectory(prefix="openworld-") as work:
        came = ask(trial, Path(work), world(trial.world, trial.seed, ROOT / MODELS))
    return {
        "case": {"id": name},
        "code": state(trial),
        "answer": came,
        "cpu_s": time.process_time() - started,
    }


def ask(trial: Trial, work: Path, models: World) -> dict[str, Any]:
    """The answer to one case (see case.grade). work: an empty folder. A case that
    cannot be made is a defect of ours and raises.
    """
    import torch

    from mergetrace.testing.audits import audit

    torch.set_num_threads(1)
    case = trial.case
    built = case.build(models)
    folders = {}
    for model in case.offered():
        made = built.get(model)
        folder = (
            made
            if isinstance(made, Folder)
            else Folder(models[model] if made is None else made)
        )
        folders[model] = publish(work / "models" / model, folder, models.config)
    settings = {"verdict": {"accuse_with": list(Thresholds().accuse_with)}}
    try:
        with (
            open(os.devnull, "w", encoding="utf-8") as nowhere,
            contextlib.redirect_stderr(nowhere),
        ):
            finding = audit(
                work / "results",
                folders,
                case.spec(),
                published=dict(case.published),
                **settings,
            )
    except AuditError as error:
        return {"error": str(error).replace(str(work), "")}
    except Exception:
        return {"traceback": traceback.format_exc().replace(str(work), "")}
    parents = {
        name: {key: parent[key] for key in ("named", "alpha")}
        for name, parent in finding["parents"].items()
    }
    controls = {
        name: {"verdict": control["verdict"]}
        for name, control in finding["controls"].items()
    }
    return {
        "finding": {
            "verdict": finding["verdict"],
            "reasons": finding["reasons"],
            "compared": finding.get("compared"),
            "parents": parents,
            "controls": controls,
        }
    }


def judged(trial: Trial, row: dict[str, Any]) -> Grade:
    """The grade of a stored answer."""
    share = trial.case.read
    if isinstance(share, str):
        share = world(trial.world, trial.seed, ROOT / MODELS).share_without(share)
    return grade(trial.case, trial.world, row["answer"], share)


@cache
def trials_by_id() -> dict[str, Trial]:
    """All trials by their id."""
    return {trial.id: trial for trial in all_trials()}


def state(trial: Trial) -> str:
    """A hash of the program and of everything that makes the case."""
    return hashlib.sha256((program() + builders(trial.topic)).encode()).hexdigest()[:16]


@cache
def program() -> str:
    """A hash of every module that any stage imports."""
    scripts = Programs(ROOT / "scripts")
    behind = {
        ROOT / "scripts" / file
        for stage in STAGES
        for file in (f"{stage}.py", *scripts.behind(stage))
    }
    files = [
        *behind,
        ROOT / "scripts/mergetrace/thresholds.py",
        ROOT / "scripts/mergetrace/stages/auditing.py",
        ROOT / "scripts/mergetrace/stages/audited_models.py",
        PLANTED / "audits.py",
    ]
    return hashlib.sha256(
        b"".join(path.read_bytes() for path in sorted(files))
    ).hexdigest()


@cache
def builders(topic: str) -> str:
    """A hash of the module that a topic's cases come from, and of what it makes models
    with.
    """
    benchmarks = Programs(ROOT, ["benchmarks"])
    imported = benchmarks.closure([f"benchmarks/openworld/{topic}.py"])
    files = [ROOT / file for file in imported]
    others = [
        PLANTED / "planting.py",
        PLANTED / "realmerge.py",
        HERE.parent / "zoo/trainer.py",
    ]
    return hashlib.sha256(
        b"".join(path.read_bytes() for path in sorted([*files, *others]))
    ).hexdigest()


if __name__ == "__main__":
    guarded(lambda: sys.exit(main()))
