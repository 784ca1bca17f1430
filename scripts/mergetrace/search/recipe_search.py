"""The recipe that gives most of an audited model back: tried on a few slices, the best
then applied to all evidence.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.merging.applying import Piece
from mergetrace.merging.methods import METHODS
from mergetrace.merging.recipes import Recipe, recipe_to_json, written_length
from mergetrace.numerics.arrays import some_of
from mergetrace.numerics.rounding import replay
from mergetrace.search.choosing import selections
from mergetrace.search.joining import Joined
from mergetrace.search.proposals import (
    HOPEFUL,
    Known,
    blends,
    fixed,
    native,
    nearswaps,
    spheres,
    varying,
)
from mergetrace.search.shares import least_squares, visible
from mergetrace.search.signatures import signature
from mergetrace.search.stacked import stacked
from mergetrace.search.trial import (
    HOPELESS,
    SOLVED,
    Count,
    Trial,
    compare_parts,
    rate,
    total,
)
from mergetrace.sums.evidence import WRITER_NAMES
from mergetrace.sums.frames import Frame

MIN_INFORMATIVE = (
    16  # a slice's interval counts when at least this many elements made it
)
PILOT_SLICES = 42  # every layer of most models, in turn of component
PILOT_ELEMENTS = 1 << 19  # of all pilot slices together
FINALISTS = 12
# rates this close are not told apart where sums or sorts matter: the worst emulation of
# a float32 method misses that many elements
TIE = 5e-5

PROPOSERS = (blends, fixed, spheres, native, selections, nearswaps, varying)
"""Where recipes come from, the simpler methods first: of equal rates the first wins."""


@dataclass
class Search:
    """The search under one frame: finalists, and their counts per slice."""

    frame: Frame
    fits: pd.DataFrame
    width: float
    min_stayed: float
    known: Known
    recipes: list[Recipe] = field(default_factory=list)
    tried: int = 0
    signatures: list[dict[str, Any] | None] = field(
        default_factory=lambda: [None, None]
    )
    slice_ids: list[int] = field(default_factory=list)
    counts: list[list[Count]] = field(default_factory=list)
    delta: float = 0.0
    dtypes: set[str] = field(default_factory=set)

    def pilot(self) -> list[int]:
        """The slices recipes are tried on: voting ones, spread over components and
        layers.
        """
        voting = self.fits[self.fits["votes"]].sort_values(["component", "slice_id"])
        return some_of(voting["slice_id"].tolist(), PILOT_SLICES)

    def start(self, pieces: Iterable[Joined]) -> None:
        """Try recipes on the pilot and keep the finalists."""
        trial = Trial(
            self.frame, _within(pieces, PILOT_ELEMENTS), self.width, self.min_stayed
        )
        if not trial.pieces:
            return
        stack = stacked(self.fits, self.frame)
        for proposer in () if stack else PROPOSERS:
            for recipe in proposer(trial, self.known):
                trial.rate(recipe)
            if trial.solved():
                break
        self.tried = len(trial.rates) + bool(stack)
        self.signatures = [
            (
                signature(trial, self.known.donors[:count])
                if len(self.known.donors) >= count
                else None
            )
            for count in (1, 2)
        ]
        self.recipes = [stack] if stack else _finalists(trial)

    def add(self, joined: Joined) -> None:
        """Apply the finalists to one piece and count each of its slices."""
        piece = joined.piece
        ends = [(start, end) for _, start, end in joined.parts]
        self.dtypes.add(piece.audited.dtype)
        self.slice_ids += [slice_id for slice_id, _, _ in joined.parts]
        found = [
            compare_parts(recipe, piece, self.frame.base, self.width, ends)
            for recipe in self.recipes
        ]
        self.counts += [[counts[i] for counts in found] for i in range(len(ends))]
        self.delta += float(
            np.sum((piece.audited_values - piece.values[self.frame.base]) ** 2)
        )

    def ranking(self) -> list[tuple[Recipe, float]]:
        """Finalists with their bit-exact rates over all informative elements, best
        first; of equals the simplest, first listed, wins.
        """
        counts = {
            recipe: total(row[i] for row in self.counts)
            for i, recipe in enumerate(self.recipes)
        }
        return sorted(
            (
                (recipe, rate(count))
                for recipe, count in counts.items()
                if count.informative
            ),
            key=lambda pair: -pair[1],
        )

    def slices(self) -> pd.DataFrame:
        """Per slice: model, base, slice_id, recipe_informative, recipe_exact (of the
        best recipe).
        """
        ranking = self.ranking()
        best = self.recipes.index(ranking[0][0]) if ranking else None
        own = [
            Count(0, 0, 0, 0.0) if best is None else row[best] for row in self.counts
        ]
        informative = [count.informative for count in own]
        exact = [count.exact for count in own]
        columns = {
            "slice_id": self.slice_ids,
            "recipe_informative": informative,
            "recipe_exact": exact,
        }
        return pd.DataFrame(
            {"model": self.frame.audited, "base": self.frame.base, **columns}
        )

    def result(self) -> dict[str, Any]:
        """The search as JSON: the best recipe, the others, what cannot be told apart,
        how much was tried, the signatures of a dropping merge.
        """
        found = [
            {
                **recipe_to_json(recipe, self.frame.base),
                **self._total(recipe),
                "bit_exact_rate": share,
            }
            for recipe, share in self.ranking()
        ]
        alike = list(
            dict.fromkeys(entry["method"] for entry in found if _alike(found[0], entry))
        )
        return {
            "model": self.frame.audited,
            "base": self.frame.base,
            "donor": self.known.donors[0],
            "donors": [
                model
                for model in self.frame.donors
                if found and model in self.ranking()[0][0].parents
            ],
            "interval": list(self.known.interval) if self.known.interval else None,
            "out_dtype": (
                " and ".join(sorted(WRITER_NAMES[dtype] for dtype in self.dtypes))
                or None
            ),
            "informative_elements": found[0]["informative"] if found else 0,
            "best": found[0] if found else None,
            "alternatives": found[1:],
            "indistinguishable": alike if len(alike) > 1 else [],
            "tried": self.tried,
            "signature": self.signatures[0],
            "signature_of_two": self.signatures[1],
        }

    def _total(self, recipe: Recipe) -> dict[str, Any]:
        count = total(row[self.recipes.index(recipe)] for row in self.counts)
        return {
            "informative": count.informative,
            "residual_share": count.residual / self.delta if self.delta else None,
        }


def start_search(
    frame: Frame, fits: pd.DataFrame, width: float, min_stayed: float
) -> Search:
    """What the fits of one frame say: which donors show, the strongest's pooled
    interval, what is known of whole tensors.

    width, min_stayed: the thresholds `replay_width` and `min_stayed` of the
    configuration.

    The strongest donor is the one of greatest share where several show, else the one
    whose replay covers most.
    """
    voting = fits[fits["votes"]]
    alpha, error = (
        least_squares(fits, frame.donors)
        if len(voting)
        else (np.full(len(frame.donors), np.nan),) * 2
    )
    seen = visible(alpha, error)
    coverage = {
        donor: _pooled(voting, f"coverage.{donor}", f"informative.{donor}")
        for donor in frame.donors
    }
    first = max(
        frame.donors,
        key=lambda name: -1.0 if np.isnan(coverage[name]) else coverage[name],
    )
    shares = dict(zip(frame.donors, alpha.tolist(), strict=True))
    shown = sorted(
        (donor for donor, one in zip(frame.donors, seen, strict=True) if one),
        key=lambda donor: -abs(shares[donor]),
    )
    donors = tuple(shown) or (first,)
    sound = voting[voting[f"informative.{donors[0]}"] >= MIN_INFORMATIVE]
    found = replay(
        sound[f"replay_low.{donors[0]}"].to_numpy(),
        sound[f"replay_high.{donors[0]}"].to_numpy(),
        np.inf,
    )
    interval = (found.low, found.high) if found.informative else None
    offered = tuple(
        sorted(
            frame.donors,
            key=lambda donor: 0.0 if np.isnan(shares[donor]) else -abs(shares[donor]),
        )
    )
    known = Known(
        donors,
        tuple(0.5 if np.isnan(shares[donor]) else shares[donor] for donor in donors),
        interval,
        offered,
    )
    return Search(frame, fits, width, min_stayed, known)


def _alike(best: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two recipes cannot be told apart: they give the same elements back, or
    nearly, where a sum's order or a sort's is not known.
    """
    open_to_order = any(
        METHODS[entry["method"]].needs != "elements" for entry in (best, other)
    )
    return other["bit_exact_rate"] >= best["bit_exact_rate"] - (
        TIE if open_to_order else 0
    )


