"""A case of the descent zoo by the measurement of small directions alone: what its rule
says if no rule before it is asked. A whole audit takes five times as long.

An acquittal needs what it needs in an audit: a low cosine or low bounds, and nothing of
a donor that the controls do not have.
"""

import shutil
import tempfile
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch

from benchmarks.descent.auditing import audit_of, folder_of, name_of, silence
from benchmarks.descent.case import Case
from benchmarks.descent.making import Household, one_thread
from benchmarks.descent.shapes import REPORTING, TUNING
from benchmarks.zoo.making import loaded
from mergetrace.finding import descent
from mergetrace.finding.case import Case as Asked
from mergetrace.outputs import read_json, write_json
from mergetrace.records.spectrum import Spectrum
from mergetrace.records.summary import ModelSummary
from mergetrace.stages.auditing import Audit
from mergetrace.thresholds import Thresholds


def measure_alone(results: Path, models: Path, case: Case, state: str) -> None:
    """Measure a case's small directions, and keep them, or why it failed."""
    one_thread()
    family = next(each for each in (*TUNING, *REPORTING) if each.name == case.family)
    started = time.process_time()
    record: dict[str, Any] = {"state": state, "models": case.models(), "alone": True}
    kept = folder_of(results, case)
    with tempfile.TemporaryDirectory(prefix="descent-") as name:
        work = Path(name)
        try:
            folders = Household(models, family).members(case.models())
            with silence():
                _spectrum(audit_of(work, folders, case), name_of(case.base))
            record["fits"] = _fits(folders, case)
        except Exception:
            # A case that fails is a miss, with its reason, and the others go on.
            record["error"] = traceback.format_exc()
        record["cpu_s"] = time.process_time() - started
        write_json(work / "measured.json", record)
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(work, kept)


def _spectrum(audit: Audit, base: str) -> None:
    audit.plan()
    write_json(audit.places.audit / "summary.json", {"base": base})
    audit.measure_spectrum()


def _fits(folders: dict[str, Path], case: Case) -> dict[str, dict[str, float]]:
    """By donor the cosine and the weight by least squares, over all matrices."""
    base, suspect = loaded(folders[case.base]), loaded(folders[case.suspect])
    found = {}
    for donor in case.donors:
        other = loaded(folders[donor])
        sums = torch.zeros(3, dtype=torch.float64)
        for name, start in base.items():
            if start.dim() < 2:
                continue
            own = (suspect[name].double() - start.double()).flatten()
            along = (other[name].double() - start.double()).flatten()
            sums += torch.stack([own @ along, own @ own, along @ along])
        both, mine, theirs = sums.tolist()
        found[name_of(donor)] = {
            "cos_fit": both / max((mine * theirs) ** 0.5, 1e-300),
            "alpha": both / max(theirs, 1e-300),
        }
    return found


def judged_alone(results: Path, case: Case, record: dict[str, Any]) -> dict[str, Any]:
    """What the rule says of the suspect and of every control, in the shape of
    verdict.json, and the greatest cosine.
    """
    kept = folder_of(results, case)
    spectrum = Spectrum.of(read_json(kept / "spectrum.json"))
    donors = [name_of(donor) for donor in case.donors]
    asked = {
        name: _asked(name, name_of(case.base), donors, case, spectrum)
        for name in map(name_of, (case.suspect, *case.controls))
    }
    own = asked[name_of(case.suspect)]
    decision = descent.trained_blend(own)
    named = decision.named if decision else {}
    cosines = [fit["cos_fit"] for fit in record["fits"].values()]
    greatest = max(cosines, key=abs)
    low = abs(greatest) < own.thresholds.max_innocent_cos
    innocent = (low or descent.acquitted(own)) and not descent.contradicted(own)
    verdict = {
        "verdict": "merge_then_trained"
        if decision
        else ("finetune_of_base" if innocent else "inconclusive"),
        "evidence": "strong" if decision or (innocent and not low) else None,
        "parents": {
            donor: {
                "named": donor in named,
                "alpha": named.get(donor),
                "alpha_ols": record["fits"][donor]["alpha"],
                "at_most": descent.at_most(own, donor),
            }
            for donor in donors
        },
        "controls": {
            name: {
                "verdict": "merge_then_trained"
                if descent.trained_blend(each)
                else "inconclusive"
            }
            for name, each in asked.items()
            if each is not own and name not in donors
        },
        "reasons": [_word(descent.against_even(own, donor), donor) for donor in donors],
    }
    return {"verdict": verdict, "cos_fit": greatest, "alone": True}


def _asked(
    name: str, base: str, donors: list[str], case: Case, spectrum: Spectrum
) -> Asked:
    """What the rule is asked; of a summary it takes the donors' names alone."""
    own = [donor for donor in donors if donor != name]
    summary = SimpleNamespace(donors=dict.fromkeys(own))
    others = [each for each in map(name_of, case.controls) if each != name]
    return Asked(
        model=name,
        base=base,
        summary=cast(ModelSummary, summary),
        controls=dict.fromkeys(others, cast(ModelSummary, summary)),
        thresholds=Thresholds(),
        spectrum=spectrum,
    )


def _word(reason: Any, donor: str) -> str:
    return f"{donor}: {reason.code if reason else 'one weight everywhere'}"
