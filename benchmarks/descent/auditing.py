"""A case of the descent zoo under audit: read once, judged as often as rules change."""

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.descent.case import Case
from benchmarks.descent.making import Household
from mergetrace.outputs import read_json, write_json
from mergetrace.stages.auditing import Audit
from mergetrace.testing.audits import prepared

BULKY = ("evidence", "deltas", "fits", "samples")
"""Folders of an audit that its verdict is not made of."""
LONGEST = 63  # characters of a model's name in an audit


def name_of(member: str) -> str:
    """What a member is called in an audit, where names are short and plain."""
    plain = re.sub(r"[^a-z0-9]+", "-", member.lower())
    if len(plain) <= LONGEST:
        return plain
    return f"{plain[:40]}-{hashlib.sha256(member.encode()).hexdigest()[:8]}"


def folder_of(results: Path, case: Case) -> Path:
    """Where what was measured of a case lies."""
    name = hashlib.sha256(case.id.encode()).hexdigest()[:16]
    return results / "audits" / case.family / name


def measured(results: Path, case: Case, state: str | None) -> bool:
    """Whether a case was measured, of the same models, in this state of the code (None: in any)."""
    record = folder_of(results, case) / "measured.json"
    if not record.exists():
        return False
    kept = read_json(record)
    return state in (None, kept["state"]) and kept["models"] == case.models()


def measure(results: Path, models: Path, case: Case, state: str) -> None:
    """Audit a case, and keep what a verdict is made of, or why it failed."""
    from benchmarks.descent.making import one_thread
    from benchmarks.descent.shapes import REPORTING, TUNING

    one_thread()
    family = next(each for each in (*TUNING, *REPORTING) if each.name == case.family)
    started = time.process_time()
    record: dict[str, Any] = {"state": state, "models": case.models()}
    kept = folder_of(results, case)
    with tempfile.TemporaryDirectory(prefix="descent-") as name:
        work = Path(name)
        try:
            folders = Household(models, family).members(case.models())
            with silence():
                audit_of(work, folders, case).weigh()
            for bulky in BULKY:
                shutil.rmtree(work / bulky, ignore_errors=True)
        except Exception:
            # A case that fails is a miss, with its reason, and the others go on.
            record["error"] = traceback.format_exc()
        record["cpu_s"] = time.process_time() - started
        write_json(work / "measured.json", record)
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(work, kept)


def audit_of(work: Path, folders: dict[str, Path], case: Case, **limits: Any) -> Audit:
    """The audit of a case in the folder `work`."""
    roles = {
        "suspect": name_of(case.suspect),
        "base": name_of(case.base),
        "donors": [name_of(donor) for donor in case.donors],
        "controls": [name_of(control) for control in case.controls],
    }
    named = {name_of(member): folder for member, folder in folders.items()}
    given = {"accuse_by_small_directions": True, **limits}
    settings = {"published": _dates(case), "verdict": given}
    return prepared(work, named, roles, **settings)


def judged(results: Path, models: Path, case: Case, **limits: Any) -> dict[str, Any]:
    """What is known of a measured case: verdict.json by today's rules, the suspect's
    numbers, the case itself, whose donors are called as in the audit.
    """
    kept = folder_of(results, case)
    record = read_json(kept / "measured.json")
    about = case.as_json() | {
        "donors": [name_of(donor) for donor in case.donors],
        "truth": {name_of(donor): weight for donor, weight in case.truth.items()},
    }
    row: dict[str, Any] = {"case": about, "cpu_s": record["cpu_s"]}
    if "error" in record:
        return row | {"error": record["error"]}
    if record.get("alone"):
        from benchmarks.descent.alone import judged_alone

        return row | judged_alone(results, case, record)
    folders = {name: models / case.family / name for name in case.models()}
    try:
        with silence():
            row["verdict"] = audit_of(kept, folders, case, **limits).judge()
    except Exception:
        return row | {"error": traceback.format_exc()}
    numbers = read_json(kept / "summary.json")["models"][name_of(case.suspect)]
    return row | {"cos_fit": numbers["cos_fit"]}


def _dates(case: Case) -> dict[str, str]:
    """Dates are stated by role; those of framings call the donor `child`."""
    names = {"suspect": case.suspect, "child": case.donors[-1]}
    return {
        name_of(names.get(role, role)): date for role, date in case.published.items()
    }


@contextlib.contextmanager
def silence() -> Any:
    """Nothing on the standard error."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        contextlib.redirect_stderr(nowhere),
    ):
        yield
