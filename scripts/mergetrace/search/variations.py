"""Mixtures whose weights differ between tensors: how each tensor is measured, and the
recipes that its numbers make.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import permutations
from typing import Protocol

import numpy as np

from mergetrace.merging.applying import Piece, apply_and_store, apply_recipe
from mergetrace.merging.methods import METHODS
from mergetrace.merging.recipes import Recipe, make, make_script
from mergetrace.merging.settings import Setting, constant, value_at
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.simple import Interval, simplest
from mergetrace.search.clues import MIN_INTERVAL_ELEMENTS, SUM_SLACK
from mergetrace.search.gradients import (
    Allowed,
    Choose,
    number_of_layers,
    well_inside,
)
from mergetrace.search.leftover_shares import left_over, remaining
from mergetrace.search.patterns import (
    explain,
    explain_layers,
    in_layer,
    kind_of,
    tensor_by_tensor,
)
from mergetrace.search.shares import joint_intervals
from mergetrace.search.sweeping import sweep
from mergetrace.search.tensor_weights import TensorWeights, solve_tensor
from mergetrace.search.trial import in_one_piece

MIN_TENSOR_COVERAGE = 0.95
"""The coverage in a single tensor from which its weight is one number."""
JOINT_SLACK = 5e-6
"""The same of one weight of several: those before it may be as much off."""
COUNTED_REACH_ERRORS = 5  # standard errors of a weight, in which it is looked for
LEAST_COUNTED_REACH = 0.003
"""A weight that was rounded to bf16 lies as far from the number that was written."""
COUNTING_GRID = np.linspace(-1, 1, 17)
COUNTING_ROUNDS = 5
COUNTING_BLUR = 0.003
"""Of a rate: until the grid is fine, a weight that gives so much less back may be nearer
to the right one.
"""
COUNTED_ELEMENTS = 4096
"""Of a tensor of which elements are counted."""
MIN_COUNTED_RATE = 0.9
"""The share given back at the best weight, below which a tensor's arithmetic is another."""
MAX_VARYING_IN_ANY_ORDER = 3
Measured = tuple[Allowed, ...]
"""What one tensor allows, by coordinate: the weight of every model but the first."""


class Variation(Protocol):
    """A mixture of known models whose weights vary."""

    @property
    def models(self) -> tuple[str, ...]:
        """The first has what the others leave to one."""

    def measure(self, piece: Piece) -> Measured | None:
        """What one tensor allows; None where it tells nothing, or is no such mixture."""

    def recipes(self, settings: Sequence[Setting]) -> list[Recipe]:
        """The recipes with these weights of all models but the first."""


@dataclass(frozen=True)
class OfTwo:
    """Two models in float32: the weight that most elements of a tensor hold."""

    models: tuple[str, str]
    method: str
    """linear, or slerp where the models are far from parallel."""
    width: float
    """`replay_width` of the configuration."""

    def measure(self, piece: Piece) -> Measured | None:
        """See Variation.measure."""
        solved = solve_tensor(piece, self.models)
        if solved is None or not solved.is_rounding:
            return None
        for merged in self._formulas():
            best = sweep(piece, merged, float(solved.weights[1]), self.width)
            is_told = best.informative >= MIN_INTERVAL_ELEMENTS
            if is_told and best.coverage >= MIN_TENSOR_COVERAGE:
                ends = (best.low - SUM_SLACK, best.high + SUM_SLACK)
                return (Allowed(piece.tensor, piece.position, *ends),)
        return None

    def _formulas(self) -> tuple[Callable[[Piece, float], Array], ...]:
        """The merged elements by share. Of nearly parallel tensors slerp is a straight
        line, to the last digit, which decides where a half of two odd numbers is a tie.
        """
        if self.method == "slerp":
            return (self._on_arc, self._on_line)
        return (self._on_line,)

    def _on_arc(self, piece: Piece, share: float) -> Array:
        first, second = self.models
        return apply_recipe(make("slerp", {first: 1 - share, second: share}), piece)

    def _on_line(self, piece: Piece, share: float) -> Array:
        first, second = self.models
        change = piece.values[second] - piece.values[first]
        return piece.values[first] + share * change

    def recipes(self, settings: Sequence[Setting]) -> list[Recipe]:
        """See Variation.recipes."""
        first, second = self.models
        (share,) = settings
        weights = {first: remaining(share), second: share}
        slerp = make("slerp", weights)
        if self.method == "slerp":
            return [slerp]
        return [
            make("linear", weights),
            make("linear", {second: share, first: weights[first]}),
            make("task_arithmetic", {second: share}, first),
            slerp,
        ]


