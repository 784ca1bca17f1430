"""What a pure merge would show along a donor's directions, once it is rounded as the
audited model is stored: where changes are about one step of the format, .571 of a step
rounds to a whole one.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from mergetrace.descent.directions import BINS
from mergetrace.descent.repeated import repeated
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import FORMATS, decode, encode
from mergetrace.numerics.lattice import ulp

GRID: Array = np.linspace(0.0, 1.0, 11)
"""The weights at which a merge is replayed; between them the line is straight."""
UNROUNDED: Array = np.tile(GRID[:, None], (1, BINS))
"""What merges show where rounding does not matter."""
TRIED = 0.571
"""The weight at which it is seen whether rounding matters."""
NO_MATTER = 0.004
"""How far rounding may move a weight before it is followed: less than its interval."""


ONE_STEP = 1.5
"""Steps of the format: an element less far from the base lies one step away, or half a
step where the base has a smaller exponent.
"""


@dataclass(frozen=True)
class Rows:
    """Some rows of one matrix of a model, decoded."""

    values: Array
    """float64 [rows, cols]."""
    dtype: str
    """How they are stored."""
    scales: Array | None
    """What each stored number is multiplied by, [rows, cols]; None where by nothing."""

    @cached_property
    def repeated(self) -> float | None:
        """See repeated.repeated; None where each number takes a byte or less."""
        if self.scales is not None or FORMATS[self.dtype].width < 2:
            return None
        return repeated(self.values)

    def rounded(self, values: Array) -> Array:
        """Other numbers as this model would have stored them."""
        stored = values if self.scales is None else values / self.scales
        codes = encode(stored.reshape(-1), self.dtype)
        found = decode(codes.view(np.uint8), self.dtype).reshape(values.shape)
        return found if self.scales is None else found * self.scales

    def rounding(self, change: Array) -> float:
        """The energy that rounding adds to a change, where elements moved at all."""
        return float((self._steps()[change != 0] ** 2).sum() / 12)

    def stayed(self, base: Array, change: Array, weight: float) -> float:
        """The share of the elements that a pure merge moves and that did not move here,
        less the share of those that lie one step away: where a change is even about
        nothing, twice as many do. Nothing can be said of a merge that moves nothing.
        """
        moved = self.rounded(base + weight * change) != base
        if not moved.any():
            return 0.0
        off = np.abs(self.values - base)[moved]
        near = (off > 0) & (off < ONE_STEP * self._steps()[moved])
        return max(0.0, float((off == 0).mean() - near.mean()))

    def _steps(self) -> Array:
        """The distance to the next number that could be stored, by element."""
        stored = self.values if self.scales is None else self.values / self.scales
        codes = encode(stored.reshape(-1), self.dtype)
        steps = ulp(codes.view(np.uint8), self.dtype).reshape(self.values.shape)
        return steps if self.scales is None else steps * self.scales


class Weighing(Protocol):
    """What weighs a change along a donor's directions."""

    def weights(self, change: Array) -> Array:
        """alpha by bin, float64 [BINS]."""
        ...


def expected(directions: Weighing, base: Array, change: Array, rows: Rows) -> Array:
    """alpha by bin of pure merges at the weights of GRID: float64 [len(GRID), BINS].

    change: the donor's change, of which `directions` are the directions. rows: the
    audited model's, which say how it is stored.
    """

    def replayed(weight: float) -> Array:
        merged = rows.rounded(base + weight * change)
        return directions.weights(merged - base)

    if np.abs(replayed(TRIED) - TRIED).max() <= NO_MATTER:
        return UNROUNDED
    return np.array([replayed(float(weight)) for weight in GRID])
