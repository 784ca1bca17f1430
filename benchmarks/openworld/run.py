"""Audit folders as people publish them, grade the answers, and write the page and the rates that reports print.

Interrupted, it goes on where it was. Exit 1 where an innocent is accused or an audit ends in a traceback.
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
sys.path[:0] = [str(HERE), str(ROOT / "scripts"), str(ROOT / "tests")]  # scripts and tests have modules of the same names

import files  # noqa: E402
import names  # noqa: E402
import packed  # noqa: E402
from case import Case  # noqa: E402
from grading import grade, rates, write_page  # noqa: E402
from world import World  # noqa: E402

from frontdoor import run, say  # noqa: E402
from mergetrace.errors import AuditError  # noqa: E402
from mergetrace.files import read_json, write_json  # noqa: E402
from mergetrace.finding.verdict import ACCUSING  # noqa: E402

KINDS = (packed.PACKED, packed.FP8, names.NAMES, names.TWICE, names.HEADS, files.FILES, files.NUMBERS)
TUNING, REPORTING = (1,), (2, 3)
"""Seeds: the program was mended on the first; the second only report."""


def all_cases() -> dict[str, Case]:
    """Every case by its id."""
    return {case.id: case for kind in KINDS for case in kind.all}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "results/openworld")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[*TUNING, *REPORTING])
    parser.add_argument("--only", default="", help="run the cases whose id holds this text, and write no page")
    arguments = parser.parse_args()
    cases, log, state = all_cases(), arguments.results / "cases.jsonl", code_state()
    wanted = [(name, seed) for seed in arguments.seeds for name in cases if arguments.only in name]
    there = {key: row for key, row in stored(log).items() if row["code"] == state}
    todo = [key for key in wanted if key not in there]
    say(f"{len(wanted) - len(todo)} of {len(wanted)} answers are there, {len(todo)} to do")
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(arguments.workers) as pool, open(log, "a", encoding="utf-8") as kept:
        for count, (key, row) in enumerate(pool.imap_unordered(answer, todo), 1):
            there[key] = row | {"case": key[0], "seed": key[1], "code": state}
            kept.write("\n" + json.dumps(there[key]))  # a line that a kill cut off ends here
            kept.flush()
            if count % 20 == 0:
                say(f"{count} of {len(todo)}, {(time.monotonic() - started) / count:.1f} s each")
    graded = [(cases[name], seed, there[name, seed], *grade(cases[name], there[name, seed])) for name, seed in wanted]
    for case, seed, _, word, why in graded:
        if word != "right":
            say(f"{case.id}, seed {seed}: {word}. {why}")
    found = rates(graded, arguments.seeds)
    say(f"{found['right']} of {found['cases']} right, {found['accused']} of {found['innocents']} innocents accused")
    if not arguments.only:
        write_page(HERE / "README.md", graded, TUNING, REPORTING)
        everywhere = read_json(ROOT / "config/error_rates.json")
        write_json(ROOT / "config/error_rates.json", everywhere | {"open world": rates(graded, REPORTING)})
    if any(word in ("accusation", "traceback") for *_, word, _ in graded):
        sys.exit(1)


def answer(key: tuple[str, int]) -> tuple[tuple[str, int], dict[str, Any]]:
    """Write the folders of one case and audit them."""
    import torch  # noqa: PLC0415
    from inprocess import audit  # noqa: PLC0415 - torch

    torch.set_num_threads(1)
    case, seed = all_cases()[key[0]], key[1]
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory(prefix="openworld-") as place, open(os.devnull, "w", encoding="utf-8") as nowhere:
        world = World(Path(place), seed, case.experts)
        spec = {"suspect": "suspect", "base": "base", "donors": ["donor"], "controls": ["sibling"], **(case.make(world) or {})}
        settings = {"published": dict(case.published)} if case.published else {}
        try:
            with contextlib.redirect_stderr(nowhere):
                found = audit(Path(place) / "audit", world.models, spec, **settings, verdict={"accuse_with": list(ACCUSING)[:4]})
        except AuditError as error:
            return key, {"error": str(error)}
        except Exception:
            return key, {"traceback": traceback.format_exc()}
    accused = [name for name, control in found["controls"].items() if control["verdict"] in ACCUSING]
    named = [name for name, parent in found["parents"].items() if parent["named"]]
    return key, {"verdict": found["verdict"], "named": named, "reasons": found["reasons"], "controls": accused}


def stored(log: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """The answers of an earlier run, the last of each."""
    rows = {}
    for line in log.read_text(encoding="utf-8").splitlines() if log.exists() else []:
        with contextlib.suppress(json.JSONDecodeError):
            row = json.loads(line)
            rows[row["case"], row["seed"]] = row
    return rows


def code_state() -> str:
    """A hash over the program and these cases."""
    code = [*sorted((ROOT / "scripts").rglob("*.py")), *sorted(HERE.glob("*.py")), ROOT / "tests/inprocess.py", ROOT / "config/config.schema.yaml"]
    return hashlib.sha256(b"".join(path.read_bytes() for path in code)).hexdigest()[:16]


if __name__ == "__main__":
    run(main)
