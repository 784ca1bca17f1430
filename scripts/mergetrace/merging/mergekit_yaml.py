"""A recipe as a mergekit configuration, so that anyone can run it and compare file
hashes.
"""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from mergetrace.merging.recipes import Recipe
from mergetrace.merging.settings import Setting, mapped, to_json

FLOAT32_INSIDE = (
    "linear",
    "slerp",
)  # methods that mergekit computes in float32 whatever the dtype


NUMBERED = re.compile(r"layers\.(\d+)\.")  # how the recipe of a stack names a layer
WIDEST_FIRST = ("float32", "float16", "bfloat16")
WRITTEN = {"topk": "select_topk"}


def mergekit_config(
    recipe: Recipe,
    out_dtype: str,
    folders: Mapping[str, str] | None = None,
    layers: Mapping[int, int] | None = None,
) -> str:
    """The YAML of a recipe. folders: where each model lies (a path or a repository); by default its name. out_dtype: of a file in several the widest.
    layers: where a layer is another one in the parents, its number there.

    mergekit 0.1.5 has no linear merge in narrow arithmetic, older versions had: there a
    comment says so.
    """
    out_dtype = next(
        (dtype for dtype in WIDEST_FIRST if dtype in out_dtype.split(" and ")),
        out_dtype,
    )
    at = {name: (folders or {}).get(name, name) for name in recipe.parents}
    further = {
        name: value
        for name, value in recipe.settings
        if name not in ("fused", "weights_rounded", "elect", "cast")
    }
    if recipe.method == "passthrough":
        return _stack(recipe, at, layers or {}, out_dtype)
    config: dict[str, Any] = {"merge_method": _name(recipe)}
    models = [
        {"model": at[name], "parameters": _of_model(name, weight, further)}
        for name, weight in zip(recipe.models, recipe.weights, strict=True)
    ]
    shared = {
        WRITTEN.get(name, name): _flag(name, value)
        for name, value in further.items()
        if "." not in name
    }
    if recipe.method in (
        "slerp",
        "lerp",
        "nearswap",
        "karcher",
        "model_stock",
        "sce",
        "arcee_fusion",
    ):
        models = [{"model": entry["model"]} for entry in models]
    if recipe.method in ("slerp", "lerp"):
        config["base_model"], shared["t"] = (
            at[recipe.models[0]],
            to_json(recipe.weights[1]),
        )
    elif recipe.method == "nearswap":
        shared["t"] = to_json(recipe.weights[0])
    if recipe.base is not None:
        config["base_model"] = at[recipe.base]
    config["models"] = models
    if recipe.method in ("nearswap", "model_stock", "sce", "arcee_fusion"):
        config["models"] = [*models, {"model": at[recipe.base]}]
    if shared:
        config["parameters"] = shared
    inside = recipe.method in FLOAT32_INSIDE and (
        out_dtype != "float16" or recipe.setting("cast", 0)
    )
    wide = recipe.dtype == "float32" and not inside and out_dtype != "float32"
    config |= (
        {"dtype": "float32", "out_dtype": out_dtype}
        if wide
        else {"dtype": out_dtype if recipe.dtype == "float32" else recipe.dtype}
    )
    if (
        config["dtype"] != out_dtype or recipe.method == "arcee_fusion"
    ) and "out_dtype" not in config:
        config["out_dtype"] = out_dtype
    return _note(recipe) + yaml.safe_dump(config, sort_keys=False)


def _stack(
    recipe: Recipe, at: Mapping[str, str], layers: Mapping[int, int], dtype: str
) -> str:
    """Runs of layers that follow each other in one parent.

    mergekit takes the embedding from the first run's model, what follows the layers
    from the last one's: where it was otherwise a comment says so.
    """
    owners = {
        name: model
        for model, setting in zip(recipe.models, recipe.weights, strict=True)
        for name, (weight,) in setting
        if weight == 1
    }
    runs: list[tuple[str, int, int]] = []
    for layer, model in sorted(
        (int(match[1]), model)
        for name, model in owners.items()
        if (match := NUMBERED.fullmatch(name))
    ):
        source = layers.get(layer, layer)
        if runs and (model, source) == (runs[-1][0], runs[-1][2]):
            runs[-1] = (model, runs[-1][1], source + 1)
        else:
            runs.append((model, source, source + 1))
    slices = [
        {"sources": [{"model": at[model], "layer_range": [first, end]}]}
        for model, first, end in runs
    ]
    usual = {
        name: runs[0 if "embed" in name else -1][0]
        for name in owners
        if runs and not NUMBERED.fullmatch(name)
    }
    others = [name for name, model in usual.items() if model != owners[name]]
    notes = [
        f"# {name} is {at[owners[name]]}'s, where mergekit takes that of"
        f" {at[usual[name]]}\n"
        for name in others
    ]
    return "".join(notes) + yaml.safe_dump(
        {"merge_method": "passthrough", "slices": slices, "dtype": dtype},
        sort_keys=False,
    )


def _name(recipe: Recipe) -> str:
    if recipe.method == "lerp":
        return "slerp"
    return (
        "breadcrumbs_ties"
        if recipe.method == "breadcrumbs" and recipe.setting("elect", 0)
        else recipe.method
    )


def _note(recipe: Recipe) -> str:
    if recipe.method == "lerp":
        return (
            "# torch.lerp between two nearly parallel models: mergekit calls this slerp"
            " and may differ in the last bit\n"
        )
    if recipe.method == "linear" and recipe.dtype != "float32":
        return (
            f"# Averaged in {recipe.dtype} arithmetic, as scripts and older versions"
            " do: mergekit 0.1.5 differs in the last bit\n"
        )
    return ""


def _of_model(
    name: str, weight: Setting, further: Mapping[str, Setting]
) -> dict[str, Any]:
    own = {
        key.split(".")[0]: to_json(mapped(value, float))
        for key, value in further.items()
        if key.partition(".")[2] == name
    }
    return {"weight": to_json(weight), **own}


def _flag(name: str, value: Setting) -> Any:
    return bool(value[0][1][0]) if name in ("normalize", "rescale") else to_json(value)
