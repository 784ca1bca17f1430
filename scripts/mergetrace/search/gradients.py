"""Numbers along the layers: the fewest values whose straight lines pass through what
every tensor allows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.numerics.arrays import Array
from mergetrace.numerics.simple import simplest

MAX_ANCHORS = 9  # values of a gradient that a person writes
SHORT_DIGITS = 2
"""As many values as layers explain anything. Only short numbers make that a finding."""
WRITTEN_DIGITS = 5
"""Of a number that somebody wrote; what a formula gave has more."""
MIDDLE = 0.02
"""Of an interval to either side: nine parts in ten of a narrow one are slack (see
variations), so that elements decide only in its middle.
"""
LONG_GRADIENT = 0.5
"""Of the layers, the greatest share that values of any digits may number."""
MOST_LAYERS = 1000
INSIDE = 1e-9  # how far from its interval a number may lie that was found in it


@dataclass(frozen=True)
class Allowed:
    """The values that one tensor allows for a number."""

    tensor: str
    """The tensor's name."""
    position: float
    """Its place along the layers, from 0 to 1."""
    low: float
    """The smallest value."""
    high: float
    """The largest value."""


Values = tuple[float, ...]
Explain = Callable[[Sequence[Allowed]], Values | None]
"""Evenly spread values along the layers that some tensors allow; None where there are
none of a kind.
"""
Choose = Callable[[float, float], float]
"""The number that is taken between the smallest and the largest that are allowed."""


def gradient(members: Sequence[Allowed]) -> Values | None:
    """The fewest evenly spread values whose straight lines pass through every interval,
    as short as the intervals allow. Of long numbers far fewer than there are layers.
    """
    positions, low, high = _as_arrays(members)
    if low.max() <= high.min():
        return (simplest(float(low.max()), float(high.min())),)
    distinct = len(set(positions.tolist()))
    for anchors in range(2, min(distinct, MAX_ANCHORS) + 1):
        values = _through(_interpolation(positions, anchors), low, high)
        if values is None:
            continue
        is_short = all(value == round(value, SHORT_DIGITS) for value in values)
        if is_short or anchors <= LONG_GRADIENT * distinct:
            return values
    return None


def layer_by_layer(members: Sequence[Allowed], choose: Choose) -> Values | None:
    """A value for each layer that all of its tensors allow; a straight line through
    layers of which there is no tensor. None where a layer's tensors differ, or no layer
    has several.
    """
    by_position: dict[float, list[Allowed]] = {}
    for entry in members:
        by_position.setdefault(entry.position, []).append(entry)
    if len(by_position) < 2 or len(by_position) == len(members):
        return None
    known = {}
    for position, entries in sorted(by_position.items()):
        low = max(entry.low for entry in entries)
        high = min(entry.high for entry in entries)
        if low > high:
            return None
        known[position] = choose(low, high)
    layers = number_of_layers(list(known))
    if layers is None:
        return None
    places = np.linspace(0, 1, layers)
    along = np.interp(places, list(known), list(known.values()))
    for position, value in known.items():
        along[round(position * (layers - 1))] = value
    return tuple(along.tolist())


def well_inside(low: float, high: float) -> float:
    """The shortest decimal in the middle half of what is allowed, whose ends are not
    sure; a number that nobody writes, for which every last digit counts, lies in the
    very middle.
    """
    margin = (high - low) / 4
    short = simplest(low + margin, high - margin)
    return short if short == round(short, WRITTEN_DIGITS) else in_the_middle(low, high)


def in_the_middle(low: float, high: float) -> float:
    """The shortest decimal in the very middle of what is allowed."""
    middle, reach = (low + high) / 2, MIDDLE * (high - low)
    return simplest(middle - reach, middle + reach)


def number_of_layers(positions: Sequence[float]) -> int | None:
    """The least number of layers that can have these places; None where that is none."""
    for layers in range(len(positions), MOST_LAYERS + 1):
        places = np.array(positions) * (layers - 1)
        if (np.abs(places - np.round(places)) < INSIDE * MOST_LAYERS).all():
            return layers
    return None


def _as_arrays(members: Sequence[Allowed]) -> tuple[Array, Array, Array]:
    positions = np.array([entry.position for entry in members])
    low = np.array([entry.low for entry in members])
    high = np.array([entry.high for entry in members])
    return positions, low, high


def _interpolation(positions: Array, anchors: int) -> Array:
    """Piecewise-linear interpolation as a matrix: float64 [positions, anchors]."""
    steps = np.arange(anchors)
    columns = [
        np.interp(positions * (anchors - 1), steps, unit) for unit in np.eye(anchors)
    ]
    return np.stack(columns, axis=1)


def _through(interpolation: Array, low: Array, high: Array) -> Values | None:
    """Values whose lines pass through every interval: one after another, each the
    shortest number that leaves the others room.
    """
    if np.linalg.matrix_rank(interpolation) < interpolation.shape[1]:
        return None
    sides = np.concatenate([interpolation, -interpolation])
    reach = np.concatenate([high, -low])
    ends: list[tuple[float | None, float | None]] = [
        (None, None) for _ in range(interpolation.shape[1])
    ]
    if _extreme(0, 0.0, sides, reach, ends) is None:
        return None
    values = []
    for place in range(len(ends)):
        least = _extreme(place, 1.0, sides, reach, ends)
        greatest = _extreme(place, -1.0, sides, reach, ends)
        if least is None or greatest is None:
            return None
        value = simplest(min(least, greatest), max(least, greatest))
        ends[place] = (value, value)
        values.append(value)
    along = interpolation @ np.array(values)
    slack = INSIDE + (high - low) / 100
    inside = (along >= low - slack) & (along <= high + slack)
    return tuple(values) if inside.all() else None


def _extreme(
    place: int,
    sign: float,
    sides: Array,
    reach: Array,
    ends: Sequence[tuple[float | None, float | None]],
) -> float | None:
    """The least (sign 1) or greatest (-1) value at a place; None where nothing fits."""
    from scipy.optimize import linprog

    cost = np.zeros(len(ends))
    cost[place] = sign
    solved = linprog(cost, A_ub=sides, b_ub=reach, bounds=ends, method="highs")
    return float(solved.x[place]) if solved.success else None
