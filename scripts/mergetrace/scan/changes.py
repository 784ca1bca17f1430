"""How relatives' numbers differ from a suspect's and from a base's, over an index that is
read piece by piece.
"""

from collections.abc import Sequence

import numpy as np

from mergetrace.numerics.arrays import Mask, Singles
from mergetrace.numerics.dtypes import Codes
from mergetrace.scan.index import Group
from mergetrace.scan.likeness import shared
from mergetrace.scan.prints import Print, numbers_of

MAX_FACTOR = 8.0  # times the usual size: a change is cut there, so that few do not rule


def distances(
    suspect: Print, groups: Sequence[Group], keys: set[str]
) -> dict[str, float]:
    """How far each relative's numbers lie from the suspect's: the mean square, every
    block's in units of the suspect's own.
    """
    own = numbers_of(suspect.codes)
    found: dict[str, float] = {}
    for group in groups:
        mask = shared(suspect, group.signatures)
        counts = np.maximum(mask.sum(axis=1), 1)
        units = ((own**2) * mask).sum(axis=1) / counts
        weights = mask / np.where(units > 0, units, 1)[:, None] / mask.sum()
        flat = weights.astype(np.float32).reshape(-1)
        for some, codes in members_of(group, keys).pieces():
            apart = (numbers_of(codes) - own) ** 2
            sums = apart.reshape(len(some), -1) @ flat
            found |= dict(zip(some, sums.tolist(), strict=True))
    return found


def along(
    suspect: Print, base: str, groups: Sequence[Group], keys: set[str]
) -> list[tuple[str, float]]:
    """The cosine between each relative's change from the base and the suspect's, the
    greatest first.
    """
    found = []
    codes_of_base, held = base_of(suspect, base, groups)
    start = numbers_of(codes_of_base)
    own = numbers_of(suspect.codes) - start
    for group in groups:
        mask = held & shared(suspect, group.signatures)
        if not mask.any():
            continue
        wanted = evened(own[None], mask)[0]
        for some, codes in members_of(group, keys).pieces():
            changes = evened(numbers_of(codes) - start, mask)
            sizes = np.sqrt((changes**2).sum(axis=1) * (wanted**2).sum())
            cosines = changes @ wanted / np.where(sizes > 0, sizes, 1)
            found += [
                (key, float(cosine)) for key, cosine in zip(some, cosines, strict=True)
            ]
    return sorted(found, key=lambda each: (-each[1], each[0]))


def own_numbers(
    suspect: Print, base: str, groups: Sequence[Group], keys: set[str]
) -> dict[str, float]:
    """Of the suspect's numbers that are not the base's, the share each relative has."""
    start, held = base_of(suspect, base, groups)
    found: dict[str, float] = {}
    for group in groups:
        mask = held & shared(suspect, group.signatures) & (suspect.codes != start)
        count = max(int(mask.sum()), 1)
        for some, codes in members_of(group, keys).pieces():
            same = ((codes == suspect.codes) & mask).sum(axis=(1, 2)) / count
            found |= dict(zip(some, same.tolist(), strict=True))
    return found


def base_of(suspect: Print, key: str, groups: Sequence[Group]) -> tuple[Codes, Mask]:
    """The codes of a base, and which of the suspect's numbers it has too."""
    (group,) = (each for each in groups if key in each.keys)
    _, codes = next(members_of(group, {key}).pieces())
    found: Codes = codes[0].copy()
    return found, shared(suspect, group.signatures)


def evened(changes: Singles, mask: Mask) -> Singles:
    """Changes of several models, every block's in units of its usual size, cut at
    MAX_FACTOR: float32 [models, elements under the mask].
    """
    sizes = np.abs(changes).mean(axis=(0, 2))
    sizes = np.where(sizes > 0, sizes, 1).astype(np.float32)
    even = np.clip(changes / sizes[None, :, None], -MAX_FACTOR, MAX_FACTOR)
    flat: Singles = even[:, mask]
    return flat


def members_of(group: Group, keys: set[str]) -> Group:
    """The models of a group that are among the keys."""
    held = [
        pair for pair in zip(group.keys, group.rows, strict=True) if pair[0] in keys
    ]
    return Group(
        group.signatures,
        group.path,
        [key for key, _ in held],
        [row for _, row in held],
    )
