"""Search the merge recipe of every audited model on the evidence of all layers."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import pandas as pd

from mergetrace.merging.model_names import Offered, offered_models
from mergetrace.outputs import read_json, write_json, write_parquet
from mergetrace.records.declared_merge import DeclaredMerge
from mergetrace.records.json_records import as_json, from_json
from mergetrace.records.layout import read_layouts
from mergetrace.records.manifest import Manifest
from mergetrace.records.verdict import Declared
from mergetrace.running.log import say
from mergetrace.search.completing import slices_to_measure
from mergetrace.search.declared import Hypothesis, read_hypotheses
from mergetrace.search.joining import Joined, Joiner
from mergetrace.search.recipe_search import Search, start_search
from mergetrace.search.requantised_base import requantised_shares
from mergetrace.search.silent import SilentTensors, silent_slices, with_silent
from mergetrace.sums.evidence import Sample, read_evidence
from mergetrace.sums.frames import Frame, Roles
from mergetrace.tables.schemas import RECIPE_SLICES


@dataclass(frozen=True)
class Inputs:
    """What is read."""

    fits: tuple[Path, ...]
    """The fits of all batches."""
    evidence: tuple[Path, ...]
    """The kept elements of all batches."""
    manifests: tuple[Path, ...] = ()
    """manifest.json of every model of the audit: what folders declare is tried first."""
    layout: Path | None = None
    """layout.json: which layers are others in the parents."""


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
    max_recipes: int
    """How many recipes may be tried under one frame."""


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
    declared = _Declared.read(inputs, params.roles)
    searches = []
    kept = []
    requantised = []
    for frame in params.roles.frames():
        own = fits[(fits["model"] == frame.audited) & (fits["base"] == frame.base)]
        hypotheses = declared.hypotheses(frame, own["tensor"])
        search, silent, rows = _searched(frame, own, hypotheses, inputs, params)
        if search.was_misled():
            say(f"{frame.audited} on {frame.base}: what it declares does not hold")
            search, silent, rows = _searched(
                frame, own, hypotheses, inputs, params, trusting=False
            )
        searches.append(search)
        kept.append((silent, rows))
        requantised.append(requantised_shares(frame, own, inputs.evidence))
    given_back = [search.slices() for search in searches]
    table = pd.concat(given_back, ignore_index=True)
    RECIPE_SLICES.check(table)
    write_parquet(outputs.recipe_slices, table)
    results = [
        replace(with_silent(search.result(), silent), own_rows=rows, requantised=shares)
        for search, (silent, rows), shares in zip(
            searches, kept, requantised, strict=True
        )
    ]
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


def _searched(
    frame: Frame,
    fits: pd.DataFrame,
    hypotheses: tuple[Hypothesis, ...],
    inputs: Inputs,
    params: Params,
    trusting: bool = True,
) -> tuple[Search, SilentTensors, dict[str, int]]:
    """The search under one frame, all evidence looked at, what does not vote, and by
    parent the tokens that are its own.
    """
    search = start_search(
        frame,
        fits,
        params.replay_width,
        params.min_stayed,
        params.min_informative_share,
        params.max_recipes,
        hypotheses,
        trusting,
        say,
    )
    joiner = Joiner(frame, fits)
    search.start(joiner.pieces(slices(inputs.evidence), set(search.pilot())))
    say(
        f"{frame.audited} on {frame.base}: {search.tried} recipes tried,"
        f" {len(search.recipes)} go on{' (max_recipes reached)' * search.ended_early}"
    )
    voting = set(fits.loc[fits["votes"], "slice_id"])
    if search.completion is not None:
        wanted = slices_to_measure(sorted(voting))
        search.complete(joiner.pieces(slices(inputs.evidence), wanted))
    silent = SilentTensors(tuple(fits.loc[fits["votes"], "tensor"].unique()))
    apart = silent_slices(fits)
    for joined in joiner.pieces(slices(inputs.evidence), voting | apart):
        if joined.parts[0][0] in apart:
            silent.add(joined)
        else:
            search.add(joined)
    _refine(
        search,
        lambda: (
            joined
            for joined in joiner.pieces(slices(inputs.evidence), voting | apart)
            if joined.parts[0][0] not in apart
        ),
    )
    rows = Counter[str]()
    for own in joiner.own_rows.values():
        rows.update(own)
    return search, silent, dict(rows)


def _refine(search: Search, pieces: Callable[[], Iterable[Joined]]) -> None:
    """Look at all tensors for the few elements that the best recipe misses. pieces:
    gives those that the search has counted, in the same order.
    """
    refinement = search.refinement()
    if refinement is None:
        return
    for joined in pieces():
        refinement.add(joined.piece)
    refined = refinement.recipes()
    if refined:
        search.add_refined(refined, pieces())


@dataclass(frozen=True)
class _Declared:
    """What the audited models' folders declare of their merges."""

    merges: Mapping[str, tuple[DeclaredMerge, ...]]
    """By audited model."""
    offered: Sequence[Offered]
    """The models that may be parents."""
    moved: Mapping[str, Mapping[int, int]]
    """By audited model the layers that are others in the parents."""

    @classmethod
    def read(cls, inputs: Inputs, roles: Roles) -> Self:
        """As the manifests say it; nothing where they are not given."""
        manifests: dict[str, Manifest] = {
            entry["model"]: entry for entry in map(read_json, inputs.manifests)
        }
        merges = {}
        for model in roles.audited:
            if model in manifests:
                where = f"{model}'s manifest"
                merges[model] = from_json(
                    Declared, manifests[model]["declared"], where
                ).merges
        parents = [model for model in roles.parents if model in manifests]
        sources = {model: dict(manifests[model]["source"]) for model in parents}
        layouts = {}
        if inputs.layout is not None:
            layouts = read_layouts(read_json(inputs.layout)["models"])
        moved = {
            model: {int(layer): number for layer, number in layout.layers.items()}
            for model, layout in layouts.items()
        }
        return cls(merges, offered_models(sources, dict.fromkeys(parents)), moved)

    def hypotheses(
        self, frame: Frame, tensors: Iterable[str]
    ) -> tuple[Hypothesis, ...]:
        """What the audited model of a frame declares. tensors: the tensors' names."""
        merges = self.merges.get(frame.audited, ())
        moved = self.moved.get(frame.audited, {})
        names = list(dict.fromkeys(tensors))
        return read_hypotheses(merges, self.offered, frame, names, moved)


def slices(evidence: Sequence[Path]) -> Iterator[tuple[int, dict[str, Sample]]]:
    """The slices of all evidence files, one in memory at a time."""
    for path in evidence:
        yield from read_evidence(path)
