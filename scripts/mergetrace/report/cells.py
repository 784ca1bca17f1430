"""Means of slices by layer and component, and by expert: what the report's maps show."""

from collections.abc import Sequence

import pandas as pd

MEASURES = ("alpha", "cos_fit", "alpha_expected", "cos_expected", "misfit")
"""The columns of which means are taken."""
ROUTED_EXPERTS = "routed_experts"
"""The component whose slices are experts."""


def by_layer_and_component(tensors: pd.DataFrame) -> pd.DataFrame:
    """layer, component, votes, slices and the means of MEASURES, weighted by elements.

    tensors: tensors.csv.
    misfit: the share of informative elements that the best recipe does not give back.
    Where any slice of a layer's component votes, only those that do count.
    """
    keys = ["layer", "component"]
    any_votes = tensors.groupby(keys, sort=False)["votes"].transform("any")
    counting = tensors[tensors["votes"] | ~any_votes].copy()
    counting["misfit"] = 1 - counting["bit_exact_rate"]
    means = counting.groupby(keys, sort=False).agg(
        votes=("votes", "any"),
        slices=("votes", "size"),
    )
    for name in MEASURES:
        means[name] = weighted_means(counting, name, keys)
    return means.reset_index()


def by_expert(tensors: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame | None:
    """alpha of every routed expert, layers x experts: means over its matrices, weighted
    by elements. None for a model without experts.

    tensors: tensors.csv. order: layers from top to bottom.
    """
    routed = tensors["component"] == ROUTED_EXPERTS
    numbered = tensors["slice"].notna() & (tensors["slice"] != "")
    experts = tensors[routed & numbered & tensors["alpha"].notna()]
    if experts.empty:
        return None
    experts = experts.assign(expert=experts["slice"].astype(int))
    means = weighted_means(experts, "alpha", ["layer", "expert"]).unstack()
    present = [layer for layer in order if layer in means.index]
    last = int(means.columns.max())
    return means.reindex(index=present, columns=range(last + 1))


def weighted_means(
    table: pd.DataFrame, name: str, keys: list[str]
) -> "pd.Series[float]":
    """The mean of one column by group, weighted by elements; NaN where a group has no
    number.
    """
    known = table[table[name].notna()]
    products = known[keys].assign(
        weighted=known[name] * known["elements"],
        elements=known["elements"],
    )
    sums = products.groupby(keys, sort=False).sum()
    means: pd.Series[float] = sums["weighted"] / sums["elements"]
    return means
