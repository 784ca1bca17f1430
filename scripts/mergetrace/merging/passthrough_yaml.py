"""Tensors taken whole from several parents, as a configuration that a merge tool runs.

mergekit's passthrough takes layers whole. Parts of layers are written as its linear
merge with weights of one and nothing; experts made of dense models as a configuration
of mergekit-moe.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from mergetrace.merging.owners import Owners, owners_of
from mergetrace.merging.recipes import Recipe
from mergetrace.merging.settings import setting_to_json

NUMBERED_LAYER = re.compile(r"layers\.(\d+)\.")
"""How the recipe of a stack names a layer."""
NUMBERED_EXPERT = re.compile(r"mlp\.experts\.(\d+)\.")
"""How a recipe names an expert of every layer."""
AS_LINEAR = (
    "# mergekit's passthrough takes layers whole: here a linear merge chooses, with"
    " weights of 1 and 0\n"
)
LAYERS_MOVED = (
    "# layers lie elsewhere in the parents, which this configuration cannot say\n"
)
ROUTER_OF_ITS_OWN = (
    "# for mergekit-moe, whose router is new: that of the suspect is another\n"
)


@dataclass(frozen=True)
class LayerRun:
    """Layers that follow each other in one parent."""

    model: str
    first: int
    """The parent's first layer of the run."""
    end: int
    """One past the last."""


def passthrough_config(
    recipe: Recipe,
    places: Mapping[str, Any],
    layers: Mapping[int, int],
    dtype: str,
    experts_of_dense: bool,
) -> str:
    """The YAML of a passthrough.

    places: where each model lies. layers: where a layer is another one in the parents,
    its number there. experts_of_dense: whether the experts are dense parents' MLPs.
    """
    owners = owners_of(recipe)
    if experts_of_dense:
        mixture = _mixture(owners, places, dtype)
        if mixture is not None:
            return mixture
    runs = _layer_runs(owners, layers)
    if runs and (layers or not _exceptions(owners, runs, places)):
        return _stack(owners, runs, places, dtype)
    moved = LAYERS_MOVED if layers else ""
    return moved + _selected(recipe, places, dtype)


def _mixture(owners: Owners, places: Mapping[str, Any], dtype: str) -> str | None:
    """The YAML for mergekit-moe; None where the experts are not the same in all layers.

    What it would take from another model is said in a comment.
    """
    experts: dict[int, str] = {}
    comments = [ROUTER_OF_ITS_OWN]
    for pattern, owner in owners.of_filter:
        match = NUMBERED_EXPERT.fullmatch(pattern)
        if match:
            experts[int(match[1])] = owner
        elif owner != owners.of_rest:
            comments.append(f"# {pattern} is {places[owner]}'s\n")
    if owners.of_rest is None or sorted(experts) != list(range(len(experts))):
        return None
    sources = [
        {"source_model": places[experts[number]], "positive_prompts": []}
        for number in sorted(experts)
    ]
    config = {
        "base_model": places[owners.of_rest],
        "gate_mode": "random",
        "dtype": dtype,
        "experts": sources,
    }
    return "".join(comments) + yaml.safe_dump(config, sort_keys=False)


def _selected(recipe: Recipe, places: Mapping[str, Any], dtype: str) -> str:
    """The YAML of a linear merge in which one model has all the weight."""
    models: list[dict[str, Any]] = [
        {"model": places[model], "parameters": {"weight": setting_to_json(weight)}}
        for model, weight in zip(recipe.models, recipe.weights, strict=True)
    ]
    config = {"merge_method": "linear", "models": models, "dtype": dtype}
    return AS_LINEAR + yaml.safe_dump(config, sort_keys=False)


def _stack(
    owners: Owners, runs: Sequence[LayerRun], places: Mapping[str, Any], dtype: str
) -> str:
    """The YAML of layers taken whole from several parents.

    mergekit takes the embedding from the first run's model, what follows the layers
    from the last one's: where it was otherwise a comment says so.
    """
    slices = []
    for run in runs:
        source = {"model": places[run.model], "layer_range": [run.first, run.end]}
        slices.append({"sources": [source]})
    config = {"merge_method": "passthrough", "slices": slices, "dtype": dtype}
    comments = _exceptions(owners, runs, places)
    return "".join(comments) + yaml.safe_dump(config, sort_keys=False)


def _layer_runs(owners: Owners, layers: Mapping[int, int]) -> list[LayerRun]:
    """The runs of layers; none where a part of a layer has an owner of its own."""
    numbered: list[tuple[int, str]] = []
    for name, model in owners.of_filter:
        match = NUMBERED_LAYER.fullmatch(name)
        if match:
            numbered.append((int(match[1]), model))
        elif not name.startswith(("model.", "lm_head")):
            return []
    if owners.of_rest is not None:
        return []
    runs: list[LayerRun] = []
    for layer, model in sorted(numbered):
        source = layers.get(layer, layer)
        if runs and (runs[-1].model, runs[-1].end) == (model, source):
            runs[-1] = LayerRun(model, runs[-1].first, source + 1)
        else:
            runs.append(LayerRun(model, source, source + 1))
    return runs


def _exceptions(
    owners: Owners, runs: Sequence[LayerRun], places: Mapping[str, Any]
) -> list[str]:
    """A comment for each tensor outside the layers that mergekit would take from
    another parent.
    """
    comments = []
    for name, owner in owners.of_filter:
        if NUMBERED_LAYER.fullmatch(name):
            continue
        taken_from = runs[0 if "embed" in name else -1].model
        if owner != taken_from:
            comments.append(
                f"# {name} is {places[owner]}'s, where mergekit takes that of"
                f" {places[taken_from]}\n"
            )
    return comments
