"""Recipes of lines written by hand: which weights, which lines, which dtype, in which
order.

The weights come from least squares, which no rounding bends (see `blends`). Where that
leaves more than rounding, as of every innocent model, nothing is tried.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import permutations

import numpy as np

from mergetrace.merging.recipes import Recipe, make_script, written_length
from mergetrace.merging.scripts import SCRIPTS, Script, weights_of_shares
from mergetrace.numerics.simple import near, simplest
from mergetrace.search.blends import Blend, pilot_blend
from mergetrace.search.clues import Clues
from mergetrace.search.trial import Trial

WIDE = ("float32", "float64")
WIDE_FOUND = 0.98
"""The rate that a wide script has at least where another wide one is the right one."""
NARROW = {"BF16": "bfloat16", "F16": "float16"}
"""The dtype of narrow tensors, by the format that a model is stored in."""
REACH_ERRORS = 4  # standard errors of a weight in which short numbers are tried
LEAST_REACH = 0.0025  # a bf16 weight lies as far from the number that was written
LARGEST_DIVISOR = 12  # of fractions that a person would write
MAX_SHARES = 8  # sets of shares tried with every script
MAX_REFINED = 4  # scripts whose order and weights are looked at more closely
MAX_PERMUTED = 4  # models tried in any order: 24 orders
HOPEFUL = 0.5  # the rate of a script whose weights are worth more digits
SUM_TO_ONE = (
    0.004  # of an excess: weights that were rounded to bf16 miss one by as much
)
GRID = np.linspace(-1, 1, 17)
GRID_ROUNDS = 3
PLATEAU = 2e-4  # of a rate: weights between which no element decides


@dataclass(frozen=True)
class Lines:
    """A script with everything but its weights."""

    script: str
    models: tuple[str, ...]
    """In the script's order; of task arithmetic the first is the base."""
    dtype: str
    weights_rounded: bool

    def with_shares(self, shares: Sequence[float]) -> Recipe:
        """The recipe in which the models have these shares."""
        script = SCRIPTS[self.script]
        if script.method == "task_arithmetic":
            by_model = dict(zip(self.models[1:], shares[1:], strict=True))
            base = self.models[0]
        else:
            weights = weights_of_shares(self.script, shares)
            by_model = dict(zip(self.models, weights, strict=True))
            base = None
        return make_script(
            self.script, by_model, base, self.dtype, self.weights_rounded
        )


Shares = tuple[float, ...]
"""In the order of a blend's models."""


def propose_scripts(trial: Trial, clues: Clues) -> list[Recipe]:
    """Lines over the models that least squares shows, where it leaves no more than
    rounding: every script with short weights, then the best of them in other orders and
    with other weights.
    """
    blend = pilot_blend(trial, clues.offered)
    if blend is None or not blend.is_rounding or len(blend.models) < 2:
        return []
    shares = _short_shares(blend)
    tried: dict[Recipe, tuple[Lines, Shares]] = {}

    def rate(lines: Lines, values: Shares) -> Recipe:
        order = [blend.models.index(name) for name in lines.models]
        recipe = lines.with_shares([values[place] for place in order])
        trial.rate(recipe)
        tried[recipe] = (lines, values)
        return recipe

    for dtype in _dtypes(trial):
        if trial.solved() or not _is_worth_trying(trial, dtype, tried):
            continue
        for lines in _all_lines(dtype, blend):
            for values in _worth_trying(trial, tried, shares):
                if _fits(lines, blend, values):
                    rate(lines, values)
    for recipe in trial.ranked(list(tried))[:MAX_REFINED]:
        if trial.solved():
            break
        lines, values = tried[recipe]
        _in_orders(trial, blend, lines, values, rate)
    if not trial.solved():
        for recipe in _best_of_scripts(trial, tried)[:MAX_REFINED]:
            lines, values = tried[recipe]
            _with_any_weights(trial, blend, lines, values, rate)
            if trial.solved():
                break
    return sorted(tried, key=written_length)


Rate = Callable[[Lines, Shares], Recipe]


def _dtypes(trial: Trial) -> list[str]:
    """The dtypes that lines may have, the one that the model is stored in first."""
    narrow = NARROW.get(trial.stored_dtype)
    return [narrow, *WIDE] if narrow else list(WIDE)


