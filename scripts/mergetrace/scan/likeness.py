"""How many of a suspect's numbers every model of an index has at the same places, and
how many chance alone would give it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.numerics.arrays import Array, Mask
from mergetrace.numerics.dtypes import Codes
from mergetrace.scan.index import Group
from mergetrace.scan.positions import BLOCKS, ELEMENTS
from mergetrace.scan.prints import ABSENT, Print

# Of a candidate's histogram: every so many of its numbers are counted.
HISTOGRAM_STEP = 4
ALL_CODES = 1 << 16
SIGN = 0x8000


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

    @property
    def share(self) -> float:
        """Of the numbers compared, those that are equal."""
        return self.equal / self.compared if self.compared else 0.0

    @property
    def surprise(self) -> float:
        """By how many standard deviations of chance more are equal than expected."""
        if not self.compared:
            return 0.0
        rate = max(self.chance, 0.5) / self.compared
        spread = np.sqrt(self.compared * rate * max(1 - rate, 1e-9))
        return float((self.equal - max(self.chance, 0.5)) / spread)


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
    # A code that no model has at the places that are left aside would do; there is none,
    # so equal zeros are subtracted again.
    wanted = suspect.codes[blocks]
    aside = ~mask[blocks]
    tables = [_histogram(suspect.codes[block], mask[block]) for block in blocks]
    found = []
    for keys, codes in group.pieces():
        held = codes[:, blocks] if len(blocks) < BLOCKS else codes
        same = (held == wanted).reshape(len(keys), -1)
        equal = np.count_nonzero(same, axis=1)
        if aside.any():
            equal -= np.count_nonzero(same[:, aside.reshape(-1)], axis=1)
        expected = _expected(held, tables)
        found += [
            Likeness(key, compared, int(count), float(rate))
            for key, count, rate in zip(keys, equal, expected, strict=True)
        ]
    return found


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
