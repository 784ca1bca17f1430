"""Weights of any digits of lines whose every step rounds: least squares of what the lines
themselves leave.

Near the right weights lines differ from the audited model at a few elements only, by a
last bit each, and more often upwards where a weight is too small. Least squares over these
differences says by how much all weights are off at once, the better the fewer are left:
a few rounds find weights of seven digits where moving one after the other would stick.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mergetrace.merging.applying import Piece, apply_and_store
from mergetrace.merging.recipes import Recipe
from mergetrace.numerics.arithmetic import rounder
from mergetrace.numerics.arrays import Array, Mask
from mergetrace.numerics.simple import simplest
from mergetrace.search.blends import last_bits
from mergetrace.search.counting import missed_by
from mergetrace.search.proposals.lines import WIDE, Lines
from mergetrace.search.trial import elements_of, in_one_piece

MAX_CORRECTIONS = 4
SHORTENED_ERRORS = 4
"""Standard errors of a weight in which a shorter one is tried."""
LEAST_SHOWN = 1e-7
"""Of a weight: less than float32 shows of it."""
WRITTEN_DIVISORS = tuple(range(3, 13))
SCAN_REACH = 4e-5
"""Around a weight: as far as least squares may stray that is left with a few steps."""
SCAN_GRID = np.linspace(-1, 1, 17)
SCAN_ROUNDS = 4
SCAN_SHRINKS = 3


@dataclass(frozen=True)
class Fitted:
    """Weights of lines, and what the lines leave with them."""

    shares: tuple[float, ...]
    """In the order of the lines' models."""
    missed: int
    """The number of elements that do not come back."""
    errors: tuple[float, ...]
    """The standard errors of the shares, as far as the missed elements tell them."""


