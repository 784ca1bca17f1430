"""Shares that a person would write, near those of least squares."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product
from math import frexp

import numpy as np

from mergetrace.merging.scripts import shares_of_script
from mergetrace.numerics.simple import near
from mergetrace.search.blends import Blend
from mergetrace.search.proposals.lines import WRITTEN_PARTS

REACH_ERRORS = 4  # standard errors of a weight in which short numbers are tried
LEAST_REACH = 0.0025  # a bf16 weight lies as far from the number that was written
LEAST_REACH_OF_WEIGHT = 1 / 256  # half a step of bf16 just above a power of two
LARGEST_DIVISOR = 12  # of fractions that a person would write
MAX_TURNS = 2  # numbers tried for each weight that moves a merge on
IN_TURN = "moving_steps"  # any script whose weights do
MAX_SHARES = 8  # sets of shares tried with every script
EXCESS_OF_ROUNDING = 0.004  # of the weights' sum over one, where they were rounded
FRACTION_SLACK = 1e-12
MOST_WHOLE_TOTAL = 40  # of weights that are divided by their sum
PARTS_OF_ONE = (1, 10, WRITTEN_PARTS)  # of which such weights are multiples
HALF = 0.5  # the mantissa of a power of two, by which nothing is rounded
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
    or (where the weights do not) of each model its own; at the end OWN_SHARES that are
    the blend's own: such as sum to one, and as they are.
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
        own = with_rest(blend)
    short = list(dict.fromkeys(candidates))[:MAX_SHARES]
    own_last = [shares for shares in short if shares not in (own, blend.weights)]
    return [*own_last, own, blend.weights]


def short_turns(blend: Blend, order: Sequence[str]) -> list[Shares]:
    """Sets of shares near a blend's that short weights make which each move the merge so
    far towards the next model: of an average with one decay four digits and more. order:
    of the models; the sets are in the blend's.
    """
    shares = dict(zip(blend.models, with_rest(blend), strict=True))
    errors = dict(zip(blend.models, blend.errors, strict=True))
    options = []
    so_far = shares[order[0]]
    for model in order[1:]:
        so_far += shares[model]
        if so_far <= 0:
            return []
        numbers = _short_numbers(shares[model] / so_far, errors[model] / so_far, 0.0)
        options.append(numbers[:-1][:MAX_TURNS])
    if not all(options):
        return []
    found = []
    for turns in product(*options):
        of_order = shares_of_script(IN_TURN, (1.0, *turns))
        by_model = dict(zip(order, of_order, strict=True))
        found.append(tuple(round(by_model[name], 12) for name in blend.models))
    return found


def written_totals(weights: Sequence[float], reaches: Sequence[float]) -> list[float]:
    """What whole numbers, tenths and twentieths with about these shares sum to, other
    than one, the smallest first. In binary numbers twice as much rounds alike, and is
    left out.

    weights: of all models; they sum to about one. reaches: how far off each may be.
    """
    found: dict[tuple[tuple[float, ...], float], float] = {}
    for whole in range(2, MOST_WHOLE_TOTAL + 1):
        numbers = [round(weight * whole) for weight in weights]
        if sum(numbers) != whole or not all(numbers):
            continue
        shares = tuple(number / whole for number in numbers)
        triples = zip(shares, weights, reaches, strict=True)
        if any(abs(share - weight) > reach for share, weight, reach in triples):
            continue
        for part in PARTS_OF_ONE:
            mantissa, _ = frexp(whole / part)
            if mantissa != HALF:
                found.setdefault((shares, round(mantissa, 12)), whole / part)
    return list(found.values())


def with_rest(blend: Blend) -> Shares:
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
