"""The report's maps: one number of every layer and component, or of every expert, as a
colour.
"""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mergetrace.readable import decimal, plural
from mergetrace.report.figures import WIDTH, counted, layer_ticks, spread
from mergetrace.report.svg import COLOURS, SETTINGS, Picture, embed

FEW_LAYERS = 12  # up to here a map's cells carry their numbers
EXPERTS = "routed_experts"
Map = NDArray[np.float64]


def by_layer_and_component(cells: pd.DataFrame, order: Sequence[str]) -> Picture:
    """alpha of every layer and component of the suspect, and below it what the best
    recipe does not give back.

    cells: layer, component, alpha, misfit, votes (report_tables.cells); order: layers
    from left to right. What does not vote stands below the rest.
    """
    votes = cells.groupby("component", sort=False)["votes"].any()
    rows = sorted(votes.index, key=lambda component: not votes[component])
    names = [counted(row, votes[row]) for row in rows]
    kinds = [("alpha", "alpha: how much of the donor", "viridis", 1.0)]
    if cells["misfit"].notna().any():
        most = float(cells["misfit"].max())
        kinds.append(
            (
                "misfit",
                "misfit: informative elements that the best recipe does not give back",
                "magma_r",
                max(most, 0.01),
            )
        )
    with mpl.rc_context(
        SETTINGS | {"axes.titleweight": "bold", "axes.titlelocation": "left"}
    ):
        figure = Figure(
            figsize=(WIDTH, len(kinds) * (0.95 + 0.27 * len(rows))),
            layout="constrained",
        )
        for (axes, bar), (name, title, colours, top) in zip(
            figure.subplots(len(kinds), 2, width_ratios=(40, 1), squeeze=False),
            kinds,
            strict=True,
        ):
            grid = (
                cells.pivot(index="component", columns="layer", values=name)
                .reindex(index=rows, columns=order)
                .to_numpy(float)
            )
            mesh = axes.pcolormesh(
                np.ma.masked_invalid(grid),
                cmap=colours,
                vmin=0,
                vmax=top,
                edgecolors=COLOURS["paper"],
                linewidth=1.2 if len(order) <= FEW_LAYERS else 0.5,
            )
            axes.set_yticks(np.arange(len(rows)) + 0.5, names)
            layer_ticks(axes, order, {layer: i + 0.5 for i, layer in enumerate(order)})
            axes.invert_yaxis()
            axes.set_title(title)
            if len(order) <= FEW_LAYERS:
                _write_numbers(axes, grid, mesh)
            _scale(bar, colours, top)
            _bare(axes, bar)
        axes.set_xlabel("layer")
    said = (
        f"{plural(len(rows), 'component')} in {plural(len(order), 'layer')}:"
        f" {spread(cells.loc[cells['votes'], 'alpha'])} where tensors vote"
    )
    said += f"; misfit up to {decimal(most)}" if len(kinds) > 1 else ""
    return embed(
        figure,
        "map",
        "alpha and misfit by layer and component",
        f"{said}. The table below holds the numbers.",
    )


def expert_cells(tensors: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame | None:
    """alpha of every routed expert, layers x experts: means over its matrices, weighted
    by size. None for a model without experts.
    """
    own = tensors[
        (tensors["component"] == EXPERTS)
        & tensors["slice"].notna()
        & (tensors["slice"] != "")
        & tensors["alpha"].notna()
    ]
    if own.empty:
        return None
    keys = [own["layer"], own["slice"].astype(int)]
    means = (own["alpha"] * own["elements"]).groupby(keys).sum() / own[
        "elements"
    ].groupby(keys).sum()
    grid = means.unstack()
    return grid.reindex(
        index=[layer for layer in order if layer in grid.index],
        columns=range(int(grid.columns.max()) + 1),
    )


def experts(cells: pd.DataFrame) -> Picture:
    """alpha of every routed expert: layers down, experts across. cells: of
    `expert_cells`.
    """
    grid = cells.to_numpy(float)
    with mpl.rc_context(SETTINGS):
        figure = Figure(
            figsize=(WIDTH, float(np.clip(1.1 + 0.07 * len(cells), 1.8, 5.5))),
            layout="constrained",
        )
        axes, bar = figure.subplots(1, 2, width_ratios=(40, 1))
        axes.imshow(
            np.ma.masked_invalid(grid),
            cmap="viridis",
            vmin=0,
            vmax=1,
            aspect="auto",
            interpolation="none",
        )
        step = max(1, -(-len(cells) // 20))
        axes.set_yticks(range(0, len(cells), step), list(cells.index)[::step])
        axes.set(xlabel="expert", ylabel="layer")
        _scale(bar, "viridis", 1.0)
        bar.set_title("alpha")
        _bare(axes, bar)
    said = (
        f"{plural(grid.shape[1], 'expert')} in {plural(grid.shape[0], 'layer')}:"
        f" {spread(pd.Series(grid.ravel()))}"
    )
    return embed(
        figure,
        "experts",
        "alpha of every expert",
        f"{said}. The table below holds the numbers.",
    )


def _write_numbers(axes: Axes, grid: Map, mesh: mpl.collections.QuadMesh) -> None:
    for (row, column), value in np.ndenumerate(grid):
        light = np.array([0.2126, 0.7152, 0.0722]) @ np.power(
            mesh.cmap(mesh.norm(value))[:3], 2.2
        )
        dark = (
            light < 0.18
        )  # of WCAG's relative luminance: below it white has more contrast than black
        colour = (
            COLOURS["muted"] if np.isnan(value) else "#ffffff" if dark else "#111111"
        )
        axes.text(
            column + 0.5,
            row + 0.5,
            "–" if np.isnan(value) else f"{value:.3f}",
            ha="center",
            va="center",
            color=colour,
            fontsize=8.5,
        )


def _scale(bar: Axes, colours: str, top: float) -> None:
    steps = np.linspace(0, top, 41)
    bar.pcolormesh(
        [0, 1],
        steps,
        ((steps[1:] + steps[:-1]) / 2)[:, None],
        cmap=colours,
        vmin=0,
        vmax=top,
        edgecolors="face",
        linewidth=0.4,
    )
    bar.yaxis.tick_right()
    bar.set(xticks=[], yticks=[0, top / 2, top])
    bar.set_yticklabels([f"{value:g}" for value in (0, top / 2, top)])


def _bare(*each: Axes) -> None:
    for axes in each:
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
