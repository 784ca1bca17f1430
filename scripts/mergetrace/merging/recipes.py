"""Merge recipes: a method with its weights and settings, applied to the parents as the
tool does, rounded as the audited model is stored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mergetrace.merging import formulas, selections, settings, spheres
from mergetrace.merging.facts import Facts
from mergetrace.merging.formulas import Merge
from mergetrace.merging.settings import Setting, constant, single, value_at
from mergetrace.numerics.arithmetic import Round, rounder, to_float32
from mergetrace.numerics.arrays import Array
from mergetrace.numerics.dtypes import decode, encode
from mergetrace.sums.evidence import Sample
from mergetrace.tensors.weights import scaled


@dataclass(frozen=True)
class Method:
    """A merge method: its formula, and whether it chooses elements (then what it leaves
    at the base proves nothing).

    needs: `elements` alone, `sums` over whole tensors, their `sizes` in order, or their `rows`: then only a tensor that is all there can be made.
    undecided: elements that the tool may keep or drop.
    """

    formula: Callable[[Merge], Array]
    needs: str = "elements"
    selects: bool = False
    undecided: Callable[[Merge], NDArray] | None = None

    @property
    def remainder(self) -> str | None:
        """What may leave a few elements open even where the recipe is right. Not shown
        to be what left any one of them open.
        """
        return REMAINDERS.get(self.needs)


REMAINDERS = {
    "sums": (
        "Norms and angles of whole tensors are float32 sums whose order depends on the"
        " machine: that can move the last bit of some elements."
    ),
    "rows": (
        "Quartiles of over a million elements are those of a random million:"
        " `undecided` counts the differing elements near, and all of a tensor too large"
        " to be held whole."
    ),
    "sizes": (
        "Of deltas exactly as large as a threshold a sort keeps some and drops others;"
        " `undecided` counts the differing elements at one."
    ),
}


METHODS = {
    "linear": Method(formulas.linear),
    "lerp": Method(formulas.lerp),
    "task_arithmetic": Method(formulas.task_arithmetic),
    "slerp": Method(spheres.slerp, "sums"),
    "nuslerp": Method(spheres.nuslerp, "sums"),
    "multislerp": Method(spheres.multislerp, "sums"),
    "karcher": Method(spheres.karcher, "sums"),
    "model_stock": Method(spheres.model_stock, "sums"),
    "sce": Method(selections.sce, "sums", undecided=selections.at_least_variance),
    "nearswap": Method(selections.nearswap),
    "ties": Method(
        selections.ties, "sizes", selects=True, undecided=selections.at_threshold
    ),
    "breadcrumbs": Method(
        selections.breadcrumbs, "sizes", selects=True, undecided=selections.at_threshold
    ),
    "arcee_fusion": Method(
        selections.arcee_fusion,
        "rows",
        selects=True,
        undecided=selections.unsure_of_fusion,
    ),
    "passthrough": Method(formulas.passthrough, selects=True),
}


@dataclass(frozen=True)
class Recipe:
    """models: in the tool's order; weights: one per model; base: the model that deltas
    are taken from, where the method has one.

    settings: further settings by name, sorted. dtype: of the arithmetic.
    """

    method: str
    models: tuple[str, ...]
    weights: tuple[Setting, ...]
    base: str | None = None
    settings: tuple[tuple[str, Setting], ...] = ()
    dtype: str = "float32"

    @property
    def parents(self) -> tuple[str, ...]:
        """Every model the recipe uses."""
        return self.models if self.base is None else (*self.models, self.base)

    @property
    def selects(self) -> bool:
        """Whether the method chooses elements."""
        return METHODS[self.method].selects

    def setting(self, name: str, default: float) -> float:
        """A setting that is the same everywhere."""
        value = single(dict(self.settings).get(name, constant(default)))
        return default if value is None else value


@dataclass(frozen=True)
class Piece:
    """Elements of one slice: the parents' decoded values by name (float64 [n]), the
    audited sample, what is known of the whole tensor.

    tensor: its name; position: 0 for the first layer to 1 for the last (see settings.value_at). ends: one past the last element of each slice, where
    several were joined. samples: the parents' elements as stored, by name.
    """

    tensor: str
    position: float
    values: Mapping[str, Array]
    audited: Sample
    facts: Facts
    ends: tuple[int, ...] = ()
    samples: Mapping[str, Sample] = field(default_factory=dict)

    # What does not depend on the recipe is worked out once for the hundreds that are
    # tried on a piece.

    @cached_property
    def audited_values(self) -> Array:
        """The audited elements, decoded: float64 [n]."""
        return self.audited.values()

    @cached_property
    def interval(self) -> Array:
        """How long the interval is that rounds to each audited element: float64 [n]."""
        low, high = self.audited.midpoints()
        with np.errstate(invalid="ignore"):
            return high - low

    @cached_property
    def stored_parents(self) -> Mapping[str, Array]:
        """Each parent's elements as the audited model would have stored them, by name:
        float64 [n] each.
        """
        return {
            name: stored(values, self.audited) for name, values in self.values.items()
        }


def make(
    method: str,
    weights: Mapping[str, float | Setting],
    base: str | None = None,
    dtype: str = "float32",
    **options: float | Setting,
) -> Recipe:
    """A recipe from plain numbers or settings; options are written density__donor=...
    where a setting belongs to one model.
    """
    as_setting = {
        name: value if isinstance(value, tuple) else constant(value)
        for name, value in weights.items()
    }
    extra = {
        name.replace("__", "."): value if isinstance(value, tuple) else constant(value)
        for name, value in options.items()
    }
    return Recipe(
        method,
        tuple(as_setting),
        tuple(as_setting.values()),
        base,
        tuple(sorted(extra.items())),
        dtype,
    )


def merge_of(recipe: Recipe, piece: Piece) -> Merge:
    """The recipe's numbers and the parents' elements for one piece."""
    to_dtype = _cast(recipe, piece)

    def at(setting: Setting) -> float:
        return value_at(setting, piece.tensor, piece.position)

    models = tuple(to_dtype(piece.values[name]) for name in recipe.models)
    base = None if recipe.base is None else to_dtype(piece.values[recipe.base])
    numbers = {name: at(setting) for name, setting in recipe.settings}
    return Merge(
        recipe.models,
        models,
        tuple(map(at, recipe.weights)),
        recipe.base,
        base,
        numbers,
        recipe.dtype,
        piece.facts,
    )


def computed(recipe: Recipe, piece: Piece) -> Array:
    """The merged elements in the dtype of the arithmetic, before they are stored:
    float64 [n].

    All NaN where the formula divides by a sum or a norm that is zero: weights that
    cancel, a tensor of zeros.
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        try:
            return METHODS[recipe.method].formula(merge_of(recipe, piece))
        except ZeroDivisionError:
            return np.full(len(next(iter(piece.values.values()))), np.nan)


