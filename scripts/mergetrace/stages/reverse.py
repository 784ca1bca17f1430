"""Ask of every recipe whether the parents would be given back from the audited model, as
parents that were made from it are.
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mergetrace.outputs import read_json, write_json
from mergetrace.records.json_records import as_json, from_json
from mergetrace.records.recipe_search import RecipeSearch
from mergetrace.running.log import say
from mergetrace.search.joining import Joiner
from mergetrace.search.reversal import TurnedWeights
from mergetrace.search.turning import choose_turns, spread_slices
from mergetrace.sums.evidence import read_evidence
from mergetrace.sums.frames import Roles


@dataclass(frozen=True)
class Inputs:
    """What is read."""

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
    min_turned_weight: float
    """The least weight of a parent that is sought again."""
    max_turned_weight: float
    """The greatest weight below 1 at which a parent is sought again."""


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    reversal: Path
    """JSON: per frame and recipe, how much of every parent is given back."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """One slice is in memory at a time."""
    fits = pd.concat(map(pd.read_parquet, inputs.fits), ignore_index=True)
    recipes = read_json(inputs.recipes)
    searches = {
        (entry["model"], entry["base"]): from_json(RecipeSearch, entry, "recipes.json")
        for entry in recipes
    }
    limits = TurnedWeights(params.min_turned_weight, params.max_turned_weight)
    results = []
    for frame in params.roles.frames():
        own = fits[(fits["model"] == frame.audited) & (fits["base"] == frame.base)]
        search = searches[frame.audited, frame.base]
        reversals = choose_turns(frame, own, search, limits)
        joiner = Joiner(frame, own)
        wanted = spread_slices(own)
        for path in inputs.evidence if reversals else ():
            for joined in joiner.pieces(read_evidence(path), wanted):
                for reversal in reversals.values():
                    reversal.add(joined.piece)
        turned = {name: reversal.result() for name, reversal in reversals.items()}
        results.append(
            {"model": frame.audited, "base": frame.base, "turns": as_json(turned)}
        )
        for name, turn in turned.items():
            shares = ", ".join(
                f"{parent} {_share(entry.reverse)} (expected {_share(entry.expected)})"
                for parent, entry in turn.parents.items()
            )
            say(
                f"{frame.audited} on {frame.base}, {name} turned round gives back:"
                f" {shares}"
            )
    write_json(outputs.reversal, results)


def _share(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
