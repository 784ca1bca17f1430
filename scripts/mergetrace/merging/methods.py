"""The merge methods that can be replayed: each with its formula and its parameters.

To add a method: write its formula, a function from `Merge` to the merged elements, in
the module of its family (`linear`, `spheres`, `means`, `trimming`, `sce`,
`elementwise`) or a new one; add an entry to METHODS; say in `mergekit_yaml` how mergekit
writes it; propose recipes of it in `search/proposals`. `tests/unit/test_recipes.py` runs
each against mergekit itself.

To add an order of operations: declare a Parameter of the method (as `fused` and
`normalize` of `linear` are), read it in the formula, and propose recipes that set it.
The order of the models is that of `Recipe.models`.

To add a rounding: a dtype of the arithmetic is a name that `numerics.arithmetic.rounder`
knows; where only some operations round, declare a Parameter (as `weights_rounded` is).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from mergetrace.merging import (
    agents,
    elementwise,
    linear,
    means,
    sce,
    spheres,
    trimming,
)
from mergetrace.merging.merge import Merge
from mergetrace.numerics.arrays import Array, Mask

Needs = Literal["elements", "sums", "sizes", "rows"]
"""What a formula must know beside the elements themselves: nothing, sums over whole
tensors, their sizes in order, or their rows (then only a tensor that is all there can
be made).
"""


@dataclass(frozen=True)
class Parameter:
    """A number that a method takes beside the weights."""

    name: str
    """Its name in a recipe; `name.model` where every model has its own."""
    kind: type[bool] | type[float]
    """bool for a switch, held as 0 or 1."""
    default: float | None
    """Its value where a recipe does not set it; None: the formula does without it."""
    meaning: str
    """What the formula does with it."""
    per_model: bool = False
    """Whether every model has its own."""
    mergekit_name: str | None = None
    """Its name in a mergekit configuration; None where mergekit has no such parameter."""


NORMALIZE = "whether the sum is divided by the sum of the weights"
LINEAR_NORMALIZE = Parameter("normalize", bool, 1, NORMALIZE, mergekit_name="normalize")
DELTA_NORMALIZE = Parameter("normalize", bool, 0, NORMALIZE, mergekit_name="normalize")
FUSED = Parameter(
    "fused", bool, 1, "whether float32 products are added by fused multiply-adds"
)
WEIGHTS_ROUNDED = Parameter(
    "weights_rounded", bool, 1, "whether weights are rounded to a narrow dtype too"
)
LAMBDA = Parameter(
    "lambda", float, 1, "what the sum of the deltas is multiplied by", False, "lambda"
)
RESCALE = Parameter(
    "rescale",
    bool,
    0,
    "whether the kept deltas are scaled to the sum of |delta| that all had",
    mergekit_name="rescale",
)
DENSITY = Parameter(
    "density", float, 1, "the share of its deltas that a model keeps", True, "density"
)
GAMMA = Parameter(
    "gamma",
    float,
    None,
    "the share of a model's largest deltas left out",
    True,
    "gamma",
)
ELECT = Parameter("elect", bool, 0, "whether a sign is elected as in TIES")
CANCELLED = Parameter(
    "cancelled",
    float,
    1,
    "the sign elected where changes cancel: 1, -1, or 0 for none, which keeps nothing",
)
COUNTED = Parameter(
    "counted",
    bool,
    0,
    "whether the models' signs are counted, in place of the sum of their changes' sizes",
)
INCLUSIVE = Parameter(
    "inclusive",
    bool,
    0,
    "whether all deltas as large as the smallest that is kept are kept too",
)
LEAST = Parameter(
    "least",
    float,
    None,
    "the size from which deltas are kept in every tensor, in place of a density",
    True,
)
BY_HAND = (CANCELLED, COUNTED, INCLUSIVE, LEAST)
"""What people's own lines of TIES decide and mergekit has decided."""
TOPK = Parameter(
    "topk",
    float,
    1,
    "the share of elements kept, those on which the deltas vary most",
    mergekit_name="select_topk",
)
EPSILON = Parameter(
    "epsilon",
    float,
    1e-5,
    "the size that a change must exceed to count",
    False,
    "epsilon",
)
REINFORCED = Parameter(
    "r", float, 0.1, "by how much changes of one donor alone are reinforced", False, "r"
)
MOST_REINFORCED = Parameter(
    "greatest_ratio",
    float,
    0.2,
    "the greatest ratio of shared to own changes that reinforces",
    False,
    "alpha",
)
BY_ROWS = Parameter(
    "row_wise",
    bool,
    0,
    "whether the angle is taken along the first dimension of a matrix, where not of all",
    mergekit_name="nuslerp_row_wise",
)
FLATTEN = Parameter(
    "flatten",
    bool,
    1,
    "whether the angle is that of the whole tensor, in place of one for each line",
    mergekit_name="nuslerp_flatten",
)
WEIGHTS_NORMALIZED = Parameter(
    "normalize_weights",
    bool,
    1,
    "whether weights are divided by their sum",
    mergekit_name="normalize_weights",
)
FILTER_WISE = Parameter(
    "filter_wise",
    bool,
    0,
    "whether every row has an angle of its own",
    mergekit_name="filter_wise",
)
MAX_STEPS = Parameter(
    "max_iter", float, 10, "the greatest number of steps", False, "max_iter"
)
CAST = Parameter(
    "cast",
    bool,
    0,
    "whether parents are first rounded to the dtype that the audited model is stored in,"
    " in place of the dtype of the arithmetic",
)
OF_EVERY_METHOD = (CAST,)


