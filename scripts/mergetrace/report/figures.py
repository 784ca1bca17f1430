"""The report's pictures of shares and coverage. Each says in its description what its
table says in numbers.
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mergetrace.readable import known, percent, plural, rate
from mergetrace.report.drawing import (
    MARKERS,
    WIDTH,
    component_label,
    layer_ticks,
    legend,
    model_label,
    share_limits,
    share_ticks,
    spread,
    suspect_first,
)
from mergetrace.report.svg import COLOURS, SETTINGS, Picture, embed

PEAK_WITH_LABEL = 0.4
"""The share of informative elements from which on a peak gets a label."""
MOST_LARGE_MARKS = 40
"""Layers whose marks are large; of more they are small."""


def alpha_by_layer(
    layers: pd.DataFrame,
    order: Sequence[str],
    suspect: str,
    recipe_alpha: float | None,
    ends: tuple[str, str],
) -> Picture:
    """The donors' share in every layer with its 95 % interval, suspect and controls,
    and the recipe's weight as a line.

    layers: layers.csv (model, layer, votes, alpha, alpha_se). order: layers from left
    to right. ends: what 0 and 1 stand for.
    """
    models = suspect_first(layers, suspect)
    place = {
        layer: number + (0 if layer.isdigit() else 0.6)
        for number, layer in enumerate(order)
    }
    weights = [] if recipe_alpha is None else [recipe_alpha]
    low, high = share_limits(layers["alpha"], weights)
    size = 5 if len(order) <= MOST_LARGE_MARKS else 3.5
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        axes = figure.subplots()
        for number, model in enumerate(models):
            rows = layers[(layers["model"] == model) & layers["alpha"].notna()].copy()
            beside = 0.12 * (number - (len(models) - 1) / 2)
            rows["x"] = rows["layer"].map(place).to_numpy(float) + beside
            rows["alpha"] = rows["alpha"].clip(low, high)
            mark = MARKERS[min(number, len(MARKERS) - 1)]
            _draw_layers(axes, rows, model, suspect, mark, size)
        if recipe_alpha is not None and known(recipe_alpha):
            axes.axhline(
                recipe_alpha,
                color=COLOURS["suspect"],
                linewidth=1,
                dashes=(4, 3),
                label=f"recipe, {percent(recipe_alpha)}",
                zorder=1,
            )
        layer_ticks(axes, order, place)
        axes.set(
            ylim=(low - 0.06, high + 0.06),
            xlim=(-0.6, max(place.values()) + 0.6),
            xlabel="layer",
        )
        axes.set_yticks(*share_ticks(low, high))
        _draw_ends(axes, ends)
        legend(axes, len(models) + 1)
        axes.set_ylabel("alpha")
    spreads = [
        f"{model}: {spread(layers.loc[layers['model'] == model, 'alpha'])}"
        for model in models
    ]
    return embed(
        figure,
        "by-layer",
        f"alpha by layer: how much of {ends[1].removeprefix('all ')}",
        f"{plural(len(order), 'layer')}. {'; '.join(spreads)}. The table below holds the"
        " numbers.",
    )


def coverage_curve(
    curves: pd.DataFrame, donor: str, suspect: str, base: str
) -> Picture:
    """Which share of the informative elements each blend weight explains: the suspect,
    the controls, and the donor's changes shuffled.

    curves: coverage.csv (model, donor, alpha, coverage, shuffled). donor: the one to
    draw.
    """
    drawn = curves[curves["donor"] == donor]
    models = suspect_first(drawn, suspect)
    tops = []
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        for number, model in enumerate(models):
            curve = drawn[drawn["model"] == model]
            _draw_curve(axes, curve, model, suspect, number)
            explained = curve.dropna(subset=["coverage"]).to_dict("records")
            if explained:
                top = max(explained, key=lambda row: row["coverage"])
                weight = f"{percent(top['alpha'])} {donor}"
                tops.append(f"{model}: at most {percent(top['coverage'])}, at {weight}")
                if model == suspect:
                    _label_peak(axes, top["alpha"], top["coverage"], weight)
        chance = drawn[drawn["model"] == suspect]
        axes.plot(
            chance["alpha"],
            chance["shuffled"],
            color=COLOURS["muted"],
            linewidth=1.2,
            dashes=(2, 2),
            label=f"{donor} shuffled: chance",
        )
        axes.set(
            ylim=(-0.03, 1.05),
            xlim=(drawn["alpha"].min(), drawn["alpha"].max()),
            xlabel="blend weight",
            ylabel="informative elements explained",
        )
        axes.set_yticks(*share_ticks(0, 1))
        ends = {"0 %": f"all {base}", "100 %": f"all {donor}"}
        ticks, labels = share_ticks(*axes.get_xlim())
        axes.set_xticks(ticks, [ends.get(label, label) for label in labels])
        legend(axes, len(models) + 1)
    return embed(
        figure,
        "coverage",
        "How much each blend weight explains",
        f"{'; '.join(tops) or 'No element is informative'}. The table below holds the"
        " numbers.",
    )


def seen_and_expected(components: pd.DataFrame, suspect: str) -> Picture:
    """alpha and cos_fit by component: what a pure merge would have shown as a ring,
    what was seen as a dot, controls as diamonds.

    components: components.csv.
    """
    rows = components[components["model"] == suspect].sort_values(
        ["votes", "elements"], ascending=False
    )
    place = {component: float(i) for i, component in enumerate(rows["component"])}
    controls = components[
        (components["model"] != suspect) & components["component"].isin(place)
    ]
    with mpl.rc_context(SETTINGS | {"axes.grid.axis": "both"}):
        figure = Figure(figsize=(WIDTH, 1.2 + 0.32 * len(place)), layout="constrained")
        first, second = figure.subplots(1, 2, sharey=True)
        _draw_expected(first, rows, controls, place, ("alpha", "alpha_expected"))
        _draw_expected(second, rows, controls, place, ("cos_fit", "cos_expected"))
        labels = [
            component_label(row["component"], row["votes"])
            for row in rows.to_dict("records")
        ]
        first.set_yticks(list(place.values()), labels)
        handles, words = first.get_legend_handles_labels()
        figure.legend(
            handles, words, loc="outside upper left", ncols=3, handletextpad=0.5
        )
    gap = (rows["cos_expected"] - rows["cos_fit"])[rows["votes"]].abs().max()
    text = "There is nothing to compare."
    if known(gap):
        text = f"The largest difference in cos_fit among components that vote is {gap:.4f}."
    return embed(
        figure,
        "expected",
        "What was seen, beside what a pure merge would have shown",
        f"{text} The table below holds the numbers.",
    )


def _draw_layers(
    axes: Axes, rows: pd.DataFrame, model: str, suspect: str, mark: str, size: float
) -> None:
    """One model's shares with their intervals; the eye follows a control's line."""
    own = model == suspect
    colour = COLOURS["suspect"] if own else COLOURS["control"]
    axes.errorbar(
        rows["x"],
        rows["alpha"],
        yerr=1.96 * rows["alpha_se"].fillna(0),
        fmt=mark,
        markersize=size,
        color=colour,
        markerfacecolor=colour if own else COLOURS["paper"],
        label=model_label(model, suspect),
        elinewidth=1.2,
        capsize=2,
    )
    numbered = rows[rows["layer"].str.isdigit()].sort_values("x")
    if not own and len(numbered) > 1:
        axes.plot(
            numbered["x"], numbered["alpha"], color=colour, linewidth=0.8, zorder=1
        )


def _draw_ends(axes: Axes, ends: tuple[str, str]) -> None:
    """Lines at 0 and 1, with what they stand for."""
    for value, words in zip((0, 1), ends, strict=True):
        axes.axhline(value, color=COLOURS["muted"], linewidth=0.8, zorder=1)
        axes.annotate(
            words,
            (1.005, value),
            xycoords=("axes fraction", "data"),
            va="center",
            color=COLOURS["muted"],
            fontsize=8.5,
        )


def _draw_curve(
    axes: Axes, curve: pd.DataFrame, model: str, suspect: str, number: int
) -> None:
    """One model's coverage. number: its place among the models."""
    own = model == suspect
    axes.plot(
        curve["alpha"],
        curve["coverage"],
        color=COLOURS["suspect" if own else "control"],
        linewidth=1.8 if own else 1.3,
        dashes=(None, None) if number < 2 else (6, 2 * number),
        label=model_label(model, suspect),
        zorder=3 if own else 2,
    )