def _is_worth_trying(
    trial: Trial, dtype: str, tried: Mapping[Recipe, tuple[Lines, Shares]]
) -> bool:
    """Whether a dtype is open: after wide arithmetic every wide script gives nearly
    everything back, and after narrow arithmetic none does.
    """
    if dtype not in WIDE:
        return True
    wide = [recipe for recipe in trial.rates if recipe.dtype in WIDE]
    return not tried or any(trial.rate(recipe) >= WIDE_FOUND for recipe in wide)


def _worth_trying(
    trial: Trial,
    tried: Mapping[Recipe, tuple[Lines, Shares]],
    shares: Sequence[Shares],
) -> list[Shares]:
    """The shares to try; once some lines give everything back, theirs alone."""
    if not trial.solved():
        return list(shares)
    solved = [
        values for recipe, (_, values) in tried.items() if trial.rate(recipe) == 1
    ]
    return list(dict.fromkeys(solved)) or list(shares[:1])


def _all_lines(dtype: str, blend: Blend) -> Iterator[Lines]:
    """Every script in one dtype, the models in a few orders; task arithmetic on each of
    them as the base.
    """
    by_size = sorted(
        blend.models,
        key=lambda name: -abs(blend.weights[blend.models.index(name)]),
    )
    orders = list(dict.fromkeys([blend.models, blend.models[::-1], tuple(by_size)]))
    for name, script in SCRIPTS.items():
        for rounded in _where_weights_live(script, dtype):
            for models in _orders_of(script, blend, orders):
                yield Lines(name, models, dtype, rounded)


def _where_weights_live(script: Script, dtype: str) -> list[bool]:
    """Whether weights are rounded to the dtype: both where that makes a difference."""
    if dtype in WIDE:
        return [False] if script.scalars_kept else []
    if script.weighing == "equal":
        return [False]
    choices = []
    if script.scalars_kept:
        choices.append(False)
    if script.scalars_rounded:
        choices.append(True)
    return choices


def _orders_of(
    script: Script, blend: Blend, orders: Sequence[tuple[str, ...]]
) -> list[tuple[str, ...]]:
    if script.weighing == "onto_first":
        pairs = permutations(blend.models, 2) if len(blend.models) > 2 else ()
        return [
            (base, start, *(name for name in blend.models if name not in (base, start)))
            for base, start in pairs
        ]
    if script.method == "task_arithmetic":
        first_as_base = []
        for base in blend.models:
            others = tuple(name for name in blend.models if name != base)
            first_as_base.append((base, *others))
        return first_as_base
    if script.ordered or len(blend.models) > 2:
        return list(orders)
    return list(orders[:1])


def _fits(lines: Lines, blend: Blend, shares: Shares) -> bool:
    """Whether lines can have these shares."""
    script = SCRIPTS[lines.script]
    if script.weighing == "onto_first":
        by_model = dict(zip(blend.models, shares, strict=True))
        return abs(by_model[lines.models[1]] - 1) < 1e-9
    sums_to_one = abs(sum(shares) - 1) < 1e-9
    if script.weighing == "equal":
        return max(shares) - min(shares) < 1e-9 and sums_to_one
    return sums_to_one or (script.weighing == "free" and script.method == "linear")


def _short_shares(blend: Blend) -> list[Shares]:
    """Sets of shares that a person would write, near those of least squares."""
    options = [
        _short_numbers(weight, error)
        for weight, error in zip(blend.weights, blend.errors, strict=True)
    ]
    count = len(blend.models)
    candidates: list[Shares] = []
    if abs(blend.excess) <= SUM_TO_ONE:
        equal = (1 / count,) * count
        if all(abs(weight - 1 / count) < LEAST_REACH for weight in blend.weights):
            candidates.append(equal)
        candidates += _summing_to_one(options, blend)
    else:
        candidates += [tuple(choice) for choice in _first_choices(options)]
    return list(dict.fromkeys(candidates))[:MAX_SHARES]


def _short_numbers(weight: float, error: float) -> list[float]:
    """Decimals of one to three digits and small fractions near a weight, the shortest
    first, of equal length the nearest.
    """
    reach = max(REACH_ERRORS * error, LEAST_REACH)
    numbers = [value for value in near(weight, reach) if value]
    for divisor in range(3, LARGEST_DIVISOR + 1):
        fraction = Fraction(round(weight * divisor), divisor)
        if fraction.denominator == divisor and abs(float(fraction) - weight) < reach:
            numbers.append(float(fraction))
    once = dict.fromkeys([*numbers, weight])

    def length(value: float) -> tuple[int, float]:
        fraction = Fraction(value).limit_denominator(LARGEST_DIVISOR)
        is_fraction = abs(float(fraction) - value) < 1e-12
        digits = 2 if is_fraction else len(f"{value:.10g}".removeprefix("0."))
        return digits, abs(value - weight)

    return sorted(once, key=length)