def _finalists(trial: Trial) -> list[Recipe]:
    """The recipes of highest pilot rate, of equals the shortest, each method's best
    among them; far behind the best only where nothing is good.
    """

    def rank(recipe: Recipe) -> tuple[float, int]:
        return -trial.rates[recipe], written_length(recipe)

    ranked = sorted(trial.rates, key=rank)
    if ranked and HOPEFUL <= trial.rates[ranked[0]] < HOPELESS:
        trial.look_again(ranked[: 2 * FINALISTS])
        ranked = sorted(trial.rates, key=rank)
    top = trial.rates[ranked[0]] if ranked else 0.0
    leaders = list({recipe.method: recipe for recipe in reversed(ranked)}.values())
    solving = [
        recipe for recipe in ranked if trial.rates[recipe] >= SOLVED
    ]  # the screen is too small to tell these apart
    good_leaders = [recipe for recipe in leaders if trial.rates[recipe] >= top / 2]
    chosen = {*good_leaders, *ranked[: FINALISTS // 2], *solving[:FINALISTS]}
    # Of an innocent's, enough to say how little the best gives back.
    most = FINALISTS if top >= HOPELESS else 3
    # In the order of `ranked`, never of the set: a set's differs from run to run.
    kept = [recipe for recipe in ranked if recipe in chosen][:most]
    return sorted(kept, key=list(trial.rates).index)


def _within(pieces: Iterable[Joined], most: int) -> list[Piece]:
    kept = []
    elements = 0
    for joined in pieces:
        kept.append(joined.piece)
        elements += len(joined.piece.values[joined.piece.facts.base])
        if elements >= most:
            break
    return kept


def _pooled(fits: pd.DataFrame, share: str, weight: str) -> float:
    known = fits[fits[share].notna() & (fits[weight] > 0)]
    return (
        float(np.average(known[share], weights=known[weight]))
        if len(known)
        else float("nan")
    )
