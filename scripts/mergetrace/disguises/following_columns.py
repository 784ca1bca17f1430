"""What GPTQ pushed onto the columns that follow the one it rounded first.

GPTQ (Frantar and others 2022, algorithm 1) rounds in column k of a matrix not w_k but
w_k - sum_j c_jk (w'_j - q_j) over the columns j before it, where w'_j is what it rounded
there and q_j what it stored. The c_jk come from the inputs: one number for all rows, and
for all matrices that read the same inputs. Given a blend of the parents for w, the cells of
all rows confine them closely, so that what was pushed is known and the cell of w_k with it.

The numbers are fitted, whatever the parents are, and could bend to a wrong blend. So what
was pushed onto a row is taken from a fit of other rows; its cell becomes wider by what the
fit left unsure, and stays open where that is more than a little of the parents' distance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from mergetrace.disguises.column_factors import density_kept, largest_kept
from mergetrace.numerics.arrays import Array, Mask
from mergetrace.numerics.dtypes import decode, encode

FOLLOWING = 4
"""Columns behind the first that are looked at: what has to be fitted grows with each, and
what is known of it shrinks.
"""
FOLDS = 8  # rows are taken in turns: one of so many is left out of each fit
ROUNDS_OF_PUSHED = 3  # of fitting what was pushed and the blend in turn
NEWTON_STEPS = 6  # at each blur
BLURS = (0.2, 0.1, 0.05, 0.02, 0.01, 0.005)
"""Of a step of the quantiser: by which ends of cells are blurred, ever less. At a last one
of .002 pure merges of trained families miss up to one in a hundred of the elements that
tell, at .005 none of 4,600.
"""
LONGEST_STEP = 0.2  # of Newton's, in a number that is fitted
SMALLEST_BENDING = 1e-6  # added, so that there is a step where nothing bends
STANDARD_ERRORS = 3.0  # of what was pushed, within which it is taken to lie
BLEND_ERROR = 0.05  # of the parents' distance: how far off the blend may be
MAX_ROOM = 0.08
"""Of the parents' distance: a cell whose ends are known less closely stays open."""
DENSITY_ERROR = 0.05  # densities are told apart by tenths
ROWS_FOR_DENSITY = 256  # rows by which they are


@dataclass(frozen=True)
class Rounded:
    """A matrix whose first columns were rounded one after another."""

    low: Array
    high: Array
    """The ends of these columns' cells, of what was rounded: [rows, columns]."""
    steps: Array
    """How far its levels lie apart: [rows, columns]."""
    own: Array
    """The numbers as they are decoded, of all columns: [rows, all columns]."""
    parents: Array
    """Those of the parents: [parents, rows, all columns]."""
    through: str | None
    """The format that the numbers had before they were quantised."""


@dataclass(frozen=True)
class _Lines:
    """The rows of several matrices one after another, their first columns; numbers in
    steps of the quantiser.
    """

    low: Array
    high: Array
    own: Array
    steps: Array
    unsure: Array
    """How far a blend may be off for what was taken of its parents' changes."""
    spread: Array
    """How far the parents lie apart."""
    parents: Array
    """[parents, rows, columns]"""
    matrix: Array
    """Of each row the number of its matrix."""
    through: str | None

    def blended(self, shares: Array) -> tuple[Array, Array]:
        """The blend, rounded as the numbers were, and how far it may be off: [rows,
        columns]. shares: of each matrix and parent.
        """
        blend = np.einsum("rp,prc->rc", shares[self.matrix], self.parents)
        room = BLEND_ERROR * self.spread
        off = self._rounded(blend + room) - self._rounded(blend - room)
        return self._rounded(blend), self.unsure + off

    def _rounded(self, numbers: Array) -> Array:
        if self.through is None:
            return numbers
        codes = encode((numbers * self.steps).reshape(-1), self.through)
        return decode(codes, self.through).reshape(numbers.shape) / self.steps


def pushed_errors(matrices: Sequence[Rounded]) -> list[Array]:
    """The least and the most that may have been pushed from the columns before onto each
    number of the first columns, of matrices that read the same inputs: float64 [rows,
    columns, 2] each, 0 in the first column. NaN where that is not known closely enough.
    """
    lines, shares = _lines(matrices)
    pushed = np.zeros((*lines.own.shape, 2))
    turn = np.arange(len(pushed)) % FOLDS
    for fold in range(FOLDS):
        left_out = turn == fold
        pushed[left_out] = _bounds(lines, shares, ~left_out)[left_out]
    ends = np.cumsum([len(each.own) for each in matrices])[:-1]
    return np.split(pushed * lines.steps[:, :, None], ends)


