"""A case of the descent zoo by the measurement of small directions alone: what its rule
says if no rule before it is asked, and if the numbers do not follow from the parents'
(which a whole audit measures). A whole audit takes many times as long.

An acquittal needs what it needs in an audit: a low cosine or low bounds, and nothing of
a donor that the controls do not have.
"""

import shutil
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from benchmarks.descent.auditing import folder_of, name_of
from benchmarks.descent.case import Case
from benchmarks.descent.making import Household, one_thread
from benchmarks.descent.pairs import measured_pair
from benchmarks.descent.shapes import REPORTING, TUNING
from mergetrace.finding import descent
from mergetrace.finding.case import Case as Asked
from mergetrace.outputs import read_json, write_json
from mergetrace.records.json_records import from_json
from mergetrace.records.recipe_search import Dependence
from mergetrace.records.spectrum import Along, Spectrum
from mergetrace.records.summary import ModelSummary
from mergetrace.thresholds import Thresholds


def measure_alone(results: Path, models: Path, case: Case, state: str) -> None:
    """Measure a case's small directions, and keep them, or why it failed."""
    one_thread()
    family = next(each for each in (*TUNING, *REPORTING) if each.name == case.family)
    started = time.process_time()
    record: dict[str, Any] = {"state": state, "models": case.models(), "alone": True}
    kept = folder_of(results, case)
    shutil.rmtree(kept, ignore_errors=True)
    try:
        folders = Household(models, family).members(case.models())
        spectrum, record["fits"] = _spectrum(
            results, folders[case.base].parent, case, state
        )
        write_json(kept / "spectrum.json", spectrum.as_json())
    except Exception:
        # A case that fails is a miss, with its reason, and the others go on.
        record["error"] = traceback.format_exc()
    record["cpu_s"] = time.process_time() - started
    write_json(kept / "measured.json", record)


def _spectrum(
    results: Path, family: Path, case: Case, state: str
) -> tuple[Spectrum, dict[str, dict[str, float]]]:
    """As the stage writes it; and by donor least squares of the suspect."""

    def pair(model: str, donor: str) -> dict[str, Any]:
        return measured_pair(results, family, case.base, donor, model, state)

    of_models = {
        name_of(model): {
            name_of(donor): from_json(Along, pair(model, donor)["along"], "along")
            for donor in case.donors
            if donor != model
        }
        for model in (case.suspect, *case.controls)
    }
    alike = {
        name_of(donor): {
            name_of(other): pair(other, donor)["tail"]
            for other in case.donors
            if other != donor
        }
        for donor in case.donors
    }
    fits = {name_of(donor): pair(case.suspect, donor)["fit"] for donor in case.donors}
    matrices = pair(case.suspect, case.donors[0])["matrices"]
    return Spectrum(name_of(case.base), matrices, 0, of_models, alike), fits


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
    """What the rule is asked: as if the model's numbers did not follow from its parents'."""
    own = [donor for donor in donors if donor != name]
    trained = Dependence((base, *own), repeated=1, dissent=1.0, without={})
    summary = SimpleNamespace(
        donors=dict.fromkeys(own),
        recipe=SimpleNamespace(dependence=trained, round_trip=None),
    )
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
