"""Recipes tried on a few slices, bit for bit, before the best are applied to all."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.merging.recipes import Recipe
from mergetrace.numerics.arrays import Array, Mask, some_of
from mergetrace.numerics.rounding import Replay
from mergetrace.search.counting import Count, add_counts, count_exact, exact_rate
from mergetrace.search.sweeping import sweep
from mergetrace.sums.frames import Frame

SCREEN_SLICES = 4
SCREEN_ELEMENTS = 8192
"""Of a slice that is known by a sample only; slices that are there whole stay whole."""
WHOLE_RATE = 0.98
"""Of a tensor, the share that a recipe gives back which is right there."""
HOPELESS_RATE = 0.5
"""A recipe below this rate on the first slice of the screen is not tried on the others.
It only saves time: see Trial.measure_in_full for the one that was trained since.
"""


class BudgetError(Exception):
    """A search has tried as many recipes as it may: the best so far stands."""


@dataclass
class Trial:
    """The pilot: pieces of one frame, and the rate of every recipe tried so far on the
    few of them that make the screen.
    """

    frame: Frame
    """Who is compared with whom."""
    pieces: list[Piece]
    """Tensors spread over the model."""
    width: float
    """`replay_width` of the configuration: see counting.confining_elements."""
    min_stayed: float
    """`min_stayed` of the configuration: the share of well separated elements at the
    base's value from which a method that chooses elements is tried.
    """
    min_informative_share: float
    """`min_informative_share` of the configuration: see counting.exact_rate."""
    max_recipes: int
    """`max_recipes` of the configuration: how many may be tried."""
    rates: dict[Recipe, float] = field(default_factory=dict)
    """By recipe, in the order in which they were tried."""
    tried_beside: int = 0
    """Recipes that were tried on parents that were cast."""
    preferred: list[Recipe] = field(default_factory=list)
    """Of recipes that the screen does not tell apart those that give most of the whole
    pilot back.
    """

    @property
    def tried(self) -> int:
        """How many recipes were tried."""
        return len(self.rates) + self.tried_beside

    @property
    def stored_dtype(self) -> str:
        """The format of the audited model's first piece."""
        return self.pieces[0].audited.dtype

    @cached_property
    def screen(self) -> list[Piece]:
        """Small pieces, evenly spread over the pilot; of those whose whole-tensor numbers
        come from sums and not from the elements, the first elements.
        """
        by_size = sorted(
            self.pieces, key=lambda piece: min(piece.facts.elements, SCREEN_ELEMENTS)
        )
        smaller = by_size[: max(SCREEN_SLICES, len(self.pieces) // 2)]
        return [
            piece if piece.facts.whole else elements_of(piece, slice(SCREEN_ELEMENTS))
            for piece in some_of(smaller, SCREEN_SLICES)
        ]

    def rate(self, recipe: Recipe) -> float:
        """The share of informative elements that the recipe gives back; 0 where none is
        informative. BudgetError where the recipe is one more than may be tried.
        """
        if recipe not in self.rates:
            if self.tried >= self.max_recipes:
                raise BudgetError
            self.rates[recipe] = self._measure(recipe, HOPELESS_RATE)
        return self.rates[recipe]

    def measure_in_full(self, recipes: Sequence[Recipe]) -> None:
        """Rate recipes on the whole screen, also those that the first slice made look
        hopeless: that slice may be the one that was trained since.
        """
        for recipe in recipes:
            self.rates[recipe] = self._measure(recipe, 0.0)

    def measure_on_pilot(self, recipes: Sequence[Recipe]) -> None:
        """Rate recipes on the whole pilot: of parts with weights of their own the screen
        may hold only such as are a parent's, which say nothing.
        """
        for recipe in recipes:
            self.rates[recipe] = self._measure(recipe, HOPELESS_RATE, self.pieces)

    def _measure(
        self,
        recipe: Recipe,
        hopeless_rate: float,
        pieces: Sequence[Piece] | None = None,
    ) -> float:
        counts: list[Count] = []
        for piece in self.screen if pieces is None else pieces:
            counts.append(count_exact(recipe, piece, self.frame.base, self.width))
            so_far = add_counts(counts)
            if so_far.exact < hopeless_rate * so_far.informative:
                break
        return exact_rate(add_counts(counts), self.min_informative_share)

    def best_rate(self) -> float:
        """The highest rate of all recipes tried so far; 0 before the first."""
        return max(self.rates.values(), default=0.0)

    def solved(self) -> bool:
        """Whether a recipe gives every element of the screen back: then no further
        method is tried.
        """
        return self.best_rate() == 1.0

    def fails_beside_screen(self) -> bool:
        """Whether the best recipe leaves much of a tensor that is not in the screen: its
        weights may be other ones there.
        """
        if not self.rates:
            return False
        best = self.best(list(self.rates))
        shown = {piece.tensor for piece in self.screen}
        for piece in self.pieces:
            if piece.tensor not in shown:
                count = count_exact(best, piece, self.frame.base, self.width)
                if count.exact < WHOLE_RATE * count.informative:
                    return True
        return False

    def best(self, recipes: Sequence[Recipe]) -> Recipe:
        """The recipe of highest rate, the first listed of equals."""
        return self.ranked(recipes)[0]

    def ranked(self, recipes: Sequence[Recipe]) -> list[Recipe]:
        """The recipes by falling rate, equals in the order listed."""
        return sorted(recipes, key=lambda recipe: -self.rate(recipe))

    def climb(
        self,
        build: Callable[..., Recipe],
        options: Sequence[Sequence[float]],
        start: Sequence[float],
        rounds: int = 2,
    ) -> Recipe:
        """Coordinate ascent of the rate: one number after the other takes the best of
        its options (the first of equals), the others held.
        """
        current = list(start)
        for _ in range(rounds):
            before = list(current)
            for i, choices in enumerate(options):
                rates = [
                    self.rate(build(*current[:i], choice, *current[i + 1 :]))
                    for choice in choices
                ]
                current[i] = choices[int(np.argmax(rates))]
            if current == before:
                break
        return build(*current)

    def sweeps(
        self, predict: Callable[[Piece, float], Array], around: float
    ) -> list[Replay]:
        """Per piece, the value of one parameter that explains most elements.

        predict: (piece, value) -> merged elements before the last rounding, float64
        [n]. The prediction is taken as a straight line, at first around the given
        value, then around what was found.
        """
        return [sweep(piece, predict, around, self.width) for piece in self.pieces]


def slices_of(pieces: Iterable[Piece]) -> list[Piece]:
    """Joined slices as pieces of their own: experts that lie in one tensor may have
    weights of their own, whoever merged them.
    """
    slices = []
    for piece in pieces:
        if not piece.ends:  # sampled slices are pieces already
            slices.append(piece)
            continue
        starts = (0, *piece.ends[:-1])
        names = piece.names or (piece.tensor,) * len(piece.ends)
        slices += [
            replace(
                elements_of(piece, slice(start, end)), tensor=name, ends=(), names=()
            )
            for start, end, name in zip(starts, piece.ends, names, strict=True)
        ]
    return slices


def elements_of(piece: Piece, places: slice | Mask) -> Piece:
    """Some elements of a piece, for recipes that need no others of the tensor."""
    audited = piece.audited.chosen(places)
    values = {name: numbers[places] for name, numbers in piece.values.items()}
    return replace(piece, values=values, audited=audited)


def in_one_piece(pieces: Sequence[Piece]) -> tuple[Piece, ...]:
    """Elements of several tensors as of one, for recipes that are the same for all; as
    they are where their formats differ.
    """
    formats = {(piece.audited.dtype, piece.audited.through) for piece in pieces}
    scaled = any(piece.audited.scales is not None for piece in pieces)
    if scaled or len(formats) != 1:
        return tuple(pieces)
    raw = np.concatenate([np.frombuffer(one.audited.raw, np.uint8) for one in pieces])
    values = {
        name: np.concatenate([piece.values[name] for piece in pieces])
        for name in pieces[0].values
    }
    audited = replace(pieces[0].audited, raw=raw)
    return (replace(pieces[0], values=values, audited=audited),)
