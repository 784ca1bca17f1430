"""The report's tables of offered parents beside each other: donors, and base
candidates.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mergetrace.readable import decimal, interval, percent, rate
from mergetrace.records.verdict import BaseCandidate, ParentFinding

NO_DIFFERENCE = "a difference to the base is zero"
BLURRED = "the other donors make up its direction"


@dataclass(frozen=True)
class DonorRow:
    """One offered donor, in words."""

    name: str
    """The donor."""
    named: bool
    """Whether the verdict names it."""
    share: str
    """Its share, all donors together."""
    interval: str
    """The interval of that share."""
    cos_fit: str
    """The cosine of the changes, this donor alone."""
    inflation: str
    """By how much the other donors blur its share."""


@dataclass(frozen=True)
class BaseRow:
    """One base candidate, in words."""

    name: str
    """The base."""
    chosen: bool
    """Whether it was chosen."""
    verdict: str
    """The verdict that the rules would give with it."""
    times: str
    """How far the suspect moved from it, beside the chosen one."""
    exact: str
    """How much the best recipe gives back with it."""
    cos_fit: str
    """The suspect's cos_fit."""
    control: str
    """The greatest cos_fit of a control."""


def donors(parents: Mapping[str, ParentFinding]) -> list[DonorRow]:
    """The offered donors beside each other, the largest share first; empty where there
    is only one.

    Where the verdict names a donor that was taken away, the shares of those named are
    the verdict's: together no donor's share is below zero.
    """
    if len(parents) < 2:
        return []
    if any(entry.named and (entry.alpha or 0.0) < 0 for entry in parents.values()):
        parents = {
            name: replace(entry, share=entry.alpha, share_ci95=entry.alpha_ci95)
            if entry.named
            else entry
            for name, entry in parents.items()
        }
    by_share = sorted(parents.items(), key=lambda pair: -(pair[1].share or 0.0))
    no_interval = "too few layers or tensors, or no share of its own"
    return [
        DonorRow(
            name,
            entry.named,
            percent(entry.share, BLURRED, digits=2),
            interval(entry.share_ci95, no_interval),
            decimal(entry.cos_fit, NO_DIFFERENCE),
            decimal(entry.inflation, BLURRED, digits=1),
        )
        for name, entry in by_share
    ]


def bases(candidates: Mapping[str, BaseCandidate]) -> list[BaseRow]:
    """The base candidates in words, the chosen one first; empty where there is only
    one.
    """
    if len(candidates) < 2:
        return []
    chosen_first = sorted(candidates.items(), key=lambda pair: not pair[1].chosen)
    return [
        BaseRow(
            name,
            entry.chosen,
            (entry.verdict or "not judged").replace("_", " "),
            decimal(entry.times, "the suspect equals the chosen base", digits=1),
            rate(entry.bit_exact_rate, "no informative element"),
            decimal(entry.cos_fit, NO_DIFFERENCE),
            decimal(entry.control_cos_fit, "no control"),
        )
        for name, entry in chosen_first
    ]
