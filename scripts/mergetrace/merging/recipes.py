"""Merge recipes: a method with its weights and settings, as a merge configuration holds
them.

What a method is stands in `methods`; `applying` applies a recipe to the parents.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mergetrace.merging.methods import BY_HAND, METHODS
from mergetrace.merging.scripts import SCRIPTS, shares_of_script
from mergetrace.merging.settings import (
    Setting,
    constant,
    setting_from_json,
    setting_to_json,
    single_value,
)


@dataclass(frozen=True)
class Recipe:
    """A merge that can be computed: what is merged how, with which numbers."""

    method: str
    """Its name in METHODS."""
    models: tuple[str, ...]
    """The merged models in the tool's order, which decides the order of sums."""
    weights: tuple[Setting, ...]
    """One for each of the models."""
    base: str | None = None
    """The model that deltas are taken from, where the method has one."""
    settings: tuple[tuple[str, Setting], ...] = ()
    """The method's parameters that are set, by name and sorted; `density.donor` is the
    donor's own density.
    """
    dtype: str = "float32"
    """The dtype of the arithmetic."""
    script: str = ""
    """The name in SCRIPTS of the lines that somebody wrote by hand; "" where the
    arithmetic is that of the merge tool.
    """

    @property
    def parents(self) -> tuple[str, ...]:
        """Every model the recipe uses."""
        return self.models if self.base is None else (*self.models, self.base)

    @property
    def selects(self) -> bool:
        """Whether the method chooses elements."""
        return METHODS[self.method].selects

    @property
    def chooses_by_hand(self) -> bool:
        """Whether lines by hand decided what the merge tool decides otherwise."""
        chosen = {parameter.name for parameter in BY_HAND}
        return any(name.partition(".")[0] in chosen for name, _ in self.settings)

    def setting(self, name: str) -> float:
        """A parameter of the method that is the same for all tensors; its default where
        it is not set or differs between tensors.

        Raises KeyError where the method has no such parameter, or one that is not set
        has no default.
        """
        setting = dict(self.settings).get(name)
        value = None if setting is None else single_value(setting)
        if value is not None:
            return value
        parameter = METHODS[self.method].parameter(name)
        if parameter is None or parameter.default is None:
            raise KeyError(f"{self.method} has no value for {name}")
        return parameter.default

    def with_settings(self, changes: Mapping[str, float | Setting]) -> "Recipe":
        """The recipe with these parameters set, the others as they are."""
        settings = {**dict(self.settings), **_as_settings(changes)}
        return replace(self, settings=tuple(sorted(settings.items())))


def make(
    method: str,
    weights: Mapping[str, float | Setting],
    base: str | None = None,
    dtype: str = "float32",
    **options: float | Setting,
) -> Recipe:
    """A recipe from plain numbers or settings. Options are parameters of the method,
    written density__donor=... where one belongs to one model.
    """
    by_model = _as_settings(weights)
    settings = _as_settings(
        {name.replace("__", "."): value for name, value in options.items()}
    )
    return Recipe(
        method=method,
        models=tuple(by_model),
        weights=tuple(by_model.values()),
        base=base,
        settings=tuple(sorted(settings.items())),
        dtype=dtype,
    )


def _as_settings(values: Mapping[str, float | Setting]) -> dict[str, Setting]:
    return {
        name: value if isinstance(value, tuple) else constant(value)
        for name, value in values.items()
    }


def make_script(
    script: str,
    weights: Mapping[str, float | Setting],
    base: str | None = None,
    dtype: str = "bfloat16",
    weights_rounded: bool = False,
) -> Recipe:
    """The recipe of lines written by hand. weights_rounded: whether the weights were
    tensors of the dtype, in place of Python numbers.
    """
    recipe = make(SCRIPTS[script].method, weights, base, dtype)
    rounded = recipe.with_settings({"weights_rounded": float(weights_rounded)})
    return replace(rounded, script=script)


def written_length(recipe: Recipe) -> int:
    """How much a person would have to write: the digits of all numbers of a recipe."""
    length = 0
    for setting in (*recipe.weights, *(value for _, value in recipe.settings)):
        for _, numbers in setting:
            length += sum(len(f"{number:.10g}") for number in numbers)
    return length


