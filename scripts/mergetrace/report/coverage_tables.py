"""The report's tables of what was compared and what was not."""

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from mergetrace.planning import unread
from mergetrace.readable import count, plural, rate, visible
from mergetrace.records.coverage import Coverage

MOST_UNPAIRED = 40
"""Reasons that are shown."""
MOST_TENSOR_NAMES = 3
"""Tensors that stand as examples of a reason."""
MOST_NOT_FINITE = 9
"""Tensors that are named of those with elements that are no numbers."""


@dataclass(frozen=True)
class ComparedRow:
    """How much of one model was compared."""

    model: str
    """The model."""
    parameters: str
    """The number of its parameters."""
    share: str
    """The share of them that was compared."""
    bytes: str
    """The same share of its bytes."""
    silent: str
    """The number of parameters that were compared and do not vote."""
    missing: list[str]
    """What was not compared, and why."""


@dataclass(frozen=True)
class UnpairedRow:
    """Tensors of one model that were not compared, for one reason."""

    model: str
    """The model."""
    reason: str
    """Why they were not compared."""
    tensors: str
    """The number of tensors."""
    size: int
    """The same number, to sort by."""
    names: list[str]
    """Examples."""


def compared(coverages: Mapping[str, Coverage]) -> list[ComparedRow]:
    """How much of each model was compared, of its parameters and of its bytes, what of
    that does not vote, and what was not compared.
    """
    rows = []
    for model, coverage in coverages.items():
        missing = [
            f"{unread.parts(part)}: {unread.amount(part.parameters)} in"
            f" {plural(part.tensors, 'tensor')}, {visible(part.reason, 300)}"
            for part in coverage.not_compared
        ]
        rows.append(
            ComparedRow(
                model,
                unread.amount(coverage.parameters),
                unread.share_of(coverage),
                rate(coverage.bytes_share),
                unread.amount(coverage.cannot_vote),
                missing,
            )
        )
    return rows


def unpaired(table: pd.DataFrame) -> tuple[list[UnpairedRow], int]:
    """What was not compared, by model and reason, with examples; and how many further
    groups are not shown. table: unpaired.csv.
    """
    rows = []
    for key, members in table.groupby(["model", "reason"], sort=False):
        model, reason = map(str, key)
        names = [
            visible(name, 200) for name in members["tensor"].head(MOST_TENSOR_NAMES)
        ]
        size = len(members)
        rows.append(UnpairedRow(model, visible(reason, 300), count(size), size, names))
    rows.sort(key=lambda row: -row.size)
    return rows[:MOST_UNPAIRED], max(0, len(rows) - MOST_UNPAIRED)


def not_finite(tensors: pd.DataFrame) -> list[tuple[str, str]]:
    """The tensors with most NaN or infinite elements, and how many these are."""
    with_some = tensors[tensors["nonfinite"] > 0]
    rows = with_some.nlargest(MOST_NOT_FINITE, "nonfinite").to_dict("records")
    return [(visible(row["tensor"], 200), count(row["nonfinite"])) for row in rows]


def statuses(tensors: pd.DataFrame) -> list[tuple[str, str, str]]:
    """By state of the slices, how many there are and how many of them vote."""
    by_status = tensors.groupby("status", dropna=False)["votes"].agg(["size", "sum"])
    rows = by_status.reset_index().to_dict("records")
    return [(str(row["status"]), count(row["size"]), count(row["sum"])) for row in rows]
