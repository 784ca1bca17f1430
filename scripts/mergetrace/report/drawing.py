"""What the report's pictures share: sizes, ticks, limits, legends."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from mergetrace.numerics.arrays import Array

WIDTH = 9.2
"""Inches; the page scales pictures to its own width."""
MARKERS = "osD^vPX*"
MOST_QUARTERS = 2.0
"""The widest axis of shares, from end to end, with a tick at every quarter."""
TICK_SLACK = 1e-9
MOST_TICKS = 24
"""Layers that get a tick each; of more, every fifth or so does."""


def layer_ticks(axes: Axes, order: Sequence[str], place: Mapping[str, float]) -> None:
    """A tick for every layer where they are few, for every fifth or so where they are
    many, and for named places always.

    order: the layers. place: by layer where it lies on the axis.
    """
    numbered = [layer for layer in order if layer.isdigit()]
    named = [layer for layer in order if not layer.isdigit()]
    step = max(1, -(-len(numbered) // MOST_TICKS))
    if step >= 3:
        step = -(-step // 5) * 5
    shown = [*numbered[::step], *named]
    axes.set_xticks([place[layer] for layer in shown], shown)


def legend(axes: Axes, columns: int) -> None:
    """A legend above the axes."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=min(columns, 5),
        borderaxespad=0.2,
        handletextpad=0.4,
        columnspacing=1.6,
    )


def share_limits(values: pd.Series, held: Iterable[float] = ()) -> tuple[float, float]:
    """Limits that hold 0, 1 and the values, but none further out than -.5 and 1.5;
    held: shares that they hold wherever these lie.
    """
    sure = [share for share in held if np.isfinite(share)]
    finite = values[np.isfinite(values)]
    low, high = 0.0, 1.0
    if len(finite):
        low = max(min(float(finite.min()), 0.0), -0.5)
        high = min(max(float(finite.max()), 1.0), 1.5)
    return min([low, *sure]), max([high, *sure])


def share_ticks(low: float, high: float) -> tuple[Array, list[str]]:
    """Where an axis of shares has its ticks, quarters or halves, and their labels."""
    parts = 4 if high - low <= MOST_QUARTERS else 2
    first = int(np.ceil(low * parts - TICK_SLACK))
    last = int(np.floor(high * parts + TICK_SLACK))
    numbers = list(range(first, last + 1))
    labels = [f"{100 * number // parts} %" for number in numbers]
    return np.array(numbers) / parts, labels


def component_label(component: str, votes: bool) -> str:
    """A component's name, with a note where none of its slices votes."""
    name = component.replace("_", " ")
    return name if votes else f"{name} (does not vote)"


def spread(values: pd.Series) -> str:
    """The least and the greatest alpha, for a picture's description."""
    finite = values.dropna()
    if not len(finite):
        return "no alpha"
    return f"alpha {finite.min():.3f} to {finite.max():.3f}"


def suspect_first(table: pd.DataFrame, suspect: str) -> list[str]:
    """The models of a table, the suspect before the controls."""
    return [suspect, *(model for model in table["model"].unique() if model != suspect)]


def model_label(model: str, suspect: str) -> str:
    """How a legend calls a model."""
    return model if model == suspect else f"{model} (control)"
