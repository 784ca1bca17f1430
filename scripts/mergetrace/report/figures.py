"""The report's pictures. Each says in its description what its table says in numbers."""

from collections.abc import Mapping
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mergetrace.readable import known, percent, plural, rate, visible
from mergetrace.report.svg import COLOURS, SETTINGS, Picture, embed

WIDTH = 9.2  # inches; the page scales pictures to its own width
MARKERS = "osD^vPX*"
NEEDLE = 0.4  # of the informative elements: a peak worth a label


def alpha_by_layer(
    layers: pd.DataFrame,
    order: list[str],
    suspect: str,
    recipe_alpha: float | None,
    ends: tuple[str, str],
) -> Picture:
    """The donors' share in every layer with its 95 % interval, suspect and controls,
    and the recipe's weight as a line.

    layers: layers.csv (model, layer, votes, alpha, alpha_se); order: layers from left
    to right; ends: what 0 and 1 stand for.
    """
    models = [
        suspect,
        *(model for model in layers["model"].unique() if model != suspect),
    ]
    place = {
        layer: i + (0 if layer.isdigit() else 0.6) for i, layer in enumerate(order)
    }
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 3.1), layout="constrained")
        axes = figure.subplots()
        low, high = _range(layers["alpha"])
        for number, model in enumerate(models):
            rows = layers[(layers["model"] == model) & layers["alpha"].notna()]
            x = rows["layer"].map(place).to_numpy(float) + 0.12 * (
                number - (len(models) - 1) / 2
            )
            colour = COLOURS["suspect"] if model == suspect else COLOURS["control"]
            axes.errorbar(
                x,
                rows["alpha"].clip(low, high),
                yerr=1.96 * rows["alpha_se"].fillna(0),
                fmt=MARKERS[min(number, 7)],
                markersize=5 if len(order) <= 40 else 3.5,
                color=colour,
                markerfacecolor=colour if model == suspect else COLOURS["paper"],
                label=model if model == suspect else f"{model} (control)",
                elinewidth=1.2,
                capsize=2,
            )
            numbered = np.flatnonzero(rows["layer"].str.isdigit())
            if (
                model != suspect and len(numbered) > 1
            ):  # the eye follows an innocent's line
                ordered = numbered[np.argsort(x[numbered])]
                axes.plot(
                    x[ordered],
                    rows["alpha"].clip(low, high).to_numpy()[ordered],
                    color=colour,
                    linewidth=0.8,
                    zorder=1,
                )
        if known(recipe_alpha):
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
        ticks = np.arange(np.ceil(low * 4), np.floor(high * 4) + 1) / 4
        axes.set_yticks(ticks, [f"{100 * tick:.0f} %" for tick in ticks])
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
        _legend(axes, len(models) + 1)
        axes.set_ylabel("alpha")
    said = "; ".join(
        f"{model}: {spread(layers.loc[layers['model'] == model, 'alpha'])}"
        for model in models
    )
    return embed(
        figure,
        "by-layer",
        f"alpha by layer: how much of {ends[1].removeprefix('all ')}",
        f"{plural(len(order), 'layer')}. {said}. The table below holds the numbers.",
    )


