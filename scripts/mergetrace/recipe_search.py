"""The recipe that gives most of an audited model back: simple weights inside the pooled replay interval, compared bit for bit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from mergetrace.evidence import WRITER_NAMES, Sample
from mergetrace.frames import Frame
from mergetrace.recipes import Recipe, candidates, decoded_merge
from mergetrace.rounding import replay, replay_intervals

MIN_INFORMATIVE = 16  # a slice's interval counts when at least this many elements made it


@dataclass
class Search:
    """The search under one frame: the donor whose replay covers most, the pooled interval, and hits per candidate and slice."""

    frame: Frame
    donor: str
    low: float
    high: float
    recipes: list[Recipe]
    slice_ids: list[int] = field(default_factory=list)
    informative: list[int] = field(default_factory=list)
    exact: list[list[int]] = field(default_factory=list)
    residual: list[list[float]] = field(default_factory=list)
    delta: float = 0.0
    dtypes: set[str] = field(default_factory=set)

    def add(self, slice_id: int, samples: Mapping[str, Sample], width: float) -> None:
        """Try every candidate on the evidence of one slice. Only informative elements count: the others match any weight."""
        audited = samples[self.frame.audited].on_lattice()
        if audited.dtype == "F64":
            return
        stored, base, donor = audited.values(), samples[self.frame.base].values(), samples[self.donor].values()
        start, end = replay_intervals(*audited.midpoints(), base, donor)
        informative = (end - start) < width
        self.dtypes.add(audited.dtype)
        self.slice_ids.append(slice_id)
        self.informative.append(int(informative.sum()))
        missed = [stored - decoded_merge(recipe, base, donor, audited) for recipe in self.recipes]
        self.exact.append([int(((residual == 0) & informative).sum()) for residual in missed])
        self.residual.append([float(np.nansum(residual**2)) for residual in missed])
        self.delta += float(np.nansum((stored - base) ** 2))

    def ranking(self) -> list[tuple[Recipe, float]]:
        """Recipes with their bit-exact rates over all informative elements, best first; of equals the simplest, first listed, wins."""
        informative = sum(self.informative)
        if not informative or not self.recipes:
            return []
        rates = np.sum(self.exact, axis=0) / informative
        return [(self.recipes[i], float(rates[i])) for i in np.argsort(-rates, kind="stable")]

    def slices(self) -> pd.DataFrame:
        """Per slice: model, base, slice_id, recipe_informative, recipe_exact (of the best recipe)."""
        ranking = self.ranking()
        best = self.recipes.index(ranking[0][0]) if ranking else 0
        exact = [hits[best] for hits in self.exact] if ranking else [0] * len(self.slice_ids)
        return pd.DataFrame(
            {
                "model": self.frame.audited,
                "base": self.frame.base,
                "slice_id": self.slice_ids,
                "recipe_informative": self.informative,
                "recipe_exact": exact,
            }
        )

    def result(self) -> dict[str, Any]:
        """The search as JSON: the best recipe and the others tried, each with its rate."""
        lost = dict(zip(self.recipes, np.sum(self.residual, axis=0) / self.delta if self.delta else [], strict=False))
        found = [{**as_json(recipe), "bit_exact_rate": rate, "residual_share": lost.get(recipe)} for recipe, rate in self.ranking()]
        return {
            "model": self.frame.audited,
            "base": self.frame.base,
            "donor": self.donor,
            "interval": [self.low, self.high] if self.recipes else None,
            "out_dtype": " and ".join(sorted(WRITER_NAMES[dtype] for dtype in self.dtypes)) or None,
            "informative_elements": sum(self.informative),
            "best": found[0] if found else None,
            "alternatives": found[1:],
        }


def start_search(frame: Frame, fits: pd.DataFrame) -> Search:
    """Choose the donor and the candidate weights from the fits of one frame.

    The pooled interval is the weight that most voting slices' replay intervals hold, found by the same sweep as within a slice.
    """
    voting = fits[fits["votes"]]
    weighted = {donor: _pooled(voting, f"coverage.{donor}", f"informative.{donor}") for donor in frame.donors}
    donor = max(weighted, key=lambda name: -1.0 if np.isnan(weighted[name]) else weighted[name])
    sound = voting[voting[f"informative.{donor}"] >= MIN_INFORMATIVE]
    found = replay(sound[f"replay_low.{donor}"].to_numpy(), sound[f"replay_high.{donor}"].to_numpy(), np.inf)
    if not found.informative:
        return Search(frame, donor, np.nan, np.nan, [])
    # fp32 sums move a few elements across a midpoint, which can shave the interval by as much as one part in a million.
    return Search(frame, donor, found.low, found.high, candidates(found.low - 1e-6, found.high + 1e-6))


def as_json(recipe: Recipe) -> dict[str, Any]:
    """method, dtype and parameters (weights, order, fused multiply-adds) of a recipe."""
    parameters = asdict(recipe) | {"alpha": recipe.alpha}
    return {"method": parameters.pop("method"), "dtype": parameters.pop("dtype"), "parameters": parameters}


def from_json(value: Mapping[str, Any]) -> Recipe:
    """The recipe of `as_json`."""
    parameters = {name: setting for name, setting in value["parameters"].items() if name != "alpha"}
    return Recipe(**parameters, dtype=value["dtype"], method=value["method"])


def _pooled(fits: pd.DataFrame, share: str, weight: str) -> float:
    known = fits[fits[share].notna() & (fits[weight] > 0)]
    return float(np.average(known[share], weights=known[weight])) if len(known) else float("nan")