@dataclass(frozen=True)
class OfSeveral:
    """More models in float32: for each weight in turn the range that a tensor's elements
    allow, those before it being known.
    """

    models: tuple[str, ...]
    width: float
    """`replay_width` of the configuration."""
    known: tuple[Setting, ...] = ()
    """The weights that are known of the models after the first. Where there are none,
    each tensor's are chosen for it, as short as those before them allow.
    """

    def measure(self, piece: Piece) -> Measured | None:
        """See Variation.measure."""
        solved = solve_tensor(piece, self.models)
        if solved is None or not solved.is_rounding:
            return None
        values: list[float] = []
        while len(values) < len(self.models) - 1:
            ranges = self._ranges(piece, solved, values)
            if ranges is None:
                return None
            values.append(simplest(*ranges[0]))
        return tuple(
            Allowed(piece.tensor, piece.position, value, value) for value in values
        )

    def next_range(self, piece: Piece) -> Allowed | None:
        """What a tensor allows for the first weight that is not known."""
        solved = solve_tensor(piece, self.models)
        if solved is None or not solved.is_rounding:
            return None
        values = [
            value_at(setting, piece.tensor, piece.position) for setting in self.known
        ]
        ranges = self._ranges(piece, solved, values)
        if ranges is None:
            return None
        low, high = ranges[0]
        return Allowed(
            piece.tensor, piece.position, low - JOINT_SLACK, high + JOINT_SLACK
        )

    def _ranges(
        self, piece: Piece, solved: TensorWeights, known: Sequence[float]
    ) -> list[Interval] | None:
        return joint_intervals(
            piece, self.models, solved.weights[1:], self.width, known
        )

    def recipes(self, settings: Sequence[Setting]) -> list[Recipe]:
        """See Variation.recipes."""
        first, *others = self.models
        weights = dict(zip(others, settings, strict=True))
        recipes = [make("task_arithmetic", weights, first)]
        rest = left_over(settings)
        if rest is not None:
            recipes += in_orders(make("linear", {first: rest, **weights}))
        return recipes


@dataclass(frozen=True)
class Counted:
    """Models mixed in narrow arithmetic, where no interval holds a weight: the weights
    that give most elements of a tensor back.
    """

    models: tuple[str, ...]
    method: str
    base: str | None
    """The model that deltas are taken from, the first of the models."""
    dtype: str
    script: str
    """The lines that were written by hand, "" where the merge tool was used."""
    weights_rounded: bool
    """Whether weights are rounded to the dtype too."""

    def measure(self, piece: Piece) -> Measured | None:
        """See Variation.measure."""
        solved = solve_tensor(piece, self.models)
        if solved is None or not solved.is_rounding:
            return None
        rate, ends = self.counted(piece, solved, COUNTING_ROUNDS)
        if rate < MIN_COUNTED_RATE:
            return None
        return tuple(Allowed(piece.tensor, piece.position, *end) for end in ends)

    def counted(
        self, piece: Piece, solved: TensorWeights, rounds: int
    ) -> tuple[float, list[tuple[float, float]]]:
        """The highest share of a tensor's elements given back, and the ranges of the
        weights that do: each is moved over a grid that grows finer, the others held.
        """
        part = self._part(piece)
        differ = np.ptp([part.values[name] for name in self.models], axis=0) > 0
        weights = solved.weights[1:].tolist()
        reaches = np.maximum(
            COUNTED_REACH_ERRORS * solved.errors[1:], LEAST_COUNTED_REACH
        ).tolist()
        ends = [(weight, weight) for weight in weights]

        def rate(place: int, value: float) -> float:
            moved = [*weights[:place], value, *weights[place + 1 :]]
            recipe = self.recipes([constant(weight) for weight in moved])[0]
            merged = apply_and_store(recipe, part)
            return float((merged == part.audited_values)[differ].mean())

        best = 0.0
        for _ in range(1 if len(weights) == 1 else 2):
            for place, reach in enumerate(reaches):
                best, ends[place] = highest(rate, place, weights[place], reach, rounds)
                weights[place] = sum(ends[place]) / 2
        return best, ends

    def _part(self, piece: Piece) -> Piece:
        """So many elements of a piece, where the method does without the whole tensor."""
        if METHODS[self.method].needs != "elements" or piece.audited.scales is not None:
            return piece
        width = len(piece.audited.raw) // piece.size
        raw = piece.audited.raw[: COUNTED_ELEMENTS * width]
        values = {name: piece.values[name][:COUNTED_ELEMENTS] for name in self.models}
        return replace(
            piece, values=values, audited=replace(piece.audited, raw=raw), ends=()
        )

    def recipes(self, settings: Sequence[Setting]) -> list[Recipe]:
        """See Variation.recipes."""
        first, *others = self.models
        weights: dict[str, Setting] = dict(zip(others, settings, strict=True))
        if self.base is None:
            rest = left_over(settings)
            if rest is None:
                return []
            weights = {first: rest, **weights}
        if self.script:
            made = make_script(
                self.script, weights, self.base, self.dtype, self.weights_rounded
            )
            return [made]
        recipe = make(self.method, weights, self.base, self.dtype)
        if METHODS[self.method].parameter("weights_rounded") is not None:
            recipe = recipe.with_settings(
                {"weights_rounded": float(self.weights_rounded)}
            )
        return [recipe]


