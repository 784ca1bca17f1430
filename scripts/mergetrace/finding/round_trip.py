"""The rule for blends of parents that were loaded in few bits: quantised, written back in
16 bits, and merged as they then were.
"""

from collections.abc import Mapping

from mergetrace.finding.case import Case, Decision
from mergetrace.finding.reasons_following import BlendOfRoundTrip
from mergetrace.finding.reasons_merge import NoControl
from mergetrace.finding.traces import exact_rates_of_controls
from mergetrace.records.recipe_search import RoundTrip
from mergetrace.thresholds import Thresholds


def blend_of_round_trip(case: Case) -> Decision | None:
    """One weighted sum of the parents as such a tool gives them back is the model, and
    no control is as much of one. Coarse steps make a parent of what is near it, so that
    hardly an element may be another.
    """
    found = case.recipe.round_trip
    limits = case.thresholds
    if found is None or found.informative < limits.min_informative:
        return None
    if _rate(found) < 1 - limits.max_missed_round_trip or not _is_blend(
        found.shares, limits
    ):
        return None
    beside = exact_rates_of_controls(case)
    for name, summary in case.controls.items():
        other = summary.recipe.round_trip
        if other is not None and other.informative:
            beside[name] = max(beside.get(name, 0.0), _rate(other))
    if max(beside.values(), default=0.0) > limits.max_control_bit_exact:
        return None
    reason = BlendOfRoundTrip(
        found.kind,
        found.parents,
        case.base,
        found.shares,
        found.informative,
        _rate(found),
        found.tensors,
        beside,
    )
    return Decision(
        "other_merge",
        (reason, *(() if case.controls else (NoControl(),))),
        named=dict(found.shares),
        base_share=1 - sum(found.shares.values()),
        family="blend",
        rests_on="blend",
    )


def _rate(found: RoundTrip) -> float:
    return found.exact / found.informative


def _is_blend(shares: Mapping[str, float], limits: Thresholds) -> bool:
    """Whether every donor and the base are parts of a whole."""
    parts = (*shares.values(), 1 - sum(shares.values()))
    return all(limits.min_share <= part <= 1 - limits.min_share for part in parts)
