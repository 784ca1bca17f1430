"""Which base candidate was chosen, why, and what the others would have shown: the trap
of a wrong base.

Seen from a wrong base every descendant of the true one moves alike, by the step from
the one base to the other. That fakes a high cos_fit, for the innocent too. Exactness is
not faked: only the true base lets a recipe give the suspect back.
"""

from collections.abc import Mapping
from typing import Any

from mergetrace.finding.traces import Case, rate_of
from mergetrace.finding.verdict import decide
from mergetrace.readable import decimal, known, listing, rate

Numbers = Mapping[str, Any]


def candidates(
    summary: Numbers,
    thresholds: Mapping[str, Any],
    compared: Mapping[str, Numbers] | None = None,
) -> dict[str, dict[str, Any]]:
    """By base candidate: `chosen`, `delta_energy` (sum of squared differences of the suspect), `times` (that over the chosen one's), `cos_fit`,
    `control_cos_fit` (the greatest of a control), `bit_exact_rate` of the best recipe, and the `verdict` that the rules would give with it.

    compared: how much of every model was compared (see models.coverage).
    """
    found = {}
    suspect = summary["suspect"]
    least = summary["bases"][summary["base"]]["delta_energy"]
    for base, entry in summary["bases"].items():
        models = (
            summary["models"] if base == summary["base"] else entry.get("models") or {}
        )
        own = models.get(suspect)
        others = {name: numbers for name, numbers in models.items() if name != suspect}
        cosines = [
            numbers["cos_fit"]
            for numbers in others.values()
            if numbers["cos_fit"] is not None
        ]
        found[base] = {
            "chosen": base == summary["base"],
            "delta_energy": entry["delta_energy"],
            "times": entry["delta_energy"] / least if least else None,
            "cos_fit": own["cos_fit"] if own else None,
            "control_cos_fit": max(cosines, default=None),
            "bit_exact_rate": rate_of(own) if own else None,
            "verdict": (
                decide(
                    Case(suspect, base, own, others, thresholds, compared=compared)
                ).verdict
                if own
                else None
            ),
        }
    return found


def explained(
    found: Mapping[str, Numbers], suspect: str, limits: Mapping[str, Any]
) -> list[str]:
    """The choice in sentences; empty where there was none. found: of `candidates`;
    limits: the thresholds.
    """
    if len(found) < 2:
        return []
    chosen = next(base for base, entry in found.items() if entry["chosen"])
    own = found[chosen]
    exact = (
        known(own["bit_exact_rate"])
        and own["bit_exact_rate"] >= limits["min_bit_exact"]
    )
    why = (
        f"a recipe on it gives {rate(own['bit_exact_rate'])} of the informative"
        " elements back"
        if exact
        else (
            f"{suspect} moved least from it, though no recipe on any of them gives it"
            " back"
        )
    )
    said = [f"Of the base candidates {listing(found)}, {chosen} fits: {why}."]
    for base, entry in found.items():
        if base == chosen:
            continue
        times = decimal(entry["times"], f"{suspect} equals {chosen}", digits=1)
        best = f"the best recipe gives back {rate(entry['bit_exact_rate'], 'nothing')}"
        said.append(
            f"Seen from {base}, {suspect} moved {times} times as far (in energy),"
            f" {best}, and the verdict would have been `{entry['verdict']}`."
        )
        innocent = (
            "control_cos_fit"
            if known(entry["control_cos_fit"]) and known(own["control_cos_fit"])
            else "cos_fit"
        )
        there = entry[innocent]
        here = own[innocent]
        if (
            known(there)
            and known(here)
            and there >= limits["min_shared_step"]
            and there > here
        ):
            whose = "a control's" if innocent == "control_cos_fit" else f"{suspect}'s"
            said.append(
                f"That is the trap of a wrong base: there {whose} cos_fit is"
                f" {decimal(there, digits=2)}, here {decimal(here, digits=2)}, because"
                f" whatever descends from {chosen} shares the step from {base} to"
                f" {chosen}, innocent or not."
            )
        if (
            known(entry["times"])
            and not exact
            and entry["times"] < limits["min_base_apart"]
        ):
            said.append(
                f"{base} is nearly as close, so the choice between them is not certain."
            )
    return said
