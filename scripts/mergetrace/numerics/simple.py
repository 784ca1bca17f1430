"""The numbers a person would write: short decimals and small fractions inside an
interval, simplest first.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from math import gcd, prod

Interval = tuple[float, float]
Weights = tuple[float, ...]
"""The base's weight, then those of the donors."""

MAX_DIGITS = 8  # decimal places of a number that somebody wrote
MAX_WHOLE_TOTAL = 20  # what small whole numbers that serve as weights sum to
MAX_PRODUCTS = 256  # choices of decimals for several donors
TENTHS_OF_ROUND_SUMS = range(5, 31)  # sums of unnormalised weights, .5 to 3.0


def decimals(low: float, high: float, digits: int, most: int = 3) -> list[float]:
    """At most `most` multiples of 10^-digits in [low, high], ascending."""
    unit = Fraction(1, 10**digits)
    first = -((-Fraction(low)) // unit)
    last = Fraction(high) // unit
    last = min(last, first + most - 1)
    return [float(multiple * unit) for multiple in range(first, last + 1)]


def simplest(low: float, high: float) -> float:
    """The decimal with the fewest digits in [low, high], of several the one nearest to
    the middle; the middle itself where MAX_DIGITS digits do not do.
    """
    middle = (low + high) / 2
    for digits in range(MAX_DIGITS + 1):
        inside = decimals(low, high, digits, most=100)
        if inside:
            return min(inside, key=lambda value: abs(value - middle))
    return middle


def near(value: float, reach: float) -> list[float]:
    """Decimals of one to three digits within `reach` of a value, short ones first, each
    once.
    """
    numbers: list[float] = []
    for digits in (1, 2, 3):
        numbers += decimals(value - reach, value + reach, digits, most=100)
    return list(dict.fromkeys(numbers))


def simple_weights(shares: Sequence[Interval], most: int = 6) -> list[Weights]:
    """Weights (base, *donors) a person would write whose normalised donor shares lie in
    the intervals: at most `most`, simplest first.

    These are decimals that sum to one, with as few digits as the intervals allow and
    one more; small whole numbers; decimals that sum to a round number. Where there is
    none, the middles of the intervals.
    """
    middles = [(low + high) / 2 for low, high in shares]
    candidates = [
        *_summing_to_one(shares),
        *_whole(shares, middles),
        *_round_sums(shares),
    ]
    if not candidates:
        return [(1 - sum(middles), *middles)][:most]
    once = dict.fromkeys(candidates)
    return sorted(once, key=_written_length)[:most]


def _written_length(weights: Weights) -> int:
    """How many characters the weights take, without the zero before the point."""
    texts = [f"{weight:.10g}" for weight in weights]
    return sum(len(text.removeprefix("0.")) for text in texts)


def _summing_to_one(shares: Sequence[Interval]) -> Iterator[Weights]:
    """Decimals that sum to one, of the fewest digits that do and of one digit more."""
    fewest = None
    for digits in range(1, MAX_DIGITS):
        if fewest is not None and digits > fewest + 1:
            return
        for donors in _products(shares, 1.0, digits):
            fewest = fewest or digits
            yield (round(1 - sum(donors), digits), *donors)


def _whole(shares: Sequence[Interval], middles: Sequence[float]) -> Iterator[Weights]:
    """Small whole numbers without a common divisor."""
    for total in range(2, MAX_WHOLE_TOTAL + 1):
        donors = [round(middle * total) for middle in middles]
        base = total - sum(donors)
        weights = (base, *donors)
        if base < 0 or max(weights) >= total:
            continue
        if gcd(*weights) != 1:
            continue
        inside = [
            low <= donor / total <= high
            for donor, (low, high) in zip(donors, shares, strict=True)
        ]
        if all(inside):
            yield tuple(map(float, weights))


def _round_sums(shares: Sequence[Interval]) -> Iterator[Weights]:
    """Weights with one decimal each that a tool divides by their sum."""
    for tenths in TENTHS_OF_ROUND_SUMS:
        if tenths == 10:
            continue  # they sum to one: see _summing_to_one
        total = tenths / 10
        for donors in _products(shares, total, 1):
            base = round(total - sum(donors), 1)
            if base >= 0 and all(donors):
                yield (base, *donors)


def _products(
    shares: Sequence[Interval], total: float, digits: int
) -> Iterator[tuple[float, ...]]:
    """Every choice of one decimal per donor in its share of the total; of too many one,
    each decimal in the middle.
    """
    choices = []
    for low, high in shares:
        of_donor = decimals(low * total, high * total, digits)
        choices.append(of_donor)
    if prod(map(len, choices)) > MAX_PRODUCTS:
        choices = [of_donor[len(of_donor) // 2 :][:1] for of_donor in choices]
    return product(*choices)
