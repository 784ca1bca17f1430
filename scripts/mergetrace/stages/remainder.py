"""Measure what the best recipe of every audited model leaves unexplained, on the evidence
of all layers: how much, where, how sparse, of what rank.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mergetrace.fit.mixture import alike
from mergetrace.merging.recipes import recipe_from_json
from mergetrace.outputs import read_json, write_json
from mergetrace.records.json_records import as_json
from mergetrace.running.log import say
from mergetrace.search.joining import Joiner
from mergetrace.search.lookalikes import Swaps
from mergetrace.search.remainder import MIN_RATE_TO_LOOK, Part, Remainder
from mergetrace.sums.evidence import read_blocks, read_evidence
from mergetrace.sums.frames import Frame, Roles

ABOUT = ["tensor", "layer", "component", "votes"]
"""The columns of the fits that the remainder is counted by."""


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    plan: Path
    """plan.parquet."""
    fits: tuple[Path, ...]
    """The fits of all batches."""
    evidence: tuple[Path, ...]
    """The kept elements of all batches."""
    recipes: Path
    """The recipes that were found."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    roles: Roles
    replay_width: float
    """An element is informative where its rounding allows no wider interval of alpha."""
    max_inflation: float
    """From this inflation of their variance on, two donors count as alike."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    remainder: Path
    """JSON: one entry per frame whose recipe is worth a look."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """One slice is in memory at a time."""
    fits = pd.concat(map(pd.read_parquet, inputs.fits), ignore_index=True)
    recipes = read_json(inputs.recipes)
    best = {(entry["model"], entry["base"]): entry["best"] for entry in recipes}
    plan = pd.read_parquet(inputs.plan, columns=["slice_id", "cols"])
    columns = plan.drop_duplicates("slice_id").set_index("slice_id")["cols"]
    joiners = {}
    about: dict[Frame, dict[Any, Any]] = {}
    remainders = {}
    swaps = {}
    for frame in params.roles.frames():
        recipe = best[frame.audited, frame.base]
        if not recipe or recipe["bit_exact_rate"] < MIN_RATE_TO_LOOK:
            continue
        own = fits[(fits["model"] == frame.audited) & (fits["base"] == frame.base)]
        joiners[frame] = Joiner(frame, own)
        about[frame] = own.set_index("slice_id")[ABOUT].to_dict("index")
        remainders[frame] = Remainder(frame, recipe_from_json(recipe))
        pairs = alike(own, frame.donors, params.max_inflation)
        swaps[frame] = Swaps(remainders[frame].recipe, pairs, params.replay_width)
    for path in inputs.evidence if remainders else ():
        blocks = read_blocks(path)
        for frame, remainder in remainders.items():
            wanted = set(about[frame]) & set(blocks)
            for joined in joiners[frame].pieces(read_evidence(path), wanted):
                parts = [
                    Part(
                        start,
                        end,
                        blocks[slice_id],
                        int(columns[slice_id]),
                        **about[frame][slice_id],
                    )
                    for slice_id, start, end in joined.parts
                ]
                remainder.add(joined.piece, parts)
                swaps[frame].add(joined.piece)
    results = []
    for frame, remainder in remainders.items():
        results.append(remainder.result(swaps[frame].result()))
    write_json(outputs.remainder, [as_json(result) for result in results])
    for result in results:
        say(
            f"{result.model} on {result.base}: {result.changed:,} of"
            f" {result.elements:,} elements lie beyond rounding"
        )
