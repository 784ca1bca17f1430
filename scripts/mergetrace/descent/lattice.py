"""What a pure merge would show along a donor's directions, once it is rounded as the
audited model is stored: where changes are about one step of the format, .571 of a step
rounds to a whole one.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mergetrace.descent.directions import BINS
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.numerics.lattice import ulp

GRID: Array = np.linspace(0.0, 1.0, 11)
"""The weights at which a merge is replayed; between them the line is straight."""
UNROUNDED: Array = np.tile(GRID[:, None], (1, BINS))
"""What merges show where rounding does not matter."""
TRIED = 0.571
"""The weight at which it is seen whether rounding matters."""
NO_MATTER = 0.004
"""How far rounding may move a weight before it is followed: less than its interval."""


@dataclass(frozen=True)
class Rows:
    """Some rows of one matrix of a model, decoded."""

    values: Array
    """float64 [rows, cols]."""
    dtype: str
    """How they are stored."""
    scales: Array | None
    """What each stored number is multiplied by, [rows, cols]; None where by nothing."""

    def rounded(self, values: Array) -> Array:
        """Other numbers as this model would have stored them."""
        stored = values if self.scales is None else values / self.scales
        codes = encode(stored.reshape(-1), self.dtype)
        found = decode(codes.view(np.uint8), self.dtype).reshape(values.shape)
        return found if self.scales is None else found * self.scales

    def rounding(self, change: Array) -> float:
        """The energy that rounding adds to a change, where elements moved at all."""
        stored = self.values if self.scales is None else self.values / self.scales
        codes = encode(stored.reshape(-1), self.dtype)
        steps = ulp(codes.view(np.uint8), self.dtype).reshape(change.shape)
        if self.scales is not None:
            steps = steps * self.scales
        return float((steps[change != 0] ** 2).sum() / 12)


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
