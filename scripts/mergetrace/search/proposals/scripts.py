"""Recipes of lines written by hand: which weights, which lines, which dtype, in which
order.

The weights come from least squares, which no rounding bends (see `blends`). Where that
leaves more than rounding, as of every innocent model, nothing is tried.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np

from mergetrace.merging.recipes import Recipe, make_script
from mergetrace.merging.scripts import SCRIPTS, Script
from mergetrace.numerics.simple import simplest
from mergetrace.search.blends import Blend, pilot_blend
from mergetrace.search.clues import Clues
from mergetrace.search.proposals.lines import WIDE, Lines, where_weights_live
from mergetrace.search.proposals.short_shares import (
    NARROW,
    Shares,
    reach_of,
    short_shares,
)
from mergetrace.search.trial import Trial

WIDE_FOUND = 0.98
"""The rate that a wide script has at least where another wide one is the right one."""
MAX_REFINED = 4  # scripts whose order and weights are looked at more closely
MAX_PERMUTED = 4  # models tried in any order: 24 orders
WORTH_DIGITS = 0.5  # the rate of a script from which weights of more digits are tried
SHARES_SLACK = 1e-9  # from one, up to which shares sum to it
LINES_GRID = np.linspace(-1, 1, 17)
LINES_GRID_ROUNDS = 6
LINES_GRID_SHRINKS = 8
LINES_PLATEAU = 2e-4  # of a rate: weights between which no element decides


@dataclass
class ScriptSearch:
    """Lines tried on the pilot of a model that is a blend up to rounding."""

    trial: Trial
    blend: Blend
    tried: dict[Recipe, tuple[Lines, Shares]] = field(default_factory=dict)
    """By recipe, what it was made of."""

    def run(self) -> list[Recipe]:
        """Every script with short weights, then the best of them in other orders and
        with other weights, until one gives the whole screen back.
        """
        shares = short_shares(self.blend)
        for dtype in self._dtypes():
            if not self.trial.solved() and self._is_open(dtype):
                self._try_all(dtype, shares)
        for recipe in self.trial.ranked(list(self.tried))[:MAX_REFINED]:
            if not self.trial.solved():
                self._try_orders(*self.tried[recipe])
        for recipe in self._best_of_scripts()[:MAX_REFINED]:
            if not self.trial.solved():
                self._try_any_weights(*self.tried[recipe])
        return list(self.tried)

    def _rate(self, lines: Lines, shares: Shares) -> float:
        """The rate of lines with shares in the order of the blend's models."""
        by_model = dict(zip(self.blend.models, shares, strict=True))
        recipe = lines.with_shares([by_model[name] for name in lines.models])
        self.tried[recipe] = (lines, shares)
        return self.trial.rate(recipe)

    def _dtypes(self) -> list[str]:
        """The dtypes that lines may have, the one that the model is stored in first."""
        narrow = NARROW.get(self.trial.stored_dtype)
        return [narrow, *WIDE] if narrow else list(WIDE)

    def _is_open(self, dtype: str) -> bool:
        """Whether a dtype is worth trying: after wide arithmetic every wide recipe of the
        right weights gives nearly everything back.
        """
        if dtype not in WIDE or not self.tried:
            return True
        return any(
            rate >= WIDE_FOUND
            for recipe, rate in self.trial.rates.items()
            if recipe.dtype in WIDE
        )

    def _try_all(self, dtype: str, shares: Sequence[Shares]) -> None:
        """Every script in one dtype; once one gives everything back, the others with its
        shares alone.
        """
        for lines in _all_lines(dtype, self.blend):
            for values in shares:
                if _fits(lines, self.blend, values):
                    self._rate(lines, values)
            if self.trial.solved():
                shares = self._solving_shares() or shares

    def _solving_shares(self) -> list[Shares]:
        solving = [
            shares
            for recipe, (_, shares) in self.tried.items()
            if self.trial.rates[recipe] == 1
        ]
        return list(dict.fromkeys(solving))

    def _try_orders(self, lines: Lines, shares: Shares) -> None:
        """The models in other orders: in any of few, of many by exchanging neighbours as
        long as that helps.
        """
        others = list(lines.models[lines.fixed :])
        if len(others) <= MAX_PERMUTED:
            for order in permutations(others):
                self._rate(lines.reordered(order), shares)
            return
        best_rate = self._rate(lines, shares)
        improved = True
        while improved:
            improved = False
            for place in range(len(others) - 1):
                swapped = list(others)
                swapped[place] = others[place + 1]
                swapped[place + 1] = others[place]
                swapped_rate = self._rate(lines.reordered(swapped), shares)
                if swapped_rate > best_rate:
                    others = swapped
                    best_rate = swapped_rate
                    improved = True

    def _best_of_scripts(self) -> list[Recipe]:
        """The best recipe of every script, by falling rate; none that gives little
        back.
        """
        best: dict[tuple[str, str, bool], Recipe] = {}
        for recipe in self.trial.ranked(list(self.tried)):
            lines, _ = self.tried[recipe]
            best.setdefault((lines.script, lines.dtype, lines.weights_rounded), recipe)
        return [
            recipe
            for recipe in best.values()
            if self.trial.rates[recipe] >= WORTH_DIGITS
        ]

    def _try_any_weights(self, lines: Lines, shares: Shares) -> None:
        """Weights of any digits: each share in turn, the largest making up for it."""
        if SCRIPTS[lines.script].weighing in ("equal", "onto_first"):
            return
        largest = int(np.argmax(np.abs(shares)))
        places = [place for place in range(len(shares)) if place != largest]
        for place in places * len(places):  # one share's best moves with another's
            if not self.trial.solved():
                shares = self._moved_share(lines, shares, place, largest)

    def _moved_share(
        self, lines: Lines, shares: Shares, place: int, largest: int
    ) -> Shares:
        """The shares with one moved over a grid that grows finer, then to the shortest
        number that does as well.
        """

        def moved(value: float) -> Shares:
            changed = list(shares)
            changed[largest] += shares[place] - value
            changed[place] = value
            return tuple(changed)

        center = shares[place]
        reach = reach_of(self.blend.errors[place], max(map(abs, self.blend.weights)))
        low = high = center
        for _ in range(LINES_GRID_ROUNDS):
            values = [float(value) for value in center + reach * LINES_GRID]
            rates = np.array([self._rate(lines, moved(value)) for value in values])
            good = np.flatnonzero(rates >= rates.max() - LINES_PLATEAU)
            low = values[good[0]]
            high = values[good[-1]]
            center = (low + high) / 2
            if rates.max() == 1:
                break
            reach = max((high - low) / 2, reach / LINES_GRID_SHRINKS)
        simple = moved(simplest(low, high))
        self._rate(lines, simple)
        return simple


