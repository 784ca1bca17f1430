"""Whether mergekit gives a model back by a configuration, and how that names models."""

from collections.abc import Iterator, Mapping
from typing import Any

from mergetrace.giving_back.pairs import Hindrance, Pairs
from mergetrace.merging.passthrough_yaml import AS_LINEAR
from mergetrace.merging.recipes import Recipe


def reference(place: str, revision: str | None) -> str | dict[str, Any]:
    """How a configuration names a model. A folder whose name holds a + or an @, behind
    which mergekit looks for an adapter or a revision, is named in the long form.
    """
    if revision:
        return f"{place}@{revision}"
    if "+" in place or "@" in place:
        return {"model": {"path": place}}
    return place


def hindrances_of_configuration(
    text: str, recipe: Recipe, pairs: Pairs, out_dtype: str, layers: Mapping[int, int]
) -> tuple[Hindrance, ...]:
    """Why mergekit does not give back every byte; empty where it does.

    text: the configuration, which opens with a comment where it cannot say all.
    """
    found = list(_of_arithmetic(recipe))
    if recipe.method == "passthrough":
        if text.startswith("# ") and not text.startswith(AS_LINEAR):
            found.append("owners")
    elif layers:
        found.append("layers")
    if pairs.renamed and not layers:
        found.append("names")
    if pairs.dtypes or pairs.dtype != out_dtype:
        found.append("dtypes")
    if pairs.copied:
        found.append("copied")
    if pairs.rows and "rows" not in pairs.hindrances:
        found.append("rows")
    return (*found, *pairs.hindrances)


def _of_arithmetic(recipe: Recipe) -> Iterator[Hindrance]:
    if recipe.script:
        yield "by_hand"
    if recipe.chooses_by_hand:
        yield "choices"
    if _differs_in_last_bit(recipe):
        yield "last_bit"


def _differs_in_last_bit(recipe: Recipe) -> bool:
    if recipe.method == "linear":
        narrow = recipe.dtype in ("bfloat16", "float16")
        return narrow or not recipe.setting("fused")
    return recipe.method == "lerp"
