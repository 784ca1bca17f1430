"""What a chat template puts before and behind the first message of a user, beyond what
it puts before and behind a later one.
"""

from collections.abc import Iterator
from typing import NamedTuple

from mergetrace.probe.conversations import (
    ANSWER,
    NEXT_QUESTION,
    QUESTION,
    SYSTEM_MESSAGE,
    Shown,
)
from mergetrace.probe.jinja_child import Rendered
from mergetrace.probe.stripping import Cut, joined
from mergetrace.probe.turns import (
    Bare,
    beginning,
    headers,
    is_header,
    is_markup,
    openings,
    words,
)

UNPRINTED = "the template does not print the user's message as it was given"
INSTEAD = (
    "there is no stripped form to ask; ask under a system message of your own instead"
    " (condition `neutral`)"
)


class FirstTurn(NamedTuple):
    """What a template adds to the first turn of a user."""

    cuts: list[Cut]
    """What must be cut out of it to leave a plain turn."""
    head: str
    """The words before the message; empty without any."""
    tail: str
    """The words behind it."""
    unclear: str | None
    """Why the added text cannot be told from the turn's own frame."""


def frame_of(shown: Shown) -> set[str]:
    """The role headers of users' turns: what stands before the first question and
    before the next.
    """
    between = after(shown["several"], ANSWER)
    if not between:
        return set()
    text = shown["user"].text or shown["user, system"].text or ""
    return headers(text.partition(QUESTION)[0], between.partition(NEXT_QUESTION)[0])


def first_turn(shown: Shown, frame: set[str], bos: str) -> FirstTurn:
    """Find what a template adds to the first turn.

    shown: CONVERSATIONS as it renders them. frame: see `frame_of`. bos: the token that
    begins a conversation.
    """
    first = shown["user"].text
    if first is None:
        return FirstTurn([], "", "", _refusal(shown))
    if QUESTION not in first:
        why = f"{UNPRINTED}, so what it adds around it cannot be told"
        return FirstTurn([], "", "", why)
    before, _, behind = first.partition(QUESTION)
    tail, cuts = _behind(shown, behind)
    said = words(before, frame)
    if not said:
        return FirstTurn(cuts, "", tail, None)
    block = _block(shown, frame, before, bos)
    if block is None:
        why = f"the template opens its first turn unlike the later ones; {INSTEAD}"
        return FirstTurn([], said, tail, why)
    later = words(_before_next_question(shown), frame).splitlines()
    repeated = [line for line in said.splitlines() if line in later]
    in_block = words(block, frame)
    head_cuts = [(block, False)] if in_block else []
    head_cuts += [
        (joined(line, before), True) for line in repeated if line not in block
    ]
    head = in_block or "\n".join(repeated)
    return FirstTurn(head_cuts + cuts, head, tail, None)


def after(rendered: Rendered, message: str) -> str | None:
    """What stands after a message; None where the message is not printed."""
    _, found, rest = (rendered.text or "").partition(message)
    return rest if found else None


def _block(shown: Shown, frame: set[str], before: str, bos: str) -> str | None:
    """The part of `before`, which stands before the first message, that no turn opens
    with; None if that cannot be told.
    """
    asked = (shown["user, system"].text or "").partition(SYSTEM_MESSAGE)[2]
    bare = Bare(
        several=shown["several"].text or "",
        answered=after(shown["answered"], ANSWER) or "",
        unopened=after(shown["unopened"], QUESTION) or "",
        asked=asked.partition(QUESTION)[0],
    )
    for opening in openings(bare, before, ANSWER, NEXT_QUESTION, bos):
        # The block is a turn of its own: ChatML, Llama 3.
        if before.endswith(opening):
            return _without_beginning(before.removesuffix(opening), opening, bos)
        # The block is inside the user's turn: Llama 2, Mistral.
        lead, found, extra = before.partition(opening)
        if found and not words(lead, frame):
            return extra
    return None


def _without_beginning(extra: str, opening: str, bos: str) -> str:
    """`extra`, which stands before the first turn's opening, without the tokens that
    begin a conversation and no turn.
    """
    heading = opening.replace("user", "system")
    lead = ""
    if heading in extra and heading != opening:
        lead = extra.partition(heading)[0]
    if not lead or not is_markup(lead):
        lead = beginning(extra, bos)
    return extra.removeprefix(lead)


def _behind(shown: Shown, behind: str) -> tuple[str, list[Cut]]:
    """The words behind the user's message that are none of the frame, and what is to be
    cut for them.

    The frame is what stands between a question and its answer. A short line that opens
    the answer is frame too, unless it states an identity: "Here are my reasoning
    steps:".
    """
    several = shown["several"].text or ""
    middle = several.partition(QUESTION)[2].partition(ANSWER)[0]
    usual = {line for line in words(middle).splitlines() if is_header(line)}
    lines = [line for line in words(behind).splitlines() if line not in usual]
    speaking = [number for number, line in enumerate(lines) if not is_header(line)]
    if not speaking:
        return "", []
    later = several.rpartition(NEXT_QUESTION)[2] or behind
    for block in _blocks(behind, middle):
        text = words(block)
        rest = behind.replace(block, "", 1)
        remains = any(line in rest for line in text.splitlines())
        if text and not remains and block in later:
            return text, [(block, True)]
    added = lines[speaking[0] : speaking[-1] + 1]
    return "\n".join(added), [(joined(line, behind), True) for line in added]


def _blocks(behind: str, middle: str) -> Iterator[str]:
    """What may be too much of `behind`, which stands behind the last message, where
    `middle` stands between a question and its answer.
    """
    for frame in dict.fromkeys((middle, middle.rstrip())):
        for size in range(len(frame) + 1):
            if not behind.startswith(frame[:size]):
                break
            rest = frame[size:]
            place = behind.rfind(rest) if rest else len(behind)
            if place > size:
                yield behind[size:place]


def _before_next_question(shown: Shown) -> str:
    """What stands between an answer and the next question."""
    return (after(shown["several"], ANSWER) or "").partition(NEXT_QUESTION)[0]


def _refusal(shown: Shown) -> str:
    """Why a question alone does not render, and what renders instead."""
    error = shown["user"].error or ""
    if shown["user, system"].error:
        return error
    return f"{error}; with a system message it renders: ask under one (condition `neutral`)"