def donor_shares(recipe: Recipe, base: str) -> dict[str, float] | None:
    """Each donor's share where it is one number for all tensors, otherwise None: in
    averages of whole models its part of the weights, in task arithmetic its weight.
    """
    shares = model_shares(recipe, base)
    if shares is None:
        return None
    return {name: share for name, share in shares.items() if name != base}


def model_shares(recipe: Recipe, base: str) -> dict[str, float] | None:
    """The share of every model, where these are single numbers for all tensors,
    otherwise None. In task arithmetic the base has what the donors leave to one, which
    is less than nothing where they take more.
    """
    weights = _single_weights(recipe)
    if weights is None:
        return None
    if recipe.script:
        return _shares_of_lines(recipe, weights)
    if METHODS[recipe.method].averages and recipe.base is None:
        whole = sum(weights.values()) if _divides_by_weights(recipe) else 1.0
        shares = {name: weight / whole for name, weight in weights.items() if whole}
        return shares or None
    if (
        recipe.method == "task_arithmetic"
        and recipe.base == base
        and not recipe.setting("normalize")
    ):
        scale = recipe.setting("lambda")
        shares = {name: weight * scale for name, weight in weights.items()}
        return {**shares, base: round(1 - sum(shares.values()), 12)}
    return None


def _single_weights(recipe: Recipe) -> dict[str, float] | None:
    """Each model's weight; None where one differs between tensors, or a setting does."""
    if any(single_value(setting) is None for _, setting in recipe.settings):
        return None
    weights: dict[str, float] = {}
    for model, setting in zip(recipe.models, recipe.weights, strict=True):
        weight = single_value(setting)
        if weight is None:
            return None
        weights[model] = weight
    return weights


def _shares_of_lines(recipe: Recipe, weights: Mapping[str, float]) -> dict[str, float]:
    """The models' shares in a script. What task arithmetic takes deltas from has what
    the others leave.
    """
    shares = shares_of_script(recipe.script, tuple(weights.values()))
    by_model = dict(zip(weights, shares, strict=True))
    if recipe.base is not None:
        by_model[recipe.base] = round(1 - sum(shares), 12)
    return by_model


def _divides_by_weights(recipe: Recipe) -> bool:
    """Whether an average divides by the sum of its weights: all do but those that are
    told not to.
    """
    if METHODS[recipe.method].parameter("normalize") is None:
        return True
    return bool(recipe.setting("normalize"))


def recipe_to_json(recipe: Recipe, base: str) -> dict[str, Any]:
    """method, dtype and parameters.

    Of the parameters, `shares` are the donors' (see donor_shares) and `alpha` is their
    sum, null where they are no single numbers; then follow `weights` by model in the
    tool's order, `base_model`, the settings by name, and of lines written by hand
    `script`, their name in SCRIPTS.
    """
    shares = donor_shares(recipe, base)
    weights = {
        model: setting_to_json(weight)
        for model, weight in zip(recipe.models, recipe.weights, strict=True)
    }
    parameters: dict[str, Any] = {
        "alpha": None if shares is None else sum(shares.values()),
        "shares": shares,
        "weights": weights,
        "base_model": recipe.base,
    }
    for name, setting in recipe.settings:
        parameters[name] = setting_to_json(setting)
    if recipe.script:
        parameters["script"] = recipe.script
    return {"method": recipe.method, "dtype": recipe.dtype, "parameters": parameters}


def recipe_from_json(value: Mapping[str, Any]) -> Recipe:
    """The recipe of `recipe_to_json`."""
    parameters = dict(value["parameters"])
    del parameters["alpha"], parameters["shares"]
    weights = {
        model: setting_from_json(weight)
        for model, weight in parameters.pop("weights").items()
    }
    base = parameters.pop("base_model")
    script = parameters.pop("script", "")
    settings = [
        (name, setting_from_json(setting)) for name, setting in parameters.items()
    ]
    return Recipe(
        method=value["method"],
        models=tuple(weights),
        weights=tuple(weights.values()),
        base=base,
        settings=tuple(sorted(settings)),
        dtype=value["dtype"],
        script=script,
    )
