"""Means of slices by layer and component, and by expert: what the report's maps show."""

from collections.abc import Sequence

import pandas as pd

MEASURES = ("alpha", "cos_fit", "alpha_expected", "cos_expected", "misfit")
ROUTED_EXPERTS = "routed_experts"


def by_layer_and_component(tensors: pd.DataFrame) -> pd.DataFrame:
    """layer, component, votes, slices and the means of MEASURES, weighted by elements.

    misfit: the share of informative elements that the best recipe does not give back.
    Where any slice of a layer's component votes, only those that do count.
    """
    keys = ["layer", "component"]
    votes = tensors.groupby(keys, sort=False)["votes"].transform("any")
    chosen = tensors[tensors["votes"] | ~votes].copy()
    chosen["misfit"] = 1 - chosen["bit_exact_rate"]
    groups = [chosen[key] for key in keys]
    means = (
        chosen.groupby(keys, sort=False)
        .agg(votes=("votes", "any"), slices=("votes", "size"))
        .reset_index()
    )
    for name in MEASURES:
        weights = chosen["elements"].where(chosen[name].notna())
        sums = (chosen[name] * weights).groupby(groups, sort=False).sum()
        totals = weights.groupby(groups, sort=False).sum()
        means[name] = (sums / totals.where(totals > 0)).to_numpy()
    return means


def by_expert(tensors: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame | None:
    """alpha of every routed expert, layers x experts: means over its matrices, weighted
    by elements. None for a model without experts. order: layers from top to bottom.
    """
    routed = tensors["component"] == ROUTED_EXPERTS
    numbered = tensors["slice"].notna() & (tensors["slice"] != "")
    experts = tensors[routed & numbered & tensors["alpha"].notna()]
    if experts.empty:
        return None
    keys = [experts["layer"], experts["slice"].astype(int)]
    sums = (experts["alpha"] * experts["elements"]).groupby(keys).sum()
    means = (sums / experts["elements"].groupby(keys).sum()).unstack()
    present = [layer for layer in order if layer in means.index]
    last = int(means.columns.max())
    return means.reindex(index=present, columns=range(last + 1))