@dataclass(frozen=True)
class Method:
    """A merge method."""

    formula: Callable[[Merge], Array]
    """From one tensor of the parents to the merged elements."""
    parameters: tuple[Parameter, ...] = ()
    """What it takes beside the weights; what every method takes is added."""
    needs: Needs = "elements"
    """What the formula must know beside the elements."""
    averages: bool = False
    """Whether it averages whole models: then a model's share is its weight over the sum
    of the weights.
    """
    selects: bool = False
    """Whether it chooses elements: then what it leaves at the base proves nothing."""
    undecided: Callable[[Merge], Mask] | None = None
    """Elements that the tool may keep or drop, bool [n]."""

    def parameter(self, name: str) -> Parameter | None:
        """The parameter that a setting of this name belongs to; None for another
        method's.
        """
        own_name = name.partition(".")[0]
        for parameter in (*self.parameters, *OF_EVERY_METHOD):
            if parameter.name == own_name:
                return parameter
        return None

    def defaults(self, models: Sequence[str]) -> Mapping[str, float]:
        """What holds for these models where a recipe sets nothing, by name."""
        values: dict[str, float] = {}
        for parameter in (*self.parameters, *OF_EVERY_METHOD):
            if parameter.default is None:
                continue
            if parameter.per_model:
                names = [f"{parameter.name}.{model}" for model in models]
            else:
                names = [parameter.name]
            values |= dict.fromkeys(names, parameter.default)
        return values


METHODS: Mapping[str, Method] = {
    "linear": Method(
        linear.linear, (LINEAR_NORMALIZE, FUSED, WEIGHTS_ROUNDED), averages=True
    ),
    "lerp": Method(linear.lerp, averages=True),
    "task_arithmetic": Method(linear.task_arithmetic, (DELTA_NORMALIZE, LAMBDA)),
    "slerp": Method(spheres.slerp, needs="sums", averages=True),
    "nuslerp": Method(spheres.nuslerp, (BY_ROWS, FLATTEN), needs="sums", averages=True),
    "multislerp": Method(spheres.multislerp, (WEIGHTS_NORMALIZED,), needs="sums"),
    "karcher": Method(means.karcher, (MAX_STEPS,), needs="sums", averages=True),
    "model_stock": Method(means.model_stock, (FILTER_WISE,), needs="sums"),
    "sce": Method(sce.sce, (TOPK,), "sums", undecided=sce.at_least_variance),
    "nearswap": Method(elementwise.nearswap),
    "ram": Method(agents.ram, (EPSILON,)),
    "ramplus_tl": Method(
        agents.ramplus_tl, (EPSILON, REINFORCED, MOST_REINFORCED), needs="sizes"
    ),
    "ties": Method(
        trimming.ties,
        (DELTA_NORMALIZE, LAMBDA, RESCALE, DENSITY, *BY_HAND),
        needs="sizes",
        selects=True,
        undecided=trimming.at_threshold,
    ),
    "breadcrumbs": Method(
        trimming.breadcrumbs,
        (DELTA_NORMALIZE, LAMBDA, RESCALE, DENSITY, GAMMA, ELECT),
        needs="sizes",
        selects=True,
        undecided=trimming.at_threshold,
    ),
    "arcee_fusion": Method(
        elementwise.arcee_fusion,
        needs="rows",
        selects=True,
        undecided=elementwise.near_the_fence,
    ),
    "passthrough": Method(linear.passthrough, selects=True),
}
"""Every method by the name that mergekit gives it. `lerp` is torch.lerp, which mergekit
calls slerp.
"""