def _lines(matrices: Sequence[Rounded]) -> tuple[_Lines, Array]:
    """The matrices' rows, and the shares of the parents in the nearest blend of each,
    whose sum may be any: SLERP's is not one.
    """
    few = [
        (each.own[:ROWS_FOR_DENSITY], each.parents[:, :ROWS_FOR_DENSITY])
        for each in matrices
    ]
    density = density_kept(few)
    kept, unsure, shares = [], [], []
    columns = slice(matrices[0].low.shape[1])
    for each in matrices:
        of_each = largest_kept(each.parents, density)
        kept.append(of_each[:, :, columns])
        unsure.append(_unsure(each.parents, density)[:, columns])
        of_parents = of_each.reshape(len(of_each), -1).T
        nearest, *_ = np.linalg.lstsq(of_parents, each.own.reshape(-1), rcond=None)
        shares.append(nearest)

    def joined(parts: Sequence[Array]) -> Array:
        return np.concatenate(parts, axis=-2)

    steps = joined([each.steps for each in matrices])
    parents = joined([each.parents[:, :, columns] for each in matrices])
    lines = _Lines(
        low=joined([each.low for each in matrices]) / steps,
        high=joined([each.high for each in matrices]) / steps,
        own=joined([each.own[:, columns] for each in matrices]) / steps,
        steps=steps,
        unsure=joined(unsure) / steps,
        spread=np.ptp(parents, axis=0) / steps,
        parents=joined(kept) / steps,
        matrix=np.repeat(np.arange(len(kept)), [len(each.own) for each in matrices]),
        through=matrices[0].through,
    )
    return lines, np.stack(shares)


def _unsure(parents: Array, density: float) -> Array:
    """By how much parents of which only the largest changes were kept differ where a
    little more or less of them was: [rows, columns].
    """
    if density >= 1:
        return np.zeros(parents.shape[1:])
    more, less = (
        largest_kept(parents, density + error)
        for error in (DENSITY_ERROR, -DENSITY_ERROR)
    )
    return np.asarray(np.abs(more - less).max(0))


def _bounds(lines: _Lines, shares: Array, fitted: Mask) -> Array:
    """What may have been pushed onto each number, as some rows have it, in steps: [rows,
    columns, 2].
    """
    for _ in range(ROUNDS_OF_PUSHED - 1):
        pushed, _ = _pushed(lines, *lines.blended(shares), fitted)
        shares = _redrawn(lines, shares, pushed, fitted)
    pushed, room = _pushed(lines, *lines.blended(shares), fitted)
    room[room > MAX_ROOM * lines.spread] = np.nan
    return np.stack([pushed - room, pushed + room], axis=-1)


def _pushed(
    lines: _Lines, blend: Array, off: Array, fitted: Mask
) -> tuple[Array, Array]:
    """What was pushed onto each number, and how far off that may be, in steps. off: how
    far the blend may be.
    """
    pushed = np.zeros(blend.shape)
    room = np.zeros(blend.shape)
    errors = blend - lines.own
    for column in range(1, blend.shape[1]):
        of_before = lines.steps[:, :column] / lines.steps[:, [column]]
        before = errors[:, :column] * of_before
        numbers, covariance = _fitted(
            lines.low[fitted, column],
            lines.high[fitted, column],
            blend[fitted, column],
            before[fitted],
        )
        pushed[:, column] = before @ numbers
        variance = np.einsum("ri,ij,rj->r", before, covariance, before)
        room[:, column] = STANDARD_ERRORS * np.sqrt(variance)
        room[:, column] += (off[:, :column] * of_before) @ np.abs(numbers)
        errors[:, column] -= pushed[:, column]
    return pushed, room


def _redrawn(lines: _Lines, shares: Array, pushed: Array, fitted: Mask) -> Array:
    """The shares that most cells of some rows hold, given what was pushed."""
    found = shares.copy()
    for matrix in range(len(shares)):
        rows = fitted & (lines.matrix == matrix)
        of_parents = lines.parents[:, rows].reshape(len(lines.parents), -1).T
        moved = pushed[rows].reshape(-1)
        found[matrix], _ = _fitted(
            lines.low[rows].reshape(-1) + moved,
            lines.high[rows].reshape(-1) + moved,
            np.zeros(moved.size),
            -of_parents,
            shares[matrix],
        )
    return found


def _fitted(
    low: Array, high: Array, goal: Array, parts: Array, start: Array | None = None
) -> tuple[Array, Array]:
    """The numbers x for which most of low <= goal - parts @ x <= high hold, and their
    covariance: the likeliest where ends are blurred, by Newton's steps at ever less blur.

    low, high, goal: float64 [n], in steps of the quantiser. parts: [n, numbers].
    """
    if start is None:
        known = np.isfinite(low) & np.isfinite(high)
        beside = (goal - (low + high) / 2)[known]
        start = np.asarray(np.linalg.lstsq(parts[known], beside, rcond=None)[0])
    found = start
    inverse = np.eye(found.size)
    for blur in BLURS:
        for _ in range(NEWTON_STEPS):
            left = goal - parts @ found
            below, above = expit((low - left) / blur), expit((left - high) / blur)
            curved = (below * (1 - below) + above * (1 - above)) / blur
            bending = (parts * curved[:, None]).T @ parts
            inverse = np.linalg.inv(bending + SMALLEST_BENDING * np.eye(found.size))
            step = inverse @ (parts.T @ (below - above))
            found = found - np.clip(step, -LONGEST_STEP, LONGEST_STEP)
    return found, inverse * blur
