"""Which of a suspect's relatives the others were made from.

A base shows without any label. Seen from the ancestor of many models their changes are
independent, so at right angles to one another; seen from anything else they all share
the way back. So many mutually independent branches start at a base, and one at a model
without children. Of models near one another the suspect's own numbers decide (see
given_back.py), then those that relatives kept (see voting.py); where they do not either,
several are candidates.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mergetrace.numerics.arrays import Array
from mergetrace.scan.blending import MIN_LEFT, donors_beside
from mergetrace.scan.given_back import supported
from mergetrace.scan.held import Held, angles
from mergetrace.scan.voting import beyond, votes

MAX_BASES = 3  # base candidates that are named
RIGHT_ANGLE = 0.12
"""Cosines smaller than this count as independent: nine standard errors at 6,000
numbers. Seen from a model that is no ancestor they lie near one half.
"""
WIDE_ANGLE = 0.45
"""Cosines smaller than this are of branches that learned in part alike. Of real finetunes
of one base up to .4 is usual, from the base and models a little way from it; seen from a
model that is no ancestor they are .5 and more.
"""
CENTRAL = 0.8
"""Of the most such branches, that start at a base. On the tuning families, whole and with
a part of their models left out, 5 to 10 started at the base, and at models a little way
from it; at a finetune mostly .7 as many.
"""
MIN_BRANCHES = 3  # from which a model counts as an ancestor; a merge of two shows two
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
MIN_VOTES = 2
"""By which one of two candidates must be ahead: one voter may be made of the other one.
"""
FEW_VOTES = 0.5
"""Of the best candidate's votes against all others: who has fewer is none where anybody
has MIN_VOTES. On the tuning families the base had 8 to 17, a donor and its checkpoints
-1 to 1; the models a few gentle steps from the base that direct votes left, 4 to 7 of 8.
"""


@dataclass(frozen=True)
class BaseCandidate:
    """A model that may be the common ancestor."""

    key: str
    branches: int
    """Independent branches of relatives that start at it."""
    wide: int
    """The same of branches that may have learned in part alike."""
    donors: Mapping[str, float]
    """Models that it takes beside it to explain the suspect as far as they do, with
    their weights."""
    explained: float
    """The share of the suspect's change from it that they explain, in squares."""
    dependence: float
    """How far their changes from it go the same way, and the way of other branches:
    they would from any model that lies aside."""
    votes: int = 0
    """Of relatives that kept its numbers where it differs from another candidate, less
    those that kept the other's, over all of them."""
    outvoted: bool = False
    """Whether the votes speak for another candidate."""


def bases_of(
    held: Held, far: Mapping[str, float], rank: Mapping[str, int], most: int
) -> tuple[BaseCandidate, ...]:
    """The models that may be the base, the most fitting first.

    An ancestor is a model at which several branches start; of several ancestors the one
    that needs the fewest others beside it. Where there is none, each model may be.
    """
    offered = [_candidate(held, key, most) for key in held.keys]

    def place(each: BaseCandidate) -> tuple[float | str, ...]:
        return rank.get(each.key, len(rank)), -each.votes, far[each.key], each.key

    ancestors = _supported(held, offered)
    if not ancestors:
        ancestors = [each for each in offered if each.branches >= MIN_BRANCHES]
    if not ancestors:
        # all may have learned in part alike, so that few branches are at right angles
        ancestors = [each for each in _central(offered) if each.wide >= MIN_BRANCHES]
    if not ancestors:
        most_branches = max((each.branches for each in offered), default=0)
        first = [each for each in offered if each.branches == most_branches]
        others = [each for each in offered if each.branches < most_branches]
        others.sort(key=lambda each: (-each.branches, *place(each)))
        first = sorted(_voted(held, first, first), key=place)
        return tuple([*first, *others][:MAX_BASES])
    usual = _voted(held, _usual(held, ancestors), ancestors)
    rest = [each for each in usual if not each.outvoted] or usual
    least = min(each.dependence for each in rest) + DEPENDENCE_STEP
    apart = [each for each in rest if each.dependence <= least]
    many = FEW_BRANCHES * max(each.branches for each in apart)

    def order(each: BaseCandidate) -> tuple[float | str, ...]:
        is_aside = (
            each.outvoted,
            each not in apart,
            each.branches < many,
        )
        return *is_aside, len(each.donors), *place(each)

    chosen = {each.key for each in usual}
    others = [each for each in ancestors if each.key not in chosen]
    ordered = [*sorted(usual, key=order), *sorted(others, key=place)]
    return tuple(ordered[:MAX_BASES])


