"""The weight of a donor along its singular directions: a picture, and its rows."""

from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mergetrace.finding.wording_descent import in_one_sentence
from mergetrace.readable import known, percent
from mergetrace.records.spectrum import Along, Spectrum
from mergetrace.records.verdict import Verdict
from mergetrace.report.drawing import (
    MARKERS,
    WIDTH,
    legend,
    model_label,
    share_ticks,
)
from mergetrace.report.svg import COLOURS, SETTINGS, Picture, embed

MARGIN_OF_WEIGHTS = 0.08
"""Above and below the greatest and the least weight."""


@dataclass(frozen=True)
class SpectrumRow:
    """One audited model along one donor's directions."""

    model: str
    """The audited model."""
    donor: str
    """The donor."""
    bins: tuple[str, ...]
    """The weight by bin, from the largest directions to the smallest."""
    tail: str
    """The weight of all bins but the first."""
    apart: str
    """The standard deviation between matrices beyond chance."""


@dataclass(frozen=True)
class SpectrumSection:
    """What the page says of the directions."""

    rows: list[SpectrumRow]
    """Every audited model along every donor's directions; empty where nobody measured."""
    matrices: int
    """The number of matrices of which rows were decomposed."""
    sentence: str
    """What it means, in one sentence."""


def section(spectrum: Spectrum | None, verdict: Verdict) -> SpectrumSection:
    """What the page says of the directions."""
    if spectrum is None:
        return SpectrumSection([], 0, "")
    rows = [
        SpectrumRow(
            model,
            donor,
            tuple(percent(entry.value) for entry in along.bins),
            percent(along.tail.value),
            percent(along.tail.spread),
        )
        for model, by_donor in spectrum.models.items()
        for donor, along in by_donor.items()
        if along.tail is not None
    ]
    return SpectrumSection(rows, spectrum.matrices, in_one_sentence(verdict))


def weights_along(spectrum: Spectrum, suspect: str) -> Picture | None:
    """The weight by bin of directions with its 95 % interval, suspect and controls, of
    the donor that the suspect holds most of; None where nothing was measured.
    """
    own = {
        donor: along.tail.value
        for donor, along in spectrum.models.get(suspect, {}).items()
        if along.tail is not None
    }
    if not own:
        return None
    donor = max(own, key=lambda name: own[name])
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
        axes = figure.subplots()
        drawn = []
        for number, (model, by_donor) in enumerate(spectrum.models.items()):
            values = _draw(axes, by_donor[donor], model, suspect, number)
            if values:
                drawn.append((model, values))
        every = [value for _, values in drawn for value in values]
        low, high = min([0.0, *every]), max([1.0, *every])
        bins = len(spectrum.models[suspect][donor].bins)
        axes.set(
            ylim=(low - MARGIN_OF_WEIGHTS, high + MARGIN_OF_WEIGHTS),
            xlim=(-0.5, bins - 0.5),
            ylabel=f"weight of {donor}",
        )
        words = ["largest", *[""] * (bins - 2), "smallest"]
        axes.set_xticks(range(bins), words)
        axes.set_xlabel(f"singular directions of {donor}'s change")
        axes.set_yticks(*share_ticks(low, high))
        legend(axes, len(drawn))
    said = [
        f"{model}: {percent(values[0])} along the largest, {percent(values[-1])} along"
        " the smallest"
        for model, values in drawn
    ]
    return embed(
        figure,
        "spectrum",
        f"How much of {donor} is in each bin of its directions",
        f"{'; '.join(said)}. The table below holds the numbers.",
    )


def _draw(
    axes: Axes, along: Along, model: str, suspect: str, number: int
) -> list[float]:
    """One model's weights; returns them."""
    own = model == suspect
    points = [
        (place, entry.value, 1.96 * (entry.error or 0.0))
        for place, entry in enumerate(along.bins)
        if known(entry.value)
    ]
    if not points:
        return []
    places, values, halves = zip(*points, strict=True)
    beside = 0.06 * number
    colour = COLOURS["suspect" if own else "control"]
    axes.errorbar(
        [place + beside for place in places],
        values,
        yerr=halves,
        fmt=f"-{MARKERS[min(number, len(MARKERS) - 1)]}",
        markersize=5,
        color=colour,
        markerfacecolor=colour if own else COLOURS["paper"],
        linewidth=1.8 if own else 1.0,
        elinewidth=1.2,
        capsize=2,
        label=model_label(model, suspect),
    )
    return [value for value in values if value is not None]
