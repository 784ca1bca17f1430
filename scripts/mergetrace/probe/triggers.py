"""Texts that a chat template adds only after certain words of the user's."""

from collections.abc import Sequence
from typing import NamedTuple

from mergetrace.probe.conversations import (
    QUESTION,
    SYSTEM_MESSAGE,
    Chat,
    Chats,
    Shown,
    conversation,
)
from mergetrace.probe.stripping import Cut
from mergetrace.probe.turns import words

MOST_MESSAGES = 400
"""Messages tried, of the prompts and of the template's own words each."""

MOST_TRIGGERED = 20
"""Different texts told of one template."""

MOST_TRIGGER_CHARACTERS = 200
"""Characters of a message that is made of the template's own words."""

SHOWN_CHARACTERS = 60
"""Characters of a message that are told."""

CIRCUMSTANCES = {"no system message": "user", "a system message": "user, system"}
"""The usual conversation under each circumstance."""


class Triggered(NamedTuple):
    """A text that is added after certain words."""

    condition: str
    """After which words, and whether there was a system message."""
    text: str
    shown: str
    """A conversation that shows it, rendered."""


class Found(NamedTuple):
    """What is added after certain words."""

    items: list[Triggered]
    cuts: list[Cut]
    """What is to be cut for texts that need no system message."""
    chats: Chats
    """The conversations that show these."""
    unasked: dict[str, str]
    """What the shipped template makes of `chats`."""


def messages(prompts: Sequence[str], compared: Sequence[str]) -> list[str]:
    """What is tried: the prompts, and the texts that the template's conditions compare
    with, each alone and behind a question.
    """
    usable = [t for t in compared if t.strip() and len(t) <= MOST_TRIGGER_CHARACTERS]
    worded = [message for text in usable for message in (text, f"{QUESTION} {text}")]
    return list(dict.fromkeys([*prompts[:MOST_MESSAGES], *worded[:MOST_MESSAGES]]))


def chats(tried: Sequence[str]) -> Chats:
    """A conversation of every message, without and with a system message."""
    conversations: Chats = {}
    for number, message in enumerate(tried):
        plain = conversation(message)
        asked = conversation(message, system=SYSTEM_MESSAGE)
        conversations[f"message {number}"] = Chat(plain, True, {})
        conversations[f"message {number}, system"] = Chat(asked, True, {})
    return conversations


def find(
    tried: Sequence[str], shipped: Shown, rendered: Shown, frame: set[str]
) -> Found:
    """Find what the template adds to conversations of one of these messages beyond what
    it adds to any.

    shipped, rendered: the usual conversations and those of `chats`. frame: role
    headers, as mergetrace.probe.turns knows them.
    """
    places: dict[tuple[str, str], list[tuple[str, str]]] = {}
    cuts: list[Cut] = []
    unasked: dict[str, str] = {}
    for number, message in enumerate(tried):
        for circumstance, usual in CIRCUMSTANCES.items():
            name = f"message {number}" + usual.removeprefix("user")
            shown = rendered[name].text
            added = _added(shipped[usual].text, shown, message, frame)
            if shown is None or added is None:
                continue
            block, text = added
            places.setdefault((circumstance, text), []).append((message, shown))
            if usual == "user":
                unasked[name] = shown
                if (block, True) not in cuts:
                    cuts.append((block, True))
    items = [
        Triggered(_condition(circumstance, where), text, where[0][1])
        for (circumstance, text), where in places.items()
    ]
    again = chats(tried)
    return Found(
        items[:MOST_TRIGGERED],
        cuts[:MOST_TRIGGERED],
        {name: again[name] for name in unasked},
        unasked,
    )


def _added(
    usual: str | None, rendered: str | None, message: str, frame: set[str]
) -> tuple[str, str] | None:
    """(what `rendered` has that `usual` with the other message has not, its words);
    None without words, or where it cannot be told.
    """
    if usual is None or rendered is None or QUESTION not in usual:
        return None
    before, _, behind = usual.partition(QUESTION)
    expected = before + message.strip() + behind
    if rendered in (expected, before + message + behind):
        return None
    block, gone = _difference(rendered, expected)
    if gone:
        said = words(block.replace(message.strip(), "\n"), frame)
    else:
        said = words(block, frame)
    text = "\n".join(line for line in said.splitlines() if line not in usual)
    return (block, text) if text else None


def _difference(one: str, other: str) -> tuple[str, str]:
    """The two texts without what both begin and end with."""
    limit = min(len(one), len(other))
    start = 0
    while start < limit and one[start] == other[start]:
        start += 1
    end = 0
    while end < limit - start and one[-1 - end] == other[-1 - end]:
        end += 1
    return one[start : len(one) - end], other[start : len(other) - end]


def _condition(circumstance: str, places: list[tuple[str, str]]) -> str:
    """When a text is added, in words. places: (message, conversation)."""
    message = places[0][0]
    first = " ".join(message.replace(QUESTION, "").split())[:SHOWN_CHARACTERS]
    first = first or message[:SHOWN_CHARACTERS]
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{circumstance}, asked “{first}”{more}"
