"""Published numbers beside recomputed ones: how many agree, and the first that do not."""

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mergetrace.search.trial import Count

SAME = 1e-6  # relative: other machines add in another order
SHOWN = 5


@dataclass
class Check:
    """How often a recomputed number agrees with the published one, and the first places
    where it does not.
    """

    what: str
    agree: int = 0
    compared: int = 0
    differing: list[str] = field(default_factory=list)

    def add(
        self, where: str, published: Any, recomputed: Any, agrees: bool | None = None
    ) -> None:
        """Compare one number, or word; `agrees` where that takes more than looking
        whether they are the same.
        """
        self.compared += 1
        if same(published, recomputed) if agrees is None else agrees:
            self.agree += 1
        elif len(self.differing) < SHOWN:
            self.differing.append(
                f"{where}: published {published}, recomputed {recomputed}"
            )

    def extend(self, other: "Check") -> None:
        """Take in what was compared elsewhere, after what was compared here."""
        self.agree += other.agree
        self.compared += other.compared
        self.differing = [*self.differing, *other.differing][:SHOWN]


@dataclass
class Part:
    """What a layer, or all of them, gave.

    checks: by what was compared. counts, pooled: by model, of every slice that votes. left_out: by model, the slices to which the recipe was not
    applied again, since its method needs angles or thresholds of a whole tensor of which the slice, or the sample, is only a part.
    """

    checks: dict[str, Check] = field(default_factory=dict)
    counts: dict[str, list[Count]] = field(default_factory=lambda: defaultdict(list))
    pooled: dict[str, list[Mapping[str, float]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    left_out: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def check(self, what: str) -> Check:
        return self.checks.setdefault(what, Check(what))

    def extend(self, other: "Part") -> None:
        """Take in another layer's, after those that are here."""
        for what, check in other.checks.items():
            self.check(what).extend(check)
        for model in other.counts:
            self.counts[model] += other.counts[model]
        for model in other.pooled:
            self.pooled[model] += other.pooled[model]
        for model in other.left_out:
            self.left_out[model] += other.left_out[model]


def same(published: Any, recomputed: Any) -> bool:
    """Whether two numbers agree to six digits (nothing, NaN and null are one), or two
    words are equal.
    """
    numbers = (int, float, np.number, type(None))
    if not isinstance(published, numbers) or not isinstance(recomputed, numbers):
        return published == recomputed
    one, other = (
        math.nan if value is None else float(value) for value in (published, recomputed)
    )
    return math.isclose(one, other, rel_tol=SAME, abs_tol=1e-9) or (
        math.isnan(one) and math.isnan(other)
    )
