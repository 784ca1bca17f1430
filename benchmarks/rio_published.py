"""One blend weight explains every published pair of the public case: invert each
(alpha, cos_fit) through bf16 rounding.

python -m benchmarks.rio_published [--figure docs/rio_published.svg]
"""

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd

from benchmarks.lattice_bias import Curves, curves, true_alpha

PUBLISHED = Path(__file__).with_name("rio_published.csv")
GRID = (np.linspace(0.54, 0.60, 13), np.geomspace(0.0075, 0.12, 32))


def inverted() -> tuple[pd.DataFrame, Curves]:
    """The published pairs with the true weight that each implies."""
    grid = curves(*GRID)
    table = pd.read_csv(PUBLISHED)
    table["implied_alpha"] = [
        true_alpha(grid, row.alpha, row.cos_fit) for row in table.itertuples()
    ]
    return table, grid


def draw(table: pd.DataFrame, path: Path) -> None:
    """The published pairs on the curve that a pure merge at the median weight shows."""
    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "mergetrace"
    import matplotlib.pyplot as plt

    centre = float(table["implied_alpha"].median())
    figure, axes = plt.subplots(figsize=(6.4, 4))
    for alpha, style in ((centre - 0.01, ":"), (centre, "-"), (centre + 0.01, ":")):
        curve = curves(np.array([alpha]), GRID[1])
        axes.plot(
            curve.shown_cos[0],
            curve.shown_alpha[0],
            style,
            color="#0072B2",
            label=f"pure bf16 merge at {alpha:.3f}",
        )
    axes.plot(table["cos_fit"], table["alpha"], "o", color="#D55E00", label="published")
    for row in table.itertuples():
        axes.annotate(
            f"{row.component.replace('_', ' ')} {row.layer}",
            (row.cos_fit, row.alpha),
            fontsize=7,
            xytext=(5, 4),
            textcoords="offset points",
        )
    axes.set(
        xlabel="cos_fit",
        ylabel="alpha by least squares",
        xlim=(0.955, 1),
        ylim=(0.54, 0.68),
        title="One blend weight, seen through rounding",
    )
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    table, _ = inverted()
    print(table.drop(columns="source").to_string(index=False, float_format="%.4f"))
    implied = table["implied_alpha"]
    print(
        f"\nimplied alpha: median {implied.median():.4f}, from {implied.min():.4f} to"
        f" {implied.max():.4f}"
    )
    print(f"published alpha: from {table['alpha'].min()} to {table['alpha'].max()}")
    if arguments.figure:
        draw(table, arguments.figure)


if __name__ == "__main__":
    main()
