"""Recipes whose weights differ between tensors: by filter, by gradient, layer by layer,
or tensor by tensor, of any two or more of the models offered.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import permutations

from mergetrace.merging.recipes import Recipe, make
from mergetrace.merging.scripts import SCRIPTS, Script
from mergetrace.merging.settings import Setting, constant
from mergetrace.numerics.arrays import some_of
from mergetrace.search.clues import Clues, family_found
from mergetrace.search.finalists import SOLVING_RATE
from mergetrace.search.gradients import Allowed
from mergetrace.search.leftover_shares import left_over, short_ratio
from mergetrace.search.patterns import explain
from mergetrace.search.tensor_weights import (
    MIN_TENSOR_SHARE,
    MIN_TENSORS,
    mixed_models,
    solve_tensors,
)
from mergetrace.search.trial import Trial
from mergetrace.search.variations import (
    MIN_TENSOR_COVERAGE,
    Counted,
    Measured,
    OfSeveral,
    OfTwo,
    Variation,
    by_layer,
    in_orders,
    measured_by,
    recipes_of,
)

LARGEST_RATIO_SHARE = 0.99
"""A share nearer to one leaves the ratio of two weights open."""
HELD_WEIGHTS = (1.0, *(tenths / 10 for tenths in range(1, 10)))
"""Of the model whose weight does not vary, where an average divides by the sum."""
MOST_MIXED = 6
"""Of a mixture whose weights vary."""
NARROW_OF = {"BF16": "bfloat16", "F16": "float16"}
"""The narrow dtype of the arithmetic, by the format that the model is stored in."""
TRIED_TENSORS = 3
"""Tensors on which narrow arithmetic is told from other narrow arithmetic."""
MAX_COUNTED_FINELY = 6
MAX_ARITHMETICS = 2


def propose_varying(trial: Trial, clues: Clues) -> list[Recipe]:
    """Mixtures of those models that show in single tensors, where single tensors are
    mixtures but for rounding: in float32, else in narrow arithmetic, which differs by
    little where changes are small.
    """
    models = mixed_models(trial, (trial.frame.base, *clues.offered))
    if not 2 <= len(models) <= MOST_MIXED:
        return []
    recipes: list[Recipe] = []
    for variation in _wide(trial, models):
        recipes += _proposed(trial, variation)
        best = max(map(trial.rate, recipes), default=0.0)
        if best >= SOLVING_RATE and not trial.fails_beside_screen():
            return recipes
    for variation in _narrow(trial, models):
        recipes += _proposed(trial, variation)
        if family_found(trial, recipes):
            return recipes
    return recipes


def _wide(trial: Trial, models: Sequence[str]) -> Iterator[Variation]:
    """The mixtures in float32."""
    if len(models) == 2:
        pair = (models[0], models[1])
        yield OfTwo(pair, "linear", trial.width)
        yield OfTwo(pair, "slerp", trial.width)
    else:
        yield OfSeveral(tuple(models), trial.width)


def _proposed(trial: Trial, variation: Variation) -> list[Recipe]:
    """The recipes of one mixture. Only such as few numbers say where one number does
    nearly as well: what is left is no matter of weights.
    """
    if isinstance(variation, OfSeveral):
        recipes = _of_several(trial, variation)
        if recipes:
            return recipes
        recipes = by_layer(variation, trial.pieces)
        if family_found(trial, recipes):
            return recipes
    measured = measured_by(variation, trial.pieces)
    if len(measured) < max(MIN_TENSORS, MIN_TENSOR_SHARE * len(trial.pieces)):
        return []
    nearly = trial.best_rate() >= MIN_TENSOR_COVERAGE
    short_only = nearly and not trial.fails_beside_screen()
    explained = recipes_of(variation, measured, short_only)
    recipes = explained.recipes
    if isinstance(variation, OfTwo) and variation.method == "linear":
        recipes += _over_their_sum(variation, measured)
    return recipes


def _of_several(trial: Trial, variation: OfSeveral) -> list[Recipe]:
    """The recipes of few numbers, one model's weight explained after the other; none
    where one is not explained.
    """
    settings: tuple[Setting, ...] = ()
    while len(settings) < len(variation.models) - 1:
        known = replace(variation, known=settings)
        found = [known.next_range(piece) for piece in trial.pieces]
        allowed = [entry for entry in found if entry is not None]
        if len(allowed) < max(MIN_TENSORS, MIN_TENSOR_SHARE * len(found)):
            return []
        setting = explain(allowed)
        if setting is None:
            return []
        settings = (*settings, setting)
    return [
        *variation.recipes(settings),
        *_over_the_sum_of_several(variation, settings),
    ]


def _over_the_sum_of_several(
    variation: OfSeveral, settings: Sequence[Setting]
) -> list[Recipe]:
    """Averages that divide by a sum which differs between tensors, where the weights
    beside one that is the same everywhere are short.
    """
    rest = left_over(settings)
    if rest is None:
        return []
    shares = dict(zip(variation.models, (rest, *settings), strict=True))
    for held, share in shares.items():
        for weight in HELD_WEIGHTS:
            weights = {
                name: constant(weight)
                if name == held
                else short_ratio(other, share, weight)
                for name, other in shares.items()
            }
            known = {
                name: value for name, value in weights.items() if value is not None
            }
            if len(known) == len(weights):
                return in_orders(make("linear", known))
    return []


def _over_their_sum(variation: OfTwo, measured: Sequence[Measured]) -> list[Recipe]:
    """Averages of one weight that varies and one that does not, which divide by their
    sum: only their ratio shows.
    """
    first, second = variation.models
    of_second = [allowed for (allowed,) in measured]
    of_first = [
        Allowed(entry.tensor, entry.position, 1 - entry.high, 1 - entry.low)
        for entry in of_second
    ]
    recipes = []
    for held, other, shares in ((first, second, of_second), (second, first, of_first)):
        if max(entry.high for entry in shares) > LARGEST_RATIO_SHARE:
            continue
        if min(entry.low for entry in shares) < 0:
            continue
        for weight in HELD_WEIGHTS:
            varying = explain([_ratio(entry, weight) for entry in shares])
            if varying is not None:
                recipes.append(make("linear", {held: weight, other: varying}))
                recipes.append(make("linear", {other: varying, held: weight}))
    return recipes


def _ratio(share: Allowed, held: float) -> Allowed:
    """The weights that give an allowed share beside one that is held."""
    low = held * share.low / (1 - share.low)
    high = held * share.high / (1 - share.high)
    return Allowed(share.tensor, share.position, low, high)


def _narrow(trial: Trial, models: Sequence[str]) -> list[Counted]:
    """The narrow arithmetics that give most of a few tensors back, the best first."""
    dtype = NARROW_OF.get(trial.stored_dtype)
    solved = [
        tensor for tensor in solve_tensors(trial.pieces, models) if tensor.is_rounding
    ]
    if dtype is None or not solved:
        return []
    tried = [tensor.piece for tensor in some_of(solved, TRIED_TENSORS)]
    arithmetics = list(_arithmetics(models, dtype))
    in_order = {
        order: solve_tensors(tried, order)
        for order in dict.fromkeys(each.models for each in arithmetics)
    }

    def rate(arithmetic: Counted, rounds: int) -> float:
        rates = [
            arithmetic.counted(tensor.piece, tensor, rounds)[0]
            for tensor in in_order[arithmetic.models]
        ]
        return sum(rates)

    first = sorted(arithmetics, key=lambda one: -rate(one, 1))
    best = sorted(first[:MAX_COUNTED_FINELY], key=lambda one: -rate(one, 3))
    return best[:MAX_ARITHMETICS]


def _can_vary(script: Script, models: Sequence[str], dtype: str) -> bool:
    """Whether lines have weights that may differ between tensors, and are no other
    lines' by another name.
    """
    if script.mixed and dtype not in NARROW_OF.values():
        return False
    if script.weighing == "in_turn":
        return len(models) == 2
    return script.weighing not in ("equal", "onto_first", "on_arc")


def _arithmetics(models: Sequence[str], dtype: str) -> Iterator[Counted]:
    """The merge tool's narrow arithmetic and every script of lines whose weights are
    shares, each model in turn as the one that deltas are taken from.
    """
    orders = list(permutations(models)) if len(models) == 2 else [tuple(models)]
    for order in orders:
        yield Counted(order, "task_arithmetic", order[0], dtype, "", True)
    for rounded in (True, False):
        yield Counted(orders[0], "linear", None, dtype, "", rounded)
    if len(models) == 2:
        yield Counted(orders[0], "nuslerp", None, dtype, "", False)
    for name, script in SCRIPTS.items():
        if not _can_vary(script, models, dtype):
            continue
        is_sided = script.ordered or script.method == "task_arithmetic"
        for order in orders if is_sided else orders[:1]:
            base = order[0] if script.method == "task_arithmetic" else None
            for rounded in (True, False):
                if script.scalars_rounded if rounded else script.scalars_kept:
                    yield Counted(order, script.method, base, dtype, name, rounded)
