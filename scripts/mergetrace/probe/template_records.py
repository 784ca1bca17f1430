"""What is found of chat templates, as it lies on disk in template.json."""

from typing import TypedDict


class Where(TypedDict):
    """The place of a text in a conversation that shows it."""

    start: int
    """In characters from the conversation's beginning."""
    end: int
    of: int
    """Characters of the whole conversation."""
    before: str
    """What stands before the text."""
    after: str


class Injected(TypedDict):
    """A text that a template prints and no message asked for."""

    condition: str
    """Under which circumstances it is printed."""
    text: str
    where: Where | None
    """None where no conversation shows the text as it is told."""
    source_lines: list[int]
    """The lines of the template that hold the text's first line literally; none where
    its code puts the text together."""


class Unprinted(TypedDict):
    """A text in a template's source that states an identity and is injected nowhere."""

    text: str
    line: int
    """Where it stands in the source."""
    printed: str | None
    """A conversation that shows it; None where none does."""


class Analysis(TypedDict):
    """What one template injects, and the same template without it."""

    injected: list[Injected]
    stripped: str | None
    """The template without what it injects."""
    identical_elsewhere: bool | None
    """Whether every conversation that has a system message renders the same in both;
    None where nothing is compared."""
    turn_end: str | None
    """What is printed after an answer."""
    variables: dict[str, object]
    """What the template must be given beside the messages, each with an empty value."""
    parts: bool
    """Whether it takes messages as lists of parts alone."""
    unprinted: list[Unprinted] | None
    """None where the source cannot be looked through."""
    reason: str | None
    """Why something of this is missing."""
