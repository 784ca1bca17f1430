"""Which row of one matrix is which row of another, whatever the order they were written
in.

The assignment is made on one half of the columns and judged on the other: an assignment
always finds agreement in what it was made on.
"""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from mergetrace.disguises.likeness import Floats, centred_unit_rows
from mergetrace.numerics.arrays import Integers, evenly_spread

Order = Integers

MAX_PAIRS_AT_ONCE = 1 << 24  # pairs of rows compared in one product
MAX_EXACTLY_ASSIGNED = 4096
"""Rows that may be left for the exact assignment, whose cost is cubic."""
MIN_COLUMNS_PER_HALF = 8
OPPOSITE_MIN_COSINE = 0.5
"""|cosine| from which a pair of rows that point opposite ways differ in sign."""
WRONG_ROWS = 256  # rows whose best wrong partner is looked up
MAX_IN_PLACE = 0.8
"""Of the |cosine| with its new partner that a row may keep with the row in its own place,
if it is to have moved. Permuted rows keep at most .25, also under a change of rank one that
is as large as they are; rows in place that such a change made the assignment exchange keep
.89 and more in all but one of its cycles (192 planted rows of 48 to 96 columns).
"""


@dataclass(frozen=True)
class Match:
    """Which row of a second matrix is which row of a first."""

    order: Order
    """order[i] is the row of the second that is row i of the first; -1 where none is."""
    agreement: float
    """The median |cosine| of these pairs on the columns the assignment did not see."""
    wrong: float
    """The same with each row's best other partner, found on those columns."""
    signs: Order
    """-1 where a pair clearly points opposite ways, on both halves of the columns, else
    1.
    """

    @property
    def permuted(self) -> bool:
        """Whether some row is another row in the other matrix."""
        in_place = np.arange(len(self.order))
        return not np.array_equal(self.order, in_place)

    @property
    def negated(self) -> bool:
        """Whether some row has another sign."""
        return bool((self.signs < 0).any())

    @property
    def plain(self) -> bool:
        """Whether every row is where it is in the other matrix, and no sign differs."""
        return not self.permuted and not self.negated


def match_rows(first: Floats, second: Floats) -> Match | None:
    """Assign the rows of `second` to those of `first`; signs and lengths of rows play no
    part.

    first, second: float [n, d] of one shape, columns in the same order. Every row gets
    a partner of its own. None where the shapes differ, where there are fewer than 2
    MIN_COLUMNS_PER_HALF columns, or where more than MAX_EXACTLY_ASSIGNED rows resemble
    each other.
    """
    if first.shape != second.shape:
        return None
    return _match(first, second, partly=False)


def match_shared_rows(first: Floats, second: Floats, min_cosine: float) -> Match | None:
    """Assign rows as match_rows does, for matrices that share only some of them.

    first, second: float [n, d] and [m, d], columns in the same order. min_cosine: pairs
    below it, on columns that the assignment did not see, are none: their order is -1.
    Of many rows that resemble each other the most alike are paired. None where there
    are too few columns or rows.
    """
    match = _match(first, second, partly=True)
    if match is None:
        return None
    cosines = np.abs(_cosines(first[:, 1::2], second[:, 1::2], match.order))
    paired = (match.order >= 0) & (cosines >= min_cosine)
    agreement = float(np.median(cosines[paired])) if paired.any() else 0.0
    order = np.where(paired, match.order, -1)
    return Match(order, agreement, match.wrong, match.signs)


def longest_block(order: Order) -> int:
    """The length of the longest block that moves as a whole everywhere: the head size,
    where heads were permuted; 1 for loose rows.
    """
    jumps = np.flatnonzero(np.diff(order) != 1) + 1
    return int(np.gcd.reduce([len(order), *jumps.tolist()]))


