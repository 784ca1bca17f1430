"""Which models explain what a base does not: found one after another, the model whose
change from the base points most along what is not explained yet, and non-negative least
squares over all found so far.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from mergetrace.numerics.arrays import Array
from mergetrace.scan.held import Held
from mergetrace.scan.likeness import equal_share

DONOR_ERRORS = 6.0
"""Standard errors by which a donor's change points along what is not explained yet. Of
10,000 innocents the most extreme lies at 4.4.
"""
MIN_WEIGHT = 0.03  # of a donor in the blend
MIN_LEFT = 0.02
"""Of the suspect's change: less is explained, and nothing more is sought."""
MIN_GAIN = 0.01  # of the suspect's change, that a further donor must explain


@dataclass(frozen=True)
class Donor:
    """A model that explains a part of the suspect's change from the base."""

    key: str
    weight: float
    """Its share in the blend that explains most."""
    cosine: float
    """Between its change from the base and what the models found before it left."""
    own: float
    """Of the numbers at which it differs from the base, those that the suspect has."""


def donors_beside(held: Held, base: str, most: int) -> tuple[list[Donor], float]:
    """The donors beside a base, and the share of the suspect's change they explain."""
    among, along, square = held.from_base(base)
    sizes = np.sqrt(np.clip(np.diag(among), 1e-30, None))
    found: list[int] = []
    cosines: list[float] = []
    weights = np.zeros(0)
    left = square
    while len(found) < most and square > 0 and left > MIN_LEFT * square:
        towards = along - among[:, found] @ weights if found else along
        cosine = towards / (sizes * np.sqrt(left))
        cosine[[held.place[base], *found]] = -1
        best = int(np.argmax(cosine))
        if cosine[best] * np.sqrt(held.elements) < DONOR_ERRORS:
            break
        tried = _weights(among, along, [*found, best])
        places = [*found, best]
        fitted = float(tried @ among[np.ix_(places, places)] @ tried)
        after = square - 2 * float(tried @ along[places]) + fitted
        if tried[-1] < MIN_WEIGHT or left - after < MIN_GAIN * square:
            break
        found, weights, left = places, tried, after
        cosines.append(float(cosine[best]))
    donors = [
        Donor(held.keys[place], float(weight), cosine, _own(held, base, place))
        for place, weight, cosine in zip(found, weights, cosines, strict=True)
        if weight >= MIN_WEIGHT
    ]
    return donors, 1 - left / square if square else 1.0


def _weights(among: Array, along: Array, places: Sequence[int]) -> Array:
    """Non-negative least squares from products."""
    part = among[np.ix_(places, places)]
    root = np.linalg.cholesky(part + 1e-9 * np.trace(part) * np.eye(len(places)))
    weights: Array = nnls(root.T, np.linalg.solve(root, along[list(places)]))[0]
    return weights


def _own(held: Held, base: str, place: int) -> float:
    """Of the numbers at which a model differs from the base, those the suspect has."""
    codes = held.codes[held.keys[place]]
    moved = held.mask & (codes != held.codes[base])
    return equal_share(codes, held.suspect.codes, moved)