def _label_peak(axes: Axes, alpha: float, coverage: float, weight: str) -> None:
    """The weight that explains most, where that is much."""
    if coverage <= PEAK_WITH_LABEL:
        return
    axes.annotate(
        f"{weight}\nexplains {rate(coverage)}",
        (alpha + 0.02, min(coverage, 0.97)),
        va="top",
        color=COLOURS["suspect"],
        fontweight="bold",
    )


def _draw_expected(
    axes: Axes,
    rows: pd.DataFrame,
    controls: pd.DataFrame,
    place: Mapping[str, float],
    columns: tuple[str, str],
) -> None:
    """One measure by component. columns: what was seen, and what was expected."""
    seen, expected = columns
    height = rows["component"].map(place)
    axes.plot(
        rows[expected],
        height,
        "o",
        markersize=12,
        fillstyle="none",
        color=COLOURS["expected"],
        label="a pure merge would show",
    )
    axes.plot(
        rows[seen],
        height,
        "o",
        markersize=5.5,
        color=COLOURS["suspect"],
        label="seen in the suspect",
    )
    axes.plot(
        controls[seen],
        controls["component"].map(place),
        "D",
        markersize=5,
        color=COLOURS["control"],
        fillstyle="none",
        label="seen in a control",
    )
    both = pd.concat([rows[seen], rows[expected], controls[seen], controls[expected]])
    low, high = share_limits(both, rows.loc[rows["votes"], seen])
    axes.set(
        xlabel=seen,
        xlim=(low - 0.08, high + 0.08),
        ylim=(len(place) - 0.4, -0.6),
    )
    axes.spines["left"].set_visible(False)
    axes.tick_params(length=0)
