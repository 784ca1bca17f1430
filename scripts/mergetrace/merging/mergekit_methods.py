"""What mergekit's methods take, as far as a declared configuration needs it to be read.

Sources: https://github.com/arcee-ai/mergekit, the contracts and parameters of the
methods in mergekit/merge_methods, version 0.1.5.
"""

from collections.abc import Mapping
from typing import Any

OTHER_NAMES: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "breadcrumbs_ties": ("breadcrumbs", {"elect": 1})
}
"""Methods that are one of ours with a setting."""
RANDOM = ("dare_linear", "dare_ties", "della", "della_linear")
"""Methods that drop elements at random: no replay gives the same ones."""
DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "ties": {"normalize": 1},
    "breadcrumbs": {"gamma": 0.01},
}
"""What mergekit 0.1.5 takes where nothing is said, where a recipe takes another value."""
UNMODELLED: Mapping[str, Mapping[str, Any]] = {
    "multislerp": {"eps": 1e-8},
    "karcher": {"tol": 1e-5},
    "passthrough": {"scale": 1},
}
"""Parameters of mergekit's methods that no recipe has, with the values under which that
makes no difference. Those of other methods mergekit passes over itself.
"""
MAX_MERGED_MODELS = 256
BASE_OPTIONAL = ("linear", "karcher", "nuslerp", "multislerp")
"""Methods that compute without a base, too."""
BASE_IS_A_MODEL = ("linear", "karcher")
"""Methods to which the base is one of the models."""
FEWEST_AND_MOST: Mapping[str, tuple[int, int]] = {
    "nuslerp": (2, 2),
    "slerp": (2, 2),
    "lerp": (2, 2),
    "nearswap": (1, 1),
    "arcee_fusion": (1, 1),
    "model_stock": (2, MAX_MERGED_MODELS),
    "multislerp": (2, MAX_MERGED_MODELS),
    "karcher": (2, MAX_MERGED_MODELS),
}
"""How many models a method takes beside its base, where not one or more."""
SHARES = ("density", "gamma", "select_topk")
"""Parameters that are shares, between 0 and 1."""


def takes(method: str, models: int) -> bool:
    """Whether a method can take so many models beside its base."""
    fewest, most = FEWEST_AND_MOST.get(method, (1, MAX_MERGED_MODELS))
    return fewest <= models <= most
