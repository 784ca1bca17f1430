"""Which row of one matrix is which row of another, whatever the order they were written
in.

The assignment is made on one half of the columns and judged on the other: an assignment
always finds agreement in what it was made on.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Order = NDArray[np.int64]

MOST_LIKES = 1 << 24  # pairs of rows compared at once
MOST_ASSIGNED = (
    4096  # rows that may be left for the exact assignment, whose cost is cubic
)
MIN_FEATURES = 8  # columns in each half
OPPOSITE = (
    0.5  # |cosine| from which a pair of rows that point opposite ways differ in sign
)
WRONG_ROWS = 256  # rows whose best wrong partner is looked up


@dataclass(frozen=True)
class Match:
    """order[i]: the row of the second matrix that is row i of the first, -1 where none is. agreement: the median |cosine| of these pairs on the
    columns the assignment did not see; wrong: the same with each row's best other partner, found on those columns. signs: -1 where
    a pair clearly points opposite ways, on both halves of the columns, else 1.
    """

    order: Order
    agreement: float
    wrong: float
    signs: Order

    @property
    def plain(self) -> bool:
        """Whether every row is where it is in the other matrix, and no sign differs."""
        return bool(
            (self.order == np.arange(len(self.order))).all() and (self.signs > 0).all()
        )


def match_rows(first: Array, second: Array) -> Match | None:
    """Assign the rows of `second` to those of `first` (both [n, d], columns in the same
    order), signs and lengths of rows left out of account.

    None where there are too few columns, or too many rows that resemble each other.
    """
    return _match(first, second) if first.shape == second.shape else None


def match_some(first: Array, second: Array, alike: float) -> Match | None:
    """The same for matrices [n, d] and [m, d] that share only some of their rows: pairs less alike than `alike`, on columns the assignment did not
    see, are none. Of many rows that resemble each other the most alike are paired.
    """
    found = _match(first, second, partly=True)
    if found is None:
        return None
    agreement = np.abs(_along(first[:, 1::2], second[:, 1::2], found.order))
    order = np.where((found.order >= 0) & (agreement >= alike), found.order, -1)
    return Match(
        order,
        float(np.median(agreement[order >= 0])) if (order >= 0).any() else 0.0,
        found.wrong,
        found.signs,
    )


def _match(first: Array, second: Array, partly: bool = False) -> Match | None:
    if (
        first.shape[1] != second.shape[1]
        or first.shape[1] < 2 * MIN_FEATURES
        or min(len(first), len(second)) < 2
    ):
        return None
    order = _assigned(_directions(first[:, 0::2]), _directions(second[:, 0::2]), partly)
    if order is None:
        return None
    kept = _directions(first[:, 1::2])
    other = _directions(second[:, 1::2])
    some = np.unique(
        np.linspace(0, len(kept) - 1, min(WRONG_ROWS, len(kept))).astype(int)
    )
    beside = np.abs(kept[some] @ other.T)
    beside[np.arange(len(some)), order[some]] = 0
    halves = np.stack([_along(first[:, i::2], second[:, i::2], order) for i in (0, 1)])
    signs = np.where((halves < -OPPOSITE).all(0), -1, 1)
    return Match(
        order,
        float(np.median(np.abs(halves[1])[order >= 0])),
        float(np.median(beside.max(1))),
        signs,
    )


def _along(first: Array, second: Array, order: Order) -> Array:
    """The cosines of the rows of one matrix with those of another in some order."""
    return np.einsum("ij,ij->i", _directions(first), _directions(second)[order])


def cosine(first: Array, second: Array) -> float:
    """The cosine of two vectors, 0 where one is zero or not finite."""
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.sqrt((first @ first) * (second @ second))
        found = float(first @ second / lengths) if lengths > 0 else 0.0
    return found if np.isfinite(found) else 0.0


def print_of(rows: Array) -> Array:
    """A fingerprint of some rows that does not depend on the order of the columns: the
    cosines of all pairs, float [k (k - 1) / 2].
    """
    directions = _directions(rows, centred=False)
    return (directions @ directions.T)[np.triu_indices(len(rows), 1)]


def likeness(first: Array, second: Array) -> float:
    """The correlation of two fingerprints."""
    return (
        cosine(first - first.mean(), second - second.mean())
        if first.shape == second.shape and first.size
        else 0.0
    )


def blocks_moved(order: Order) -> int:
    """The length of the longest block that moves as a whole everywhere: the head size,
    where heads were permuted; 1 for loose rows.
    """
    jumps = np.flatnonzero(np.diff(order) != 1) + 1
    return int(np.gcd.reduce([len(order), *jumps.tolist()]))


def _assigned(first: Array, second: Array, partly: bool) -> Order | None:
    """For every row of `first` a row of `second`, none twice: its most alike where
    nobody else claims it, the others by the best total.

    More than MOST_ASSIGNED others are too many: None, or if `partly` the most alike of
    those that claim a row keeps it and the rest get -1.
    """
    chunk = max(1, MOST_LIKES // len(second))
    best = np.empty(len(first), np.int64)
    value = np.empty(len(first))
    for i in range(0, len(first), chunk):
        likes = np.abs(first[i : i + chunk] @ second.T)
        best[i : i + chunk], value[i : i + chunk] = likes.argmax(1), likes.max(1)
    claims = np.bincount(best, minlength=len(second))
    left = np.flatnonzero(claims[best] > 1)
    if len(left) > MOST_ASSIGNED:
        if not partly:
            return None
        by_value = left[np.argsort(-value[left], kind="stable")]
        best[
            np.setdiff1d(
                left, by_value[np.unique(best[by_value], return_index=True)[1]]
            )
        ] = -1
    elif len(left):
        from scipy.optimize import linear_sum_assignment

        kept = np.setdiff1d(np.arange(len(first)), left)
        free = np.setdiff1d(np.arange(len(second)), best[kept])
        rows, columns = linear_sum_assignment(-np.abs(first[left] @ second[free].T))
        best[left] = -1
        best[left[rows]] = free[columns]
    return best


def _directions(rows: Array, centred: bool = True) -> Array:
    """Rows at unit length, the mean row taken off first: what all rows share tells none
    of them from another.
    """
    rows = np.nan_to_num(rows, posinf=0.0, neginf=0.0)
    rows = rows - rows.mean(0) if centred else rows
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