def highest(
    rate: "Rate", place: int, center: float, reach: float, rounds: int
) -> tuple[float, tuple[float, float]]:
    """The highest rate along one weight, and the ends of where it is reached."""
    low = high = center
    best = 0.0
    for left in reversed(range(rounds)):
        values = [float(center + reach * step) for step in COUNTING_GRID]
        rates = np.array([rate(place, value) for value in values])
        best = float(rates.max())
        blur = COUNTING_BLUR if left else 0.0
        good = np.flatnonzero(rates >= best - blur)
        step = reach * float(COUNTING_GRID[1] - COUNTING_GRID[0])
        low, high = values[good[0]] - step, values[good[-1]] + step
        center = (low + high) / 2
        reach = (high - low) / 2
    return best, (low, high)


class Rate(Protocol):
    """The share of elements given back with one weight moved."""

    def __call__(self, place: int, value: float) -> float: ...


@dataclass(frozen=True)
class Explained:
    """Recipes whose weights vary."""

    recipes: list[Recipe]
    is_short: bool
    """Whether few numbers say all: otherwise there are as many as layers or tensors,
    and those of tensors that were not measured are guesses.
    """


def recipes_of(
    variation: Variation,
    measured: Sequence[Measured],
    short_only: bool = False,
    choose: Choose = well_inside,
) -> Explained:
    """The recipes that what the tensors allow makes: with few numbers where these do,
    else layer by layer, else tensor by tensor, each a number chosen of those allowed.
    short_only: only the first.
    """
    coordinates = list(zip(*measured, strict=True))
    short = [explain(allowed) for allowed in coordinates]
    settings = [setting for setting in short if setting is not None]
    if len(settings) == len(coordinates):
        return Explained(variation.recipes(settings), True)
    if short_only:
        return Explained([], True)
    settings = [
        known or explain_layers(allowed, choose) or tensor_by_tensor(allowed, choose)
        for known, allowed in zip(short, coordinates, strict=True)
    ]
    return Explained(variation.recipes(settings), False)


def by_layer(variation: Variation, pieces: Sequence[Piece]) -> list[Recipe]:
    """The recipes with weights for each layer and each kind of tensor outside them, all
    tensors of a layer taken as one; none where one of them is no such mixture.
    """
    groups: dict[str | float, list[Piece]] = {}
    for piece in pieces:
        key = piece.position if in_layer(piece.tensor) else kind_of(piece.tensor)
        groups.setdefault(key, []).append(piece)
    measured: dict[str | float, Measured] = {}
    for key, members in groups.items():
        together = in_one_piece([replace(one, ends=(), names=()) for one in members])
        found = variation.measure(together[0]) if len(together) == 1 else None
        if found is None:
            return []
        measured[key] = found
    places = sorted(key for key in measured if isinstance(key, float))
    layers = number_of_layers(places) if places else None
    if layers is None:
        return []
    settings = []
    for coordinate in range(len(variation.models) - 1):
        values = {
            key: well_inside(found[coordinate].low, found[coordinate].high)
            for key, found in measured.items()
        }
        known = [values[place] for place in places]
        along = np.interp(np.linspace(0, 1, layers), places, known).tolist()
        for place, value in zip(places, known, strict=True):
            along[round(place * (layers - 1))] = value
        outer = [(key, (values[key],)) for key in values if isinstance(key, str)]
        settings.append((*outer, ("", tuple(along))))
    return variation.recipes(settings)


def in_orders(average: Recipe) -> list[Recipe]:
    """An average of few models in every order, which decides blends that fall between
    two numbers; of more as it is and reversed.
    """
    weighted = list(zip(average.models, average.weights, strict=True))
    orders = [weighted, weighted[::-1]]
    if len(weighted) <= MAX_VARYING_IN_ANY_ORDER:
        orders = list(map(list, permutations(weighted)))
    return [
        replace(
            average,
            models=tuple(model for model, _ in order),
            weights=tuple(weight for _, weight in order),
        )
        for order in orders
    ]


def measured_by(variation: Variation, pieces: Sequence[Piece]) -> list[Measured]:
    """What the tensors allow of which anything is told."""
    found = [variation.measure(piece) for piece in pieces]
    return [measured for measured in found if measured is not None]
