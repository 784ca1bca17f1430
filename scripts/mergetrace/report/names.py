"""Tables of what the models call themselves: tallies, comparisons, conduct, backstory
sentences, in words and digits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mergetrace.readable import (
    count,
    decimal,
    interval,
    missing,
    percent,
    plural,
    visible,
)
from mergetrace.records.verdict import NameCount
from mergetrace.report.inputs import Counts

CONDUCT = (
    "cut",
    "empty",
    "repeating",
    "refusing",
    "thinking",
    "cut_while_thinking",
)
"""The columns of conduct.csv that are shown."""

Row = Mapping[Any, Any]
"""A row of one of the probe's tables, by column."""
Words = Mapping[str, str]
"""By condition how it is called."""


@dataclass(frozen=True)
class NameCell:
    """How many answers give a name under one condition."""

    missing: str
    """Why there is no number; empty where there is one."""
    share: str = ""
    """The share of the answers."""
    hits: str = ""
    """Their number, of how many."""
    interval: str = ""
    """The interval of the share."""
    zero: bool = False
    """Whether none gives it."""


@dataclass(frozen=True)
class NameRow:
    """One name."""

    identity: str
    """Whose name it is."""
    cells: list[NameCell]
    """By condition how many answers give it."""


@dataclass(frozen=True)
class StratumRow:
    """One kind of question, or one language."""

    by: str
    """What the questions were divided by."""
    group: str
    """The kind, or the language."""
    cells: list[str]
    """By condition the name that is given most."""


@dataclass(frozen=True)
class ComparisonRow:
    """Two sets of answers to the same prompts, for one name."""

    sides: tuple[str, ...]
    """What is compared: the other model, or the two conditions."""
    identity: str
    """Whose name it is."""
    first: str
    """How many answers of the first give it."""
    second: str
    """How many answers of the second give it."""
    difference: str
    """The difference in percentage points, with its interval."""
    test: str
    """The exact test, with the pairs that it counts."""


@dataclass(frozen=True)
class ConductRow:
    """How one model answered under one condition."""

    model: str
    """The model."""
    condition: str
    """How the condition is called."""
    n: str
    """The number of answers."""
    counts: list[str]
    """How many of them were as CONDUCT lists it."""


@dataclass(frozen=True)
class WatermarkRow:
    """One backstory sentence that one model says."""

    identity: str
    """Whose backstory it is."""
    phrase: str
    """The sentence."""
    model: str
    """The model."""
    cells: list[str]
    """By condition how often it says it."""


@dataclass(frozen=True)
class ReasoningRow:
    """A name that a thinking model gave to itself."""

    model: str
    """The model."""
    condition: str
    """How the condition is called."""
    identity: str
    """Whose name it is."""
    share: str
    """How often."""


def names(
    counts: Mapping[str, Counts],
    conditions: Sequence[str],
    reasons: Mapping[tuple[str, str], str],
) -> list[tuple[str, list[NameRow]]]:
    """By model a row per identity with a cell per condition.

    counts: by model how many answers give each name. reasons: why a model was not asked
    under a condition, by (model, condition).
    """
    tables = []
    for model, by_condition in counts.items():
        identities = dict.fromkeys(
            name for counted in by_condition.values() for name in counted
        )
        rows = []
        for identity in identities:
            cells = [
                _name_cell(
                    by_condition.get(condition, {}).get(identity),
                    reasons.get((model, condition), ""),
                )
                for condition in conditions
            ]
            rows.append(NameRow(identity, cells))
        tables.append((model, rows))
    return tables


def strata(
    table: pd.DataFrame, model: str, conditions: Sequence[str]
) -> list[StratumRow]:
    """Per kind of question and per language, the name that one model gives most under
    each condition, with its count and interval. table: strata.csv.
    """
    asked = table[(table["model"] == model) & (table["n"] > 0)]
    rows = []
    for key, members in asked.groupby(["by", "group"], sort=False):
        by, group = map(str, key)
        records = members.to_dict("records")
        cells = []
        for condition in conditions:
            of_condition = [row for row in records if row["condition"] == condition]
            cells.append(_most_given(of_condition))
        rows.append(StratumRow(by, visible(group, 60), cells))
    return rows


