"""A recipe as a mergekit configuration, so that anyone can run it and compare file hashes."""

from collections.abc import Mapping
from typing import Any

import yaml

from mergetrace.merging.recipes import Recipe
from mergetrace.merging.settings import Setting, mapped, to_json

FLOAT32_INSIDE = ("linear", "slerp")  # methods that mergekit computes in float32 whatever the dtype


WRITTEN = {"topk": "select_topk"}


def mergekit_config(recipe: Recipe, out_dtype: str, folders: Mapping[str, str] | None = None) -> str:
    """The YAML of a recipe. folders: where each model lies (a path or a repository); by default its name.

    mergekit 0.1.5 has no linear merge in narrow arithmetic, older versions had: there a comment says so.
    """
    at = {name: (folders or {}).get(name, name) for name in recipe.parents}
    further = {name: value for name, value in recipe.settings if name not in ("fused", "weights_rounded", "elect", "cast")}
    config: dict[str, Any] = {"merge_method": _name(recipe)}
    models = [{"model": at[name], "parameters": _of_model(name, weight, further)} for name, weight in zip(recipe.models, recipe.weights, strict=True)]
    shared = {WRITTEN.get(name, name): _flag(name, value) for name, value in further.items() if "." not in name}
    if recipe.method in ("slerp", "lerp", "nearswap", "karcher", "model_stock", "sce"):
        models = [{"model": entry["model"]} for entry in models]
    if recipe.method in ("slerp", "lerp"):
        config["base_model"], shared["t"] = at[recipe.models[0]], to_json(recipe.weights[1])
    elif recipe.method == "nearswap":
        shared["t"] = to_json(recipe.weights[0])
    if recipe.base is not None:
        config["base_model"] = at[recipe.base]
    config["models"] = models
    if recipe.method in ("nearswap", "model_stock", "sce"):
        config["models"] = [*models, {"model": at[recipe.base]}]
    if shared:
        config["parameters"] = shared
    inside = recipe.method in FLOAT32_INSIDE and (out_dtype != "float16" or recipe.setting("cast", 0))
    wide = recipe.dtype == "float32" and not inside and out_dtype != "float32"
    config |= {"dtype": "float32", "out_dtype": out_dtype} if wide else {"dtype": out_dtype if recipe.dtype == "float32" else recipe.dtype}
    if config["dtype"] != out_dtype and "out_dtype" not in config:
        config["out_dtype"] = out_dtype
    return _note(recipe) + yaml.safe_dump(config, sort_keys=False)


def _name(recipe: Recipe) -> str:
    if recipe.method == "lerp":
        return "slerp"
    return "breadcrumbs_ties" if recipe.method == "breadcrumbs" and recipe.setting("elect", 0) else recipe.method


def _note(recipe: Recipe) -> str:
    if recipe.method == "lerp":
        return "# torch.lerp between two nearly parallel models: mergekit calls this slerp and may differ in the last bit\n"
    if recipe.method == "linear" and recipe.dtype != "float32":
        return f"# Averaged in {recipe.dtype} arithmetic, as scripts and older versions do: mergekit 0.1.5 differs in the last bit\n"
    return ""


def _of_model(name: str, weight: Setting, further: Mapping[str, Setting]) -> dict[str, Any]:
    own = {key.split(".")[0]: to_json(mapped(value, float)) for key, value in further.items() if key.partition(".")[2] == name}
    return {"weight": to_json(weight), **own}


def _flag(name: str, value: Setting) -> Any:
    return bool(value[0][1][0]) if name in ("normalize", "rescale") else to_json(value)
