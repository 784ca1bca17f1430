"""What numpy does with lines that interpolate directions, operation by operation.

The angle is that of the whole tensor. Where only a part of it is held, the angle comes
from the inner products, without the rounding that sums in float32 have.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergetrace.merging.merge import Merge
from mergetrace.merging.script_formulas import Arithmetic
from mergetrace.merging.spheres import PARALLEL_COSINE
from mergetrace.numerics.arrays import Array

Floats = NDArray[np.floating[Any]]
"""float32 or float64, as the lines have it."""
Cosine = Callable[[Floats, Floats], Any]


def arc_of_units(merge: Merge, arithmetic: Arithmetic) -> Array:
    """The cosine summed over products of unit vectors, each angle of its own product."""
    del arithmetic
    return _arc(merge, _of_units, in_steps=False)


def arc_in_steps(merge: Merge, arithmetic: Arithmetic) -> Array:
    """The same, the first angle being what the second leaves."""
    del arithmetic
    return _arc(merge, _of_units, in_steps=True)


def arc_of_products(merge: Merge, arithmetic: Arithmetic) -> Array:
    """The cosine as a sum of products over the product of norms."""
    del arithmetic
    return _arc(merge, _of_products, in_steps=False)


def _arc(merge: Merge, cosine_of: Cosine, in_steps: bool) -> Array:
    first, second = (_as_in_lines(model, merge.dtype) for model in merge.models)
    t = merge.weights[1]
    if merge.facts.whole:
        cosine = cosine_of(first, second)
    else:
        cosine = _as_in_lines(np.array(_exact_cosine(merge)), merge.dtype)[()]
    if np.abs(cosine) > PARALLEL_COSINE:
        blend = (1 - t) * first + t * second
        return np.asarray(blend, np.float64)
    angle: Any = np.arccos(cosine)
    moved = angle * t
    rest = angle - moved if in_steps else (1 - t) * angle
    one = np.sin(rest) / np.sin(angle)
    two = np.sin(moved) / np.sin(angle)
    return np.asarray(one * first + two * second, np.float64)


def _as_in_lines(values: Array, dtype: str) -> Floats:
    if dtype == "float64":
        return values.astype(np.float64)
    return values.astype(np.float32)


def _of_units(first: Floats, second: Floats) -> Any:
    units = first / np.linalg.norm(first) * (second / np.linalg.norm(second))
    return np.sum(units)


def _of_products(first: Floats, second: Floats) -> Any:
    total = np.sum(first * second)
    return total / (np.linalg.norm(first) * np.linalg.norm(second))


def _exact_cosine(merge: Merge) -> float:
    first, second = ({name: 1.0} for name in merge.names)
    size = merge.facts.norm(first) * merge.facts.norm(second)
    return merge.facts.inner(first, second) / size if size else 0.0