def _supported(held: Held, offered: Sequence[BaseCandidate]) -> list[BaseCandidate]:
    """Of the candidates that the suspect's own numbers speak for, those at which many
    branches start. Its donors give it back as well: what is a donor beside a model at
    which more branches start is no base, and nothing that an ancestor of far more
    branches leaves behind: of a merge without its base the donors alone give it back.
    """
    central = _central(offered)
    kept = supported(held, {each.key: each.donors for each in offered})
    likely = [
        each
        for each in offered
        if each.key in kept and not any(_rules_out(other, each) for other in offered)
    ]
    found = [each for each in likely if each in central]
    if found:
        wide = {each.key: each.wide for each in found}
        aside = {
            donor
            for each in found
            for donor in each.donors
            if wide.get(donor, each.wide) < each.wide
        }
        return [each for each in found if each.key not in aside]
    donors = {donor for each in central for donor in each.donors}
    others = [each for each in likely if each.key not in donors]
    return [each for each in others if each.wide >= MIN_BRANCHES]


def _rules_out(one: BaseCandidate, other: BaseCandidate) -> bool:
    """Whether one is an ancestor at which far more branches start than at another: by
    three at least, since one or two more are no sign. Of planted merges without their
    base it had 13 to 17, their donors 1 to 9.
    """
    more = one.branches - other.branches >= MIN_BRANCHES
    far_more = other.branches < FEW_BRANCHES * one.branches
    return more and far_more and one.wide >= CENTRAL * other.wide


def _central(offered: Sequence[BaseCandidate]) -> list[BaseCandidate]:
    """The candidates at which nearly as many branches start as at any: seen from a
    finetune the others have the way back in common.
    """
    most = max((each.wide for each in offered), default=0)
    if most < MIN_BRANCHES:
        return list(offered)
    return [each for each in offered if each.wide >= CENTRAL * most]


def _voted(
    held: Held, usual: Sequence[BaseCandidate], ancestors: Sequence[BaseCandidate]
) -> list[BaseCandidate]:
    """The usual candidates with their votes against all ancestors. Outvoted is one of
    which another usual one is ahead, or has many more votes in all.
    """
    keys = [each.key for each in ancestors]
    codes = {key: held.codes[key] for key in held.keys}
    counts = votes(codes, held.mask, held.products, keys)
    before = beyond(held.products, [held.place[key] for key in keys])
    # where the others went counts before what they kept: contrary votes are dropped
    counts = np.where(before, np.maximum(counts, 0), counts)
    counts = np.where(before.T, np.minimum(counts, 0), counts)
    places = [keys.index(each.key) for each in usual]
    totals = counts.sum(axis=1)[places]
    best = int(totals.max(initial=0))
    found = []
    for each, place, total in zip(usual, places, totals.tolist(), strict=True):
        is_beaten = bool((counts[places, place] >= MIN_VOTES).any())
        is_behind = bool(before[places, place].any())
        has_few = best >= MIN_VOTES and total < FEW_VOTES * best
        is_out = is_beaten or is_behind or has_few
        found.append(replace(each, votes=total, outvoted=is_out))
    return found


def _usual(held: Held, ancestors: Sequence[BaseCandidate]) -> list[BaseCandidate]:
    """The candidates that leave about as little over as any, without those that lie on
    a branch of another one.
    """
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
    return [each for each in usual if each.key not in back]


def _candidate(held: Held, base: str, most: int) -> BaseCandidate:
    """A model as a base."""
    donors, explained = donors_beside(held, base, most)
    among, _, _ = held.from_base(base)
    cosines, sizes = angles(among)
    found = branches(cosines, sizes)
    places = [held.place[donor.key] for donor in donors]
    beside = cosines[np.ix_(places, places)][~np.eye(len(places), dtype=bool)]
    apart = [place for place in found if place not in places]
    beyond = cosines[np.ix_(places, apart)]
    # the median: a donor's own line is one of the branches too
    dependence = beside.max(initial=0) + (np.median(beyond) if beyond.size else 0)
    weights = {donor.key: donor.weight for donor in donors}
    wide = len(branches(cosines, sizes, WIDE_ANGLE))
    return BaseCandidate(base, len(found), wide, weights, explained, float(dependence))


def branches(cosines: Array, sizes: Array, least: float = RIGHT_ANGLE) -> list[int]:
    """Relatives whose changes from the base are mutually independent: found one after
    another, those with the fewest dependent ones first. Those that hardly differ from
    the base are no branch. least: cosine from which two depend on each other.
    """
    moved = np.flatnonzero(sizes > np.sqrt(MIN_LEFT) * sizes.max(initial=0))
    depend = cosines[np.ix_(moved, moved)] >= least
    order = sorted(range(len(moved)), key=lambda place: (depend[place].sum(), place))
    found: list[int] = []
    for place in order:
        if not depend[place, found].any():
            found.append(place)
    return [int(moved[place]) for place in found]


def richest(held: Held) -> str:
    """The model at which the most independent branches start, of several the nearest."""
    counts = {}
    for key in held.keys:
        among, _, square = held.from_base(key)
        counts[key] = len(branches(*angles(among))), -square, key
    return max(counts, key=counts.__getitem__)
