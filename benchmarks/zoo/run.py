"""The zoo: hundreds of planted cases on weights that were trained, audited and scored. Writes benchmarks/zoo/README.md.

Resumable: a finished case is one line of results/zoo/cases.jsonl, valid as long as the case and the code that measures are the same.
The verdict itself is taken anew from the stored numbers every time: a changed rule or threshold costs seconds.
"""

import argparse
import contextlib
import hashlib
import json
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "tests")]
os.environ |= {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}

from cases import Case, all_cases  # noqa: E402
from frontdoor import run, say  # noqa: E402
from mergetrace.configuration import load_schema  # noqa: E402
from mergetrace.receipt import compose  # noqa: E402
from table import write_readme  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "results/zoo")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="run the cases whose id holds this text")
    parser.add_argument("--keep", action="store_true", help="keep results of an earlier state of the code")
    arguments = parser.parse_args()
    cases = [case for case in all_cases() if arguments.only in case.id]
    log = arguments.results / "cases.jsonl"
    done = {} if not log.exists() else {row["case"]["id"]: row for row in map(json.loads, log.read_text().splitlines())}
    state, limits = code_state(), thresholds()
    finished = {case.id: done[case.id] for case in cases if case.id in done and _valid(done[case.id], case, None if arguments.keep else state)}
    families = {}
    for case in cases:
        if case.id not in finished:
            families.setdefault((case.arch, case.seed), []).append(case)
    say(f"{len(finished)} of {len(cases)} cases are there, {sum(map(len, families.values()))} to do in {len(families)} families")
    log.parent.mkdir(parents=True, exist_ok=True)
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool, open(log, "a", encoding="utf-8") as handle:
        pool.map(prepare, [(arguments.results / "models", *key) for key in families], chunksize=1)
        todo = [(arguments.results, case) for members in families.values() for case in members]
        started = time.monotonic()
        for count, row in enumerate(pool.imap_unordered(judge, todo), 1):
            row["code"] = state
            handle.write(json.dumps(row) + "\n")
            handle.flush()
            os.fsync(handle.fileno())
            finished[row["case"]["id"]] = row
            if "error" in row:
                say(f"{row['case']['id']}: {row['error'].splitlines()[-1]}")
            if count % 20 == 0:
                say(f"{count} of {len(todo)} cases, {(time.monotonic() - started) / count:.1f} s each")
    if not arguments.only:
        write_readme(HERE / "README.md", [with_verdict(finished[case.id], limits) for case in cases if case.id in finished])
        say(f"wrote {HERE / 'README.md'}")


def prepare(job: tuple[Path, str, int]) -> None:
    """Train one family."""
    from trainer import family  # noqa: PLC0415 - torch

    family(*job)


def judge(job: tuple[Path, Case]) -> dict[str, Any]:
    """Make the suspect of one case, audit it, and keep what was found."""
    import torch  # noqa: PLC0415
    from inprocess import audit  # noqa: PLC0415
    from making import make  # noqa: PLC0415
    from trainer import family  # noqa: PLC0415

    results, case = job
    torch.set_num_threads(1)
    started = time.monotonic()
    row: dict[str, Any] = {"case": case.as_json()}
    try:
        with tempfile.TemporaryDirectory(prefix="zoo-") as name:
            work = Path(name)
            models = family(results / "models", case.arch, case.seed)
            for extra, made in case.extra.items():
                models[extra] = make(work / "models" / extra, made, models, case)
            models["suspect"] = make(work / "models/suspect", case.made, models, case)
            bases = [case.base] if isinstance(case.base, str) else case.base
            used = ["suspect", *bases, *case.donors, *case.controls]
            spec = {"suspect": "suspect", "base": case.base, "donors": list(case.donors), "controls": list(case.controls)}
            made_at = time.monotonic()
            with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stderr(nowhere):
                audit(work, {model: models[model] for model in used}, spec)
            stored = {name: json.loads((work / f"{name}.json").read_text()) for name in ("summary", "plan", *used)}
            manifests = {model: {key: stored[model][key] for key in ("notes", "declared")} for model in used}
            plan = {key: stored["plan"][key] for key in ("mode", "cost")}
            row |= {"summary": stored["summary"], "plan": plan, "manifests": manifests, "made_s": made_at - started}
    except Exception:  # a case that fails is a miss, with its reason, and the others go on
        row["error"] = traceback.format_exc()
    return row | {"seconds": time.monotonic() - started}


def with_verdict(row: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    """The row with the verdict that today's rules give its numbers."""
    if "error" in row:
        return row
    return row | {"verdict": compose("zoo", row["summary"], row["plan"], row["manifests"], None, limits)}


def thresholds() -> dict[str, Any]:
    """The defaults of the configuration's `verdict` block."""
    block = load_schema(ROOT / "config/config.schema.yaml")["properties"]["verdict"]["properties"]
    return {key: entry["default"] for key, entry in block.items()}


def code_state() -> str:
    """A hash over everything that decides a measurement: the library without its rules, the thresholds that measuring uses, the making of models."""
    rules = {"verdict.py", "receipt.py", "traces.py", "blend.py", "report.py", "show.py"}
    files = [path for path in (ROOT / "scripts").rglob("*.py") if path.name not in rules]
    measured = [thresholds()[key] for key in ("min_vote_elements", "replay_width", "min_bit_exact")]
    code = b"".join(path.read_bytes() for path in sorted([*files, HERE / "trainer.py", HERE / "making.py"]))
    return hashlib.sha256(code + json.dumps(measured).encode()).hexdigest()[:16]


def _valid(row: dict[str, Any], case: Case, state: str | None) -> bool:
    return "error" not in row and row["case"] == json.loads(json.dumps(case.as_json())) and state in (None, row["code"])


if __name__ == "__main__":
    run(main)
