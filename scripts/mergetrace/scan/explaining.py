"""Which models of an index explain a suspect's numbers: a base that many share, and
donors that explain what the base does not.

A base shows without any label. Seen from the ancestor of many models their changes are
independent, so at right angles to one another; seen from anything else they all share
the way back. So many mutually independent branches start at a base, and one at a model
without children. Donors are then sought one after another: the model whose change from
the base points most along what is not explained yet, and non-negative least squares
over all found so far.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import Codes
from mergetrace.scan.changes import along, distances, evened, members_of
from mergetrace.scan.index import Group
from mergetrace.scan.likeness import Likeness, equal_share, shared
from mergetrace.scan.prints import Print, numbers_of

SAME_SHARE = 0.995  # of equal numbers, from which two models count as one and the same
MAX_NEAREST = 48  # relatives among which a base is sought
MAX_AHEAD = 24  # further ones that lie far off in the suspect's direction: its donors
MAX_POOL = 96  # relatives of which donors are chosen
MAX_BASES = 3  # base candidates that are named
RIGHT_ANGLE = 0.12
"""Cosines smaller than this count as independent: nine standard errors at 6,000
numbers. Seen from a model that is no ancestor they lie near one half.
"""
MIN_BRANCHES = 3  # from which a model counts as an ancestor; a merge of two shows two
DONOR_ERRORS = 6.0
"""Standard errors by which a donor's change points along what is not explained yet. Of
10,000 innocents the most extreme lies at 4.4.
"""
MIN_WEIGHT = 0.03  # of a donor in the blend
MIN_LEFT = (
    0.02  # of the suspect's change: less is explained, and nothing more is sought
)
ROOM = 0.1  # of a change: of bases that leave no more than so much over, the simplest
DEPENDENCE_STEP = 0.04
"""Of dependence: what differs by less is told apart by other signs. Its own error is
.02 at 14,000 numbers.
"""
FEW_BRANCHES = 0.75  # of the most: a light finetune of a base sees some of its branches
MOSTLY_BACK = 0.5
"""Of a base's donor: where an ancestor of more branches has more than that of the way,
the base lies on a branch of that ancestor.
"""
MIN_GAIN = 0.01  # of the suspect's change, that a further donor must explain


@dataclass(frozen=True)
class Donor:
    """A model that explains a part of the suspect's change from the base."""

    key: str
    weight: float
    """Its share in the blend that explains most."""
    cosine: float
    """Between its change from the base and what the models found before it left."""
    own: float
    """Of the numbers at which it differs from the base, those that the suspect has."""


@dataclass(frozen=True)
class BaseCandidate:
    """A model that may be the common ancestor."""

    key: str
    branches: int
    """Independent branches of relatives that start at it."""
    donors: Mapping[str, float]
    """Models that it takes beside it to explain the suspect as far as they do, with
    their weights."""
    explained: float
    """The share of the suspect's change from it that they explain, in squares."""
    dependence: float
    """How far their changes from it go the same way, and the way of other branches:
    they would from any model that lies aside."""


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
    most: int,
) -> Explanation:
    """Explain a suspect by its relatives. Of models that are the same, and of bases
    that fit equally well, the one of the lowest `rank` is taken. most: donors.
    """
    if not relatives:
        return Explanation((), (), 0.0, (), {})
    far = distances(suspect, groups, {each.key for each in relatives})
    order = sorted(far, key=lambda key: (far[key], key))
    nearest = order[: 2 * MAX_NEAREST]
    start = _Held(suspect, groups, set(nearest)).richest()
    ahead = [key for key, _ in along(suspect, start, groups, set(far))[:MAX_AHEAD]]
    held = _Held(suspect, groups, {*nearest, *ahead})
    same = _same(held, far, rank)
    chosen = [key for key in order if key in same]
    held.keep(
        dict.fromkeys([*chosen[:MAX_NEAREST], *(key for key in ahead if key in same)])
    )
    bases = _bases(held, far, rank, most)
    if not bases:
        return Explanation((), (), 0.0, (), same)
    pool = along(suspect, bases[0].key, groups, set(far) - _members(same))
    wanted = {bases[0].key, *held.keys, *(key for key, _ in pool[:MAX_POOL])}
    pooled = _Held(suspect, groups, wanted)
    donors, explained = _donors(pooled, bases[0].key, most)
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
    held = _Held(suspect, groups, {base, *donors, *nearest})
    return list(_others(held, base, donors, dict(pool)))


