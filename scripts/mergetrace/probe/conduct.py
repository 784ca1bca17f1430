"""How a model answered, whatever it said: cut off, empty, repeating itself, thinking
aloud, refusing.
"""

import re
from collections.abc import Sequence

import pandas as pd

from mergetrace.probe.identity import fold
from mergetrace.probe.records import Answers, Record

CONDUCT_COLUMNS = [
    "model",
    "condition",
    "n",
    "cut",
    "empty",
    "repeating",
    "refusing",
    "thinking",
    "cut_while_thinking",
]
REPETITION_TAIL = 2_000
"""Characters at the end of an answer that are looked at for repetition."""

_REFUSAL = re.compile(
    r"^\W*(?:(?:i'm |i am )?(?:very )?(?:sorry|afraid)\b|i (?:can't|cannot|can"
    r" not|won't|am unable|am not able|don't have|do not have)\b"
    r"|as an ai\b.{0,40}\b(?:can't|cannot|don't have)|(?:desculpe|lamento|sinto"
    r" muito|lo siento|perdon)\b|nao (?:posso|consigo)\b|no puedo\b"
    r"|抱歉|对不起|很抱歉|我(?:不能|无法|没有名字))"
)


def repeats(text: str) -> bool:
    """Whether `text` ends in some piece said at least four times on end, 40 characters
    or more together.
    """
    tail = text.rstrip()[-REPETITION_TAIL:]
    for size in range(10, len(tail) // 4 + 1):
        if tail.endswith(tail[-size:] * 4):
            return True
    return bool(re.search(r"(.{1,9})\1{39}$", tail, re.DOTALL))


def refuses(answer: str) -> bool:
    """Whether `answer` opens as a refusal does, in one of four languages."""
    return bool(_REFUSAL.match(fold(answer)))


def conduct(answers: Answers) -> pd.DataFrame:
    """Count per model and condition how many of `n` answers were cut at the length
    limit, empty, repeating, refusing, came after reasoning, or were cut while the model
    was still thinking.
    """
    rows = []
    for model, records in answers:
        for condition in dict.fromkeys(record["condition"] for record in records):
            answered = [
                record
                for record in records
                if record["condition"] == condition and "answer" in record
            ]
            rows.append((model, condition, len(answered), *_counts(answered)))
    return pd.DataFrame(rows, columns=CONDUCT_COLUMNS)


def _counts(records: Sequence[Record]) -> tuple[int, ...]:
    """The columns of CONDUCT_COLUMNS from `cut` on."""
    texts = [record["answer"] for record in records]
    empty = [not text.strip() for text in texts]
    cut = [record.get("finish") == "length" for record in records]
    thinking = [bool(record.get("reasoning")) for record in records]
    cut_while_thinking = map(all, zip(cut, thinking, empty, strict=True))
    return (
        sum(cut),
        sum(empty),
        sum(map(repeats, texts)),
        sum(map(refuses, texts)),
        sum(thinking),
        sum(cut_while_thinking),
    )
