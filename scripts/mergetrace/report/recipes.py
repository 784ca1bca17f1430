"""Recipes in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mergetrace.readable import rate, visible
from mergetrace.records.recipe_search import RecipeNumbers
from mergetrace.records.verdict import RecipeFinding

SAID_ELSEWHERE = ("alpha", "shares", "fused")
"""Parameters that are not listed: the shares stand in the headline, the rounding at the
end.
"""


@dataclass(frozen=True)
class RecipeRow:
    """One recipe in words."""

    text: str
    """The method, its parameters and the arithmetic."""
    rate: str
    """How much it gives back, in words."""
    value: float | None
    """How much it gives back."""


def recipe_rows(
    recipe: RecipeFinding,
) -> tuple[RecipeRow, list[RecipeRow], list[RecipeRow]]:
    """The recipe in words; the others that cannot be told apart from it; those tried
    that gave less back. Recipes that read alike are one.
    """
    found = _row(recipe)
    by_text = {row.text: row for row in map(_row, recipe.alternatives)}
    by_text.pop(found.text, None)
    equal = [row for row in by_text.values() if row.value == found.value]
    lesser = [row for row in by_text.values() if row.value != found.value]
    return found, equal, lesser


def _row(recipe: RecipeFinding | RecipeNumbers) -> RecipeRow:
    stated = [
        _parameter(key.replace("_", " "), value)
        for key, value in recipe.parameters.items()
        if value is not None and key not in SAID_ELSEWHERE
    ]
    text = ", ".join(stated)
    if not recipe.parameters.get("fused", True):
        text += ", every product rounded before it is added"
    return RecipeRow(
        f"{recipe.method} ({text}) in {recipe.dtype} arithmetic",
        rate(recipe.bit_exact_rate),
        recipe.bit_exact_rate,
    )


def _parameter(name: str, value: Any) -> str:
    if isinstance(value, Mapping):
        parts = [_parameter(str(key), item) for key, item in value.items()]
        return f"{name} {' and '.join(parts)}"
    if isinstance(value, bool):
        return name if value else f"not {name}"
    if isinstance(value, float):
        return f"{name} {value:.10g}"
    return f"{name} {visible(value, 200)}"
