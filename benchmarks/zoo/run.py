"""The zoo: hundreds of planted cases on weights that were trained, audited and scored.
Writes benchmarks/zoo/README.md and scripts/mergetrace/data/error_rates.json.

Resumable: a finished case is one line of results/zoo/cases.jsonl, valid as long as the
case and the code that measures are the same. The verdict itself is taken anew from the
stored numbers every time: a changed rule or threshold costs seconds.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from benchmarks.zoo.case import Case
from benchmarks.zoo.cases import all_cases
from benchmarks.zoo.table import error_rates, write_readme
from mergetrace.finding.case import ACCUSING
from mergetrace.finding.receipt import Evidence, finding
from mergetrace.outputs import read_json, write_json
from mergetrace.records.coverage import read_coverages
from mergetrace.records.layout import read_layouts
from mergetrace.records.spectrum import Spectrum
from mergetrace.records.summary import Summary
from mergetrace.running.command_line import guarded
from mergetrace.running.dependencies import Programs
from mergetrace.running.log import say
from mergetrace.thresholds import Thresholds

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

RATES = ROOT / "scripts/mergetrace/data/error_rates.json"
OPEN_WORLD = "openworld"  # what the open-world zoo measured stands in the same file
MEASURING = (
    "manifest",
    "plan",
    "layout",
    "deltas",
    "fit",
    "recipe",
    "remainder",
    "reverse",
    "aggregate",
    "spectrum",
)
MAKING = ("trainer", "making", "forging", "scripts")
PLAN = {
    "mode": "full",
    "cost": {"full": {"read_bytes": 0}},
}  # of what was read, no rule asks how much
MEASURED = (
    "arch",
    "seed",
    "made",
    "extra",
    "base",
    "donors",
    "controls",
)  # the fields of a case that its numbers depend on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "results/zoo")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--only",
        default="",
        help="run the cases whose id holds this text, and write no table",
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep measurements of an earlier state of the code",
    )
    parser.add_argument(
        "--table",
        action="store_true",
        help="run nothing; write the table of what is there",
    )
    arguments = parser.parse_args()
    log = arguments.results / "cases.jsonl"
    state = code_state()
    cases = {case.id: case for case in all_cases() if arguments.only in case.id}
    rows = {
        name: row
        for name, row in stored(log).items()
        if name in cases and _valid(row, cases[name], None if arguments.keep else state)
    }
    if not arguments.table:
        todo = [case for name, case in cases.items() if name not in rows]
        say(f"{len(rows)} of {len(cases)} cases are there, {len(todo)} to do")
        for row in measure(todo, arguments.results, arguments.workers, state):
            rows[row["case"]["id"]] = row | {"code": state}
            append(log, rows[row["case"]["id"]])
    if not arguments.only:
        there = [(rows[name], case) for name, case in cases.items() if name in rows]
        judged, every = (
            [with_verdict(row, case, limits) for row, case in there]
            for limits in (defaults(), thresholds())
        )
        training = sum(
            read_json(path)["cpu_s"]
            for path in (arguments.results / "models").glob("*.json")
        )
        old = sum(row["code"] != state for row, _ in there)
        write_readme(
            HERE / "README.md",
            judged,
            every,
            len(cases),
            old,
            defaults()["accuse_with"],
            training,
        )
        kept = read_json(RATES) if RATES.exists() else {}
        write_json(
            RATES,
            error_rates(every)
            | {name: rates for name, rates in kept.items() if name == OPEN_WORLD},
        )
        say(f"wrote {HERE / 'README.md'} and scripts/mergetrace/data/error_rates.json")


def measure(
    todo: list[Case], results: Path, workers: int, state: str
) -> Iterator[dict[str, Any]]:
    """Train the families, then make and audit every case; yields rows in the order they
    finish.
    """
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        families: dict[tuple[str, int], list[str]] = {}
        for case in todo:
            families.setdefault((case.arch, case.seed), []).extend(case.models())
        pool.map(
            prepare,
            [(results / "models", *key, names) for key, names in families.items()],
            chunksize=1,
        )
        for count, row in enumerate(
            pool.imap_unordered(judge, [(results, case, state) for case in todo]), 1
        ):
            if "error" in row:
                say(f"{row['case']['id']}: {row['error'].splitlines()[-1]}")
            if count % 20 == 0:
                say(
                    f"{count} of {len(todo)} cases,"
                    f" {(time.monotonic() - started) / count:.1f} s each"
                )
            yield row


def stored(log: Path) -> dict[str, dict[str, Any]]:
    """The rows of an earlier run by case, the last of each; a line that was being
    written when the run was killed is left out.
    """
    rows = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            row = json.loads(line)
            rows[row["case"]["id"]] = row
    return rows


def append(log: Path, row: dict[str, Any]) -> None:
    """Add one line that survives whatever comes next."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "a+b") as handle:
        if handle.tell() and not _ends_a_line(handle):
            handle.write(b"\n")
        handle.write(json.dumps(row).encode() + b"\n")
        handle.flush()
        os.fsync(handle.fileno())


def _ends_a_line(handle: BinaryIO) -> bool:
    handle.seek(-1, os.SEEK_END)
    return handle.read(1) == b"\n"


def prepare(job: tuple[Path, str, int, list[str]]) -> None:
    """Train one family, as far as its cases need it, and keep the processor's seconds
    that it took.
    """
    from benchmarks.zoo.trainer import train_family

    root, arch, seed, _ = job
    started = time.process_time()
    spent = root / f"{arch}-{seed}.json"
    train_family(*job)
    before = read_json(spent)["cpu_s"] if spent.exists() else 0.0
    write_json(spent, {"cpu_s": before + time.process_time() - started})


