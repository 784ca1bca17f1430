"""The same count seen from nearer: by kind of question and language, in the reasoning,
of backstory sentences, mention by mention.
"""

from typing import cast

import pandas as pd

from mergetrace.probe.identity import score, words_around
from mergetrace.probe.records import Answers, Identities, Record

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
WATERMARK_COLUMNS = [
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


def strata(answers: Answers, identities: Identities) -> pd.DataFrame:
    """Count as `score` does for every stratum and every language of the prompts; the
    columns `by` ("stratum" or "language") and `group` come first.
    """
    tables = [score([], identities).assign(by=[], group=[])]
    for by in ("stratum", "language"):
        for group in _groups(answers, by):
            selected = [
                (model, [record for record in records if record.get(by) == group])
                for model, records in answers
            ]
            tables.append(score(selected, identities).assign(by=by, group=group))
    table = pd.concat(tables[1:] or tables)
    others = [name for name in table.columns if name not in ("by", "group")]
    return table[["by", "group", *others]]


def _groups(answers: Answers, by: str) -> list[str]:
    """The strata or languages that answers have, in the order in which they come."""
    groups = dict.fromkeys(
        record.get(by)
        for _, records in answers
        for record in records
        if "answer" in record
    )
    return [str(group) for group in groups if group]


def reasoning(answers: Answers, identities: Identities) -> pd.DataFrame:
    """Count as `score` does in what thinking models said to themselves; n counts the
    answers that came after any reasoning.
    """
    thoughts = [
        (model, [_thought(record) for record in records if record.get("reasoning")])
        for model, records in answers
    ]
    return score(thoughts, identities)


def _thought(record: Record) -> Record:
    """The record with its reasoning in place of its answer."""
    return cast(Record, {**record, "answer": record["reasoning"]})


def watermarks(answers: Answers, phrases: Identities) -> pd.DataFrame:
    """Count the answers that hold each backstory sentence, as `score` counts; the column
    `identity` says whose sentence `phrase` is.
    """
    tables = [score([], {}).assign(phrase=[])]
    for identity, sentences in phrases.items():
        counts = score(answers, {sentence: [sentence] for sentence in sentences})
        counts = counts.rename(columns={"identity": "phrase"})
        tables.append(counts.assign(identity=identity))
    return pd.concat(tables[1:] or tables)[WATERMARK_COLUMNS]


def mentioned(answers: Answers, identities: Identities) -> pd.DataFrame:
    """List every place where an answer mentions a spelling: given, denied or
    attributed, with the words around it as they were compared.
    """
    rows = []
    for model, records in answers:
        for record in records:
            if "answer" not in record:
                continue
            place = (
                model,
                record["condition"],
                record.get("prompt"),
                record.get("sample", 0),
            )
            for identity, spellings in identities.items():
                for spelling in spellings:
                    for kind, words in words_around(record["answer"], spelling):
                        rows.append((*place, identity, spelling, kind, words))
    return pd.DataFrame(rows, columns=MENTION_COLUMNS)
