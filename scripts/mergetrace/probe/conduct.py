"""How a model answered, whatever it said: cut off, empty, repeating itself, thinking
aloud, refusing.
"""

import re
from typing import Any

import pandas as pd

from mergetrace.probe.identity import fold

COLUMNS = [
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
TAIL = 2_000  # characters looked at for repetition
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
    tail = text.rstrip()[-TAIL:]
    return any(
        tail.endswith(tail[-size:] * 4) for size in range(10, len(tail) // 4 + 1)
    ) or bool(re.search(r"(.{1,9})\1{39}$", tail, re.DOTALL))


def refuses(answer: str) -> bool:
    """Whether `answer` opens as a refusal does, in one of four languages."""
    return bool(_REFUSAL.match(fold(answer)))


def conduct(answers: list[tuple[str, list[dict[str, Any]]]]) -> pd.DataFrame:
    """Per model and condition how many of `n` answers were cut at the length limit,
    empty, repeating, refusing, or came after reasoning.
    """
    rows = []
    for model, records in answers:
        for condition in dict.fromkeys(record["condition"] for record in records):
            told = [
                record
                for record in records
                if record["condition"] == condition and "answer" in record
            ]
            cut = [record for record in told if record.get("finish") == "length"]
            kinds = (
                len(cut),
                sum(not record["answer"].strip() for record in told),
                sum(repeats(record["answer"]) for record in told),
                sum(refuses(record["answer"]) for record in told),
                sum(bool(record.get("reasoning")) for record in told),
                sum(
                    bool(record.get("reasoning")) and not record["answer"].strip()
                    for record in cut
                ),
            )
            rows.append((model, condition, len(told), *kinds))
    return pd.DataFrame(rows, columns=COLUMNS)