def judge(job: tuple[Path, Case, str]) -> dict[str, Any]:
    """Make the suspect of one case, audit it, and keep what was found.

    A control's numbers depend on what is offered, not on the suspect: they are measured
    once for all cases that offer the same models, as a suspect is. With several base
    candidates they depend on the choice, and are measured with the suspect.
    """
    import torch

    from benchmarks.zoo.making import make
    from benchmarks.zoo.trainer import folders

    results, case, state = job
    torch.set_num_threads(1)
    started = time.process_time()
    row: dict[str, Any] = {"case": case.as_json()}
    try:
        with tempfile.TemporaryDirectory(prefix="zoo-") as name:
            work = Path(name)
            models = folders(results / "models", case.arch, case.seed)
            for extra, made in case.extra.items():
                models[extra] = make(work / "made" / extra, made, models, case)
            models["suspect"] = make(work / "made/suspect", case.made, models, case)
            row["made_s"] = time.process_time() - started
            alone = (
                []
                if case.extra or not isinstance(case.base, str)
                else [name for name in case.controls if name not in case.donors]
            )
            row |= measured(
                work,
                models,
                case,
                "suspect",
                [name for name in case.controls if name not in alone],
            )
            for control in alone:
                kept = (
                    results
                    / "controls"
                    / state
                    / f"{case.arch}-{case.seed} {control} {case.base} {' '.join(case.donors)}.json"
                )
                if not kept.exists():
                    write_json(
                        kept, measured(work / control, models, case, control, [])
                    )
                own = read_json(kept)
                row["summary"]["models"] |= own["summary"]["models"]
                row["manifests"] |= own["manifests"]
                row["layouts"] |= own["layouts"]
                row["spectrum"]["models"] |= own["spectrum"]["models"]
                row["compared"] = own["compared"] | row["compared"]
    except (
        Exception
    ):  # a case that fails is a miss, with its reason, and the others go on
        row["error"] = traceback.format_exc()
    return row | {"cpu_s": time.process_time() - started}


def measured(
    work: Path, models: dict[str, Path], case: Case, suspect: str, controls: list[str]
) -> dict[str, Any]:
    """Audit one model: summary, small directions, manifests (notes, declared), layouts,
    how much of every model was compared.
    """
    from mergetrace.testing.audits import audit

    spec = {
        "suspect": suspect,
        "base": case.base,
        "donors": list(case.donors),
        "controls": controls,
    }
    used = [
        suspect,
        *([case.base] if isinstance(case.base, str) else case.base),
        *case.donors,
        *controls,
    ]
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stderr(nowhere),
    ):
        audit(work, {model: models[model] for model in used}, spec)
    manifests = {}
    for model in used:
        manifest = read_json(work / "models" / model / "manifest.json")
        manifests[model] = {key: manifest[key] for key in ("notes", "declared")}
    layout = read_json(work / "layout.json")
    return {
        "summary": read_json(work / "summary.json"),
        "spectrum": read_json(work / "spectrum.json"),
        "manifests": manifests,
        "layouts": layout["models"],
        "compared": layout["compared"],
    }


def with_verdict(
    row: dict[str, Any], case: Case, limits: dict[str, Any]
) -> dict[str, Any]:
    """The row with today's planted answers, and the verdict that today's rules give its
    numbers.
    """
    row = row | {"case": case.as_json()}
    if "error" in row:
        return row
    manifests = {
        model: {"source": {"repo": None}, "files": [], **manifest}
        for model, manifest in row["manifests"].items()
    }
    evidence = Evidence(
        audit="zoo",
        summary=Summary.of(row["summary"]),
        plan=PLAN,
        manifests=manifests,
        thresholds=Thresholds.of(limits),
        layouts=read_layouts(row.get("layouts")),
        spectrum=Spectrum.of(row["spectrum"]) if "spectrum" in row else None,
        stated=case.published,
        compared=read_coverages(row.get("compared")),
    )
    return row | {"verdict": finding(evidence).as_json()}


def defaults() -> dict[str, Any]:
    """The defaults of the configuration's `verdict` block."""
    return asdict(Thresholds())


def thresholds() -> dict[str, Any]:
    """The defaults with every verdict given: the zoo measures the rules themselves."""
    return defaults() | {"accuse_with": list(ACCUSING)}


MEASURED_WITH = (
    "min_vote_elements",
    "replay_width",
    "min_stayed",
    "min_bit_exact",
    "min_informative_share",
    "max_recipes",
    "min_same_cos",
    "max_chance_in_place",
    "max_octaves_apart",
    "min_turned_weight",
    "max_turned_weight",
)
"""The thresholds that the stages up to the summary take."""


def code_state() -> str:
    """A hash over what decides a measurement: the stages before the verdict with all
    they import, their thresholds, the making of models.
    """
    measured = [thresholds()[key] for key in MEASURED_WITH]
    code = b"".join(
        path.read_bytes()
        for path in sorted([*measuring(), *(HERE / f"{name}.py" for name in MAKING)])
    )
    return hashlib.sha256(code + json.dumps(measured).encode()).hexdigest()[:16]


def measuring() -> set[Path]:
    """The programs of the stages before the verdict, and the modules that can change
    what they make.
    """
    programs = Programs(ROOT / "scripts")
    files = {
        file for stage in MEASURING for file in (f"{stage}.py", *programs.behind(stage))
    }
    return {programs.folder / file for file in files}


def _valid(row: dict[str, Any], case: Case, state: str | None) -> bool:
    """Whether a stored measurement is of this case; the answers planted with it may
    have changed since.
    """
    now = json.loads(json.dumps(case.as_json()))
    return (
        "error" not in row
        and all(row["case"][key] == now[key] for key in MEASURED)
        and state in (None, row["code"])
    )


if __name__ == "__main__":
    guarded(main)