@dataclass(frozen=True)
class LinesFit:
    """The fit of one script's weights to the pilot."""

    lines: Lines
    """The script."""
    pieces: tuple[Piece, ...]
    """The elements that are looked at."""
    reach: float = SCAN_REACH
    """How far weights are moved at least."""

    def fitted(self, start: Sequence[float]) -> Fitted:
        """The weights that leave few elements: least squares, then short numbers."""
        best = self._corrected(tuple(start), rounded=False)
        if best.missed and self.lines.dtype not in WIDE:
            of_rounded = self._corrected(best.shares, rounded=True)
            best = min(best, of_rounded, key=lambda fitted: fitted.missed)
        return self._shortened(best)

    def scanned(self, fitted: Fitted) -> Fitted:
        """One weight after the other, and two at a time against each other, moved over
        short numbers and a grid that grows finer.

        A product of a number of eight bits changes at a few weights only: between them
        no difference says which way to go.
        """
        free = self._free
        ways = [{place: 1.0} for place in free]
        ways += [{i: 1.0, j: -1.0} for i in free for j in free if i < j]
        reach = max(self.reach, SHORTENED_ERRORS * max(fitted.errors))
        shares = fitted.shares
        missed = self._missed(shares)
        for _ in range(SCAN_ROUNDS):
            for way in ways:
                if not missed:
                    return Fitted(shares, missed, fitted.errors)
                shares, missed = self._along(way, shares, missed, reach)
            reach /= SCAN_SHRINKS
        return Fitted(shares, missed, fitted.errors)

    def _along(
        self,
        way: Mapping[int, float],
        shares: tuple[float, ...],
        missed: int,
        reach: float,
    ) -> tuple[tuple[float, ...], int]:
        """The best shares along one way, in the middle of where they are equally good;
        of equals the first short one.
        """
        short = []
        if len(way) == 1:
            (place,) = way
            values = _short_near(shares[place], reach)
            short = [self._with_share(shares, place, value) for value in values]
        grid = [
            self._moved(shares, np.array([way.get(i, 0.0) for i in self._free]) * step)
            for step in (reach * SCAN_GRID).tolist()
        ]
        of_short = [self._missed(option) for option in short]
        of_grid = [self._missed(option) for option in grid]
        least = min([missed, *of_short, *of_grid])
        if least in of_short:
            return short[of_short.index(least)], least
        if least == missed:
            return shares, missed
        good = [place for place, count in enumerate(of_grid) if count == least]
        return grid[good[len(good) // 2]], least

    def _with_share(
        self, shares: Sequence[float], place: int, value: float
    ) -> tuple[float, ...]:
        step = np.zeros(len(self._free))
        step[place - self._first] = value - shares[place]
        moved = list(self._moved(shares, step))
        moved[place] = value
        return tuple(moved)

    @property
    def _free(self) -> range:
        return range(self._first, len(self.lines.models))

    @property
    def elements(self) -> int:
        """The number of elements that are looked at."""
        return sum(piece.size for piece in self.pieces)

    def recipe(self, shares: Sequence[float]) -> Recipe:
        """The lines with these shares."""
        return self.lines.with_shares(shares)

    def _corrected(self, shares: tuple[float, ...], rounded: bool) -> Fitted:
        """Rounds of least squares as long as they help, of all weights or of one where
        the others are right as they are. rounded: whether weights are rounded to the
        dtype of the lines before each, as the lines may do.
        """

        def as_used(values: tuple[float, ...]) -> tuple[float, ...]:
            if not rounded:
                return values
            return tuple(rounder(self.lines.dtype)(list(values)).tolist())

        shares = as_used(shares)
        missed, step, errors = self._step(shares)
        for _ in range(MAX_CORRECTIONS):
            if not missed:
                break
            steps = [step, *(step * row for row in np.eye(len(step)))]
            options = [as_used(self._moved(shares, one)) for one in steps]
            counts = [self._missed(option) for option in options]
            if min(counts) >= missed:
                break
            shares = options[counts.index(min(counts))]
            missed, step, errors = self._step(shares)
        return Fitted(shares, missed, errors)

    def _step(self, shares: Sequence[float]) -> tuple[int, Array, tuple[float, ...]]:
        """The number of elements missed, what is to be added to the free shares, and all
        shares' standard errors.
        """
        recipe = self.recipe(shares)
        left = np.concatenate(
            [
                piece.audited_values - apply_and_store(recipe, piece)
                for piece in self.pieces
            ]
        )
        left = np.where(self._sound & np.isfinite(left), left / self._unit, 0.0)
        missed = int(np.count_nonzero(left))
        variance = max(float(left @ left) / len(left), 1 / len(left))
        errors = np.sqrt(variance * np.clip(np.diag(self._inverse), 0, None))
        of_all = np.full(len(shares), np.sqrt((errors**2).sum()))
        of_all[self._first :] = errors
        step: Array = self._inverse @ (self._columns @ left)
        return missed, step, tuple(np.maximum(of_all, LEAST_SHOWN).tolist())

    def _moved(self, shares: Sequence[float], step: Array) -> tuple[float, ...]:
        """The free shares moved; the first model has what they leave."""
        moved = np.array(shares)
        moved[self._first :] += step
        if self._first:
            moved[0] -= step.sum()
        return tuple(moved.tolist())

    @property
    def _first(self) -> int:
        """The first of the shares that are free."""
        return max(self.lines.fixed, 0 if self.lines.sums_freely else 1)

    @cached_property
    def _unit(self) -> Array:
        units = [last_bits(piece, self.lines.models) for piece in self.pieces]
        return np.concatenate(units)

    @cached_property
    def _columns(self) -> Array:
        """The models of the free shares in last bits, as what they add to the first
        where it has the rest: float64 [k, n].
        """
        rows = []
        for piece in self.pieces:
            values = np.stack([piece.values[name] for name in self.lines.models])
            rows.append(values[self._first :] - (values[0] if self._first else 0.0))
        columns = np.concatenate(rows, axis=1) / self._unit
        return np.where(self._sound, columns, 0.0)

    @cached_property
    def _sound(self) -> Mask:
        finite = [
            np.isfinite(
                [
                    piece.audited_values,
                    *(piece.values[name] for name in self.lines.models),
                ]
            ).all(0)
            for piece in self.pieces
        ]
        return np.concatenate(finite)

    @cached_property
    def _inverse(self) -> Array:
        gram = self._columns @ self._columns.T
        return np.linalg.pinv(gram, hermitian=True).astype(np.float64)

    def _shortened(self, fitted: Fitted) -> Fitted:
        """One share after the other by the shortest number near it that leaves no more
        elements.
        """
        shares = fitted.shares
        least = fitted.missed
        for place in self._free:
            for value in _short_near(
                shares[place], SHORTENED_ERRORS * fitted.errors[place]
            ):
                moved = self._with_share(shares, place, value)
                missed = self._missed(moved)
                if missed <= least:
                    shares = moved
                    least = missed
                    break
        return Fitted(shares, least, fitted.errors)

    def _missed(self, shares: Sequence[float]) -> int:
        recipe = self.recipe(shares)
        return missed_by(recipe, self.pieces)


def thinned(pieces: Sequence[Piece], elements: int) -> tuple[Piece, ...]:
    """At most so many elements of each piece, or nearly, evenly spread."""
    return in_one_piece(
        [
            elements_of(piece, slice(None, None, max(1, piece.size // elements)))
            for piece in pieces
        ]
    )


def _short_near(value: float, reach: float) -> list[float]:
    """Numbers that a person would write near a weight, the shortest first."""
    found = [simplest(value - part, value + part) for part in (reach, reach / 8)]
    for divisor in WRITTEN_DIVISORS:
        fraction = round(value * divisor) / divisor
        if abs(fraction - value) <= reach:
            found.append(fraction)
    return list(dict.fromkeys(found))