def _cast(recipe: Recipe, piece: Piece) -> Round:
    """How parents are rounded before anything else: to the dtype of the arithmetic, or
    with `cast` to that of the audited model.
    """
    if not recipe.setting("cast", 0):
        return rounder(recipe.dtype)
    return rounder(
        {"F16": "float16", "BF16": "bfloat16"}.get(piece.audited.dtype, "float32")
    )


def decoded_merge(recipe: Recipe, piece: Piece) -> Array:
    """The merge as the audited model would have stored it, decoded again: float64 [n].
    Equal to its values where it is reproduced bit for bit.
    """
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        return stored(computed(recipe, piece), piece.audited)


def undecided(recipe: Recipe, piece: Piece) -> Array:
    """Elements at a threshold, which the tool may keep or drop: bool [n]."""
    method = METHODS[recipe.method]
    return (
        method.undecided(merge_of(recipe, piece))
        if method.undecided
        else np.zeros(len(next(iter(piece.values.values()))), bool)
    )


def stored(values: Array, like: Sample) -> Array:
    """Values rounded to the lattice of a sample (its scales included) and decoded
    again: float64 [n].
    """
    return scaled(decode(codes_of(values, like, like.dtype), like.dtype), like.scales)


def codes_of(values: Array, like: Sample, dtype: str) -> NDArray:
    """Values as `dtype` would hold them on the way to a sample like this one: rounded
    to the format they go through, scaled, rounded.
    """
    if like.through is None:
        return encode(values if like.scales is None else values / like.scales, dtype)
    coarse = decode(encode(values, like.through), like.through)
    return encode(
        coarse if like.scales is None else to_float32(coarse / like.scales), dtype
    )  # the tool multiplies in float32: that makes ties


def digits(recipe: Recipe) -> int:
    """How much a person would have to write: the length of all numbers of a recipe."""
    settings = (*recipe.weights, *(value for _, value in recipe.settings))
    return sum(
        len(f"{number:.10g}")
        for setting in settings
        for _, values in setting
        for number in values
    )


def shares_of(recipe: Recipe, base: str) -> dict[str, float] | None:
    """Each donor's share where it is one number for all tensors, else None: in averages
    of the whole, in task arithmetic its weight.
    """
    weights = dict(zip(recipe.models, map(single, recipe.weights), strict=True))
    if None in weights.values():
        return None
    if (
        recipe.method in ("linear", "slerp", "lerp", "nuslerp", "karcher")
        and recipe.base is None
    ):
        whole = sum(weights.values()) if recipe.setting("normalize", 1) else 1.0
        return {
            name: weight / whole for name, weight in weights.items() if name != base
        }
    if (
        recipe.method == "task_arithmetic"
        and recipe.base == base
        and not recipe.setting("normalize", 0)
    ):
        return {
            name: weight * recipe.setting("lambda", 1)
            for name, weight in weights.items()
        }
    return None


def as_json(recipe: Recipe, base: str) -> dict[str, Any]:
    """method, dtype and parameters.

    Of these `shares` are the donors' (see shares_of) and `alpha` is their sum, null where they are no single numbers; then `weights` by model
    in the tool's order, `base_model`, further settings by name.
    """
    weights = {
        model: settings.to_json(weight)
        for model, weight in zip(recipe.models, recipe.weights, strict=True)
    }
    further = {name: settings.to_json(value) for name, value in recipe.settings}
    shares = shares_of(recipe, base)
    alpha = None if shares is None else sum(shares.values())
    parameters = {
        "alpha": alpha,
        "shares": shares,
        "weights": weights,
        "base_model": recipe.base,
        **further,
    }
    return {"method": recipe.method, "dtype": recipe.dtype, "parameters": parameters}


def from_json(value: Mapping[str, Any]) -> Recipe:
    """The recipe of `as_json`."""
    further = dict(value["parameters"])
    del further["alpha"], further["shares"]
    weights = {
        model: settings.from_json(weight)
        for model, weight in further.pop("weights").items()
    }
    base = further.pop("base_model")
    options = tuple(
        sorted((name, settings.from_json(setting)) for name, setting in further.items())
    )
    return Recipe(
        value["method"],
        tuple(weights),
        tuple(weights.values()),
        base,
        options,
        value["dtype"],
    )
