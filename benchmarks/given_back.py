"""Every deterministic merge of the zoo: its recipe is given back, run by mergekit and by
torch, and the sha256 of every tensor compared. Writes given_back.md.

python -m benchmarks.given_back: seconds a case; resumable, a finished case is a line of
results/given_back/cases.jsonl, valid as long as the case and the code are the same.
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
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.zoo.case import Case
from benchmarks.zoo.cases import REPORTING, all_cases
from benchmarks.zoo.run import MEASURED, append, code_state, prepare, stored
from mergetrace.outputs import read_json
from mergetrace.running.command_line import guarded
from mergetrace.running.dependencies import Programs
from mergetrace.running.log import say

HERE = Path(__file__).parent
ROOT = HERE.parent
Row = dict[str, Any]

INTRODUCTION = """\
# Recipes given back, and run

Made by `python -m benchmarks.given_back`: every merge of the [zoo](zoo/README.md) that was
made by a deterministic method, with nothing after it and no disguise. Each is audited, its recipe
given back as `make recipe` does ([docs/recipe.md](../docs/recipe.md)), and what was given back is
run: mergekit.yml by mergekit 0.1.5, merge.py by torch. A tensor counts where its bytes have the
suspect's sha256.
"""


def main() -> None:
    """Run what is not there yet, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "results/given_back")
    parser.add_argument(
        "--models",
        type=Path,
        default=ROOT / "results/zoo/models",
        help="where the zoo keeps its trained models",
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--only", default="", help="the cases whose id holds this text; writes no page"
    )
    parser.add_argument(
        "--keep",
        action="store_true",
        help="keep what an earlier state of the code gave",
    )
    arguments = parser.parse_args()
    log = arguments.results / "cases.jsonl"
    state = state_of_code()
    cases = {case.id: case for case in merges() if arguments.only in case.id}
    rows = {
        name: row
        for name, row in stored(log).items()
        if name in cases and _valid(row, cases[name], arguments.keep, state)
    }
    todo = [case for name, case in cases.items() if name not in rows]
    say(f"{len(rows)} of {len(cases)} merges are there, {len(todo)} to do")
    for row in measure(todo, arguments.models, arguments.workers):
        rows[row["case"]["id"]] = row | {"code": state}
        append(log, rows[row["case"]["id"]])
    if arguments.only:
        for row in rows.values():
            say(f"{row['case']['id']}: {_result(row)}")
        return
    (HERE / "given_back.md").write_text(
        page([rows[name] for name in cases if name in rows], len(cases)),
        encoding="utf-8",
    )
    say("wrote benchmarks/given_back.md")


def merges() -> list[Case]:
    """The deterministic merges of the zoo, without training or disguise."""
    return [
        case
        for case in all_cases()
        if case.pure
        and case.guilty
        and not {"then", "hide"} & set(case.made)
        and {"merge", "lines", "experts"} & set(case.made)
    ]


def state_of_code() -> str:
    """A hash over what decides a result."""
    programs = Programs(ROOT / "scripts")
    files = {*programs.behind("give_back"), *programs.behind("rebuild")}
    own = b"".join((programs.folder / file).read_bytes() for file in sorted(files))
    template = ROOT / "scripts/mergetrace/templates/merge.py.txt"
    return hashlib.sha256(
        code_state().encode() + own + template.read_bytes()
    ).hexdigest()[:16]


def measure(todo: Sequence[Case], models: Path, workers: int) -> Iterator[Row]:
    """Make, audit, give back and run every case; yields rows as they finish."""
    families: dict[tuple[str, int], list[str]] = {}
    for case in todo:
        families.setdefault((case.arch, case.seed), []).extend(case.models())
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        jobs = [(models, *key, names) for key, names in families.items()]
        pool.map(prepare, jobs, chunksize=1)
        for count, row in enumerate(
            pool.imap_unordered(run_case, [(case, models) for case in todo]), 1
        ):
            if "error" in row or count % 20 == 0:
                say(f"{count} of {len(todo)}: {row['case']['id']}: {_result(row)}")
            yield row


