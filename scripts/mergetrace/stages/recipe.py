"""Search the merge recipe of every audited model on the evidence of all layers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mergetrace.outputs import write_json, write_parquet
from mergetrace.records.json_records import as_json
from mergetrace.running.log import say
from mergetrace.search.joining import Joiner
from mergetrace.search.recipe_search import start_search
from mergetrace.sums.evidence import Sample, read_evidence
from mergetrace.sums.frames import Roles
from mergetrace.tables.schemas import RECIPE_SLICES


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    fits: tuple[Path, ...]
    """The fits of all batches."""
    evidence: tuple[Path, ...]
    """The kept elements of all batches."""


@dataclass(frozen=True)
class Params:
    """What decides the result."""

    roles: Roles
    replay_width: float
    """An element is informative where its rounding allows no wider interval of alpha."""
    min_stayed: float
    """The share of elements at the base from which methods that choose are tried."""
    min_informative_share: float
    """The share of elements that could refute a recipe, up to which it gives nothing
    back.
    """


@dataclass(frozen=True)
class Outputs:
    """What is written."""

    recipes: Path
    """JSON: the best recipes of every frame, and how much each gives back."""
    recipe_slices: Path
    """Parquet: how much the best recipe gives back, slice by slice."""


def run(inputs: Inputs, params: Params, outputs: Outputs) -> None:
    """One slice is in memory at a time."""
    fits = pd.concat(map(pd.read_parquet, inputs.fits), ignore_index=True)
    searches = []
    joiners = {}
    for frame in params.roles.frames():
        own = fits[(fits["model"] == frame.audited) & (fits["base"] == frame.base)]
        search = start_search(
            frame,
            own,
            params.replay_width,
            params.min_stayed,
            params.min_informative_share,
        )
        searches.append(search)
        joiners[frame] = Joiner(frame, search.fits)
    for search in searches:
        joiner = joiners[search.frame]
        search.start(joiner.pieces(slices(inputs.evidence), set(search.pilot())))
        say(
            f"{search.frame.audited} on {search.frame.base}: {search.tried} recipes"
            f" tried, {len(search.recipes)} go on"
        )
    for search in searches:
        voting = set(search.fits.loc[search.fits["votes"], "slice_id"])
        for joined in joiners[search.frame].pieces(slices(inputs.evidence), voting):
            search.add(joined)
    given_back = [search.slices() for search in searches]
    table = pd.concat(given_back, ignore_index=True)
    RECIPE_SLICES.check(table)
    write_parquet(outputs.recipe_slices, table)
    results = [search.result() for search in searches]
    write_json(outputs.recipes, [as_json(result) for result in results])
    for result in results:
        best = result.best
        found = "nothing to replay"
        if best:
            weights = best.parameters["weights"]
            found = f"{best.method}, {weights}: {best.bit_exact_rate:.5%} bit-exact"
        say(
            f"{result.model} on {result.base}: {found} of"
            f" {result.informative_elements} informative elements"
        )


def slices(evidence: Sequence[Path]) -> Iterator[tuple[int, dict[str, Sample]]]:
    """The slices of all evidence files, one in memory at a time."""
    for path in evidence:
        yield from read_evidence(path)
