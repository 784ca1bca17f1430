"""The descent zoo: models that were trained on after they were merged, and innocents
that look like them, audited and graded. Writes benchmarks/descent/README.md,
detection.csv and detection.svg.

Resumable: members of families and measured cases stay on the disk; verdicts are taken
anew from the stored numbers every time.
"""

import argparse
import hashlib
import json
import multiprocessing
import time
from pathlib import Path
from typing import Any

from benchmarks.descent.alone import measure_alone
from benchmarks.descent.auditing import judged, measure, measured
from benchmarks.descent.case import Case
from benchmarks.descent.cases import all_cases
from benchmarks.descent.grading import grade
from benchmarks.descent.table import write_page
from mergetrace.outputs import write_text
from mergetrace.running.command_line import guarded
from mergetrace.running.log import say

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def main() -> None:
    """Measure what is missing, judge everything, write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "results/descent")
    parser.add_argument("--models", type=Path, help="RESULTS/models without")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", default="", help="cases whose id holds this text")
    parser.add_argument(
        "--alone", action="store_true", help="small directions only, no whole audits"
    )
    parser.add_argument("--seconds", type=float, help="begin no case after these")
    parser.add_argument("--keep", action="store_true", help="measured by earlier code")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--tuning", action="store_true", help="tuning families only")
    which.add_argument("--reporting", action="store_true", help="reporting only")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    given = parser.parse_args()
    models = given.models or given.results / "models"
    reporting = None if given.tuning == given.reporting else given.reporting
    cases = [case for case in all_cases(reporting) if given.only in case.id]
    state = code_state()
    if not given.table:
        todo = [
            case
            for case in cases
            if not _there(given.results, case, state, given.keep)
            and not (given.alone and _permuted(case))
        ]
        say(f"{len(cases) - len(todo)} of {len(cases)} cases are there")
        _measure(todo, given.results, models, state, given)
    keep = given.keep or given.table
    there = [case for case in cases if _there(given.results, case, state, keep)]
    rows = [grade(judged(given.results, models, case)) for case in there]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    write_text(given.results / "rows.jsonl", lines)
    for row in rows:
        if row["grade"] in ("accused", "failed", "wrong weight"):
            say(f"{row['grade'].upper()}: {row['case']['id']}")
    if not given.only:
        old = sum(not _there(given.results, case, state, False) for case in there)
        write_page(HERE, rows, len(cases), old)


def _permuted(case: Case) -> bool:
    """Whether a disguise has to be undone first, which whole audits do."""
    return any(name.endswith("permuted") for name in case.models())


def _there(results: Path, case: Case, state: str, keep: bool) -> bool:
    return measured(results, case, None if keep else state)


def _measure(
    todo: list[Case], results: Path, models: Path, state: str, given: Any
) -> None:
    started = time.monotonic()
    jobs = [(results, models, case, state, given.alone) for case in todo]
    with multiprocessing.get_context("spawn").Pool(given.workers) as pool:
        for count, _ in enumerate(pool.imap_unordered(_measure_one, jobs), 1):
            spent = time.monotonic() - started
            if count % 20 == 0:
                say(f"{count} of {len(todo)} cases, {spent / count:.1f} s each")
            if given.seconds is not None and spent > given.seconds:
                say(f"{count} of {len(todo)} cases; the time is over")
                pool.terminate()
                break


def _measure_one(job: tuple[Path, Path, Case, str, bool]) -> None:
    *which, alone = job
    (measure_alone if alone else measure)(*which)


def code_state() -> str:
    """A hash over what decides a measurement."""
    from benchmarks.zoo.run import code_state as measuring

    making = ("training", "members", "making", "evasions", "framed", "tasks", "shapes")
    own = b"".join((HERE / f"{name}.py").read_bytes() for name in making)
    return hashlib.sha256(own + measuring().encode()).hexdigest()[:16]


if __name__ == "__main__":
    guarded(main)
