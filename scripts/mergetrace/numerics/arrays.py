"""Names for the types of arrays, and places spread evenly over a sequence."""

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Singles = NDArray[np.float32]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]
Bytes = NDArray[np.uint8]
AnyArray = NDArray[Any]
"""An array whose dtype depends on the data: stored codes, or numbers in the narrowest
type that holds them.
"""

T = TypeVar("T")


def evenly_spread(size: int, count: int) -> Integers:
    """Indices of `count` of `size` items, evenly spread from the first to the last and
    ascending: int64 [min(count, size)].
    """
    places = np.linspace(0, size - 1, min(count, size))
    return np.unique(places.astype(np.int64))


def some_of(items: Sequence[T], count: int) -> list[T]:
    """`count` of the items, evenly spread and in their order; all where there are no
    more than that.
    """
    return [items[place] for place in evenly_spread(len(items), count)]