def run_case(job: tuple[Case, Path]) -> Row:
    """One case, from the making of the suspect to the bytes made again."""
    import torch

    from benchmarks.zoo.making import make
    from benchmarks.zoo.trainer import folders
    from mergetrace.testing.giving_back import give_back, rerun

    case, trained = job
    torch.set_num_threads(1)
    began = time.monotonic()
    row: Row = {"case": case.as_json()}
    try:
        with (
            tempfile.TemporaryDirectory(prefix="given-back-") as name,
            open(os.devnull, "w", encoding="utf-8") as nowhere,
            contextlib.redirect_stderr(nowhere),
            contextlib.redirect_stdout(nowhere),
        ):
            work = Path(name)
            models = folders(trained, case.arch, case.seed)
            for extra, made in case.extra.items():
                models[extra] = make(work / "made" / extra, made, models, case)
            suspect = make(work / "made/suspect", case.made, models, case)
            bases = [case.base] if isinstance(case.base, str) else case.base
            offered = {name: models[name] for name in (*bases, *case.donors)}
            spec = {"suspect": "suspect", "base": case.base}
            recipe = give_back(
                work / "audit",
                {**offered, "suspect": suspect},
                {**spec, "donors": list(case.donors)},
            )
            proof = read_json(recipe / "proof.json")
            best = proof["rebuild"].get("recipe") or {}
            row |= {
                "verdict": proof["verdict"],
                "found": proof["recipe_found"],
                "rate": proof["bit_exact_rate"],
                "method": best.get("method"),
                "script": best.get("parameters", {}).get("script", ""),
                "hindrances": proof["files"],
                "runs": [asdict(run) for run in rerun(recipe, suspect)],
            }
    except Exception:  # a miss, with its reason; the others go on
        row["error"] = traceback.format_exc()
    return row | {"seconds": time.monotonic() - began}


def page(rows: Sequence[Row], cases: int) -> str:
    """given_back.md."""
    reporting = [
        row for row in rows if (row["case"]["arch"], row["case"]["seed"]) in REPORTING
    ]
    tuning = [row for row in rows if row not in reporting]
    seconds = sum(row["seconds"] for row in rows)
    lines = [
        INTRODUCTION,
        f"{len(rows)} of {cases} merges were run, {seconds / max(len(rows), 1):.0f} s"
        " each.\n",
        "| | reporting seeds | tuning seeds |",
        "|---|---:|---:|",
        *_counts(reporting, tuning),
        "",
        "## What does not come back whole",
        "",
        "| merge | verdict | best recipe | bit for bit | given back |",
        "|---|---|---|---:|---|",
        *(_line(row) for row in rows if not whole(row)),
        "",
        "## By method",
        "",
        "| recipe | merges | all tensors the same |",
        "|---|---:|---:|",
        *_by_method(rows),
    ]
    return "\n".join(lines) + "\n"


def whole(row: Row, file: str = "") -> bool:
    """Whether a file that was given back makes every tensor again. file: this one; "":
    any.
    """
    return any(
        run["same"] == run["tensors"]
        for run in row.get("runs", ())
        if file in ("", run["file"])
    )


def _counts(*columns: Sequence[Row]) -> list[str]:
    kinds = {
        "every tensor has the suspect's sha256": whole,
        "... by mergekit.yml": lambda row: whole(row, "mergekit.yml"),
        "... by merge.py": lambda row: whole(row, "merge.py"),
        "a file is given back and misses tensors": lambda row: (
            bool(row.get("runs")) and not whole(row)
        ),
        "no recipe is given back": lambda row: "error" not in row and not row["runs"],
        "failed": lambda row: "error" in row,
    }
    return [
        f"| {kind} | "
        + " | ".join(f"{sum(map(holds, rows))}/{len(rows)}" for rows in columns)
        + " |"
        for kind, holds in kinds.items()
    ]


def _by_method(rows: Sequence[Row]) -> list[str]:
    every = Counter(map(_recipe, rows))
    good = Counter(_recipe(row) for row in rows if whole(row))
    return [
        f"| {name} | {count} | {good[name]} |"
        for name, count in sorted(every.items(), key=lambda item: (-item[1], item[0]))
    ]


def _recipe(row: Row) -> str:
    if not row.get("found"):
        return "none"
    script = f", by hand ({row['script']})" if row["script"] else ""
    return f"{row['method']}{script}"


def _line(row: Row) -> str:
    rate = row.get("rate")
    shown = "" if rate is None else f"{100 * rate:.3f} %"
    verdict = row.get("verdict", "failed")
    name = row["case"]["id"].replace("|", "\\|")
    return f"| {name} | `{verdict}` | {_recipe(row)} | {shown} | {_result(row)} |"


def _result(row: Row) -> str:
    if "error" in row:
        return str(row["error"].strip().splitlines()[-1])
    runs = [f"{run['file']} {run['same']}/{run['tensors']}" for run in row["runs"]]
    why = sorted({each for file in row["hindrances"].values() for each in file})
    return "; ".join(runs + why) or "nothing"


def _valid(row: Row, case: Case, keep: bool, state: str) -> bool:
    now = json.loads(json.dumps(case.as_json()))
    same = all(row["case"][key] == now[key] for key in MEASURED)
    return "error" not in row and same and (keep or row["code"] == state)


if __name__ == "__main__":
    guarded(main)
