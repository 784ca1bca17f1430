"""Recipes tried on a few slices, bit for bit, before the best are applied to all."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mergetrace.merging.applying import Piece, apply_and_store, undecided_elements
from mergetrace.merging.recipes import Recipe
from mergetrace.numerics.arrays import Array, some_of
from mergetrace.numerics.rounding import NOTHING, Replay, replay, replay_intervals
from mergetrace.sums.frames import Frame

# sums in float64 stray this much from ends that coincide in theory, as all do in an
# average of two
EDGE = 1e-9
SCREEN_SLICES = 4
# of a slice that is known by a sample only; slices that are there whole stay whole
SCREEN_ELEMENTS = 8192
# a rate from which the screen may be too small to tell a recipe from the right one
SOLVED = 0.9995
HOPELESS = 0.5  # a recipe below this on the first slice is not tried on the others
MIN_TELLING = 0.05  # the least share of confining elements that must be informative


@dataclass(frozen=True)
class Count:
    """confined: elements that confine a share; informative: those of them that could
    refute the recipe; exact: those it gives back.

    residual: sum of squared differences over all elements but those for which the
    recipe gives no finite number.
    """

    confined: int
    informative: int
    exact: int
    residual: float


def total(counts: Iterable[Count]) -> Count:
    """The counts of all slices added."""
    rows = [
        (count.confined, count.informative, count.exact, count.residual)
        for count in counts
    ]
    return (
        Count(*(sum(column) for column in zip(*rows, strict=True)))
        if rows
        else Count(0, 0, 0, 0.0)
    )


def rate(count: Count) -> float:
    """The share of informative elements given back; 0 where so few are informative that
    the recipe says little more than that a parent was kept.
    """
    return (
        count.exact / count.informative
        if count.informative > MIN_TELLING * count.confined
        else 0.0
    )


def compare(recipe: Recipe, piece: Piece, base: str, width: float) -> Count:
    """Apply a recipe to a piece (see compare_parts)."""
    return compare_parts(recipe, piece, base, width, [(0, len(piece.values[base]))])[0]


def compare_parts(
    recipe: Recipe,
    piece: Piece,
    base: str,
    width: float,
    parts: Sequence[tuple[int, int]],
) -> list[Count]:
    """Apply a recipe to a piece and count each of its parts (first element, one past
    the last).

    An element confines where the recipe's parents lie further apart than the stored number's interval over `width`: elsewhere any weights would do.
    It is informative where the recipe gives a number that none of its parents has: a copy of a parent gives back the others. A method that
    chooses elements gives little else than the parents' numbers: there those are left out that neither the audited model nor the recipe moved
    from the base (a sparse finetune leaves most of them), and those at a threshold.
    """
    merged = apply_and_store(recipe, piece)
    confined = narrow(piece, recipe.parents, width)
    informative = confined.copy()
    if recipe.selects:
        origin = piece.values[base]
        informative &= (
            (piece.audited_values != origin) | (merged != origin)
        ) & ~undecided_elements(recipe, piece)
    else:
        for parent in recipe.parents:
            informative &= merged != piece.stored_parents[parent]
    exact = (piece.audited_values == merged) & informative
    squares = np.where(np.isfinite(merged), piece.audited_values - merged, 0.0) ** 2
    return [
        Count(
            int(confined[start:end].sum()),
            int(informative[start:end].sum()),
            int(exact[start:end].sum()),
            float(squares[start:end].sum()),
        )
        for start, end in parts
    ]


def narrow(piece: Piece, parents: Sequence[str], width: float) -> NDArray[np.bool_]:
    """Elements whose stored number confines a share of the parents' spread to less than
    `width`: bool [n].
    """
    values = np.stack([piece.values[name] for name in dict.fromkeys(parents)])
    with np.errstate(invalid="ignore"):
        return piece.interval_width < width * (values.max(0) - values.min(0))


@dataclass
class Trial:
    """The pilot: pieces of one frame, and the rate of every recipe tried so far on the
    few of them that make the screen.

    width, min_stayed: `replay_width` and `min_stayed` of the configuration. min_stayed is the share of well separated elements at the base's
    value, from which a method that chooses elements is tried.
    """

    frame: Frame
    pieces: list[Piece]
    width: float
    min_stayed: float
    rates: dict[Recipe, float] = field(default_factory=dict)

    @cached_property
    def screen(self) -> list[Piece]:
        """Small pieces, evenly spread over the pilot."""
        small = sorted(
            self.pieces, key=lambda piece: min(piece.facts.elements, SCREEN_ELEMENTS)
        )[: max(SCREEN_SLICES, len(self.pieces) // 2)]
        return [_cut(piece) for piece in some_of(small, SCREEN_SLICES)]

    def rate(self, recipe: Recipe) -> float:
        """The share of informative elements that the recipe gives back; 0 where none is
        informative.
        """
        if recipe not in self.rates:
            self.rates[recipe] = self._measured(recipe, HOPELESS)
        return self.rates[recipe]

    def look_again(self, recipes: Sequence[Recipe]) -> None:
        """Rate recipes on the whole screen, also those that the first slice made look
        hopeless: it may be the one that was trained since.
        """
        for recipe in recipes:
            self.rates[recipe] = self._measured(recipe, 0.0)

    def _measured(self, recipe: Recipe, hopeless: float) -> float:
        counts: list[Count] = []
        for piece in self.screen:
            counts.append(compare(recipe, piece, self.frame.base, self.width))
            so_far = total(counts)
            if so_far.exact < hopeless * so_far.informative:
                break
        return rate(total(counts))

    def solved(self) -> bool:
        """Whether a recipe gives every element of the screen back: then no further
        method is tried.
        """
        return max(self.rates.values(), default=0.0) == 1.0

    def best(self, recipes: Sequence[Recipe], most: int = 1) -> list[Recipe]:
        """The recipes of highest rate, the first listed of equals."""
        return sorted(recipes, key=lambda recipe: -self.rate(recipe))[:most]

    def climb(
        self,
        build: Callable[..., Recipe],
        options: Sequence[Sequence[float]],
        start: Sequence[float],
        rounds: int = 2,
    ) -> Recipe:
        """Coordinate ascent of the rate: one number after the other takes the best of
        its options (the first of equals), others held.
        """
        current = list(start)
        for _ in range(rounds):
            before = list(current)
            for i, choices in enumerate(options):
                recipes = [
                    build(*current[:i], choice, *current[i + 1 :]) for choice in choices
                ]
                current[i] = choices[
                    int(np.argmax([self.rate(recipe) for recipe in recipes]))
                ]
            if current == before:
                break
        return build(*current)

    def sweeps(
        self, predict: Callable[[Piece, float], Array], around: float
    ) -> list[Replay]:
        """Per piece, the value of one parameter that explains most elements.

        predict: (piece, value) -> merged elements before the last rounding. Around the first value the prediction is taken as a straight line, twice
        over, the second time around what the first found.
        """
        found = []
        for piece in self.pieces:
            at = around
            swept = NOTHING
            for _ in range(3):
                here = predict(piece, at)
                there = predict(piece, at + 1e-4)
                low, high = piece.audited.midpoints()
                start, end = replay_intervals(
                    low - here, high - here, np.zeros_like(here), (there - here) / 1e-4
                )
                step = replay(start - EDGE, end + EDGE, self.width)
                if not step.informative or abs(step.alpha) > 2:
                    break
                swept = _moved(step, at)
                at = swept.alpha
            found.append(swept)
        return found


def _moved(found: Replay, by: float) -> Replay:
    return Replay(
        found.alpha + by,
        found.low + by,
        found.high + by,
        found.coverage,
        found.coverage_base,
        found.coverage_donor,
        found.informative,
    )


def _cut(piece: Piece) -> Piece:
    """The first elements of a piece, where whole-tensor numbers come from sums and not
    from the elements themselves.
    """
    if piece.facts.whole:
        return piece
    width = len(piece.audited.raw) // len(piece.values[piece.facts.base])
    scales = piece.audited.scales
    audited = replace(
        piece.audited,
        raw=piece.audited.raw[: SCREEN_ELEMENTS * width],
        scales=None if scales is None else scales[:SCREEN_ELEMENTS],
    )
    return replace(
        piece,
        values={
            name: values[:SCREEN_ELEMENTS] for name, values in piece.values.items()
        },
        audited=audited,
    )
