"""Which bases give a suspect's own numbers back, one by one instead of in squares.

A merge has nearly all numbers of the blend of its parents, rounded, or those of its base
where it took nothing from a donor. A model near the base, at which as many branches
begin, has far fewer: of all signs these alone are the suspect's own. Of a finetune, which
nothing offered gives back, they say nothing.
"""

from collections.abc import Mapping

import numpy as np

from mergetrace.numerics.arrays import Mask
from mergetrace.numerics.dtypes import encode
from mergetrace.scan.held import Held
from mergetrace.scan.prints import numbers_of

BLEND = 0.5
"""Of the suspect's numbers, from which a blend may be the one that it is. The true
parents' blend has .76 to 1 of the numbers of linear merges and SLERP, 5 steps of training
afterwards included, on the tuning families; that of TIES and DARE .04.
"""
MORE_THAN_ONE = 0.5
"""Of the numbers that the nearest single model has not: a blend must leave no more. A
light finetune of the base has .7 of the numbers of a model near it, and of any blend that
is nearly that one.
"""
OWN = 0.4
"""Of the suspect's numbers, from which a single model's own count: the base's are .5 to
.7 of those of TIES and DARE.
"""
CLEAR_ERRORS = 4.0
"""Standard deviations by which one base must give back more than another one of what
they do not both give back.
"""
CLEAR_BLEND = 2.0
"""How many times as much a blend must give back: the true base's 3 to 90 times as much as
that of a model a few gentle steps from it.
"""
CLEAR_OWN = 5.0
"""The same of a model's own numbers. Of TIES and DARE the base has 14 to 1,000 times as
many as a model near it, the donor up to 1.4 times as many as the base; a light finetune
has up to 2.3 times as many of a model that learned the same as of its base.
"""
IN_BLEND = 0.1  # a base's own part in a blend, from which the blend speaks for it
OUT_OF_BLEND = 0.03
"""The same, below which it plays no part: other models' numbers then give the suspect
back, whichever model is called the base.
"""


def supported(held: Held, donors: Mapping[str, Mapping[str, float]]) -> list[str]:
    """The bases for which the suspect's numbers speak as much as for any other one; none
    where they speak for nobody. donors: by base, the models beside it with their weights.
    """
    suspect = held.suspect.codes[held.mask]
    own = {base: held.codes[base][held.mask] == suspect for base in donors}
    nearest = max((mask.mean() for mask in own.values()), default=0.0)
    least = max(BLEND, 1 - MORE_THAN_ONE * (1 - nearest))
    blends = {base: _blend(held, base, beside) for base, beside in donors.items()}
    exact = {base: mask for base, mask in blends.items() if mask.mean() >= least}
    if not exact:
        enough = {base: mask for base, mask in own.items() if mask.mean() >= OWN}
        return _not_behind(enough, CLEAR_OWN)
    kept = _not_behind(exact, CLEAR_BLEND)
    part = {base: abs(1 - sum(donors[base].values())) for base in kept}
    if max(part.values(), default=0.0) < IN_BLEND:
        return []  # a copy, or a blend without any of the bases
    return [base for base in kept if part[base] >= OUT_OF_BLEND]


def _blend(held: Held, base: str, beside: Mapping[str, float]) -> Mask:
    """Which of the suspect's numbers the blend of a base with its donors has."""
    start = numbers_of(held.codes[base])[held.mask].astype(np.float64)
    blend = start.copy()
    for donor, weight in beside.items():
        blend += weight * (numbers_of(held.codes[donor])[held.mask] - start)
    same: Mask = encode(blend, "BF16") == held.suspect.codes[held.mask]
    return same


def _not_behind(given: Mapping[str, Mask], ratio: float) -> list[str]:
    """The bases of which no other one gives back clearly more."""
    return [
        base
        for base, mask in given.items()
        if not any(_is_clear(other, mask, ratio) for other in given.values())
    ]


def _is_clear(one: Mask, other: Mask, ratio: float) -> bool:
    """Whether one gives back clearly more than the other."""
    more = int(np.count_nonzero(one & ~other))
    fewer = int(np.count_nonzero(other & ~one))
    differ = more - fewer > CLEAR_ERRORS * np.sqrt(more + fewer)
    return bool(differ and more > ratio * fewer)
