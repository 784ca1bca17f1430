"""The same count seen from nearer: by kind of question and language, in the reasoning,
of backstory sentences, mention by mention.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mergetrace.probe.identity import score, words_around

Answers = Sequence[tuple[str, Sequence[Mapping[str, Any]]]]
MENTION_COLUMNS = [
    "model",
    "condition",
    "prompt",
    "sample",
    "identity",
    "spelling",
    "kind",
    "words",
]


def strata(answers: Answers, identities: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """`score` for every stratum and every language of the prompts; columns `by`
    ("stratum" or "language") and `group` come first.
    """
    tables = []
    for by in ("stratum", "language"):
        groups = dict.fromkeys(
            record[by]
            for _, records in answers
            for record in records
            if record.get(by) and "answer" in record
        )
        for group in groups:
            own = [
                (model, [record for record in records if record.get(by) == group])
                for model, records in answers
            ]
            tables.append(score(own, identities).assign(by=by, group=group))
    table = (
        pd.concat(tables) if tables else score([], identities).assign(by=[], group=[])
    )
    return table[
        [
            "by",
            "group",
            *(name for name in table.columns if name not in ("by", "group")),
        ]
    ]


def reasoning(
    answers: Answers, identities: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """`score` of what thinking models said to themselves; n counts the answers that
    came after any reasoning.
    """
    thought = [
        (
            model,
            [
                {**record, "answer": record["reasoning"]}
                for record in records
                if "answer" in record and record.get("reasoning")
            ],
        )
        for model, records in answers
    ]
    return score(thought, identities)


def watermarks(answers: Answers, phrases: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """How many answers hold each backstory sentence, as `score` counts; columns
    `identity` (whose sentence it is) and `phrase`.
    """
    tables = [
        score(answers, {phrase: [phrase] for phrase in own})
        .rename(columns={"identity": "phrase"})
        .assign(identity=identity)
        for identity, own in phrases.items()
    ]
    table = pd.concat(tables) if tables else score([], {}).assign(phrase=[])
    return table[
        [
            "model",
            "condition",
            "identity",
            "phrase",
            "hits",
            "n",
            "share",
            "ci95_low",
            "ci95_high",
            "denied",
            "attributed",
            "reason",
        ]
    ]


def mentioned(
    answers: Answers, identities: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """One row per place where an answer mentions a spelling: given, denied or
    attributed, with the words around it as they were compared.
    """
    rows = [
        (
            model,
            record["condition"],
            record.get("prompt"),
            record.get("sample", 0),
            identity,
            spelling,
            kind,
            words,
        )
        for model, records in answers
        for record in records
        if "answer" in record
        for identity, spellings in identities.items()
        for spelling in spellings
        for kind, words in words_around(record["answer"], spelling)
    ]
    return pd.DataFrame(rows, columns=MENTION_COLUMNS)
