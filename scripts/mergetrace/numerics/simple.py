"""The numbers a person would write: short decimals and small fractions inside an
interval, simplest first.
"""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import product
from math import gcd

Interval = tuple[float, float]


def decimals(low: float, high: float, digits: int, most: int = 3) -> list[float]:
    """At most `most` multiples of 10^-digits in [low, high], ascending."""
    unit = Fraction(1, 10**digits)
    first = -((-Fraction(low)) // unit)
    last = Fraction(high) // unit
    return [float((first + i) * unit) for i in range(min(most, last - first + 1))]


def simplest(low: float, high: float) -> float:
    """The decimal with the fewest digits in [low, high], the one nearest to the middle;
    the middle itself where eight digits do not do.
    """
    middle = (low + high) / 2
    for digits in range(9):
        if found := decimals(low, high, digits, most=100):
            return min(found, key=lambda value: abs(value - middle))
    return middle


def near(value: float, reach: float) -> list[float]:
    """Decimals of one to three digits within `reach` of a value, the short ones first,
    none twice.
    """
    found = [
        number
        for digits in (1, 2, 3)
        for number in decimals(value - reach, value + reach, digits, most=100)
    ]
    return list(dict.fromkeys(found))


def simple_weights(
    shares: Sequence[Interval], most: int = 6
) -> list[tuple[float, ...]]:
    """Weights (base, *donors) a person would write whose normalised donor shares lie in
    the intervals, simplest first.

    Decimals that sum to one, with as few digits as the intervals allow and one more; small whole numbers; decimals that sum to a round
    number. Where there is none, the middles.
    """
    middles = [(low + high) / 2 for low, high in shares]
    found = dict.fromkeys(
        [*_summing_to_one(shares), *_whole(shares, middles), *_round_sums(shares)]
    )
    written = sorted(
        found,
        key=lambda weights: sum(
            len(f"{weight:.10g}".removeprefix("0.")) for weight in weights
        ),
    )
    return (written or [(1 - sum(middles), *middles)])[:most]


def _summing_to_one(shares: Sequence[Interval]) -> Iterator[tuple[float, ...]]:
    found_at = None
    for digits in range(1, 8):
        inside = list(product(*(decimals(low, high, digits) for low, high in shares)))
        yield from ((round(1 - sum(donors), digits), *donors) for donors in inside)
        found_at = found_at or (digits if inside else None)
        if found_at and digits > found_at:
            return


def _whole(
    shares: Sequence[Interval], middles: Sequence[float], largest: int = 20
) -> Iterator[tuple[float, ...]]:
    for total in range(2, largest + 1):
        donors = [round(middle * total) for middle in middles]
        base = total - sum(donors)
        fit = all(
            low <= donor / total <= high
            for donor, (low, high) in zip(donors, shares, strict=True)
        )
        if fit and base >= 0 and gcd(base, *donors) == 1 and max(base, *donors) < total:
            yield (float(base), *map(float, donors))


def _round_sums(shares: Sequence[Interval]) -> Iterator[tuple[float, ...]]:
    """Weights with one decimal each that a tool divides by their sum."""
    for tenths in range(5, 31):
        total = tenths / 10
        for donors in product(
            *(decimals(low * total, high * total, 1) for low, high in shares)
        ):
            base = round(total - sum(donors), 1)
            if tenths != 10 and base >= 0 and all(donors):
                yield (base, *donors)
