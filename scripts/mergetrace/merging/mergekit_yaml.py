"""A recipe as a mergekit configuration, so that anyone can run it and compare file
hashes.

FORMS says of every method how mergekit writes it; mergekit's names of parameters stand
with the parameters in `methods`.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from mergetrace.merging.methods import METHODS
from mergetrace.merging.passthrough_yaml import passthrough_config
from mergetrace.merging.recipes import Recipe
from mergetrace.merging.settings import Setting, mapped, setting_to_json

FLOAT32_SUMS = ("arcee_fusion", "ramplus_tl")
"""Methods whose sum is float32 whatever the dtype."""
WIDEST_FIRST = ("float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Form:
    """How a mergekit configuration writes a method."""

    name: str | None = None
    """Its name there, where that is another one than ours."""
    weight_per_model: bool = True
    """Whether every model has a `weight` and other parameters of its own."""
    t_of: int | None = None
    """Which model's weight is the parameter `t`, where one is."""
    first_is_base: bool = False
    """Whether the first model is called the base although nothing is taken from it."""
    lists_base: bool = False
    """Whether the base stands among the models too."""
    float32_inside: bool = False
    """Whether mergekit computes it in float32 whatever the dtype."""


TASK_VECTORS = Form()
NO_WEIGHTS = Form(weight_per_model=False, lists_base=True)
FORMS: Mapping[str, Form] = {
    "linear": Form(float32_inside=True),
    "lerp": Form("slerp", weight_per_model=False, t_of=1, first_is_base=True),
    "slerp": Form(
        weight_per_model=False, t_of=1, first_is_base=True, float32_inside=True
    ),
    "nuslerp": TASK_VECTORS,
    "multislerp": TASK_VECTORS,
    "task_arithmetic": TASK_VECTORS,
    "ties": TASK_VECTORS,
    "breadcrumbs": TASK_VECTORS,
    "karcher": Form(weight_per_model=False),
    "model_stock": NO_WEIGHTS,
    "sce": NO_WEIGHTS,
    "ram": NO_WEIGHTS,
    "ramplus_tl": NO_WEIGHTS,
    "arcee_fusion": NO_WEIGHTS,
    "nearswap": Form(weight_per_model=False, t_of=0, lists_base=True),
}
"""Every method but `passthrough`, which has a form of its own."""


def widest_dtype(dtypes: Sequence[str]) -> str:
    """The dtype to write a file in whose tensors are of several: the widest that a
    configuration can name, otherwise the first.
    """
    for dtype in WIDEST_FIRST:
        if dtype in dtypes:
            return dtype
    return dtypes[0]


def mergekit_config(
    recipe: Recipe,
    out_dtype: str,
    folders: Mapping[str, Any] | None = None,
    layers: Mapping[int, int] | None = None,
    experts_of_dense: bool = False,
    parents_stored: Collection[str] = (),
) -> str:
    """The YAML of a recipe.

    out_dtype: what the merged tensors are stored as. folders: where each model lies (a
    path, a repository, or what else mergekit takes for a model); by default its name.
    layers: where a layer is another one in the parents, its number there.
    experts_of_dense: whether experts are dense parents' MLPs. parents_stored: the dtypes
    of the parents, where they are known: a tool that opens them in another loses bits.

    mergekit 0.1.5 has no linear merge in narrow arithmetic, older versions had: there a
    comment says so.
    """
    places = {name: (folders or {}).get(name, name) for name in recipe.parents}
    if recipe.method == "passthrough":
        return passthrough_config(
            recipe, places, layers or {}, out_dtype, experts_of_dense
        )
    form = FORMS[recipe.method]
    config: dict[str, Any] = {"merge_method": _name(recipe, form)}
    if form.first_is_base:
        config["base_model"] = places[recipe.models[0]]
    if recipe.base is not None:
        config["base_model"] = places[recipe.base]
    config["models"] = _models(recipe, form, places)
    parameters = _shared_parameters(recipe, form)
    if parameters:
        config["parameters"] = parameters
    is_kept = bool(recipe.setting("cast")) or set(parents_stored) <= {out_dtype}
    config |= _dtypes(recipe, form, out_dtype, is_kept)
    return _comment(recipe) + yaml.safe_dump(config, sort_keys=False)


def _name(recipe: Recipe, form: Form) -> str:
    if recipe.method == "breadcrumbs" and recipe.setting("elect"):
        return "breadcrumbs_ties"
    return form.name or recipe.method


def _models(
    recipe: Recipe, form: Form, places: Mapping[str, Any]
) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = []
    for name, weight in zip(recipe.models, recipe.weights, strict=True):
        entry: dict[str, Any] = {"model": places[name]}
        if form.weight_per_model:
            entry["parameters"] = _parameters_of_model(recipe, name, weight)
        entries.append(entry)
    if form.lists_base and recipe.base is not None:
        entries.append({"model": places[recipe.base]})
    return entries


def _parameters_of_model(recipe: Recipe, model: str, weight: Setting) -> dict[str, Any]:
    parameters = {"weight": setting_to_json(weight)}
    for name, setting in recipe.settings:
        parameter, _, owner = name.partition(".")
        if owner == model:
            parameters[parameter] = setting_to_json(mapped(setting, float))
    return parameters


def _shared_parameters(recipe: Recipe, form: Form) -> dict[str, Any]:
    """The parameters of all models together, by mergekit's names."""
    shared: dict[str, Any] = {}
    for name, setting in recipe.settings:
        parameter = METHODS[recipe.method].parameter(name)
        if parameter is None or parameter.per_model or not parameter.mergekit_name:
            continue
        is_switch = parameter.kind is bool
        shared[parameter.mergekit_name] = (
            bool(setting[0][1][0]) if is_switch else setting_to_json(setting)
        )
    if form.t_of is not None:
        shared["t"] = setting_to_json(recipe.weights[form.t_of])
    return shared


def _dtypes(
    recipe: Recipe, form: Form, out_dtype: str, is_kept: bool
) -> dict[str, str]:
    """The dtype of the arithmetic, and that of the file where it has to be said.

    is_kept: whether parents may be opened in the file's dtype.
    """
    if recipe.dtype != "float32":
        dtype = recipe.dtype
    elif form.float32_inside and (out_dtype != "float16" or recipe.setting("cast")):
        dtype = out_dtype if is_kept else "float32"
    else:
        dtype = "float32"
    if dtype != out_dtype or recipe.method in FLOAT32_SUMS:
        return {"dtype": dtype, "out_dtype": out_dtype}
    return {"dtype": dtype}


def _comment(recipe: Recipe) -> str:
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