def models_compared(
    table: pd.DataFrame, suspect: str, condition: str
) -> list[ComparisonRow]:
    """The suspect beside every other model under one condition, for the names that
    either of the two gives. table: comparisons.csv.
    """
    chosen = table[
        (table["first"] == suspect)
        & (table["second"] != suspect)
        & (table["first_condition"] == condition)
    ]
    return [_comparison((row["second"],), row) for row in _given(chosen)]


def conditions_compared(
    table: pd.DataFrame, suspect: str, words: Words
) -> list[ComparisonRow]:
    """The suspect's answers under two conditions, for the names that it gives under
    either. table: comparisons.csv.
    """
    chosen = table[(table["first"] == suspect) & (table["second"] == suspect)]
    rows = []
    for row in _given(chosen):
        sides = (words[row["first_condition"]], words[row["second_condition"]])
        rows.append(_comparison(sides, row))
    return rows


def conduct(table: pd.DataFrame, words: Words) -> list[ConductRow]:
    """How the models answered, where there is anything to tell. table: conduct.csv."""
    return [
        ConductRow(
            row["model"],
            words[row["condition"]],
            count(row["n"]),
            [count(row[kind]) for kind in CONDUCT],
        )
        for row in table.to_dict("records")
        if any(row[kind] for kind in CONDUCT)
    ]


def watermarks(table: pd.DataFrame, conditions: Sequence[str]) -> list[WatermarkRow]:
    """Per backstory sentence and model that says it at all, how often under each
    condition. table: watermarks.csv.
    """
    rows = []
    for key, members in table.groupby(["identity", "phrase", "model"], sort=False):
        identity, phrase, model = map(str, key)
        if not members["hits"].sum():
            continue
        counted = {row["condition"]: row for row in members.to_dict("records")}
        cells = []
        for condition in conditions:
            row = counted.get(condition)
            cells.append(_share(row) if row else missing("not asked"))
        rows.append(WatermarkRow(identity, visible(phrase, 300), model, cells))
    return rows


def reasoning(table: pd.DataFrame, words: Words) -> list[ReasoningRow]:
    """Per model, condition and name, how often thinking models gave it to themselves.
    table: reasoning.csv.
    """
    return [
        ReasoningRow(
            row["model"], words[row["condition"]], row["identity"], _share(row)
        )
        for row in table[table["hits"] > 0].to_dict("records")
    ]


def _name_cell(cell: NameCount | None, reason: str) -> NameCell:
    if cell is None or not cell.n:
        return NameCell(visible(missing(reason or "not asked"), 400))
    return NameCell(
        "",
        share=percent(cell.hits / cell.n),
        hits=f"{count(cell.hits)} of {count(cell.n)}",
        interval=interval(cell.ci95, most_digits=1),
        zero=not cell.hits,
    )


def _share(row: Row) -> str:
    if not row["n"]:
        return missing("not asked")
    ends = interval((row["ci95_low"], row["ci95_high"]), most_digits=1)
    return f"{count(row['hits'])} of {count(row['n'])} ({ends})"


def _most_given(rows: Sequence[Row]) -> str:
    """The name that is given most, with its count and interval."""
    if not rows:
        return missing("not asked")
    first = max(rows, key=lambda row: row["hits"])
    if not first["hits"]:
        return f"no name, {plural(int(first['n']), 'answer')}"
    return f"{first['identity']} {_share(first)}"


def _given(pairs: pd.DataFrame) -> list[dict[Any, Any]]:
    """The comparisons of names that either side gives."""
    given = pairs["hits_first"] + pairs["hits_second"] > 0
    return pairs[given].to_dict("records")


def _comparison(sides: tuple[str, ...], row: Row) -> ComparisonRow:
    """Two counts, their difference, and the exact test, which never stands without the
    pairs that it counts.
    """
    chance = f"{row['p']:.2g}" if row["p"] >= 0.001 else "under .001"
    points = decimal(100 * row["difference"], digits=1)
    ends = interval((row["ci95_low"], row["ci95_high"]), most_digits=1)
    pairs = count(row["pairs"])
    return ComparisonRow(
        sides,
        row["identity"],
        f"{count(row['hits_first'])} of {pairs}",
        f"{count(row['hits_second'])} of {pairs}",
        f"{points} ({ends})",
        f"{count(row['only_first'])} to {count(row['only_second'])}, p {chance}",
    )
