"""The probe's records, as they lie on disk: one JSON object per answer."""

from collections.abc import Mapping, Sequence
from typing import Required, TypedDict

Identities = Mapping[str, Sequence[str]]
"""Spellings by identity: {"Nex": ["Nex", "Nex-AGI"]}."""


class Reply(TypedDict):
    """What a model generated for one prompt."""

    prompt_ids: list[int] | None
    """The prompt's tokens; None where an endpoint rendered or tokenised it."""
    answer: str
    """Without special tokens and without reasoning."""
    reasoning: str | None
    """What the model said to itself; None where it did not think aloud."""
    finish: str
    """`stop` where the model ended its answer, `length` where the limit cut it."""
    tokens: int | None
    """Tokens generated, without the one that ends an answer; None where an endpoint
    does not say."""


class Record(TypedDict, total=False):
    """A question with its answer; or `condition` and `skipped` alone, where the model
    could not be asked."""

    condition: Required[str]
    """Under which circumstances it was asked; see mergetrace.probe.conditions."""
    skipped: str
    """Why it was not asked."""
    prompt: str
    """The prompt's id."""
    language: str
    stratum: str
    """The kind of question: name, maker, ..."""
    sample: int
    """Which of several answers to the same prompt."""
    system: str | None
    """The system message."""
    text: str
    """The question."""
    rendered: str | None
    """The conversation as the chat template renders it; None where an endpoint does."""
    seed: int
    prompt_ids: list[int] | None
    answer: str
    reasoning: str | None
    finish: str
    tokens: int | None


Answers = Sequence[tuple[str, Sequence[Record]]]
"""(model, the records of one file) of every file of answers."""