def coverage_curve(
    curves: pd.DataFrame, donor: str, suspect: str, base: str
) -> Picture:
    """Which share of the informative elements each blend weight explains: the suspect, the
    controls, and the donor's changes shuffled.

    curves: coverage.csv (model, donor, alpha, coverage, shuffled); donor: the one to
    draw.
    """
    mine = curves[curves["donor"] == donor]
    models = [suspect, *(model for model in mine["model"].unique() if model != suspect)]
    said = []
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        for number, model in enumerate(models):
            curve = mine[mine["model"] == model]
            own = model == suspect
            axes.plot(
                curve["alpha"],
                curve["coverage"],
                color=COLOURS["suspect" if own else "control"],
                linewidth=1.8 if own else 1.3,
                dashes=(None, None) if number < 2 else (6, 2 * number),
                label=model if own else f"{model} (control)",
                zorder=3 if own else 2,
            )
            if curve["coverage"].notna().any():
                top = curve.loc[curve["coverage"].idxmax()]
                said.append(
                    f"{model}: at most {percent(top['coverage'])}, at"
                    f" {percent(top['alpha'])} {donor}"
                )
                if own and top["coverage"] > NEEDLE:
                    words = (
                        f"{percent(top['alpha'])} {donor}\nexplains"
                        f" {rate(top['coverage'])}"
                    )
                    axes.annotate(
                        words,
                        (top["alpha"] + 0.02, min(top["coverage"], 0.97)),
                        va="top",
                        color=COLOURS["suspect"],
                        fontweight="bold",
                    )
        chance = mine[mine["model"] == suspect]
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
            xlim=(mine["alpha"].min(), mine["alpha"].max()),
            xlabel="blend weight",
            ylabel="informative elements explained",
        )
        axes.set_yticks(
            [0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"]
        )
        axes.set_xticks(
            [0, 0.25, 0.5, 0.75, 1],
            [f"all {base}", "25 %", "50 %", "75 %", f"all {donor}"],
        )
        _legend(axes, len(models) + 1)
    return embed(
        figure,
        "coverage",
        "How much each blend weight explains",
        f"{'; '.join(said) or 'No element is informative'}. The table below holds the"
        " numbers.",
    )


def seen_and_expected(components: pd.DataFrame, suspect: str) -> Picture:
    """alpha and cos_fit by component: what a pure merge would have shown as a ring,
    what was seen as a dot, controls as diamonds.

    components: components.csv.
    """
    mine = components[components["model"] == suspect].sort_values(
        ["votes", "elements"], ascending=False
    )
    place = {component: i for i, component in enumerate(mine["component"])}
    with mpl.rc_context(SETTINGS | {"axes.grid.axis": "both"}):
        figure = Figure(figsize=(WIDTH, 1.2 + 0.32 * len(place)), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, seen, expected in zip(
            panels,
            ("alpha", "cos_fit"),
            ("alpha_expected", "cos_expected"),
            strict=True,
        ):
            axes.plot(
                mine[expected],
                mine["component"].map(place),
                "o",
                markersize=12,
                fillstyle="none",
                color=COLOURS["expected"],
                label="a pure merge would show",
            )
            axes.plot(
                mine[seen],
                mine["component"].map(place),
                "o",
                markersize=5.5,
                color=COLOURS["suspect"],
                label=f"seen in {suspect}",
            )
            others = components[
                (components["model"] != suspect) & components["component"].isin(place)
            ]
            axes.plot(
                others[seen],
                others["component"].map(place),
                "D",
                markersize=5,
                color=COLOURS["control"],
                fillstyle="none",
                label="seen in a control",
            )
            low, high = _range(components[[seen, expected]].stack())
            axes.set(
                xlabel=seen,
                xlim=(low - 0.08, high + 0.08),
                ylim=(len(place) - 0.4, -0.6),
            )
            axes.spines["left"].set_visible(False)
            axes.tick_params(length=0)
        panels[0].set_yticks(
            list(place.values()),
            [counted(row.component, row.votes) for row in mine.itertuples()],
        )
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper left", ncols=3, handletextpad=0.5
        )
    gap = (mine["cos_expected"] - mine["cos_fit"])[mine["votes"]].abs().max()
    said = (
        f"The largest difference in cos_fit among components that vote is {gap:.4f}."
        if known(gap)
        else "There is nothing to compare."
    )
    return embed(
        figure,
        "expected",
        "What was seen, beside what a pure merge would have shown",
        f"{said} The table below holds the numbers.",
    )


def names_given(
    probe: Mapping[str, Mapping[str, Mapping[str, Any]]],
    roles: Mapping[str, str],
    conditions: Mapping[str, str],
) -> Picture:
    """Which share of the answers names whom, with Wilson intervals: a panel per
    condition, a block per model.

    probe: verdict.json's `probe`; roles: a model's part in the audit; conditions: their
    words.
    """
    identities = list(
        dict.fromkeys(
            identity
            for model in probe.values()
            for tally in model.values()
            for identity in tally
        )
    )
    height = len(identities) + 1.2
    tops = {model: i * height for i, model in enumerate(probe)}
    shown = list(
        dict.fromkeys(condition for model in probe.values() for condition in model)
    )
    with mpl.rc_context(SETTINGS | {"axes.grid.axis": "x"}):
        figure = Figure(
            figsize=(WIDTH, 0.8 + 0.2 * height * len(probe)), layout="constrained"
        )
        panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, condition in zip(panels, shown, strict=True):
            for model, top in tops.items():
                _tally(axes, probe[model].get(condition, {}), identities, top)
            axes.set(xlim=(-0.04, 1.04), ylim=(height * len(probe) - 0.9, -0.9))
            axes.set_title(
                fill(conditions.get(condition, condition), 22),
                loc="left",
                fontweight="bold",
            )
            axes.set_xticks([0, 0.5, 1], ["0 %", "50 %", "100 %"])
            axes.tick_params(length=0)
            axes.spines["left"].set_visible(False)
        labels = {top: f"{model} ({roles[model]})" for model, top in tops.items()} | {
            top + 1 + i: visible(identity, 40)
            for top in tops.values()
            for i, identity in enumerate(identities)
        }
        panels[0].set_yticks(list(labels), list(labels.values()))
        for tick, label in zip(labels, panels[0].get_yticklabels(), strict=True):
            label.set_fontweight("bold" if tick in tops.values() else "normal")
    said = "; ".join(
        f"{model} {conditions.get(condition, condition)}: {_top(tally)}"
        for model, by in probe.items()
        for condition, tally in by.items()
    )
    return embed(
        figure,
        "names",
        "Which names the answers give",
        f"{said}. The table below holds the numbers.",
    )


def _tally(
    axes: Axes, tally: Mapping[str, Any], identities: list[str], top: float
) -> None:
    for number, identity in enumerate(identities):
        cell = tally.get(identity)
        if not cell or not cell["n"]:
            continue
        share = cell["hits"] / cell["n"]
        colour = COLOURS[f"series-{number % 8}"]
        axes.plot(
            cell["ci95"],
            [top + 1 + number] * 2,
            color=colour,
            linewidth=2.2,
            solid_capstyle="round",
        )
        axes.plot(
            [share],
            [top + 1 + number],
            MARKERS[number % 8],
            color=colour,
            markersize=5.5,
            markerfacecolor=colour if cell["hits"] else COLOURS["paper"],
        )


def _top(tally: Mapping[str, Any]) -> str:
    asked = [
        (cell["hits"] / cell["n"], identity)
        for identity, cell in tally.items()
        if cell["n"]
    ]
    return (
        f"mostly {max(asked)[1]} ({percent(max(asked)[0], digits=0)})"
        if asked
        else "not asked"
    )


def _range(values: pd.Series) -> tuple[float, float]:
    """Limits that hold 0, 1 and the values, but none further out than -.5 and 1.5."""
    finite = values[np.isfinite(values)]
    return max(min(finite.min(), 0.0), -0.5) if len(finite) else 0.0, (
        min(max(finite.max(), 1.0), 1.5) if len(finite) else 1.0
    )


def layer_ticks(axes: Axes, order: list[str], place: Mapping[str, float]) -> None:
    """A tick for every layer where they are few, for every fifth or so where they are
    many, and for named places always.
    """
    numbered = [layer for layer in order if layer.isdigit()]
    step = max(1, -(-len(numbered) // 24))
    step = step if step < 3 else -(-step // 5) * 5
    shown = [*numbered[::step], *(layer for layer in order if not layer.isdigit())]
    axes.set_xticks([place[layer] for layer in shown], shown)


def _legend(axes: Axes, columns: int) -> None:
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0, 1),
        ncols=min(columns, 5),
        borderaxespad=0.2,
        handletextpad=0.4,
        columnspacing=1.6,
    )


def counted(component: str, votes: bool) -> str:
    return component.replace("_", " ") + ("" if votes else " (does not vote)")


def spread(values: pd.Series) -> str:
    finite = values.dropna()
    return (
        f"alpha {finite.min():.3f} to {finite.max():.3f}" if len(finite) else "no alpha"
    )
