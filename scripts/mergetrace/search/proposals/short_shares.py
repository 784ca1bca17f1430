"""Shares that a person would write, near those of least squares."""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from mergetrace.numerics.simple import near
from mergetrace.search.blends import Blend

REACH_ERRORS = 4  # standard errors of a weight in which short numbers are tried
LEAST_REACH = 0.0025  # a bf16 weight lies as far from the number that was written
LEAST_REACH_OF_WEIGHT = 1 / 256  # half a step of bf16 just above a power of two
LARGEST_DIVISOR = 12  # of fractions that a person would write
MAX_SHARES = 8  # sets of shares tried with every script
EXCESS_OF_ROUNDING = 0.004  # of the weights' sum over one, where they were rounded
FRACTION_SLACK = 1e-12
NARROW = {"BF16": "bfloat16", "F16": "float16"}
"""The dtype of narrow tensors, by the format that a model is stored in."""

Shares = tuple[float, ...]
"""In the order of a blend's models."""


def reach_of(error: float, greatest: float = 0.0) -> float:
    """How far from a weight of least squares the written one may lie. greatest: the
    size of the greatest weight, whose rounding the others make up for.
    """
    return max(REACH_ERRORS * error, LEAST_REACH, LEAST_REACH_OF_WEIGHT * greatest)


def short_shares(blend: Blend) -> list[Shares]:
    """Sets of shares near a blend's, the shortest first: equal ones, such as sum to one,
    or (where the weights do not) of each model its own; at the end the blend's own.
    """
    greatest = max(map(abs, blend.weights))
    options = [
        _short_numbers(weight, error, greatest)
        for weight, error in zip(blend.weights, blend.errors, strict=True)
    ]
    if abs(blend.excess) > EXCESS_OF_ROUNDING:
        candidates = _first_choices(options)
        own = blend.weights
    else:
        candidates = [*_equal(blend), *_summing_to_one(options, blend)]
        own = _with_rest(blend)
    short = list(dict.fromkeys(candidates))[:MAX_SHARES]
    return list(dict.fromkeys([*short, own]))


def _with_rest(blend: Blend) -> Shares:
    """The blend's weights, of which the largest is what the others leave to one."""
    shares = list(blend.weights)
    largest = int(np.argmax(np.abs(shares)))
    shares[largest] += 1 - sum(shares)
    return tuple(shares)


def _equal(blend: Blend) -> list[Shares]:
    count = len(blend.models)
    near_equal = [
        abs(weight - 1 / count) < reach_of(error)
        for weight, error in zip(blend.weights, blend.errors, strict=True)
    ]
    return [(1 / count,) * count] if all(near_equal) else []


def _short_numbers(weight: float, error: float, greatest: float) -> list[float]:
    """Decimals of one to three digits and small fractions near a weight, the shortest
    first, of equal length the nearest; at the end the weight itself.
    """
    reach = reach_of(error, greatest)
    numbers = [value for value in near(weight, reach) if value]
    for divisor in range(3, LARGEST_DIVISOR + 1):
        fraction = Fraction(round(weight * divisor), divisor)
        if fraction.denominator == divisor and abs(float(fraction) - weight) < reach:
            numbers.append(float(fraction))
    numbers.sort(key=lambda value: (_length(value), abs(value - weight)))
    return list(dict.fromkeys([*numbers, weight]))


def _length(value: float) -> int:
    fraction = Fraction(value).limit_denominator(LARGEST_DIVISOR)
    if abs(float(fraction) - value) < FRACTION_SLACK:
        return 2
    return len(f"{value:.10g}".removeprefix("0."))


def _summing_to_one(options: Sequence[Sequence[float]], blend: Blend) -> list[Shares]:
    """All but the largest share are chosen, which has the rest."""
    largest = int(np.argmax(np.abs(blend.weights)))
    chosen = [values for place, values in enumerate(options) if place != largest]
    sets = []
    for choice in _first_choices(chosen):
        values = list(choice)
        values.insert(largest, round(1 - sum(choice), 12))
        sets.append(tuple(values))
    return sets


def _first_choices(options: Sequence[Sequence[float]]) -> list[Shares]:
    """The first number of every coordinate, then one coordinate after the other
    changed.
    """
    first = [values[0] for values in options]
    choices = [tuple(first)]
    for rank in range(1, MAX_SHARES):
        for place, values in enumerate(options):
            if rank < len(values):
                choices.append((*first[:place], values[rank], *first[place + 1 :]))
    return choices
