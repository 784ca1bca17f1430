"""Texts that a chat template adds only after certain words of the user's."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mergetrace.probe.conversations import SYSTEM, USER, Chats, conversation
from mergetrace.probe.jinja_child import Rendered
from mergetrace.probe.stripping import Cut
from mergetrace.probe.turns import words

MOST = 400  # messages tried
MOST_FOUND = 20  # different texts told
MOST_WORDS = 200  # characters of a message made of the template's own words
SHOWN = 60  # characters of a message that are told
_PLAIN = "no system message"
_ASKED = "a system message"


class Triggered(NamedTuple):
    """A text, after which words, and the conversation that shows it."""

    condition: str
    text: str
    shown: str


class Found(NamedTuple):
    """items: texts told. cuts: what is to be cut for those that need no system message.
    chats: the conversations that show these, which render as `unasked`.
    """

    items: list[Triggered]
    cuts: list[Cut]
    chats: Chats
    unasked: dict[str, str]


def messages(prompts: Sequence[str], compared: Sequence[str]) -> list[str]:
    """What is tried: the prompts, and the texts that the template's conditions compare
    with, each alone and behind a question.
    """
    usable = [text for text in compared if text.strip() and len(text) <= MOST_WORDS]
    worded = [message for text in usable for message in (text, f"{USER} {text}")]
    return list(dict.fromkeys([*prompts[:MOST], *worded[:MOST]]))


def chats(tried: Sequence[str]) -> Chats:
    """A conversation of every message, without and with a system message."""
    conversations: Chats = {}
    for number, message in enumerate(tried):
        conversations[f"message {number}"] = (conversation(message), True, {})
        conversations[f"message {number}, system"] = (
            conversation(message, system=SYSTEM),
            True,
            {},
        )
    return conversations


def found(
    tried: Sequence[str],
    shipped: Mapping[str, Rendered],
    rendered: Mapping[str, Rendered],
    frame: set[str],
) -> Found:
    """What the template adds to conversations of one of these messages beyond what it
    adds to any.

    shipped, rendered: the usual conversations and those of `chats`; frame: role
    headers, as mergetrace.probe.turns knows them.
    """
    texts: dict[tuple[str, str], list[tuple[str, str]]] = {}
    cuts: list[Cut] = []
    unasked: dict[str, str] = {}
    for number, message in enumerate(tried):
        for circumstance, usual, name in (
            ("no system message", "user", f"message {number}"),
            ("a system message", "user, system", f"message {number}, system"),
        ):
            shown = rendered[name].text
            added = _added(shipped[usual].text, shown, message, frame)
            if not added:
                continue
            block, text = added
            texts.setdefault((circumstance, text), []).append((message, shown))
            if usual == "user":
                cuts += [(block, True)] if (block, True) not in cuts else []
                unasked[name] = shown
    told = [
        Triggered(
            _condition(circumstance, [message for message, _ in where]),
            text,
            where[0][1],
        )
        for (circumstance, text), where in texts.items()
    ]
    again = chats(tried)
    return Found(
        told[:MOST_FOUND],
        cuts[:MOST_FOUND],
        {name: again[name] for name in unasked},
        unasked,
    )


def _added(
    usual: str | None, rendered: str | None, message: str, frame: set[str]
) -> tuple[str, str] | None:
    """(what `rendered` has that `usual` with the other message has not, its words);
    None without words, or where it cannot be told.
    """
    if usual is None or rendered is None or USER not in usual:
        return None
    start = 0
    before, _, behind = usual.partition(USER)
    expected = before + message.strip() + behind
    if rendered == expected or rendered == before + message + behind:
        return None
    limit = min(len(expected), len(rendered))
    while start < limit and expected[start] == rendered[start]:
        start += 1
    end = 0
    while end < limit - start and expected[-1 - end] == rendered[-1 - end]:
        end += 1
    block = rendered[start : len(rendered) - end]
    gone = expected[start : len(expected) - end]
    text = "\n".join(
        line
        for line in words(
            block.replace(message.strip(), "\n") if gone else block, frame
        ).splitlines()
        if line not in usual
    )
    return (block, text) if text else None


def _condition(circumstance: str, messages: list[str]) -> str:
    first = (
        " ".join(messages[0].replace(USER, "").split())[:SHOWN] or messages[0][:SHOWN]
    )
    more = f" and {len(messages) - 1} more" if len(messages) > 1 else ""
    return f"{circumstance}, asked “{first}”{more}"