class _Held:
    """The numbers of some models beside the suspect's, and the products of their
    differences from it.
    """

    def __init__(self, suspect: Print, groups: Sequence[Group], keys: set[str]) -> None:
        self.suspect = suspect
        self.codes: dict[str, Codes] = {}
        masks = {}
        for group in groups:
            mask = shared(suspect, group.signatures)
            some = members_of(group, keys)
            for found, codes in some.pieces():
                for key, own in zip(found, codes.copy(), strict=True):
                    self.codes[key] = own
                    masks[key] = mask
        # What the most models have: one that lacks it is compared by equality alone.
        counts = {key: int(mask.sum()) for key, mask in masks.items()}
        most = max(counts.values(), default=0)
        self.keys = sorted(key for key, count in counts.items() if 2 * count > most)
        self.mask = shared(suspect, suspect.signatures)
        for key in self.keys:
            self.mask = self.mask & masks[key]
        self._products()

    def keep(self, keys: Iterable[str]) -> None:
        """Leave the other models aside."""
        self.keys = list(keys)
        self._products()

    def richest(self) -> str:
        """The model at which the most independent branches start, of several the
        nearest.
        """
        counts = {}
        for key in self.keys:
            among, _, square = self.from_base(key)
            counts[key] = len(_branches(*_angles(among))), -square, key
        return max(counts, key=counts.__getitem__)

    def _products(self) -> None:
        self.place = {key: place for place, key in enumerate(self.keys)}
        self.elements = int(self.mask.sum())
        own = numbers_of(self.suspect.codes)
        changes = [numbers_of(self.codes[key]) - own for key in self.keys]
        stacked = np.array(changes, np.float32).reshape(len(self.keys), *own.shape)
        flat = evened(stacked, self.mask)
        self.products: Array = (flat @ flat.T).astype(np.float64)

    def from_base(self, base: str) -> tuple[Array, Array, float]:
        """The products of all changes from a base, those with the suspect's, and the
        square of the suspect's.
        """
        place = self.place[base]
        of_base = self.products[place]
        square = of_base[place]
        among = self.products - of_base - of_base[:, None] + square
        return among, square - of_base, float(square)


def _bases(
    held: _Held, far: Mapping[str, float], rank: Mapping[str, int], most: int
) -> tuple[BaseCandidate, ...]:
    """The models that may be the base, the most fitting first.

    An ancestor is a model at which several branches start; of several ancestors the one
    that needs the fewest others beside it. Where there is none, each model may be.
    """
    offered = [_candidate(held, key, most) for key in held.keys]

    def place(each: BaseCandidate) -> tuple[float | str, ...]:
        return rank.get(each.key, len(rank)), far[each.key], each.key

    ancestors = [each for each in offered if each.branches >= MIN_BRANCHES]
    if not ancestors:
        offered.sort(key=lambda each: (-each.branches, *place(each)))
        return tuple(offered[:MAX_BASES])
    squares = {each.key: held.from_base(each.key)[2] for each in ancestors}
    left = {each.key: (1 - each.explained) * squares[each.key] for each in ancestors}
    enough = min(left.values()) + ROOM * min(squares.values())
    usual = [each for each in ancestors if left[each.key] <= enough]
    rich = {each.key: each.branches for each in usual}
    back = {
        each.key
        for each in usual
        for donor, weight in each.donors.items()
        if weight > MOSTLY_BACK
        and rich.get(donor, 0) > each.branches
        and left[donor] <= left[each.key]
    }
    usual = [each for each in usual if each.key not in back]
    least = min(each.dependence for each in usual) + DEPENDENCE_STEP
    apart = [each for each in usual if each.dependence <= least]
    many = FEW_BRANCHES * max(each.branches for each in apart)

    def order(each: BaseCandidate) -> tuple[float | str, ...]:
        is_aside = each not in usual or each.dependence > least
        return is_aside, each.branches < many, len(each.donors), *place(each)

    return tuple(sorted(ancestors, key=order)[:MAX_BASES])


def _candidate(held: _Held, base: str, most: int) -> BaseCandidate:
    """A model as a base."""
    donors, explained = _donors(held, base, most)
    among, _, _ = held.from_base(base)
    cosines, sizes = _angles(among)
    branches = _branches(cosines, sizes)
    places = [held.place[donor.key] for donor in donors]
    beside = cosines[np.ix_(places, places)][~np.eye(len(places), dtype=bool)]
    apart = [place for place in branches if place not in places]
    beyond = cosines[np.ix_(places, apart)]
    # the median: a donor's own line is one of the branches too
    dependence = beside.max(initial=0) + (np.median(beyond) if beyond.size else 0)
    weights = {donor.key: donor.weight for donor in donors}
    return BaseCandidate(base, len(branches), weights, explained, float(dependence))


