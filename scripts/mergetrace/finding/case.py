"""What a rule is given, and what it answers: numbers and codes, no sentences."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from mergetrace.finding.dates import Age
from mergetrace.records.coverage import Coverage
from mergetrace.records.layout import LayoutFacts
from mergetrace.records.recipe_search import RecipeSearch
from mergetrace.records.spectrum import Spectrum
from mergetrace.records.summary import ModelSummary
from mergetrace.records.verdict import OrderFacts
from mergetrace.thresholds import Accusation, Thresholds

ACCUSING: tuple[str, ...] = get_args(Accusation)
"""The verdicts that accuse."""


@dataclass(frozen=True)
class Case:
    """What a rule may look at."""

    model: str
    """The audited model: the suspect, or a control."""
    base: str
    """The base."""
    summary: ModelSummary
    """The audited model's numbers."""
    controls: Mapping[str, ModelSummary]
    """By control its numbers; without the audited model, where that is a control, and
    without copies (see siblings).
    """
    thresholds: Thresholds
    """The limits between verdicts."""
    layout: LayoutFacts | None = None
    """Which disguises were looked for; None where nobody looked."""
    ages: Mapping[str, Age] = field(default_factory=dict)
    """By parent, whether it is the older by dates, where these say so."""
    compared: Mapping[str, Coverage] = field(default_factory=dict)
    """By model how much of it was compared, where that is known."""
    spectrum: Spectrum | None = None
    """The weights along every direction, of all models; None where nobody measured."""
    seen_from: Mapping[str, str] = field(default_factory=dict)
    """By other base candidate the verdict that the rules give with it."""

    @property
    def recipe(self) -> RecipeSearch:
        """What the recipe search found for the audited model."""
        return self.summary.recipe

    @property
    def exact_rate(self) -> float | None:
        """The share of informative elements that the best recipe gives back."""
        return exact_rate(self.summary)


@dataclass(frozen=True)
class Reason:
    """One thing that a rule found. Its class says what, its fields are the numbers."""

    @property
    def code(self) -> str:
        """The name of what was found, in snake case."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", type(self).__name__).lower()


@dataclass(frozen=True)
class Decision:
    """A verdict and what it rests on."""

    verdict: str
    """The verdict's word."""
    reasons: tuple[Reason, ...]
    """Why."""
    named: Mapping[str, float | None] = field(default_factory=dict)
    """By parent that is named its share; None where no one number exists."""
    base_share: float | None = None
    """The base's share; None where no one number exists."""
    family: str | None = None
    """The method, or its kind."""
    rests_on: str | None = None
    """What an accusation rests on: `recipe`, a `blend` of one donor, a `drop` of some of
    its changes, elements taken `whole`, equal `values`, or numbers `following` from the
    parents', all of which are exact; or the `spectrum`, which is strong evidence.
    """
    order: Mapping[str, OrderFacts] = field(default_factory=dict)
    """By parent, which of it and the audited model came first."""


def siblings(
    models: Mapping[str, ModelSummary], *audited: str
) -> dict[str, ModelSummary]:
    """The controls among models with their numbers: all but those that are audited and
    those that equal the base or a donor. A copy shows what that one is, and nothing of
    what independent training brings about.
    """
    return {
        name: numbers
        for name, numbers in models.items()
        if name not in audited and copied_by(numbers) is None
    }


def copied_by(numbers: ModelSummary) -> str | None:
    """The donor that a model equals in every compared element, as it is or rounded;
    "" of the base, None where it is no copy.
    """
    if numbers.all_equal_base or numbers.all_rounded_base:
        return ""
    copied = (donor for donor, entry in numbers.donors.items() if entry.equals)
    return next(copied, None)


def exact_rate(summary: ModelSummary) -> float | None:
    """The share of informative elements that the best recipe gives back."""
    best = summary.recipe.best
    return best.bit_exact_rate if best else None
