"""Recipes whose weights differ between tensors, made exact: of wide ones other ways to
write the same mixture, and more digits of the weights of each part of the model.

A weight that a person computed along the layers is no short decimal, and the interval
that a part's elements allow holds many numbers. All of them give nearly everything back;
the few elements next to a midpoint of two stored numbers tell which number, and which way
to write the mixture, gives all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.merging.recipes import Recipe
from mergetrace.merging.settings import Setting, constant, single_value, value_at
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.simple import simplest
from mergetrace.search.counting import missed_by
from mergetrace.search.gradients import number_of_layers
from mergetrace.search.proposals.alike import MAX_PREFERRED, NEARLY_SOLVED
from mergetrace.search.proposals.ways import Build, is_wide, mixed_models_of, ways_of
from mergetrace.search.trial import Trial, elements_of, in_one_piece

MAX_STARTS = 8  # recipes of which the one is taken that leaves fewest elements
NEAR_MIDPOINT = 2e-5
"""Of the greatest parent's number: wide arithmetic, and weights of six digits, stray less
from the blend.
"""
MAX_CLOSER = 32  # ways whose weights are moved
REACHES = (1e-6, 1e-5, 1e-6, 1e-7, 1e-8)
"""Of a weight: how far it is moved, in turn."""
NARROW_REACHES = (1e-4, 1e-3, 1e-4, 1e-5)
NEED_TENSORS = ("slerp", "nuslerp")
"""Methods whose formula needs the whole tensor."""
GRID = np.linspace(-1, 1, 21)
MOST_DENOMINATOR = 60  # of fractions: two thirds of the way between tenths
MIXED_ALIKE = ("linear", "task_arithmetic", "lerp", *NEED_TENSORS)

Shares = tuple[float, ...]
"""What part of the mixture each model is, in the order of Varying.models."""


@dataclass(frozen=True)
class Part:
    """The tensors of a model that have the same weights."""

    pieces: tuple[Piece, ...]
    """Their elements next to a midpoint, or all where the method needs the tensor."""
    shares: Shares
    reaches: tuple[float, ...] = REACHES

    def missed(self, build: Build, shares: Shares) -> int:
        """How many elements these shares do not give back."""
        return missed_by(build([constant(share) for share in shares]), self.pieces)

    def closer(self, build: Build, start: Shares) -> tuple[Shares, int]:
        """The shares near a start that leave fewest elements: all as short as may be,
        or one model's after the other; the first model has the rest.
        """
        starts = [start, *(_short(start, reach) for reach in sorted(set(self.reaches)))]
        missed = [self.missed(build, shares) for shares in starts]
        least = min(missed)
        best = starts[missed.index(least)]
        for reach in self.reaches:
            for place in range(1, len(best)):
                if least:
                    best, least = self._along(build, best, least, place, reach)
        return best, least

    def _along(
        self, build: Build, shares: Shares, least: int, place: int, reach: float
    ) -> tuple[Shares, int]:
        """The best shares with one moved: the first short one that leaves nothing, or
        the middle of the best on a grid.
        """
        best = shares
        short = [
            _with_share(shares, place, value)
            for value in _short_near(shares[place], reach)
        ]
        if len(shares) == 2:  # a third and what it leaves are two thirds but for a bit
            short += [(value, 1 - value) for value in _short_near(shares[0], reach)]
        for moved in short:
            missed = self.missed(build, moved)
            if missed < least:
                best, least = moved, missed
            if not least:
                return best, least
        on_grid = [
            _with_share(shares, place, value)
            for value in (shares[place] + reach * GRID).tolist()
        ]
        missed_there = [self.missed(build, moved) for moved in on_grid]
        fewest = min(missed_there)
        if fewest >= least:
            return best, least
        good = [place for place, missed in enumerate(missed_there) if missed == fewest]
        return on_grid[good[len(good) // 2]], fewest


@dataclass(frozen=True)
class Varying:
    """A mixture whose weights vary, part by part."""

    recipe: Recipe
    """As it was found."""
    base: str
    """The base of the frame."""
    every: tuple[Piece, ...]
    """The pilot."""

    def recipes(self) -> list[Recipe]:
        """The ways to write the mixture that leave fewest elements of the pilot: with
        the weights that are known, then with closer ones.
        """
        starts = [part.shares for part in self.parts]
        ranked = self._ranked(starts)
        least, first = ranked[0]
        if least:
            starts = [part.closer(first, part.shares)[0] for part in self.parts]
            ranked = self._ranked(starts)
        found = [
            (missed, build(self._settings(starts)))
            for missed, build in ranked[:MAX_PREFERRED]
        ]
        for _, build in ranked[:MAX_CLOSER]:
            if not min(missed for missed, _ in found):
                break
            closer = [
                part.closer(build, start)
                for part, start in zip(self.parts, starts, strict=True)
            ]
            settings = self._settings([shares for shares, _ in closer])
            found.append((sum(missed for _, missed in closer), build(settings)))
        least = min(missed for missed, _ in found)
        return [recipe for missed, recipe in found if missed == least]

    def _ranked(self, shares: Sequence[Shares]) -> list[tuple[int, Build]]:
        """Each arithmetic with the models in the best order, by what it misses with
        these shares of the parts.
        """
        best: dict[tuple[str, str, str, Setting | None], tuple[int, Build]] = {}
        for build in ways_of(self.recipe, self.base):
            missed = sum(
                part.missed(build, own)
                for part, own in zip(self.parts, shares, strict=True)
            )
            recipe = build([constant(share) for share in shares[0]])
            fused = dict(recipe.settings).get("fused")
            key = (recipe.method, recipe.dtype, recipe.script, fused)
            if key not in best or missed < best[key][0]:
                best[key] = (missed, build)
        return sorted(best.values(), key=lambda entry: entry[0])

    @cached_property
    def models(self) -> tuple[str, ...]:
        """The models that are mixed; the first is what deltas are taken from."""
        return mixed_models_of(self.recipe)

    @cached_property
    def _alike(self) -> dict[Shares, list[Piece]]:
        """The tensors by the weights that they have."""
        alike: dict[Shares, list[Piece]] = {}
        for piece in self.every:
            alike.setdefault(self._shares_of(piece), []).append(piece)
        return alike

    @cached_property
    def parts(self) -> list[Part]:
        """What decides of every group of tensors."""
        parts = []
        for shares, pieces in self._alike.items():
            if self.recipe.method in NEED_TENSORS:
                parts.append(Part(tuple(pieces), shares))
                continue
            if not is_wide(self.recipe):
                whole = [replace(piece, ends=(), names=()) for piece in pieces]
                parts.append(Part(in_one_piece(whole), shares, NARROW_REACHES))
                continue
            kept = [next_to_midpoints(piece, self.models, shares) for piece in pieces]
            told = [piece for piece in kept if piece.size]
            parts.append(Part(in_one_piece(told) if told else (), shares))
        return parts

    def _shares_of(self, piece: Piece) -> Shares:
        weights = [
            value_at(setting, piece.tensor, piece.position)
            for setting in self.recipe.weights
        ]
        if self.recipe.base is None:
            whole = sum(weights)
            return tuple(round(weight / whole, 12) for weight in weights)
        return (round(1 - sum(weights), 12), *weights)

    @cached_property
    def layers(self) -> int | None:
        """The number of layers, where the tensors' places tell one."""
        return number_of_layers(sorted({piece.position for piece in self.every}))

    def _settings(self, shares: Sequence[Shares]) -> list[Setting]:
        """The shares of all parts as one setting for each model: under the filters of
        the recipe, with a number for each layer.
        """
        moved = dict(zip(self._alike, shares, strict=True))
        settings = []
        for place in range(len(self.models)):
            values = [
                (piece, moved[self._shares_of(piece)][place]) for piece in self.every
            ]
            settings.append(self._setting(place, values))
        return settings

    def _setting(self, place: int, values: Sequence[tuple[Piece, float]]) -> Setting:
        patterns = [pattern for pattern, _ in self.recipe.weights[0]]
        setting = []
        for pattern in patterns:
            members = [
                (piece.position, value)
                for piece, value in values
                if next(one for one in patterns if one in piece.tensor) == pattern
            ]
            numbers = {value for _, value in members}
            if len(numbers) == 1:
                setting.append((pattern, tuple(numbers)))
                continue
            known = self._before(place, pattern)
            for position, value in members:
                known[round(position * (len(known) - 1))] = value
            setting.append((pattern, tuple(known)))
        return tuple(setting)

    def _before(self, place: int, pattern: str) -> list[float]:
        """A model's share in every layer as the recipe has it."""
        positions = np.linspace(0, 1, self.layers or 2).tolist()
        shares = [
            [value_at(setting, pattern, position) for setting in self.recipe.weights]
            for position in positions
        ]
        if self.recipe.base is not None:
            shares = [[1 - sum(row), *row] for row in shares]
        else:
            shares = [[weight / sum(row) for weight in row] for row in shares]
        return [row[place] for row in shares]