def _angles(among: Array) -> tuple[Array, Array]:
    """The cosines between changes, without their signs, and the changes' sizes."""
    sizes = np.sqrt(np.clip(np.diag(among), 1e-30, None))
    return np.abs(among / np.outer(sizes, sizes)), sizes


def _branches(cosines: Array, sizes: Array) -> list[int]:
    """Relatives whose changes from the base are mutually independent: found one after
    another, those with the fewest dependent ones first. Those that hardly differ from
    the base are no branch.
    """
    moved = np.flatnonzero(sizes > np.sqrt(MIN_LEFT) * sizes.max(initial=0))
    depend = cosines[np.ix_(moved, moved)] >= RIGHT_ANGLE
    order = sorted(range(len(moved)), key=lambda place: (depend[place].sum(), place))
    found: list[int] = []
    for place in order:
        if not depend[place, found].any():
            found.append(place)
    return [int(moved[place]) for place in found]


def _donors(held: _Held, base: str, most: int) -> tuple[list[Donor], float]:
    """The donors beside a base, and the share of the suspect's change they explain."""
    among, along, square = held.from_base(base)
    sizes = np.sqrt(np.clip(np.diag(among), 1e-30, None))
    found: list[int] = []
    cosines: list[float] = []
    weights = np.zeros(0)
    left = square
    while len(found) < most and square > 0 and left > MIN_LEFT * square:
        towards = along - among[:, found] @ weights if found else along
        cosine = towards / (sizes * np.sqrt(left))
        cosine[[held.place[base], *found]] = -1
        best = int(np.argmax(cosine))
        if cosine[best] * np.sqrt(held.elements) < DONOR_ERRORS:
            break
        tried = _weights(among, along, [*found, best])
        places = [*found, best]
        fitted = float(tried @ among[np.ix_(places, places)] @ tried)
        after = square - 2 * float(tried @ along[places]) + fitted
        if tried[-1] < MIN_WEIGHT or left - after < MIN_GAIN * square:
            break
        found, weights, left = places, tried, after
        cosines.append(float(cosine[best]))
    donors = [
        Donor(held.keys[place], float(weight), cosine, _own(held, base, place))
        for place, weight, cosine in zip(found, weights, cosines, strict=True)
        if weight >= MIN_WEIGHT
    ]
    return donors, 1 - left / square if square else 1.0


def _weights(among: Array, along: Array, places: Sequence[int]) -> Array:
    """Non-negative least squares from products."""
    part = among[np.ix_(places, places)]
    root = np.linalg.cholesky(part + 1e-9 * np.trace(part) * np.eye(len(places)))
    weights: Array = nnls(root.T, np.linalg.solve(root, along[list(places)]))[0]
    return weights


def _own(held: _Held, base: str, place: int) -> float:
    """Of the numbers at which a model differs from the base, those the suspect has."""
    codes = held.codes[held.keys[place]]
    moved = held.mask & (codes != held.codes[base])
    return equal_share(codes, held.suspect.codes, moved)


def _others(
    held: _Held, base: str, donors: Sequence[str], cosine: Mapping[str, float]
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


def _moved(held: _Held, base: str, codes: Codes) -> float:
    """How far numbers lie from the base's, as a multiple of the suspect's distance."""
    start = numbers_of(held.codes[base])
    both = np.stack([numbers_of(codes), numbers_of(held.suspect.codes)]) - start
    squares = (evened(both, held.mask).astype(np.float64) ** 2).sum(axis=1)
    return float(np.sqrt(squares[0] / squares[1])) if squares[1] else 1.0


def _same(
    held: _Held, far: Mapping[str, float], rank: Mapping[str, int]
) -> dict[str, tuple[str, ...]]:
    """Each model that stands for others, with those whose print is the same."""
    order = sorted(held.keys, key=lambda key: (rank.get(key, len(rank)), key))
    stands: dict[str, list[str]] = {}
    for key in order:
        alike = (
            other
            for other in stands
            if np.isclose(far[key], far[other], rtol=1 - SAME_SHARE, atol=1e-9)
            and equal_share(held.codes[key], held.codes[other], held.mask) >= SAME_SHARE
        )
        first = next(alike, None)
        if first is None:
            stands[key] = []
        else:
            stands[first].append(key)
    return {key: tuple(others) for key, others in stands.items()}


def _members(same: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The models that another one stands for."""
    return {key for others in same.values() for key in others}
