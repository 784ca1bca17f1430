"""In which ways a tool may have made quantised numbers of merged ones: what was done to them
before, and which manner of the quantiser gave a tensor back.
"""

from collections.abc import Iterable

from mergetrace.numerics.arithmetic import rounder
from mergetrace.numerics.arrays import Array

PLAIN = "plain"
"""Quantised as the numbers are."""
BY_WAY_OF = {"bfloat16": "by_bfloat16", "float16": "by_float16"}
"""Rounded to 16 bits before, by the format: as a converter does it."""


def ways(through: str) -> list[str]:
    """What may have been done before, of numbers that went through a format; "" for
    numbers of which that is not known.
    """
    if through == "F16":
        return [PLAIN]
    if through:
        return [PLAIN, BY_WAY_OF["float16"]]
    return [PLAIN, *BY_WAY_OF.values()]


def rounded(values: Array, way: str) -> Array:
    """Numbers as they are quantised, after what was done before."""
    for dtype, name in BY_WAY_OF.items():
        if name == way:
            return rounder(dtype)(values)
    return values


def liked_first(names: Iterable[str], liked: list[str]) -> list[str]:
    """Names with those first that gave a whole tensor back."""
    rank = {name: place for place, name in enumerate(liked)}
    return sorted(names, key=lambda name: rank.get(name, len(rank)))


def like(liked: list[str], name: str) -> None:
    """Note what gave a whole tensor back, so that it is tried first."""
    if name in liked:
        liked.remove(name)
    liked.insert(0, name)
