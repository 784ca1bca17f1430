"""Recipes of lines written by hand whose weights differ between tensors."""

from collections.abc import Iterator, Sequence

from mergetrace.merging.recipes import Recipe, make_script
from mergetrace.merging.scripts import SCRIPTS
from mergetrace.merging.settings import Setting, mapped
from mergetrace.search.blends import VaryingBlend
from mergetrace.search.gradients import Allowed
from mergetrace.search.patterns import explain, tensor_by_tensor
from mergetrace.search.proposals.short_shares import NARROW, reach_of
from mergetrace.search.trial import Trial

EXACT_REACH = 1e-4  # of a weight that shows without an error: a tensor left as it was


def varying_recipes(trial: Trial, blend: VaryingBlend) -> list[Recipe]:
    """The lines over two models, in the dtype of the model and in float32, with weights
    by filter, by gradient, or tensor by tensor.
    """
    if len(blend.models) != 2:
        return []
    first, second = blend.models
    share = _setting(blend, second)
    rest = mapped(share, lambda value: round(1 - value, 12) + 0.0)
    recipes = []
    narrow = NARROW.get(trial.stored_dtype)
    for dtype in [narrow, "float32"] if narrow else ["float32"]:
        for recipe in _lines(first, second, rest, share, dtype):
            trial.rate(recipe)
            recipes.append(recipe)
    return recipes


def _setting(blend: VaryingBlend, model: str) -> Setting:
    """The model's weights: the simplest that every tensor allows."""
    allowed = []
    for piece, own in blend.tensors:
        weight, error = blend.weight(own, model)
        reach = reach_of(error) if error else EXACT_REACH
        allowed.append(
            Allowed(piece.tensor, piece.position, weight - reach, weight + reach)
        )
    return explain(allowed) or tensor_by_tensor(allowed)


def _lines(
    first: str, second: str, rest: Setting, share: Setting, dtype: str
) -> Iterator[Recipe]:
    for name, script in SCRIPTS.items():
        if script.weighing in ("equal", "onto_first", "over_sum"):
            continue
        for rounded in (False, True):
            if not (script.scalars_rounded if rounded else script.scalars_kept):
                continue
            if script.method == "task_arithmetic":
                yield make_script(name, {second: share}, first, dtype, rounded)
                yield make_script(name, {first: rest}, second, dtype, rounded)
                continue
            pairs: Sequence[dict[str, Setting]] = (
                {first: rest, second: share},
                {second: share, first: rest},
            )
            for weights in pairs:
                yield make_script(name, weights, None, dtype, rounded)
