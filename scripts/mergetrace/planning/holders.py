"""Whose weight files are read for which model: an adapter's base's."""

from typing import TYPE_CHECKING

from mergetrace.files.adapter_files import ADAPTER_FILE
from mergetrace.records.manifest import Manifests, holder_of

if TYPE_CHECKING:
    import pandas as pd


def by_holder(
    plan: "pd.DataFrame", manifests: Manifests
) -> tuple["pd.DataFrame", Manifests]:
    """The plan and the manifests of the models whose weight files are read: what an
    adapter changes stands under its base, and what it holds itself is left out.
    """
    holders = {model: holder_of(model, each) for model, each in manifests.items()}
    if all(model == holder for model, holder in holders.items()):
        return plan, manifests
    rows = plan[plan["shard"] != ADAPTER_FILE]
    held = {
        holder: manifests.get(holder, manifests[model])
        for model, holder in holders.items()
    }
    return rows.assign(model=rows["model"].map(holders)), held
