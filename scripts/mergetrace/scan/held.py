"""The numbers of some models beside a suspect's, and how their changes lie to each other."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import Codes
from mergetrace.scan.changes import evened, members_of
from mergetrace.scan.index import Group
from mergetrace.scan.likeness import equal_share, shared
from mergetrace.scan.prints import Print, numbers_of

SAME_SHARE = 0.995  # of equal numbers, from which two models count as one and the same


class Held:
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


def angles(among: Array) -> tuple[Array, Array]:
    """The cosines between changes, without their signs, and the changes' sizes."""
    sizes = np.sqrt(np.clip(np.diag(among), 1e-30, None))
    return np.abs(among / np.outer(sizes, sizes)), sizes


def same_models(
    held: Held,
    far: Mapping[str, float],
    rank: Mapping[str, int],
    sizes: Mapping[str, int],
) -> dict[str, tuple[str, ...]]:
    """Each model that stands for others, with those whose print is the same: the one of
    the lowest rank, then the smallest, since models are merged in 16 bits as a rule.
    """

    def place(key: str) -> tuple[int, int, str]:
        return rank.get(key, len(rank)), sizes.get(key, 0), key

    order = sorted(held.keys, key=place)
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


def members(same: Mapping[str, tuple[str, ...]]) -> set[str]:
    """The models that another one stands for."""
    return {key for others in same.values() for key in others}
