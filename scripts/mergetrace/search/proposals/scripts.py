"""Recipes of lines written by hand: which weights, which lines, which dtype, in which
order.

The weights come from least squares, which no rounding bends (see `blends`). Where that
leaves more than rounding, as of every innocent model, nothing is tried.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import permutations

from mergetrace.merging.recipes import Recipe
from mergetrace.merging.scripts import SCRIPTS, Script
from mergetrace.search.blends import Blend, pilot_blend
from mergetrace.search.clues import Clues
from mergetrace.search.proposals.any_weights import Fitted, LinesFit, thinned
from mergetrace.search.proposals.lines import WIDE, Lines, where_weights_live
from mergetrace.search.proposals.short_shares import (
    EXCESS_OF_ROUNDING,
    NARROW,
    Shares,
    reach_of,
    short_shares,
    short_turns,
    with_rest,
    written_totals,
)
from mergetrace.search.trial import Trial

WIDE_FOUND = 0.98
"""The rate that a wide script has at least where another wide one is the right one."""
HALF_DTYPE = "float16"
FOUND_BESIDE_HALF = 0.8
"""The rate that a recipe of the right weights has where f16 was rounded to bf16: it has
three bits more.
"""
MAX_REFINED = 4  # scripts whose weights are looked at more closely
MAX_REORDERED = 16  # narrow scripts tried in other orders
MAX_SHARE_SETS = 4  # of a narrow script, that are tried in other orders
MAX_PERMUTED = 4  # models tried in any order: 24 orders
FITTED_ELEMENTS = 16384  # of a piece
SCANNED_ELEMENTS = 1024  # of a piece
MAX_SCANNED = 2  # scripts
FEW_MISSED = 100  # elements of the pilot, all of which are then looked at each time
MOST_MISSED = 0.2  # of the elements, of a script whose weights are nearly right
WORTH_DIGITS = 0.5  # the rate of a script from which weights of more digits are tried
SHARES_SLACK = 1e-9  # from one, up to which shares sum to it


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
            if self.trial.solved() or not self._is_open(dtype):
                continue
            self._try_all(dtype, shares)
            if not self.trial.solved() and dtype not in WIDE:
                self._try_totals(dtype)
                self._try_turns(dtype)
        for recipe in self._worth_reordering():
            if not self.trial.solved():
                self._try_orders(*self.tried[recipe])
        self._try_any_weights()
        return list(self.tried)

    def _rate(self, lines: Lines, shares: Shares) -> Recipe:
        """Rate lines with shares in the order of the blend's models."""
        by_model = dict(zip(self.blend.models, shares, strict=True))
        recipe = lines.with_shares([by_model[name] for name in lines.models])
        self.tried[recipe] = (lines, shares)
        self.trial.rate(recipe)
        return recipe

    def _dtypes(self) -> list[str]:
        """The dtypes that lines may have, the one that the model is stored in first; in
        the end f16, as which many open models that they then store as bf16.
        """
        narrow = NARROW.get(self.trial.stored_dtype)
        if narrow is None:
            return list(WIDE)
        return list(dict.fromkeys([narrow, *WIDE, HALF_DTYPE]))

    def _is_open(self, dtype: str) -> bool:
        """Whether a dtype is worth trying: after wide arithmetic every wide recipe of the
        right weights gives nearly everything back, and after f16 most.
        """
        if dtype == HALF_DTYPE and NARROW.get(self.trial.stored_dtype) != HALF_DTYPE:
            return self.trial.best_rate() >= FOUND_BESIDE_HALF
        if dtype not in WIDE or not self.tried:
            return True
        return any(
            rate >= WIDE_FOUND
            for recipe, rate in self.trial.rates.items()
            if recipe.dtype in WIDE
        )

    def _try_all(self, dtype: str, shares: Sequence[Shares]) -> None:
        """Every script in one dtype; once one gives everything back, the others with its
        shares alone, unless those are the blend's own: lines that round their weights
        may do the same with the short ones that somebody wrote.
        """
        own = shares[-2:]
        for lines in _all_lines(dtype, self.blend):
            for values in shares:
                if _fits(lines, self.blend, values):
                    self._rate(lines, values)
            if self.trial.solved():
                written = [each for each in self._solving_shares() if each not in own]
                shares = written or shares

    def _try_totals(self, dtype: str) -> None:
        """Scripts that divide by the weights' sum, with weights that do not sum to one."""
        if abs(self.blend.excess) > EXCESS_OF_ROUNDING:
            return
        shares = with_rest(self.blend)
        reaches = [reach_of(error) for error in self.blend.errors]
        for total in written_totals(shares, reaches):
            for lines in _all_lines(dtype, self.blend):
                if SCRIPTS[lines.script].weighing == "over_sum":
                    self._rate(replace(lines, total=total), shares)

    def _try_turns(self, dtype: str) -> None:
        """Scripts that move a merge on from model to model, of few models in any order,
        with short weights of each move.
        """
        models = self.blend.models
        if not 2 < len(models) <= MAX_PERMUTED or self.trial.solved():
            return
        for order in permutations(models):
            for shares in short_turns(self.blend, order):
                for name, script in SCRIPTS.items():
                    if script.weighing == "in_turn" and not self.trial.solved():
                        for rounded in where_weights_live(script, dtype):
                            self._rate(Lines(name, order, dtype, rounded), shares)

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
        best_rate = self.trial.rate(self._rate(lines, shares))
        improved = True
        while improved:
            improved = False
            for place in range(len(others) - 1):
                swapped = list(others)
                swapped[place] = others[place + 1]
                swapped[place + 1] = others[place]
                recipe = self._rate(lines.reordered(swapped), shares)
                swapped_rate = self.trial.rate(recipe)
                if swapped_rate > best_rate:
                    others = swapped
                    best_rate = swapped_rate
                    improved = True

    def _worth_reordering(self) -> list[Recipe]:
        """The best recipes of scripts, of narrow ones apart: in another order these give
        far more back, and those that round only once nearly as much in any. Then narrow
        ones with other shares: in a wrong order not the right ones are the best.
        """
        best = self._best_of_scripts()
        wide = [recipe for recipe in best if recipe.dtype in WIDE]
        open_order = [recipe for recipe in best if not self._in_every_order(recipe)]
        stored = NARROW.get(self.trial.stored_dtype)
        narrow = [recipe for recipe in open_order if recipe.dtype == stored]
        others = self._of_other_shares(narrow[:MAX_REORDERED])
        # f16, rounded to bf16, hides whatever is not right: it must not crowd out others.
        half = [recipe for recipe in open_order if recipe.dtype not in (*WIDE, stored)]
        return [
            *narrow[:MAX_REORDERED],
            *half[:MAX_REFINED],
            *wide[:MAX_REFINED],
            *others,
        ]

    def _in_every_order(self, recipe: Recipe) -> bool:
        """Whether a script's lines were tried with the models in every order before."""
        few = len(self.blend.models) <= MAX_PERMUTED
        return few and SCRIPTS[recipe.script].weighing == "in_turn"

    def _of_other_shares(self, best: Sequence[Recipe]) -> list[Recipe]:
        """The next best recipes of the same scripts with other shares."""
        shares_of = {self._key(recipe): {self.tried[recipe][1]} for recipe in best}
        others = []
        for recipe in self.trial.ranked(list(self.tried)):
            seen = shares_of.get(self._key(recipe), set())
            shares = self.tried[recipe][1]
            is_worth = self.trial.rates[recipe] >= WORTH_DIGITS
            if is_worth and seen and shares not in seen and len(seen) < MAX_SHARE_SETS:
                seen.add(shares)
                others.append(recipe)
        return others[:MAX_REORDERED]

    def _key(self, recipe: Recipe) -> tuple[str, str, bool]:
        lines, _ = self.tried[recipe]
        return lines.script, lines.dtype, lines.weights_rounded

    def _best_of_scripts(self) -> list[Recipe]:
        """The best recipe of every script, by falling rate; none that gives little
        back.
        """
        best: dict[tuple[str, str, bool], Recipe] = {}
        for recipe in self.trial.ranked(list(self.tried)):
            best.setdefault(self._key(recipe), recipe)
        return [
            recipe
            for recipe in best.values()
            if self.trial.rates[recipe] >= WORTH_DIGITS
        ]

    def _try_any_weights(self) -> None:
        """Weights of any digits, of the best scripts: of those that then leave fewest
        elements step by step. The whole pilot is looked at: weights that give the screen
        back may leave some of the rest.
        """
        fits: list[tuple[LinesFit, Fitted]] = []
        pieces = thinned(self.trial.pieces, FITTED_ELEMENTS)
        for recipe in self._best_of_scripts()[:MAX_REFINED]:
            lines, shares = self.tried[recipe]
            if SCRIPTS[lines.script].weighing in ("equal", "onto_first"):
                if self.trial.rates[recipe] == 1:
                    return
                continue
            by_model = dict(zip(self.blend.models, shares, strict=True))
            fit = LinesFit(lines, pieces)
            fitted = fit.fitted([by_model[name] for name in lines.models])
            fits.append((fit, fitted))
            if self._keeps(lines, fitted):
                return
        fits.sort(key=lambda entry: entry[1].missed)
        few = thinned(pieces, SCANNED_ELEMENTS)
        for fit, fitted in fits[:MAX_SCANNED]:
            if fitted.missed < fit.elements * MOST_MISSED:
                closer = LinesFit(fit.lines, few).scanned(fitted)
                refined = fit.fitted(closer.shares)
                self._keeps(fit.lines, closer)
                if self._keeps(fit.lines, refined) or refined.missed <= FEW_MISSED:
                    self._keeps(fit.lines, fit.scanned(refined))
                    return

    def _keeps(self, lines: Lines, fitted: Fitted) -> bool:
        """Rate lines with the weights that were fitted; whether they leave nothing."""
        by_model = dict(zip(lines.models, fitted.shares, strict=True))
        recipe = self._rate(lines, tuple(by_model[name] for name in self.blend.models))
        if not fitted.missed:
            self.trial.preferred.append(recipe)
        return not fitted.missed


def propose_scripts(trial: Trial, clues: Clues) -> list[Recipe]:
    """Lines over the models that least squares shows, where it leaves no more than
    rounding.
    """
    blend = pilot_blend(trial, clues.offered)
    if blend is None or not blend.is_rounding or len(blend.models) < 2:
        return []
    return ScriptSearch(trial, blend).run()


def _all_lines(dtype: str, blend: Blend) -> Iterator[Lines]:
    """Every script in one dtype, the models in a few orders."""
    sizes = dict(zip(blend.models, blend.weights, strict=True))
    by_size = tuple(sorted(blend.models, key=lambda name: -abs(sizes[name])))
    orders = list(dict.fromkeys([blend.models, blend.models[::-1], by_size]))
    for name, script in SCRIPTS.items():
        if script.weighing == "on_arc":
            continue
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
    return sums_to_one or lines.sums_freely