def _match(first: Floats, second: Floats, partly: bool) -> Match | None:
    if first.shape[1] != second.shape[1]:
        return None
    if first.shape[1] < 2 * MIN_COLUMNS_PER_HALF:
        return None
    if min(len(first), len(second)) < 2:
        return None
    units = centred_unit_rows(first[:, 0::2])
    other_units = centred_unit_rows(second[:, 0::2])
    order = _assigned(units, other_units, partly)
    if order is None:
        return None
    first_unseen = first[:, 1::2]
    second_unseen = second[:, 1::2]
    if not partly:
        order = _left_in_place(order, first_unseen, second_unseen)
    seen = _cosines(first[:, 0::2], second[:, 0::2], order)
    unseen = _cosines(first_unseen, second_unseen, order)
    paired = np.abs(unseen)[order >= 0]
    opposite = np.maximum(seen, unseen) < -OPPOSITE_MIN_COSINE
    return Match(
        order=order,
        agreement=float(np.median(paired)),
        wrong=_best_wrong(first_unseen, second_unseen, order),
        signs=np.where(opposite, -1, 1),
    )


def _left_in_place(order: Order, first: Floats, second: Floats) -> Order:
    """The order without exchanges that explain little more than no exchange does: rows
    change places in cycles, and a cycle is kept or left as a whole.
    """
    places = np.arange(len(order))
    links = csr_array((np.ones(len(order)), (places, order)))
    _, cycle = connected_components(links, directed=False)
    moved, stayed = (
        np.bincount(cycle, np.abs(_cosines(first, second, partners)))
        for partners in (order, places)
    )
    return np.where((stayed > MAX_IN_PLACE * moved)[cycle], places, order)


def _best_wrong(first: Floats, second: Floats, order: Order) -> float:
    """The median |cosine| of some rows with their best partner but the assigned one."""
    rows = evenly_spread(len(first), WRONG_ROWS)
    others = centred_unit_rows(second)
    cosines = np.abs(centred_unit_rows(first)[rows] @ others.T)
    cosines[np.arange(len(rows)), order[rows]] = 0
    return float(np.median(cosines.max(1)))


def _cosines(first: Floats, second: Floats, order: Order) -> Floats:
    """The cosines of the rows of one matrix with those of another in some order."""
    units = centred_unit_rows(first)
    others = centred_unit_rows(second)[order]
    return np.asarray(np.einsum("ij,ij->i", units, others))


def _assigned(first: Floats, second: Floats, partly: bool) -> Order | None:
    """For every row of `first` a row of `second`, none twice: its most alike where
    nobody else claims it, the others by the best total.

    More than MAX_EXACTLY_ASSIGNED others are too many: None, or if `partly` the most
    alike of those that claim a row keeps it and the rest get -1.
    """
    order, alike = _most_alike(first, second)
    claims = np.bincount(order, minlength=len(second))
    contested = np.flatnonzero(claims[order] > 1)
    if len(contested) > MAX_EXACTLY_ASSIGNED:
        if not partly:
            return None
        _keep_most_alike(order, alike, contested)
    elif len(contested):
        _assign_exactly(order, contested, first, second)
    return order


def _most_alike(first: Floats, second: Floats) -> tuple[Order, Floats]:
    """For every row of `first` the most alike row of `second`, and their |cosine|."""
    chunk = max(1, MAX_PAIRS_AT_ONCE // len(second))
    best = np.empty(len(first), np.int64)
    alike = np.empty(len(first))
    for start in range(0, len(first), chunk):
        rows = slice(start, start + chunk)
        cosines = np.abs(first[rows] @ second.T)
        best[rows] = cosines.argmax(1)
        alike[rows] = cosines.max(1)
    return best, alike


def _keep_most_alike(order: Order, alike: Floats, contested: Order) -> None:
    """Of the rows that claim the same one, leave it to the most alike."""
    by_likeness = contested[np.argsort(-alike[contested], kind="stable")]
    _, first_claims = np.unique(order[by_likeness], return_index=True)
    order[np.setdiff1d(contested, by_likeness[first_claims])] = -1


def _assign_exactly(
    order: Order, contested: Order, first: Floats, second: Floats
) -> None:
    """Give the contested rows the rows that nobody else has, by the best total."""
    from scipy.optimize import linear_sum_assignment

    settled = np.setdiff1d(np.arange(len(first)), contested)
    free = np.setdiff1d(np.arange(len(second)), order[settled])
    cosines = np.abs(first[contested] @ second[free].T)
    rows, columns = linear_sum_assignment(-cosines)
    order[contested] = -1
    order[contested[rows]] = free[columns]
