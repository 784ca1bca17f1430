"""Whether mergekit gives a model back by a configuration, and how that names models."""

from collections.abc import Mapping
from typing import Any

from mergetrace.giving_back.pairs import Hindrance, Pairs
from mergetrace.merging.passthrough_yaml import NUMBERED_LAYER
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
    recipe: Recipe, pairs: Pairs, out_dtype: str, layers: Mapping[int, int]
) -> tuple[Hindrance, ...]:
    """Why mergekit does not give back every byte with it; empty where it does."""
    found: list[Hindrance] = []
    if recipe.script:
        found.append("by_hand")
    if _differs_in_last_bit(recipe):
        found.append("last_bit")
    if recipe.method == "passthrough":
        if _has_owners_of_tensors(recipe):
            found.append("owners")
    elif layers:
        found.append("layers")
    if pairs.renamed and not layers:
        found.append("names")
    if pairs.dtypes or pairs.dtype != out_dtype:
        found.append("dtypes")
    return (*found, *pairs.hindrances)


def _differs_in_last_bit(recipe: Recipe) -> bool:
    if recipe.method == "linear":
        return recipe.dtype != "float32" or not recipe.setting("fused")
    return recipe.method == "lerp"


def _has_owners_of_tensors(recipe: Recipe) -> bool:
    """Whether anything smaller than a layer has a parent of its own that mergekit would
    not take it from: embeddings come from the first layer's, all else from the last's.
    """
    owners: dict[str, str] = {}
    for model, setting in zip(recipe.models, recipe.weights, strict=True):
        owners |= {name: model for name, (weight, *_) in setting if weight == 1}
    layers = [name for name in owners if NUMBERED_LAYER.fullmatch(name)]
    if not layers:
        return True
    numbers = {name: int(name.split(".")[1]) for name in layers}
    first = owners[min(layers, key=numbers.__getitem__)]
    last = owners[max(layers, key=numbers.__getitem__)]
    for name, owner in owners.items():
        if name in numbers:
            continue
        taken_from = first if "embed" in name else last
        if ".layers." in name or owner != taken_from:
            return True
    return False