def prefer_alike_varying(trial: Trial) -> None:
    """Where a recipe whose weights vary gives the screen back, or nearly, rate those
    of the same weights, or closer ones, that give most of the pilot back.
    """
    starts = [
        recipe
        for recipe in trial.ranked(list(trial.rates))
        if trial.rates[recipe] >= NEARLY_SOLVED
    ][:MAX_STARTS]
    if not starts:
        return
    every = tuple(trial.pieces)
    best = min(starts, key=lambda recipe: missed_by(recipe, every))
    for found in closer_recipes(best, trial.frame.base, every):
        trial.rate(found)
        trial.preferred.append(found)


def closer_recipes(
    recipe: Recipe, base: str, pieces: tuple[Piece, ...]
) -> list[Recipe]:
    """The recipes like one of varying weights that leave fewest elements of some
    tensors; none where it is no such recipe, or leaves nothing.
    """
    if not _is_varying(recipe) or not missed_by(recipe, pieces):
        return []
    alike = _with_common_filters(recipe)
    varying = None if alike is None else Varying(alike, base, pieces)
    if varying is None or not varying.layers:
        return []
    return varying.recipes()[:MAX_PREFERRED]


def _with_common_filters(recipe: Recipe) -> Recipe | None:
    """The recipe with the weights of all models under the same filters; None where those
    of two models differ.
    """
    longest = max(recipe.weights, key=len)
    patterns = [pattern for pattern, _ in longest]
    weights = []
    for setting in recipe.weights:
        own = [pattern for pattern, _ in setting]
        if own == patterns:
            weights.append(setting)
        elif own == [""]:
            weights.append(tuple((pattern, setting[0][1]) for pattern in patterns))
        else:
            return None
    return replace(recipe, weights=tuple(weights))


