"""Recipes of the merge tool that are the same operations as others, or nearly: whoever
made a merge, the tool's own method is what others know.
"""

from mergetrace.merging.recipes import Recipe, make
from mergetrace.merging.settings import constant

NARROW = ("bfloat16", "float16")


def as_tool_writes_it(recipe: Recipe) -> Recipe:
    """The merge tool's own recipe where lines by hand are the same operations: rounded
    weights times changes, of which one rounding adds at most two.
    """
    same = {"sum_of_deltas": 2, "deltas_in_turn": 1}
    rounded = dict(recipe.settings).get("weights_rounded") == constant(1)
    if rounded and len(recipe.models) <= same.get(recipe.script, 0):
        return make(
            recipe.method,
            dict(zip(recipe.models, recipe.weights, strict=True)),
            recipe.base,
            recipe.dtype,
        )
    return recipe


def tool_siblings(recipe: Recipe) -> list[Recipe]:
    """The merge tool's recipes that may give the same bits: of lines by hand its own
    method with the same numbers, of NuSLERP between two models SLERP.
    """
    weights = dict(zip(recipe.models, recipe.weights, strict=True))
    if recipe.script:
        # Of averages it has none: it computes them in float32 whatever the dtype.
        if recipe.method == "task_arithmetic" and recipe.dtype in NARROW:
            return [make(recipe.method, weights, recipe.base, recipe.dtype)]
        return []
    is_plain = recipe.method == "nuslerp" and not recipe.settings
    if is_plain and recipe.base is None and recipe.dtype == "float32":
        return [make("slerp", weights)]
    return []
