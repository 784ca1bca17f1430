"""Published numbers beside recomputed ones: how many agree, and the first that do not."""

import math
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mergetrace.search.counting import Count
from mergetrace.sums.block_sums import BlockSums

MAX_RELATIVE_DIFFERENCE = 1e-6
"""Other machines add in another order."""
MOST_DIFFERING = 5
"""Places that are shown of those where numbers differ."""


@dataclass
class Check:
    """How often a recomputed number agrees with the published one."""

    what: str
    """What is compared."""
    agree: int = 0
    """How often both agree."""
    compared: int = 0
    """How often they were compared."""
    differing: list[str] = field(default_factory=list)
    """The first places where they differ."""

    def add(
        self, where: str, published: Any, recomputed: Any, agrees: bool | None = None
    ) -> None:
        """Compare one number, or word; `agrees` where that takes more than looking
        whether they are the same.
        """
        self.compared += 1
        if agrees is None:
            agrees = same(published, recomputed)
        if agrees:
            self.agree += 1
        elif len(self.differing) < MOST_DIFFERING:
            self.differing.append(
                f"{where}: published {published}, recomputed {recomputed}"
            )

    def extend(self, other: "Check") -> None:
        """Take in what was compared elsewhere, after what was compared here."""
        self.agree += other.agree
        self.compared += other.compared
        self.differing = [*self.differing, *other.differing][:MOST_DIFFERING]


@dataclass
class LayerResult:
    """What a layer, or all of them, gave."""

    checks: dict[str, Check] = field(default_factory=dict)
    """By what was compared how often it agrees."""
    counts: dict[str, list[Count]] = field(default_factory=lambda: defaultdict(list))
    """By model what the recipe gives back of every slice that votes."""
    pooled: dict[str, list[BlockSums]] = field(
        default_factory=lambda: defaultdict(list)
    )
    """By model the sums of every slice that votes."""
    left_out: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    """By model the number of slices to which the recipe was not applied again, since its
    method needs angles or thresholds of a whole tensor of which the slice, or the
    sample, is only a part.
    """

    def check(self, what: str) -> Check:
        """The comparisons of one kind."""
        return self.checks.setdefault(what, Check(what))

    def extend(self, other: "LayerResult") -> None:
        """Take in another layer's, after those that are here."""
        for what, check in other.checks.items():
            self.check(what).extend(check)
        for model, counts in other.counts.items():
            self.counts[model] += counts
        for model, rows in other.pooled.items():
            self.pooled[model] += rows
        for model, number in other.left_out.items():
            self.left_out[model] += number


def same(published: Any, recomputed: Any) -> bool:
    """Whether two numbers agree to six digits (nothing, NaN and null are one), or two
    words are equal.
    """
    kinds = (int, float, np.number, type(None))
    if not isinstance(published, kinds) or not isinstance(recomputed, kinds):
        return bool(published == recomputed)
    first = _as_float(published)
    second = _as_float(recomputed)
    if math.isnan(first) and math.isnan(second):
        return True
    return math.isclose(first, second, rel_tol=MAX_RELATIVE_DIFFERENCE, abs_tol=1e-9)


def _as_float(value: Any) -> float:
    return math.nan if value is None else float(value)
