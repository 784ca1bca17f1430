"""The report's maps: one number of every layer and component, or of every expert, as a
colour.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mergetrace.readable import decimal, plural
from mergetrace.report.drawing import WIDTH, component_label, layer_ticks, spread
from mergetrace.report.svg import COLOURS, SETTINGS, Picture, embed

FEW_LAYERS = 12
"""Up to so many layers a map's cells carry their numbers."""
DARK = 0.18
"""Of WCAG's relative luminance: below it white has more contrast than black."""
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
"""The weights of red, green and blue in WCAG's relative luminance."""

Grid = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """One number that a map shows."""

    column: str
    """Its column."""
    title: str
    """What stands above the map."""
    colours: str
    """matplotlib's name for the colours."""
    most: float
    """The greatest value of the scale, which starts at 0."""


def layers_and_components(means: pd.DataFrame, order: Sequence[str]) -> Picture:
    """alpha of every layer and component of the suspect, and below it what the best
    recipe does not give back.

    means: see cells.by_layer_and_component. order: layers from left to right. What does
    not vote stands below the rest.
    """
    votes = means.groupby("component", sort=False)["votes"].any()
    rows = sorted(votes.index, key=lambda component: not votes[component])
    names = [component_label(row, bool(votes[row])) for row in rows]
    measures = [Measure("alpha", "alpha: how much of the donor", "viridis", 1.0)]
    misfit = float(means["misfit"].max())
    if np.isfinite(misfit):
        title = "misfit: informative elements that the best recipe does not give back"
        measures.append(Measure("misfit", title, "magma_r", max(misfit, 0.01)))
    settings = {"axes.titleweight": "bold", "axes.titlelocation": "left"}
    with mpl.rc_context(SETTINGS | settings):
        height = len(measures) * (0.95 + 0.27 * len(rows))
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        panels = figure.subplots(len(measures), 2, width_ratios=(40, 1), squeeze=False)
        for (axes, bar), measure in zip(panels, measures, strict=True):
            pivot = means.pivot(
                index="component", columns="layer", values=measure.column
            )
            grid = pivot.reindex(index=rows, columns=list(order)).to_numpy(float)
            _draw_map(axes, grid, names, order, measure)
            _draw_scale(bar, measure.colours, measure.most)
            _without_lines(axes, bar)
        panels[-1][0].set_xlabel("layer")
    text = (
        f"{plural(len(rows), 'component')} in {plural(len(order), 'layer')}:"
        f" {spread(means.loc[means['votes'], 'alpha'])} where tensors vote"
    )
    if np.isfinite(misfit):
        text += f"; misfit up to {decimal(misfit)}"
    return embed(
        figure,
        "map",
        "alpha and misfit by layer and component",
        f"{text}. The table below holds the numbers.",
    )


def experts(means: pd.DataFrame) -> Picture:
    """alpha of every routed expert: layers down, experts across. means: see
    cells.by_expert.
    """
    grid = means.to_numpy(float)
    with mpl.rc_context(SETTINGS):
        height = float(np.clip(1.1 + 0.07 * len(means), 1.8, 5.5))
        figure = Figure(figsize=(WIDTH, height), layout="constrained")
        axes, bar = figure.subplots(1, 2, width_ratios=(40, 1))
        axes.imshow(
            np.ma.masked_invalid(grid),
            cmap="viridis",
            vmin=0,
            vmax=1,
            aspect="auto",
            interpolation="none",
        )
        step = max(1, -(-len(means) // 20))
        axes.set_yticks(range(0, len(means), step), list(means.index)[::step])
        axes.set(xlabel="expert", ylabel="layer")
        _draw_scale(bar, "viridis", 1.0)
        bar.set_title("alpha")
        _without_lines(axes, bar)
    text = (
        f"{plural(grid.shape[1], 'expert')} in {plural(grid.shape[0], 'layer')}:"
        f" {spread(pd.Series(grid.ravel()))}"
    )
    return embed(
        figure,
        "experts",
        "alpha of every expert",
        f"{text}. The table below holds the numbers.",
    )


def _draw_map(
    axes: Axes,
    grid: Grid,
    names: Sequence[str],
    order: Sequence[str],
    measure: Measure,
) -> None:
    """One measure. grid: float64 [components, layers]. names: of the components."""
    few = len(order) <= FEW_LAYERS
    mesh = axes.pcolormesh(
        np.ma.masked_invalid(grid),
        cmap=measure.colours,
        vmin=0,
        vmax=measure.most,
        edgecolors=COLOURS["paper"],
        linewidth=1.2 if few else 0.5,
    )
    axes.set_yticks(np.arange(len(names)) + 0.5, names)
    layer_ticks(axes, order, {layer: i + 0.5 for i, layer in enumerate(order)})
    axes.invert_yaxis()
    axes.set_title(measure.title)
    if few:
        _write_numbers(axes, grid, mesh)


def _write_numbers(axes: Axes, grid: Grid, mesh: QuadMesh) -> None:
    for (row, column), value in np.ndenumerate(grid):
        text = f"{value:.3f}"
        red_green_blue = mesh.cmap(mesh.norm(np.array(value)))[:3]
        light = LUMINANCE @ np.power(red_green_blue, 2.2)
        colour = "#ffffff" if light < DARK else "#111111"
        if np.isnan(value):
            text = "–"
            colour = COLOURS["muted"]
        axes.text(
            column + 0.5,
            row + 0.5,
            text,
            ha="center",
            va="center",
            color=colour,
            fontsize=8.5,
        )


def _draw_scale(bar: Axes, colours: str, most: float) -> None:
    """A bar of the colours from 0 to `most`."""
    steps = np.linspace(0, most, 41)
    middles = (steps[1:] + steps[:-1]) / 2
    bar.pcolormesh(
        [0, 1],
        steps,
        middles[:, None],
        cmap=colours,
        vmin=0,
        vmax=most,
        edgecolors="face",
        linewidth=0.4,
    )
    bar.yaxis.tick_right()
    bar.set(xticks=[], yticks=[0, most / 2, most])
    bar.set_yticklabels([f"{value:g}" for value in (0, most / 2, most)])


def _without_lines(*each: Axes) -> None:
    for axes in each:
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
