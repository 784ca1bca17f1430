"""How many of a suspect's numbers every model of an index has at the same places, and
how many chance alone would give it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.numerics.arrays import Array, Integers, Mask
from mergetrace.numerics.dtypes import Codes
from mergetrace.scan.index import Group
from mergetrace.scan.positions import BLOCKS, ELEMENTS
from mergetrace.scan.prints import ABSENT, Print

# Of a candidate's histogram: every so many of its numbers are counted.
HISTOGRAM_STEP = 4
ALL_CODES = 1 << 16
SIGN = 0x8000

MIN_SURPRISE = 8.0
"""Standard deviations above chance from which a model counts as a relative. Of 10,000
unrelated models the most surprising lies near 4; the farthest relative tried has 30
times what chance gives, 100 standard deviations.
"""
MIN_SIGNS = 0.55
MIN_SIGNS_SURPRISE = 12.0
"""The same of signs, with the share of them that must agree: of unrelated models half
do, of relatives nine in ten and more, also where one of them was rounded to eight or
four bits and hardly a number is equal.
"""


@dataclass(frozen=True)
class Likeness:
    """What a suspect and one model have in common, number by number."""

    key: str
    compared: int
    """Numbers at places that both have; those that are zero in the suspect are left
    aside, as padding is zero everywhere."""
    equal: int
    """How many of them are the same number."""
    chance: float
    """How many would be if the model's numbers lay in any other order, from the
    histograms of both."""
    signs: int
    """How many have the same sign. Numbers that were rounded to fewer digits keep it,
    where hardly one is equal any more."""
    signs_chance: float
    """How many would by chance, from the signs of both."""

    @property
    def share(self) -> float:
        """Of the numbers compared, those that are equal."""
        return self.equal / self.compared if self.compared else 0.0

    @property
    def surprise(self) -> float:
        """By how many standard deviations of chance more are equal than expected."""
        return _surprise(self.equal, self.chance, self.compared)

    @property
    def signs_share(self) -> float:
        """Of the numbers compared, those with the same sign."""
        return self.signs / self.compared if self.compared else 0.0

    @property
    def signs_surprise(self) -> float:
        """The same of signs as `surprise` of numbers."""
        return _surprise(self.signs, self.signs_chance, self.compared)


def likenesses(suspect: Print, groups: Iterable[Group]) -> list[Likeness]:
    """The likeness of the suspect with every model of the groups, in their order.

    Models of other blocks share nothing that could be compared and are passed over.
    """
    found = []
    for group in groups:
        mask = shared(suspect, group.signatures)
        if mask.any():
            found += _of_group(suspect, group, mask)
    return found


def relatives_of(likenesses: Sequence[Likeness]) -> list[Likeness]:
    """The models that have more of the suspect's numbers, or of their signs, than chance
    gives, the nearest first.
    """
    found = [each for each in likenesses if is_relative(each)]
    return sorted(found, key=lambda each: (-nearness(each), each.key))


def is_relative(each: Likeness) -> bool:
    """Whether a model has more in common with the suspect than chance gives."""
    by_signs = (
        each.signs_share >= MIN_SIGNS and each.signs_surprise >= MIN_SIGNS_SURPRISE
    )
    return each.surprise >= MIN_SURPRISE or by_signs


def nearness(each: Likeness) -> float:
    """How near a relative is: by equal numbers, and where they are few by signs."""
    return each.share + each.signs_share


def shared(suspect: Print, signatures: Sequence[str]) -> Mask:
    """Which of the suspect's numbers can be compared with models of these blocks: bool
    [BLOCKS, ELEMENTS]. Zeros cannot.
    """
    alike = [
        mine == other != ABSENT
        for mine, other in zip(suspect.signatures, signatures, strict=True)
    ]
    counts = (suspect.codes & ~np.uint16(SIGN)) != 0
    mask: Mask = counts & np.array(alike)[:, None]
    return mask


def _of_group(suspect: Print, group: Group, mask: Mask) -> list[Likeness]:
    blocks = np.flatnonzero(mask.any(axis=1))
    compared = int(mask.sum())
    wanted = suspect.codes[blocks]
    counted = mask[blocks]
    tables = [_histogram(suspect.codes[block], mask[block]) for block in blocks]
    found = []
    for keys, codes in group.pieces():
        held = codes[:, blocks] if len(blocks) < BLOCKS else codes
        columns = (
            _equal(held, wanted, counted),
            _expected(held, tables),
            *_signs(held, wanted, counted),
        )
        rows = np.array(columns, np.float64).T.tolist()
        found += [
            Likeness(key, compared, int(equal), chance, int(signs), by_chance)
            for key, (equal, chance, signs, by_chance) in zip(keys, rows, strict=True)
        ]
    return found


def _equal(held: Codes, wanted: Codes, counted: Mask) -> Integers:
    """How many of the counted numbers are the same, for each model."""
    same = (held == wanted).reshape(len(held), -1)
    equal: Integers = np.count_nonzero(same, axis=1)
    if not counted.all():
        equal -= np.count_nonzero(same[:, ~counted.reshape(-1)], axis=1)
    return equal


def _signs(held: Codes, wanted: Codes, counted: Mask) -> tuple[Integers, Array]:
    """How many of the counted numbers have the same sign, for each model, and how many
    chance gives: block by block, from the share of negative numbers in both.

    Four signs are looked at as one 64-bit word.
    """
    words = (counted * np.uint16(SIGN)).view(np.uint64)
    theirs = held.view(np.uint64) & words
    ours = wanted.view(np.uint64) & words
    differ = np.bitwise_count(theirs ^ ours).sum(axis=(1, 2), dtype=np.int64)
    sizes = np.maximum(counted.sum(axis=1), 1)
    below = np.bitwise_count(theirs).sum(axis=2, dtype=np.int64) / sizes
    negative = np.bitwise_count(ours).sum(axis=1, dtype=np.int64) / sizes
    rates = below * negative + (1 - below) * (1 - negative)
    return int(counted.sum()) - differ, rates @ sizes


def _surprise(count: int, chance: float, compared: int) -> float:
    """By how many standard deviations a count exceeds what chance gives."""
    if not compared:
        return 0.0
    chance = max(chance, 0.5)
    rate = chance / compared
    return float((count - chance) / np.sqrt(chance * max(1 - rate, 1e-9)))


def _histogram(codes: Codes, mask: Mask) -> Array:
    """How often each code is among the suspect's numbers of a block: float32 [2^16]."""
    return np.bincount(codes[mask], minlength=ALL_CODES).astype(np.float32)


def _expected(held: Codes, tables: Sequence[Array]) -> Array:
    """The equal numbers that chance gives, for each model: over blocks, the suspect's
    numbers times the share of the model's that have their code.
    """
    expected = np.zeros(len(held))
    for place, table in enumerate(tables):
        some = held[:, place, ::HISTOGRAM_STEP]
        expected += table.take(some).mean(axis=1)
    return expected


def equal_share(one: Codes, other: Codes, mask: Mask) -> float:
    """Of the masked numbers, those that are equal."""
    count = int(mask.sum())
    return float(((one == other) & mask).sum()) / count if count else 0.0


assert ELEMENTS % HISTOGRAM_STEP == 0
