"""The report's section on what the models call themselves: tallies, comparisons,
conduct, backstory sentences and masks, in words and digits.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mergetrace.probe.identity import mentions
from mergetrace.readable import (
    count,
    decimal,
    interval,
    listing,
    missing,
    percent,
    plural,
    visible,
)

MOST_ANSWER = 1_200  # characters
MOST_PROMPT = 4_000
MOST_TEXT = 2_000

Row = dict[str, Any]
Words = Mapping[str, str]  # a condition's words


def names(
    probe: Mapping[str, Any],
    conditions: Sequence[str],
    reasons: Mapping[tuple[str, str], str],
) -> list[tuple[str, list[Row]]]:
    """The probe's tallies: per model a row per identity with a cell per condition.

    reasons: why a model was not asked under a condition, by (model, condition).
    """
    result = []
    for model, tallies in probe.items():
        identities = list(
            dict.fromkeys(identity for tally in tallies.values() for identity in tally)
        )
        rows = [
            {
                "identity": identity,
                "cells": [
                    _tally(
                        tallies.get(condition, {}).get(identity),
                        reasons.get((model, condition), ""),
                    )
                    for condition in conditions
                ],
            }
            for identity in identities
        ]
        result.append((model, rows))
    return result


def strata(table: pd.DataFrame, model: str, conditions: Sequence[str]) -> list[Row]:
    """Per kind of question and per language, the name that one model gives most under
    each condition, with its count and interval.
    """
    own = table[(table["model"] == model) & (table["n"] > 0)]
    rows = []
    for (by, group), members in own.groupby(["by", "group"], sort=False):
        cells = []
        for condition in conditions:
            told = members[members["condition"] == condition]
            cells.append(_top(told) if len(told) else missing("not asked"))
        rows.append({"by": by, "group": visible(group, 60), "cells": cells})
    return rows


def models_compared(table: pd.DataFrame, suspect: str, condition: str) -> list[Row]:
    """The suspect beside every other model under one condition, for the names that
    either of the two gives.
    """
    chosen = table[
        (table["first"] == suspect)
        & (table["second"] != suspect)
        & (table["first_condition"] == condition)
    ]
    return [{"other": row["second"]} | _pair(row) for row in _told(chosen)]


def conditions_compared(table: pd.DataFrame, suspect: str, words: Words) -> list[Row]:
    """The suspect's answers under two conditions, for the names that it gives under
    either.
    """
    chosen = table[(table["first"] == suspect) & (table["second"] == suspect)]
    return [
        {"one": words[row["first_condition"]], "two": words[row["second_condition"]]}
        | _pair(row)
        for row in _told(chosen)
    ]


def conduct(table: pd.DataFrame, words: Words) -> tuple[list[Row], int]:
    """How the models answered, where there is anything to tell; and how many answers
    there are in all.
    """
    kinds = ("cut", "empty", "repeating", "refusing", "thinking", "cut_while_thinking")
    rows = [
        {
            "model": row["model"],
            "condition": words[row["condition"]],
            "n": count(row["n"]),
            "counts": [count(row[kind]) for kind in kinds],
        }
        for row in table.to_dict("records")
        if any(row[kind] for kind in kinds)
    ]
    return rows, int(table["n"].sum())


def watermarks(table: pd.DataFrame, conditions: Sequence[str]) -> list[Row]:
    """Per backstory sentence and model that says it at all, how often under each
    condition.
    """
    rows = []
    for (identity, phrase, model), members in table.groupby(
        ["identity", "phrase", "model"], sort=False
    ):
        if members["hits"].sum():
            told = {row["condition"]: row for row in members.to_dict("records")}
            cells = [
                _share(told[condition]) if condition in told else missing("not asked")
                for condition in conditions
            ]
            rows.append(
                {
                    "identity": identity,
                    "phrase": visible(phrase, 300),
                    "model": model,
                    "cells": cells,
                }
            )
    return rows


def reasoning(table: pd.DataFrame, words: Words) -> list[Row]:
    """Per model, condition and name, how often thinking models gave it to themselves."""
    told = table[table["hits"] > 0].to_dict("records")
    return [
        {
            "model": row["model"],
            "condition": words[row["condition"]],
            "identity": row["identity"],
            "share": _share(row),
        }
        for row in told
    ]


def masks(found: Mapping[str, Mapping[str, Any]], models: Sequence[str]) -> list[Row]:
    """mask.json in words, the models in this order."""
    return [
        {"model": model} | _mask(found[model]) for model in models if model in found
    ]


def samples(
    records: Sequence[Mapping[str, Any]],
    identities: Mapping[str, list[str]],
    most: int = 3,
) -> list[Row]:
    """The most telling answers of one model under one condition: the shortest that
    names each identity, most frequent first, then any others.
    """
    answered = [
        {
            "question": visible(record.get("text", ""), MOST_ANSWER),
            "answer": visible(record["answer"], MOST_ANSWER),
            "rendered": visible(record.get("rendered") or "", MOST_PROMPT),
            "prompt": visible(record.get("prompt", ""), 80),
            "cut": record.get("finish") == "length",
        }
        for record in records
        if "answer" in record
    ]
    for row in answered:
        row["names"] = [
            identity
            for identity, spellings in identities.items()
            if mentions(row["answer"], spellings).given
        ]
    by_identity = {
        identity: [row for row in answered if identity in row["names"]]
        for identity in identities
    }
    chosen: list[Row] = []
    for rows in [
        *sorted(by_identity.values(), key=len, reverse=True),
        answered,
        answered,
    ]:
        fresh = [row for row in rows if row not in chosen]
        if fresh and len(chosen) < most:
            chosen.append(
                min(fresh, key=lambda row: len(row["answer"]))
                if rows is not answered
                else fresh[0]
            )
    return chosen


def _tally(cell: Mapping[str, Any] | None, reason: str) -> Row:
    if not cell or not cell["n"]:
        return {"missing": visible(missing(reason or "not asked"), 400)}
    return {
        "hits": f"{count(cell['hits'])} of {count(cell['n'])}",
        "share": percent(cell["hits"] / cell["n"]),
        "interval": interval(cell["ci95"], most_digits=1),
    }


def _share(row: Mapping[str, Any]) -> str:
    if not row["n"]:
        return missing("not asked")
    return (
        f"{count(row['hits'])} of {count(row['n'])}"
        f" ({interval((row['ci95_low'], row['ci95_high']), most_digits=1)})"
    )


def _top(told: pd.DataFrame) -> str:
    first = told.loc[told["hits"].idxmax()].to_dict()
    return (
        f"{first['identity']} {_share(first)}"
        if first["hits"]
        else f"no name, {plural(int(first['n']), 'answer')}"
    )


def _told(pairs: pd.DataFrame) -> list[Row]:
    return pairs[(pairs["hits_first"] + pairs["hits_second"]) > 0].to_dict("records")


def _pair(row: Mapping[str, Any]) -> Row:
    """Two counts, their difference, and the exact test, which never stands without the
    pairs that it counts.
    """
    chance = f"{row['p']:.2g}" if row["p"] >= 0.001 else "under .001"
    return {
        "identity": row["identity"],
        "first": f"{count(row['hits_first'])} of {count(row['pairs'])}",
        "second": f"{count(row['hits_second'])} of {count(row['pairs'])}",
        "difference": (
            f"{decimal(100 * row['difference'], digits=1)}"
            f" ({interval((row['ci95_low'], row['ci95_high']), most_digits=1)})"
        ),
        "test": (
            f"{count(row['only_first'])} to {count(row['only_second'])}, p {chance}"
        ),
    }


def _mask(found: Mapping[str, Any]) -> Row:
    injected = [("", item) for item in found["injected"]]
    injected += [
        (visible(other["source"], 200), item)
        for other in found["others"]
        for item in other["injected"]
    ]
    unprinted = [("", item) for item in found["unprinted"] or []]
    unprinted += [
        (visible(other["source"], 200), item)
        for other in found["others"]
        for item in other["unprinted"] or []
    ]
    reasons = [visible(found["reason"], 500)] if found["reason"] else []
    if found["unprinted"] is None and not found["reason"]:
        reasons.append(
            "Its source could not be looked through for text that no conversation"
            " printed."
        )
    reasons += [
        f"{visible(other['source'], 200)}: {visible(other['reason'], 500)}"
        for other in found["others"]
        if other["reason"]
    ]
    return {
        "reasons": reasons,
        "unprinted": [
            {
                "source": source,
                "line": item["line"],
                "text": visible(item["text"], MOST_TEXT),
            }
            | {
                "names": listing(
                    item["names"], nothing="none of the names asked about"
                ),
                "printed": item["printed"] is not None,
            }
            for source, item in unprinted
        ],
        "injected": [
            {
                "source": source,
                "condition": visible(item["condition"], 200),
                "text": visible(item["text"], MOST_TEXT),
                "names": listing(item["names"]),
                "place": _place(item),
            }
            for source, item in injected
        ],
        "elsewhere": [
            {
                "where": f"{entry['file']}, {visible(entry['key'], 200)}",
                "text": visible(entry["text"], 400),
                "names": listing(entry["names"]),
            }
            for entry in (*found["settings"], *found["tokens"])
        ],
        "differs": [
            {
                "other": other,
                "same": diff["same"],
                "lines": visible("\n".join(diff["lines"]), 20_000),
                "left_out": diff["left_out"],
            }
            for other, diff in found["differs"].items()
        ],
    }


def _place(item: Mapping[str, Any]) -> str:
    lines = item["source_lines"]
    where = item["where"]
    told = (
        f"literally in {'line' if len(lines) == 1 else 'lines'}"
        f" {listing(map(str, lines))} of the template"
        if lines
        else "put together by its code"
    )
    if not where:
        return told
    before, after = (
        visible(where[side].replace("\n", "⏎"), 200) for side in ("before", "after")
    )
    return (
        f"characters {where['start'] + 1:,} to {where['end']:,} of {where['of']:,},"
        f" between “{before[-40:]}” and “{after[:40]}”; {told}"
    )
