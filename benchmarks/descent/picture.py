"""The picture of the descent zoo: stated and planted weights, by the cosine that
training left.
"""

from pathlib import Path

import matplotlib as mpl
import pandas as pd

SIZE = (6.4, 3.6)
COLOURS = {"named": "#1b6ca8", "inconclusive": "#9a9a9a"}
WRONG = "#b3261e"


def draw(path: Path, curve: pd.DataFrame) -> None:
    """Every merge that was trained on another task is a point: grey on the line where
    it was not named, otherwise as high as its weight is off.
    """
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "mergetrace"
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
    for grade, part in curve.groupby("grade"):
        weights = part["stated"].fillna(part["weight"])
        off = (weights - part["weight"]).fillna(0.0)
        axes.scatter(
            part["cos_fit"],
            off,
            s=14,
            color=COLOURS.get(str(grade), WRONG),
            label=f"{grade} ({len(part)})",
        )
    axes.axhspan(-0.02, 0.02, color="#1b6ca8", alpha=0.08, linewidth=0)
    axes.set_xlabel("cosine between suspect's and donor's change after training")
    axes.set_ylabel("stated weight minus planted")
    axes.set_xlim(0, 1)
    axes.legend(frameon=False, fontsize="small")
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