def _is_varying(recipe: Recipe) -> bool:
    """Whether a recipe is a mixture whose weights vary, or of directions."""
    if recipe.method not in MIXED_ALIKE or (recipe.script and is_wide(recipe)):
        return False
    if recipe.method == "slerp" and is_wide(recipe):
        return True
    return any(single_value(setting) is None for setting in recipe.weights)


def _with_share(shares: Shares, place: int, value: float) -> Shares:
    """One share moved; the first has what that leaves."""
    moved = list(shares)
    moved[place] = value
    moved[0] = 1 - sum(moved[1:])
    return tuple(moved)


def _short(shares: Shares, reach: float) -> Shares:
    """The shortest shares within a reach of others."""
    short = shares
    for place, value in enumerate(shares[1:], 1):
        short = _with_share(short, place, simplest(value - reach, value + reach))
    return short


def _short_near(value: float, reach: float) -> list[float]:
    """Decimals and fractions near a weight, the shortest first."""
    short = [
        simplest(value - part, value + part)
        for part in (reach, reach / 10, reach / 100)
    ]
    for denominator in range(3, MOST_DENOMINATOR + 1):
        fraction = round(value * denominator) / denominator
        if abs(fraction - value) <= reach:
            short.append(fraction)
    return list(dict.fromkeys(short))


def next_to_midpoints(piece: Piece, models: Sequence[str], shares: Shares) -> Piece:
    """The elements whose blend without any rounding lies next to a midpoint of two
    stored numbers, or beyond one.
    """
    blend: Array = np.zeros(piece.size)
    for name, share in zip(models, shares, strict=True):
        blend = blend + share * piece.values[name]
    greatest = np.max([np.abs(piece.values[name]) for name in models], axis=0)
    low, high = piece.cell
    with np.errstate(invalid="ignore"):
        room = np.minimum(blend - low, high - blend)
        near = room <= NEAR_MIDPOINT * greatest
    kept = elements_of(piece, near)
    return replace(kept, ends=(), names=())