def propose_scripts(trial: Trial, clues: Clues) -> list[Recipe]:
    """Lines over the models that least squares shows, where it leaves no more than
    rounding.
    """
    blend = pilot_blend(trial, clues.offered)
    if blend is None or not blend.is_rounding or len(blend.models) < 2:
        return []
    return ScriptSearch(trial, blend).run()


def in_float64(recipe: Recipe) -> list[Recipe]:
    """The lines that compute in float64 what a recipe computes in float32: of a million
    elements they differ in a few, which no screen need hold.
    """
    if recipe.script or recipe.dtype != "float32":
        return []
    weights = dict(zip(recipe.models, recipe.weights, strict=True))
    if recipe.method == "linear":
        names = ["products_over_sum", "products"]
        if not recipe.setting("normalize"):
            names.remove("products_over_sum")
        return [make_script(name, weights, None, "float64") for name in names]
    is_plain = recipe.method == "task_arithmetic" and not recipe.settings
    if not is_plain:
        return []
    return [make_script("deltas_in_turn", weights, recipe.base, "float64")]


def _all_lines(dtype: str, blend: Blend) -> Iterator[Lines]:
    """Every script in one dtype, the models in a few orders."""
    sizes = dict(zip(blend.models, blend.weights, strict=True))
    by_size = tuple(sorted(blend.models, key=lambda name: -abs(sizes[name])))
    orders = list(dict.fromkeys([blend.models, blend.models[::-1], by_size]))
    for name, script in SCRIPTS.items():
        for rounded in where_weights_live(script, dtype):
            for models in _orders_of(script, blend, orders):
                yield Lines(name, models, dtype, rounded)


def _orders_of(
    script: Script, blend: Blend, orders: Sequence[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    """Orders worth trying first: of task arithmetic every model as the base, of changes
    added to a model every pair of the two.
    """
    models = blend.models
    first: list[tuple[str, ...]]
    if script.weighing == "onto_first":
        first = list(permutations(models, 2)) if len(models) > 2 else []
    elif script.method == "task_arithmetic":
        first = [(model,) for model in models]
    elif script.ordered or len(models) > 2:
        return list(orders)
    else:
        return list(orders[:1])
    return [
        (*chosen, *(name for name in models if name not in chosen)) for chosen in first
    ]


def _fits(lines: Lines, blend: Blend, shares: Shares) -> bool:
    """Whether lines can have these shares."""
    script = SCRIPTS[lines.script]
    if script.weighing == "onto_first":
        by_model = dict(zip(blend.models, shares, strict=True))
        return abs(by_model[lines.models[1]] - 1) < SHARES_SLACK
    sums_to_one = abs(sum(shares) - 1) < SHARES_SLACK
    if script.weighing == "equal":
        return sums_to_one and max(shares) - min(shares) < SHARES_SLACK
    return sums_to_one or (script.weighing == "free" and script.method == "linear")
