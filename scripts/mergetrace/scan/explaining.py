"""Which models of an index explain a suspect's numbers: a base that many share, and
donors that explain what the base does not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mergetrace.numerics.dtypes import Codes
from mergetrace.scan.ancestors import BaseCandidate, bases_of, richest
from mergetrace.scan.blending import Donor, donors_beside
from mergetrace.scan.changes import along, distances, evened
from mergetrace.scan.held import Held, members, same_models
from mergetrace.scan.index import Group
from mergetrace.scan.likeness import Likeness, equal_share
from mergetrace.scan.prints import Print, numbers_of

MAX_NEAREST = 48  # relatives among which a base is sought
MAX_AHEAD = 24  # further ones that lie far off in the suspect's direction: its donors
MAX_POOL = 96  # relatives of which donors are chosen


@dataclass(frozen=True)
class Relative:
    """A relative of the suspect, as it looks from the base."""

    key: str
    cosine: float
    """Between its change from the base and the suspect's."""
    of_base: float
    """The share of its numbers that are the base's."""
    of_donor: float
    """The greatest share of its numbers that are one of the donors'."""
    moved: float = 1.0
    """How far it lies from the base, as a multiple of the suspect's distance."""


@dataclass(frozen=True)
class Explanation:
    """What explains the suspect's numbers."""

    bases: tuple[BaseCandidate, ...]
    """The most fitting first; none where no relative was found."""
    donors: tuple[Donor, ...]
    """In the order in which they were found, from the first base on."""
    explained: float
    """The share of the suspect's change from the base that they explain, in squares."""
    relatives: tuple[Relative, ...]
    """The others that were looked at."""
    same: Mapping[str, tuple[str, ...]]
    """Models whose prints are the same as another's, by that one."""


def explain(
    suspect: Print,
    groups: Sequence[Group],
    relatives: Sequence[Likeness],
    rank: Mapping[str, int],
    sizes: Mapping[str, int],
    most: int,
) -> Explanation:
    """Explain a suspect by its relatives. Of models that are the same, and of bases
    that fit equally well, the one of the lowest `rank` is taken. sizes: what each print
    took to read. most: donors.
    """
    if not relatives:
        return Explanation((), (), 0.0, (), {})
    far = distances(suspect, groups, {each.key for each in relatives})
    order = sorted(far, key=lambda key: (far[key], key))
    nearest = order[: 2 * MAX_NEAREST]
    start = richest(Held(suspect, groups, set(nearest)))
    ahead = [key for key, _ in along(suspect, start, groups, set(far))[:MAX_AHEAD]]
    held = Held(suspect, groups, {*nearest, *ahead})
    same = same_models(held, far, rank, sizes)
    chosen = [key for key in order if key in same]
    held.keep(
        dict.fromkeys([*chosen[:MAX_NEAREST], *(key for key in ahead if key in same)])
    )
    bases = bases_of(held, far, rank, most)
    if not bases:
        return Explanation((), (), 0.0, (), same)
    pool = along(suspect, bases[0].key, groups, set(far) - members(same))
    wanted = {bases[0].key, *held.keys, *(key for key, _ in pool[:MAX_POOL])}
    pooled = Held(suspect, groups, wanted)
    donors, explained = donors_beside(pooled, bases[0].key, most)
    cosine = dict(pool)
    beside = [donor.key for donor in donors]
    others = _others(pooled, bases[0].key, beside, cosine)
    return Explanation(bases, tuple(donors), explained, tuple(others), same)


def relatives_beside(
    suspect: Print,
    groups: Sequence[Group],
    relatives: Sequence[Likeness],
    base: str,
    donors: Sequence[str],
) -> list[Relative]:
    """The relatives as they look from a base, beside donors, those most along first.
    base, donors: keys.
    """
    pool = along(suspect, base, groups, {each.key for each in relatives})
    nearest = [key for key, _ in pool[:MAX_POOL]]
    held = Held(suspect, groups, {base, *donors, *nearest})
    return list(_others(held, base, donors, dict(pool)))


def _others(
    held: Held, base: str, donors: Sequence[str], cosine: Mapping[str, float]
) -> Iterator[Relative]:
    """The relatives that are neither base nor donor, those most along first."""
    chosen = {base, *donors}
    others = [key for key in held.keys if key not in chosen]
    for key in sorted(others, key=lambda key: (-cosine.get(key, 0.0), key)):
        codes = held.codes[key]
        of_donor = [
            equal_share(codes, held.codes[donor], held.mask) for donor in donors
        ]
        yield Relative(
            key,
            cosine.get(key, 0.0),
            equal_share(codes, held.codes[base], held.mask),
            max(of_donor, default=0.0),
            _moved(held, base, codes),
        )


def _moved(held: Held, base: str, codes: Codes) -> float:
    """How far numbers lie from the base's, as a multiple of the suspect's distance."""
    start = numbers_of(held.codes[base])
    both = np.stack([numbers_of(codes), numbers_of(held.suspect.codes)]) - start
    squares = (evened(both, held.mask).astype(np.float64) ** 2).sum(axis=1)
    return float(np.sqrt(squares[0] / squares[1])) if squares[1] else 1.0
