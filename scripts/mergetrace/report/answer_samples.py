"""Some of the answers, for the report."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mergetrace.probe.identity import mentions
from mergetrace.probe.records import Record
from mergetrace.readable import visible

MOST_ANSWER = 1_200
"""Characters of a question or an answer that are shown."""
MOST_PROMPT = 4_000
"""Characters of a rendered prompt that are shown."""


@dataclass(frozen=True)
class Sample:
    """One answer."""

    question: str
    """The question."""
    answer: str
    """The answer."""
    rendered: str
    """The prompt as the model was given it; empty where that is not known."""
    prompt: str
    """The name of the prompt."""
    cut: bool
    """Whether the answer was cut off at the length limit."""
    names: tuple[str, ...]
    """The identities whose name it gives."""


def samples(
    records: Sequence[Record],
    identities: Mapping[str, Sequence[str]],
    most: int = 3,
) -> list[Sample]:
    """At most so many answers of one model under one condition: the shortest that names
    each identity, most frequent identity first, then the first of the others.
    """
    answered = [_sample(record, identities) for record in records if "answer" in record]
    by_identity = [
        [sample for sample in answered if identity in sample.names]
        for identity in identities
    ]
    by_identity.sort(key=len, reverse=True)
    chosen: list[Sample] = []
    for group in by_identity:
        fresh = [sample for sample in group if sample not in chosen]
        if fresh and len(chosen) < most:
            chosen.append(min(fresh, key=lambda sample: len(sample.answer)))
    for _ in range(2):
        fresh = [sample for sample in answered if sample not in chosen]
        if fresh and len(chosen) < most:
            chosen.append(fresh[0])
    return chosen


def _sample(record: Record, identities: Mapping[str, Sequence[str]]) -> Sample:
    answer = visible(record["answer"], MOST_ANSWER)
    names = [
        identity
        for identity, spellings in identities.items()
        if mentions(answer, spellings).given
    ]
    return Sample(
        question=visible(record.get("text", ""), MOST_ANSWER),
        answer=answer,
        rendered=visible(record.get("rendered") or "", MOST_PROMPT),
        prompt=visible(record.get("prompt", ""), 80),
        cut=record.get("finish") == "length",
        names=tuple(names),
    )
