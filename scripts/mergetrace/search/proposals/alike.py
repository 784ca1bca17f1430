"""Recipes in wide arithmetic that no screen tells apart: of a million elements float32 and
float64, fused and unfused sums, or another order differ in a few, and these decide.

Those few are known beforehand: the blend without any rounding lies next to a midpoint of
two stored numbers there. Looked at alone they cost next to nothing, so that every way to
write the blend is tried on all of the pilot.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations

import numpy as np

from mergetrace.merging.applying import Piece
from mergetrace.merging.recipes import Recipe, make, model_shares
from mergetrace.merging.scripts import SCRIPTS
from mergetrace.numerics.arrays import Array, Mask
from mergetrace.search.counting import missed_by
from mergetrace.search.proposals.any_weights import Fitted, LinesFit
from mergetrace.search.proposals.lines import WIDE, Lines, where_weights_live
from mergetrace.search.proposals.short_shares import written_totals
from mergetrace.search.trial import Trial, elements_of, in_one_piece

NEARLY_SOLVED = 0.98
"""The rate from which a wide recipe has the right weights but for the last digits."""
DECIDING_DISTANCE = 1e-5
"""Of the greatest parent's number: wide arithmetic, and weights of six digits, stray less
from the blend.
"""
MAX_SHARES_ALIKE = 8  # sets of shares of which the one is taken that fits best
MAX_DECIDING = 1 << 14
MAX_ALIKE_IN_ANY_ORDER = 3  # models: 6 orders
MAX_ALIKE_PERMUTED = 4  # models of the best script: 24 orders
LEAST_BLENDED_SHARE = 1e-5  # of a model that is in the blend
MAX_ALIKE_SCANNED = 8  # scripts whose weights are moved by last digits
LAST_DIGITS = 1e-6
"""Of a weight: as far as it is known where all but a few elements come back."""
MAX_PREFERRED = 4
WRITTEN_REACH = 1e-5  # of a share that is known to some millionths
METHODS_OF_SHARES = ("linear", "task_arithmetic", "lerp")
SUMS_TO_ONE = 1e-9


@dataclass(frozen=True)
class Deciding:
    """The elements of the pilot that tell wide recipes of the same shares apart."""

    shares: Mapping[str, float]
    """By model its share, in the order of the recipe that nearly solves the pilot."""
    base: str
    """The base of the frame."""
    pieces: tuple[Piece, ...]

    def missed(self, recipe: Recipe) -> int:
        """How many of them a recipe does not give back."""
        return missed_by(recipe, self.pieces)

    def best(self) -> list[Recipe]:
        """The recipes that miss fewest, the merge tool's before lines by hand; with
        weights of more digits where none gives all back.
        """
        missed = {recipe: self.missed(recipe) for recipe in self._of_the_tool()}
        lines = {one.with_shares(self._in_order(one)): one for one in self._lines()}
        missed |= {recipe: self.missed(recipe) for recipe in lines}
        ranked = sorted(missed, key=lambda recipe: missed[recipe])
        scanned: set[tuple[str, str]] = set()
        for one in (lines[recipe] for recipe in ranked if recipe in lines):
            if not min(missed.values()) or len(scanned) == MAX_ALIKE_SCANNED:
                break
            if (one.script, one.dtype) not in scanned:
                scanned.add((one.script, one.dtype))
                missed |= self._closer(one)
        ranked = sorted(missed, key=lambda recipe: missed[recipe])
        least = missed[ranked[0]]
        return [recipe for recipe in ranked if missed[recipe] == least]

    def _closer(self, lines: Lines) -> dict[Recipe, int]:
        """The lines in the best order, with the last digits of their weights moved, and
        what they miss.
        """
        others = lines.models[lines.fixed :]
        orders = [others]
        if len(others) <= MAX_ALIKE_PERMUTED:
            orders = list(permutations(others))
        every = [lines.reordered(order) for order in orders]
        best = min(
            every, key=lambda one: self.missed(one.with_shares(self._in_order(one)))
        )
        start = self._in_order(best)
        fit = LinesFit(best, self.pieces, LAST_DIGITS)
        found = fit.scanned(Fitted(start, len(start), (0.0,) * len(start)))
        return {fit.recipe(found.shares): found.missed}

    def _totals(self) -> list[float]:
        """What weights that are divided by their sum may sum to."""
        shares = list(self.shares.values())
        return written_totals(shares, [WRITTEN_REACH] * len(shares))

    def _is_odd(self, lines: Lines) -> bool:
        """Whether changes are taken from a donor although the base is in the blend."""
        is_delta = SCRIPTS[lines.script].method == "task_arithmetic"
        return is_delta and self.base in self.shares and lines.models[0] != self.base

    def _in_order(self, lines: Lines) -> tuple[float, ...]:
        return tuple(self.shares.get(name, 0.0) for name in lines.models)

    def _of_the_tool(self) -> Iterator[Recipe]:
        """Averages and task arithmetic of the merge tool."""
        is_average = abs(sum(self.shares.values()) - 1) < SUMS_TO_ONE
        for order in _orders(tuple(self.shares)):
            weights = {name: self.shares[name] for name in order}
            for fused in (1.0, 0.0):
                yield make("linear", weights, fused=fused, normalize=0)
                if is_average:
                    yield make("linear", weights, fused=fused)
        for order in _orders(tuple(name for name in self.shares if name != self.base)):
            deltas = {name: self.shares[name] for name in order}
            if is_average:
                yield make("task_arithmetic", deltas, self.base)

    def _lines(self) -> Iterator[Lines]:
        """Scripts in wide arithmetic that can have these shares."""
        sums_to_one = abs(sum(self.shares.values()) - 1) < SUMS_TO_ONE
        equal = max(self.shares.values()) - min(self.shares.values()) < SUMS_TO_ONE
        totals = self._totals() if sums_to_one else []
        for dtype in WIDE:
            for name, script in SCRIPTS.items():
                if script.weighing in ("onto_first", "on_arc"):
                    continue
                if script.weighing == "equal" and not equal:
                    continue
                for lines in self._in_orders(name, dtype):
                    if sums_to_one or lines.sums_freely:
                        yield lines
                    if script.weighing == "over_sum":
                        for total in totals:
                            yield replace(lines, total=total)

    def _in_orders(self, name: str, dtype: str) -> Iterator[Lines]:
        """One script with the models in any order that makes sense."""
        for rounded in where_weights_live(SCRIPTS[name], dtype):
            for order in _orders(tuple(self.shares)):
                lines = Lines(name, order, dtype, rounded)
                if not self._is_odd(lines):
                    yield lines


def prefer_alike(trial: Trial) -> None:
    """Where a wide recipe gives the screen back, or nearly, rate those that are like it
    and give most of the whole pilot back.
    """
    deciding = _deciding(trial)
    if deciding is None:
        return
    for recipe in deciding.best()[:MAX_PREFERRED]:
        trial.rate(recipe)
        trial.preferred.append(recipe)


def _deciding(trial: Trial) -> Deciding | None:
    """The elements that decide; None where no recipe in question gives nearly all
    back.
    """
    best = trial.best(list(trial.rates)) if trial.rates else None
    if best is None or trial.rate(best) < NEARLY_SOLVED or not _is_wide(best):
        return None
    every = [shares for shares in _shares_found(trial) if len(shares) > 1]
    if not every:
        return None
    joined = in_one_piece(trial.pieces)
    shares = min(every, key=lambda shares: _outside(joined, shares))
    chosen = [elements_of(piece, _at_midpoints(piece, shares)) for piece in joined]
    pieces = [piece for piece in chosen if piece.size]
    stride = max(1, sum(piece.size for piece in pieces) // MAX_DECIDING)
    thinned = tuple(elements_of(piece, slice(None, None, stride)) for piece in pieces)
    return Deciding(shares, trial.frame.base, thinned) if thinned else None


def _is_wide(recipe: Recipe) -> bool:
    return recipe.dtype in WIDE and recipe.method in METHODS_OF_SHARES


def _shares_found(trial: Trial) -> list[dict[str, float]]:
    """The shares of the recipes that nearly solve the screen, of the best first."""
    found: dict[tuple[tuple[str, float], ...], dict[str, float]] = {}
    for recipe in trial.ranked(list(trial.rates)):
        if trial.rates[recipe] < NEARLY_SOLVED or len(found) == MAX_SHARES_ALIKE:
            break
        shares = model_shares(recipe, trial.frame.base) if _is_wide(recipe) else None
        if shares is not None:
            used = _without_traces(shares)
            found.setdefault(tuple(sorted(used.items())), used)
    return list(found.values())


def _without_traces(shares: Mapping[str, float]) -> dict[str, float]:
    """The shares of those models that have one, the largest made up for the others."""
    used = {
        name: share
        for name, share in shares.items()
        if abs(share) > LEAST_BLENDED_SHARE
    }
    if used:
        largest = max(used, key=lambda name: abs(used[name]))
        used[largest] += sum(shares.values()) - sum(used.values())
        used[largest] = round(used[largest], 12)
    return used


def _blend(piece: Piece, shares: Mapping[str, float]) -> Array:
    """The blend without any rounding: float64 [n]."""
    blend = np.zeros(piece.size)
    for name, share in shares.items():
        blend += share * piece.values[name]
    return blend


def _outside(pieces: Sequence[Piece], shares: Mapping[str, float]) -> int:
    """How many elements are not the blend without any rounding."""
    count = 0
    for piece in pieces:
        low, high = piece.audited.midpoints()
        blend = _blend(piece, shares)
        count += int(np.count_nonzero((blend < low) | (blend > high)))
    return count


def _at_midpoints(piece: Piece, shares: Mapping[str, float]) -> Mask:
    """Where the blend without any rounding lies next to a midpoint of stored numbers."""
    low, high = piece.audited.midpoints()
    blend = _blend(piece, shares)
    greatest = np.max([np.abs(piece.values[name]) for name in shares], axis=0)
    with np.errstate(invalid="ignore"):
        room = np.minimum(blend - low, high - blend)
        near: Mask = np.abs(room) <= DECIDING_DISTANCE * greatest
    return near


def _orders(models: tuple[str, ...]) -> Sequence[tuple[str, ...]]:
    if len(models) <= MAX_ALIKE_IN_ANY_ORDER:
        return list(permutations(models))
    return [models, models[::-1]]
