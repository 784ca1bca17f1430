"""Merges that people write by hand: a few lines over tensors, each operation rounded to
the tensors' dtype.

SCRIPTS is the whole space of such lines, times the order of the models
(`Recipe.models`), the dtype of the tensors (`Recipe.dtype`), and where the weights live:
a Python number stays in float32 beside narrow tensors, a tensor of a weight has been
rounded to their dtype (`weights_rounded`). Every entry holds the lines themselves, which
the tests run with torch, and the formula that gives the same bits.

Lines of numpy run in float32 or float64 alone.

What torch does on a processor, measured with torch 2.13 and held by the tests: a product
with a Python number keeps that number in float32 and rounds once; `add(alpha=)` rounds
alpha to the dtype and then once more at the end; `lerp` works in float32 with fused
multiply-adds and rounds once; so do sums over a dimension and matrix products.

To add a script: a formula in `script_formulas`, and an entry of SCRIPTS with its lines.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Literal

from mergetrace.merging import script_arcs as arcs
from mergetrace.merging import script_formulas as formulas
from mergetrace.merging.merge import Merge
from mergetrace.merging.script_formulas import Arithmetic
from mergetrace.numerics.arithmetic import to_float32
from mergetrace.numerics.arrays import Array

Weighing = Literal["free", "over_sum", "equal", "in_turn", "onto_first", "on_arc"]
"""What a script's weights are: shares as they stand, shares once they are divided by
their sum, equal by nature, each what the model moves the merge so far towards itself,
each what of a change is added to the first model, or parts of an angle.
"""


Formula = Callable[[Merge, Arithmetic], Array]


@dataclass(frozen=True)
class Script:
    """One way to write a merge."""

    method: str
    """The method of METHODS that it computes: linear, lerp or task_arithmetic."""
    lines: str
    """The lines, over `models` and `weights` in order and, of task arithmetic, `base`;
    they leave the result in `merged`.
    """
    formula: Formula
    """The same, operation by operation."""
    weighing: Weighing = "free"
    """What the weights are."""
    scalars_kept: bool = True
    """Whether a weight can live in float32 beside the tensors."""
    scalars_rounded: bool = True
    """Whether a weight can live in the dtype of the tensors."""
    mixed: bool = False
    """Whether narrow and wide numbers meet; of wide tensors alone another script does
    the same.
    """
    ordered: bool = False
    """Whether the order of two models matters; that of more always does."""


UNITS = (
    "cosine = np.sum(\n"
    "    first / np.linalg.norm(first) * (second / np.linalg.norm(second))\n"
    ")\n"
)
PRODUCTS = (
    "cosine = np.sum(first * second)\n"
    "cosine = cosine / (np.linalg.norm(first) * np.linalg.norm(second))\n"
)


def _arc(cosine: str, rest: str) -> str:
    """The lines of an arc. rest: the angle that the first model has."""
    return (
        "import numpy as np\n"
        "first, second, t = models[0].numpy(), models[1].numpy(), weights[1]\n"
        + cosine
        + "if np.abs(cosine) > 0.9995:  # nearly parallel\n"
        "    blend = (1 - t) * first + t * second\n"
        "else:\n"
        "    angle = np.arccos(cosine)\n"
        "    moved = angle * t\n"
        f"    one = np.sin({rest}) / np.sin(angle)\n"
        "    two = np.sin(moved) / np.sin(angle)\n"
        "    blend = one * first + two * second\n"
        "merged = torch.from_numpy(blend)"
    )


EACH = "for model, weight in zip(models, weights):\n"
LATER = "for model, weight in zip(models[1:], weights[1:]):\n"

SCRIPTS: Mapping[str, Script] = {
    "products": Script(
        "linear",
        "merged = models[0] * weights[0]\n" + LATER + "    merged += model * weight",
        formulas.products,
    ),
    "products_over_sum": Script(
        "linear",
        "merged = models[0] * weights[0]\n"
        + LATER
        + "    merged += model * weight\nmerged = merged / sum(weights)",
        formulas.products_over_sum,
        "over_sum",
        scalars_rounded=False,
    ),
    "deltas_in_turn": Script(
        "task_arithmetic",
        "merged = base.clone()\n" + EACH + "    merged += (model - base) * weight",
        formulas.deltas_in_turn,
    ),
    "sum_of_deltas": Script(
        "task_arithmetic",
        "deltas = [(model - base) * weight for model, weight in zip(models, weights)]\n"
        "merged = base + sum(deltas)",
        formulas.sum_of_deltas,
    ),
    "scaled_sum_of_deltas": Script(
        "task_arithmetic",
        "merged = base + sum(model - base for model in models) * weights[0]",
        formulas.scaled_sum_of_deltas,
    ),
    "scaled_deltas": Script(
        "task_arithmetic",
        "merged = base.clone()\n"
        + EACH
        + "    merged.add_(model - base, alpha=weight)",
        formulas.scaled_deltas,
        scalars_rounded=False,
    ),
    "wide_deltas": Script(
        "task_arithmetic",
        "merged = base.clone()\n"
        + EACH
        + "    delta = (model.float() - base.float()) * weight\n"
        "    merged += delta.to(base.dtype)",
        formulas.wide_deltas,
        scalars_rounded=False,
    ),
    "wide_deltas_in_turn": Script(
        "task_arithmetic",
        "merged = base.clone()\n"
        + EACH
        + "    merged += (model.float() - base.float()) * weight",
        formulas.wide_deltas_in_turn,
        scalars_rounded=False,
        mixed=True,
    ),
    "narrow_deltas_added_wide": Script(
        "task_arithmetic",
        "merged = base.float()\n"
        + EACH
        + "    merged = merged + (model - base).float() * weight\n"
        "merged = merged.to(base.dtype)",
        formulas.narrow_deltas_added_wide,
        scalars_rounded=False,
        mixed=True,
    ),
    "changes_added": Script(
        "task_arithmetic",
        "merged = models[0].clone()\n"
        + LATER
        + "    merged += (model - base) * weight",
        formulas.changes_added,
        "onto_first",
    ),
    "scaled_changes_added": Script(
        "task_arithmetic",
        "merged = models[0].clone()\n"
        + LATER
        + "    merged.add_(model - base, alpha=weight)",
        formulas.scaled_changes_added,
        "onto_first",
        scalars_rounded=False,
    ),
    "products_added_wide": Script(
        "linear",
        "merged = torch.zeros(models[0].shape, dtype=torch.float32)\n"
        + EACH
        + "    merged += model * weight\n"
        "merged = merged.to(models[0].dtype)",
        formulas.products_added_wide,
        mixed=True,
    ),
    "scaled_additions": Script(
        "linear",
        "merged = torch.zeros_like(models[0])\n"
        + EACH
        + "    merged.add_(model, alpha=weight)",
        formulas.scaled_additions,
        scalars_rounded=False,
        ordered=True,
    ),
    "scaled_additions_over_sum": Script(
        "linear",
        "merged = torch.zeros_like(models[0])\n"
        + EACH
        + "    merged.add_(model, alpha=weight)\nmerged /= sum(weights)",
        formulas.scaled_additions_over_sum,
        "over_sum",
        scalars_rounded=False,
        ordered=True,
    ),
    "product_then_scaled_additions": Script(
        "linear",
        "merged = models[0] * weights[0]\n"
        + LATER
        + "    merged.add_(model, alpha=weight)",
        formulas.product_then_scaled_additions,
        scalars_rounded=False,
        ordered=True,
    ),
    "one_rounding": Script(
        "linear",
        "merged = torch.tensordot(\n"
        "    torch.tensor(weights, dtype=models[0].dtype), torch.stack(models), dims=1\n"
        ")",
        formulas.one_rounding,
        scalars_kept=False,
    ),
    "mean": Script(
        "linear", "merged = torch.stack(models).mean(dim=0)", formulas.mean, "equal"
    ),
    "sum_over_count": Script(
        "linear", "merged = sum(models) / len(models)", formulas.sum_over_count, "equal"
    ),
    "sum_times_share": Script(
        "linear",
        "merged = sum(models) * (1 / len(models))",
        formulas.sum_times_share,
        "equal",
    ),
    "parts_added": Script(
        "linear",
        "merged = sum(model / len(models) for model in models)",
        formulas.parts_added,
        "equal",
    ),
    "running_mean": Script(
        "linear",
        "merged = models[0].clone()\n"
        "for count, model in enumerate(models[1:], start=2):\n"
        "    merged += (model - merged) / count",
        formulas.running_mean,
        "equal",
        ordered=True,
    ),
    "moving_products": Script(
        "linear",
        "merged = models[0]\n"
        + LATER
        + "    merged = merged * (1 - weight) + model * weight",
        formulas.moving_products,
        "in_turn",
        scalars_rounded=False,
        ordered=True,
    ),
    "moving_scaled_additions": Script(
        "linear",
        "merged = models[0].clone()\n"
        + LATER
        + "    merged.mul_(1 - weight).add_(model, alpha=weight)",
        formulas.moving_scaled_additions,
        "in_turn",
        scalars_rounded=False,
        ordered=True,
    ),
    "moving_steps": Script(
        "linear",
        "merged = models[0]\n"
        + LATER
        + "    merged = merged + (model - merged) * weight",
        formulas.moving_steps,
        "in_turn",
        ordered=True,
    ),
    "moving_lerp": Script(
        "lerp",
        "merged = models[0]\n"
        + LATER
        + "    merged = torch.lerp(merged, model, weight)",
        formulas.moving_lerp,
        "in_turn",
        ordered=True,
    ),
    "arc_of_units": Script(
        "slerp", _arc(UNITS, "(1 - t) * angle"), arcs.arc_of_units, "on_arc"
    ),
    "arc_in_steps": Script(
        "slerp", _arc(UNITS, "angle - moved"), arcs.arc_in_steps, "on_arc"
    ),
    "arc_of_products": Script(
        "slerp",
        _arc(PRODUCTS, "(1 - t) * angle"),
        arcs.arc_of_products,
        "on_arc",
    ),
}
"""Every script by its name."""


def run_script(script: str, merge: Merge) -> Array:
    """The merged elements of a script, before they are stored: float64 [n].

    From float64 a cast to a narrow dtype goes by way of float32. A mean is of those
    models that have a weight in the tensor.
    """
    if SCRIPTS[script].weighing == "equal":
        merge = _of_weighed(merge)
    merged = SCRIPTS[script].formula(merge, Arithmetic(merge))
    return to_float32(merged) if merge.dtype == "float64" else merged


def _of_weighed(merge: Merge) -> Merge:
    """The merge of those models whose weight is not zero."""
    places = [place for place, weight in enumerate(merge.weights) if weight]
    if len(places) in (0, len(merge.weights)):
        return merge
    return replace(
        merge,
        names=tuple(merge.names[place] for place in places),
        models=tuple(merge.models[place] for place in places),
        weights=tuple(merge.weights[place] for place in places),
    )


def shares_of_script(script: str, weights: Sequence[float]) -> tuple[float, ...]:
    """What part of the merge each model is, by the script's weights in order; None of
    task arithmetic's base, which has the rest.
    """
    weighing = SCRIPTS[script].weighing
    if weighing == "equal":
        count = sum(map(bool, weights)) or 1
        return tuple(bool(weight) / count for weight in weights)
    if weighing == "over_sum":
        return tuple(weight / sum(weights) for weight in weights)
    if weighing in ("free", "onto_first", "on_arc"):
        return tuple(weights)
    left = [1 - weight for weight in (0.0, *weights[1:])]
    moved = (1.0, *weights[1:])
    return tuple(weight * prod(left[place + 1 :]) for place, weight in enumerate(moved))


def weights_of_shares(script: str, shares: Sequence[float]) -> tuple[float, ...]:
    """The weights of a script whose models have these shares, the reverse of
    `shares_of_script`; shares that do not fit a script are left as they are.
    """
    if SCRIPTS[script].weighing == "equal":
        return (1.0,) * len(shares)
    if SCRIPTS[script].weighing != "in_turn":
        return tuple(shares)
    weights = []
    so_far = shares[0]
    for share in shares[1:]:
        so_far += share
        weights.append(round(share / so_far, 12) if so_far else 0.0)
    return (1 - weights[0] if weights else 1.0, *weights)
