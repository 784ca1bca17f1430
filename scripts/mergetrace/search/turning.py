"""Which recipes of an audited model are turned round: the best that was found, a plain
blend with each donor, a drop of some of a donor's change.
"""

import pandas as pd

from mergetrace.fit.pooling import replayed
from mergetrace.merging.recipes import make, recipe_from_json
from mergetrace.records.json_records import as_json
from mergetrace.records.recipe_search import RecipeSearch
from mergetrace.search.remainder import MIN_RATE_TO_LOOK
from mergetrace.search.reversal import Reversal, TurnedWeights
from mergetrace.search.survivors import CHANGE_SLACK
from mergetrace.sums.frames import Frame

DROPS = (
    ("drop", CHANGE_SLACK, False),
    ("narrow drop", CHANGE_SLACK, True),
    ("exact drop", 0.0, False),
    ("exact narrow drop", 0.0, True),
)
"""How a drop is turned round: with room for arithmetic that is not known and without,
beside a true parent that was merged in float32 and in the model's own format.
"""
ENOUGH_ELEMENTS = 1 << 20
"""In all, of slices spread over the model: shares are known to .001 by then."""


def choose_turns(
    frame: Frame, fits: pd.DataFrame, search: RecipeSearch, limits: TurnedWeights
) -> dict[str, Reversal]:
    """Every recipe that a verdict may rest on, by `recipe`, `blend {donor}` and `drop
    {donor}` (see DROPS); empty for a model of which none gives much back.

    fits: of the frame. search: what the recipe search found.
    """
    turns: dict[str, Reversal] = {}
    if search.packed or frame.alone:
        return turns  # of numbers that are known by their cells nothing comes back
    if search.best and search.best.bit_exact_rate >= MIN_RATE_TO_LOOK:
        recipe = recipe_from_json(as_json(search.best))
        turns["recipe"] = Reversal(recipe, frame.base, limits)
    for donor in frame.donors:
        alpha, coverage = replayed(fits, donor)
        if coverage >= MIN_RATE_TO_LOOK:  # not where it is NaN
            blend = make("linear", {frame.base: 1 - alpha, donor: alpha})
            turns[f"blend {donor}"] = Reversal(blend, frame.base, limits)
    for donor, weight in _dropped_weights(search).items():
        drop = make("task_arithmetic", {donor: weight}, base=frame.base)
        for kind, slack, narrow in DROPS:
            turns[f"{kind} {donor}"] = Reversal(
                drop, frame.base, limits, slack, by_tensor=True, narrow=narrow
            )
    return turns


def _dropped_weights(search: RecipeSearch) -> dict[str, float]:
    """The weight of each donor whose changes may have been dropped here and there: on
    its own where that gives much back, else beside another's.
    """
    weights: dict[str, float] = {}
    for mark in reversed(search.signatures):
        if mark.survivors >= MIN_RATE_TO_LOOK:
            weights |= mark.weights
    return weights


def spread_slices(fits: pd.DataFrame) -> set[int]:
    """The voting slices whose elements are looked at: every so many, so that they hold
    about ENOUGH_ELEMENTS.
    """
    voting = fits[fits["votes"]].sort_values("slice_id")
    stride = max(1, int(voting["n"].sum() // ENOUGH_ELEMENTS))
    return set(voting["slice_id"].iloc[::stride].tolist())