def _summing_to_one(options: Sequence[Sequence[float]], blend: Blend) -> list[Shares]:
    """The first of all but the largest share chosen freely, which has the rest."""
    largest = int(np.argmax(np.abs(blend.weights)))
    rest = [list(values) for place, values in enumerate(options) if place != largest]
    found = []
    for choice in _first_choices(rest):
        values = list(choice)
        values.insert(largest, round(1 - sum(choice), 12))
        found.append(tuple(values))
    return found


def _first_choices(options: Sequence[Sequence[float]]) -> list[tuple[float, ...]]:
    """The first choice of every coordinate, then one coordinate after the other changed."""
    if not options:
        return [()]
    first = [values[0] for values in options]
    choices = [tuple(first)]
    for rank in range(1, MAX_SHARES):
        for place, values in enumerate(options):
            if rank < len(values):
                choices.append((*first[:place], values[rank], *first[place + 1 :]))
    return choices


def _in_orders(
    trial: Trial, blend: Blend, lines: Lines, shares: Shares, rate: Rate
) -> None:
    """The lines with their models in other orders: in any of few, of many by exchanging
    neighbours as long as that helps.
    """
    models = lines.models
    head: tuple[str, ...] = ()
    if SCRIPTS[lines.script].method == "task_arithmetic":
        fixed = 2 if SCRIPTS[lines.script].weighing == "onto_first" else 1
        head, models = models[:fixed], models[fixed:]

    def in_order(order: Sequence[str]) -> float:
        changed = Lines(
            lines.script, (*head, *order), lines.dtype, lines.weights_rounded
        )
        return trial.rate(rate(changed, shares))

    if len(models) <= MAX_PERMUTED:
        for order in permutations(models):
            in_order(order)
        return
    best = list(models)
    best_rate = in_order(best)
    for _ in range(len(models)):
        improved = False
        for place in range(len(models) - 1):
            swapped = list(best)
            swapped[place], swapped[place + 1] = swapped[place + 1], swapped[place]
            swapped_rate = in_order(swapped)
            if swapped_rate > best_rate:
                best, best_rate, improved = swapped, swapped_rate, True
        if not improved:
            return


def _best_of_scripts(
    trial: Trial, tried: dict[Recipe, tuple[Lines, Shares]]
) -> list[Recipe]:
    """The best recipe of every script, by falling rate; none that gives little back."""
    best: dict[tuple[str, str, bool], Recipe] = {}
    for recipe in trial.ranked(list(tried)):
        lines, _ = tried[recipe]
        best.setdefault((lines.script, lines.dtype, lines.weights_rounded), recipe)
    return [recipe for recipe in best.values() if trial.rate(recipe) >= HOPEFUL]


def _with_any_weights(
    trial: Trial, blend: Blend, lines: Lines, shares: Shares, rate: Rate
) -> None:
    """The lines with weights of any digits: each share in turn is moved over a grid
    that grows finer, the largest one making up for it; then the shortest number is
    taken that does as well.
    """
    if SCRIPTS[lines.script].weighing == "equal":
        return
    largest = int(np.argmax(np.abs(shares)))

    def moved(values: Shares, place: int, value: float) -> Shares:
        changed = list(values)
        changed[largest] += values[place] - value
        changed[place] = value
        return tuple(changed)

    current = shares
    for place in range(len(shares)):
        if place == largest:
            continue
        reach = max(REACH_ERRORS * blend.errors[place], LEAST_REACH)
        center = blend.weights[place]
        for _ in range(GRID_ROUNDS):
            values = [float(center + reach * step) for step in GRID]
            rates = [
                trial.rate(rate(lines, moved(current, place, value)))
                for value in values
            ]
            good = np.flatnonzero(np.array(rates) >= max(rates) - PLATEAU)
            low, high = values[good[0]], values[good[-1]]
            center = (low + high) / 2
            reach = max((high - low) / 2, reach / 8)
        current = moved(current, place, simplest(low, high))
        rate(lines, current)
