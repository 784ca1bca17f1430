"""What a recipe says about shares: how much of each donor, where one number says it."""

from collections.abc import Mapping
from typing import Any

AVERAGES = ("linear", "lerp", "slerp", "nuslerp")


def donor_shares(recipe: Mapping[str, Any], base: str) -> dict[str, float | None]:
    """The share of every donor of a recipe (as written by recipes.as_json), the base left out.

    For averages (on a sphere: the position along the arc) a weight over the sum of the weights, unless they are not normalised; for task
    arithmetic the weight of the donor's delta; for a Karcher mean one over the number of models. None where a weight differs between tensors,
    or where elements are chosen and no one number exists.
    """
    parameters, method = recipe["parameters"], recipe["method"]
    weights = parameters["weights"]
    donors = [model for model in weights if model != base]
    numbers = [weight for weight in weights.values() if isinstance(weight, (int, float))]
    if len(numbers) < len(weights):
        return dict.fromkeys(donors)
    if method in AVERAGES:
        whole = sum(numbers) if parameters.get("normalize", 1) else 1.0
        return {donor: weights[donor] / whole for donor in donors}
    if method == "karcher":
        return dict.fromkeys(donors, 1 / len(weights))
    if method == "task_arithmetic" and not parameters.get("normalize", 0):
        return {donor: weights[donor] * parameters.get("lambda", 1) for donor in donors}
    return dict.fromkeys(donors)
