"""Which recipes of an audited model are turned round: the best that was found, a plain
blend with each donor, a drop of some of a donor's change.
"""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mergetrace.fit.summaries import replayed
from mergetrace.merging.recipes import from_json, make
from mergetrace.search.remainder import WORTH
from mergetrace.search.reversal import Reversal
from mergetrace.search.signatures import SLACK
from mergetrace.sums.frames import Frame

ENOUGH = (
    1 << 20
)  # elements in all, of slices spread over the model: shares are known to .001 by then


def turns(
    frame: Frame, fits: pd.DataFrame, found: Mapping[str, Any]
) -> dict[str, Reversal]:
    """Every recipe that a verdict may rest on, by `recipe`, `blend {donor}` and `drop
    {donor}`; empty for a model of which none gives much back.

    fits: of the frame. found: its entry of recipes.json.
    """
    best = found["best"]
    turned = (
        {"recipe": Reversal(from_json(best), frame.base)}
        if best and best["bit_exact_rate"] >= WORTH
        else {}
    )
    for donor in frame.donors:
        alpha, coverage = replayed(fits, donor)
        if coverage >= WORTH:  # not where it is NaN
            turned[f"blend {donor}"] = Reversal(
                make("linear", {frame.base: 1 - alpha, donor: alpha}), frame.base
            )
    for donor, weight in _dropped(found).items():
        drop = make("task_arithmetic", {donor: weight}, base=frame.base)
        turned |= {
            f"drop {donor}": Reversal(drop, frame.base, SLACK),
            f"exact drop {donor}": Reversal(drop, frame.base),
        }
    return turned


def _dropped(found: Mapping[str, Any]) -> dict[str, float]:
    """The weight of each donor whose changes may have been dropped here and there: on
    its own where that gives much back, else beside another's.
    """
    marks = [
        mark
        for mark in (found["signature"], found["signature_of_two"])
        if mark and mark["survivors"] >= WORTH
    ]
    return {
        donor: weight
        for mark in reversed(marks)
        for donor, weight in mark["weights"].items()
    }


def spread(fits: pd.DataFrame) -> set[int]:
    """The voting slices whose elements are looked at: every so many, so that they hold
    about ENOUGH.
    """
    voting = fits[fits["votes"]].sort_values("slice_id")
    stride = max(1, int(voting["n"].sum() // ENOUGH))
    return set(voting["slice_id"].iloc[::stride].tolist())
