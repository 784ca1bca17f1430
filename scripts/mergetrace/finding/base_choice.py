"""Which base candidate was chosen, and what the others would have shown: the trap of a
wrong base.

Seen from a wrong base every descendant of the true one moves alike, by the step from
the one base to the other. That fakes a high cos_fit, for the innocent too. Exactness is
not faked: only the true base lets a recipe give the suspect back.
"""

from collections.abc import Mapping

from mergetrace.finding.case import Case, exact_rate, siblings
from mergetrace.finding.verdict import decide
from mergetrace.records.coverage import Coverage
from mergetrace.records.summary import ModelSummary, Summary
from mergetrace.records.verdict import BaseCandidate
from mergetrace.thresholds import Thresholds


def candidates(
    summary: Summary, thresholds: Thresholds, compared: Mapping[str, Coverage]
) -> dict[str, BaseCandidate]:
    """Every base candidate with what the suspect and the controls show beside it.

    compared: by model how much of it was compared, where that is known.
    """
    least = summary.bases[summary.base].delta_energy
    found = {}
    for base, entry in summary.bases.items():
        models = summary.models if base == summary.base else entry.models
        suspect = models.get(summary.suspect)
        controls = {
            name: numbers for name, numbers in models.items() if name != summary.suspect
        }
        verdict = None
        if suspect is not None:
            beside = siblings(controls)
            case = Case(
                summary.suspect, base, suspect, beside, thresholds, compared=compared
            )
            verdict = decide(case).verdict
        found[base] = BaseCandidate(
            chosen=base == summary.base,
            delta_energy=entry.delta_energy,
            times=entry.delta_energy / least if least else None,
            cos_fit=suspect.cos_fit if suspect else None,
            control_cos_fit=_greatest_cos_fit(controls),
            bit_exact_rate=exact_rate(suspect) if suspect else None,
            verdict=verdict,
        )
    return found


def seen_from(bases: Mapping[str, BaseCandidate]) -> dict[str, str]:
    """The verdict on the suspect with every base candidate that was not chosen."""
    return {
        base: entry.verdict
        for base, entry in bases.items()
        if entry.verdict is not None and not entry.chosen
    }


def _greatest_cos_fit(models: Mapping[str, ModelSummary]) -> float | None:
    cosines = [
        numbers.cos_fit for numbers in models.values() if numbers.cos_fit is not None
    ]
    return max(cosines, default=None)
