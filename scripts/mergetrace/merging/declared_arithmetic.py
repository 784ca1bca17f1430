"""The arithmetic that a declared merge may have been computed in.

A configuration names one dtype. What that means depends on the method, on the version of
the tool, and on what the parents' files hold where it names none.
"""

from dataclasses import replace

from mergetrace.merging.recipes import Recipe

DTYPES = ("float32", "bfloat16", "float16")
"""What recipes are tried in beside the declared dtype."""
IN_FLOAT64 = ("linear", "task_arithmetic")
"""Methods whose formulas hold in float64, too."""


def in_every_arithmetic(recipe: Recipe, dtype: str | None) -> list[Recipe]:
    """A recipe in float32 in each arithmetic that it may have been computed in, the most
    literal first. dtype: as declared, None where nothing is said.
    """
    widest = []
    if dtype == "float64" and recipe.method in IN_FLOAT64:
        widest = [replace(recipe, dtype=dtype)]
    return widest + _in_usual_arithmetic(recipe, dtype)


def _in_usual_arithmetic(recipe: Recipe, dtype: str | None) -> list[Recipe]:
    if recipe.method == "linear":
        return _of_average(recipe)
    if recipe.method == "slerp":
        # mergekit's SLERP is float32 inside, and a straight line between two models
        # that are nearly parallel.
        lines = [replace(recipe, method="lerp", dtype=name) for name in DTYPES[:2]]
        return [recipe, recipe.with_settings({"cast": 1}), *lines]
    first = dtype if dtype in DTYPES else "bfloat16"
    names = dict.fromkeys([first, *DTYPES])
    return [replace(recipe, dtype=name) for name in names]


def _of_average(recipe: Recipe) -> list[Recipe]:
    """mergekit 0.1.5 averages in float32 whatever the dtype, of parents that it casts
    first; older versions and scripts in the dtype itself.
    """
    recipes = [
        recipe,
        recipe.with_settings({"cast": 1}),
        recipe.with_settings({"fused": 0}),
    ]
    for name in DTYPES[1:]:
        narrow = replace(recipe, dtype=name)
        recipes += [
            narrow.with_settings({"weights_rounded": rounded}) for rounded in (1, 0)
        ]
    return recipes
