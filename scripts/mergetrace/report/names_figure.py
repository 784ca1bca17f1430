"""The report's picture of the names that the answers give."""

from collections.abc import Mapping, Sequence
from textwrap import fill

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mergetrace.readable import percent, visible
from mergetrace.records.verdict import NameCount
from mergetrace.report.drawing import MARKERS, WIDTH
from mergetrace.report.inputs import Counts
from mergetrace.report.svg import COLOURS, SETTINGS, Picture, embed


def names_given(
    probe: Mapping[str, Counts], roles: Mapping[str, str], words: Mapping[str, str]
) -> Picture:
    """Which share of the answers names whom, with Wilson intervals: a panel per
    condition, a block per model.

    probe: by model how many answers give each name. roles: by model its part in the
    audit. words: by condition how it is called.
    """
    names = list(
        dict.fromkeys(
            name
            for by_condition in probe.values()
            for counts in by_condition.values()
            for name in counts
        )
    )
    conditions = list(
        dict.fromkeys(condition for counts in probe.values() for condition in counts)
    )
    height = len(names) + 1.2
    tops = {model: number * height for number, model in enumerate(probe)}
    with mpl.rc_context(SETTINGS | {"axes.grid.axis": "x"}):
        size = (WIDTH, 0.8 + 0.2 * height * len(probe))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, len(conditions), sharey=True, squeeze=False)[0]
        for axes, condition in zip(panels, conditions, strict=True):
            for model, top in tops.items():
                _draw_counts(axes, probe[model].get(condition, {}), names, top)
            axes.set(xlim=(-0.04, 1.04), ylim=(height * len(probe) - 0.9, -0.9))
            title = fill(words.get(condition, condition), 22)
            axes.set_title(title, loc="left", fontweight="bold")
            axes.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
            axes.tick_params(length=0)
            axes.spines["left"].set_visible(False)
        _label_rows(panels[0], tops, roles, names)
    texts = [
        f"{model} {words.get(condition, condition)}: {_most_given(counts)}"
        for model, by_condition in probe.items()
        for condition, counts in by_condition.items()
    ]
    return embed(
        figure,
        "names",
        "Which names the answers give",
        f"{'; '.join(texts)}. The table below holds the numbers.",
    )


def _label_rows(
    axes: Axes,
    tops: Mapping[str, float],
    roles: Mapping[str, str],
    names: Sequence[str],
) -> None:
    """The models in bold, and below each of them the names."""
    labels = {top: f"{model} ({roles[model]})" for model, top in tops.items()}
    for top in tops.values():
        for number, name in enumerate(names):
            labels[top + 1 + number] = visible(name, 40)
    axes.set_yticks(list(labels), list(labels.values()))
    for tick, label in zip(labels, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if tick in tops.values() else "normal")


def _draw_counts(
    axes: Axes, counts: Mapping[str, NameCount], names: Sequence[str], top: float
) -> None:
    """One model's counts under one condition, from `top` downwards."""
    for number, name in enumerate(names):
        cell = counts.get(name)
        if cell is None or not cell.n or cell.ci95 is None:
            continue
        colour = COLOURS[f"series-{number % 8}"]
        height = top + 1 + number
        axes.plot(
            cell.ci95,
            [height, height],
            color=colour,
            linewidth=2.2,
            solid_capstyle="round",
        )
        axes.plot(
            [cell.hits / cell.n],
            [height],
            MARKERS[number % 8],
            color=colour,
            markersize=5.5,
            markerfacecolor=colour if cell.hits else COLOURS["paper"],
        )


def _most_given(counts: Mapping[str, NameCount]) -> str:
    """The name that is given most, for the picture's description."""
    asked = [(cell.hits / cell.n, name) for name, cell in counts.items() if cell.n]
    if not asked:
        return "not asked"
    share, name = max(asked)
    return f"mostly {name} ({percent(share, digits=0)})"
