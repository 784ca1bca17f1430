"""The conversations that a chat template is tried on, and what it makes of them."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mergetrace.probe.jinja_child import Job, Rendered
from mergetrace.probe.jinja_sandbox import Source, render, render_and_read

# Sentinels: messages that no template contains, worded like the questions that an
# injected identity waits for.
SYSTEM = "Answer in short sentences. (e30d)"
USER = "Who are you, and who made you? (5d1f)"
ANSWER = "Let me think about that. (91be)"
AGAIN = "And what is your name? (a27c)"

TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {"type": "object", "properties": {}},
    },
}
DOCUMENT = {"title": "Note", "text": "Water boils.", "contents": "Water boils."}
MOST_DEMANDED = 6  # names that a template may demand of its caller

# name: (messages, whether the assistant's turn is opened, other variables)
Chats = dict[str, tuple[list[dict[str, Any]], bool, dict[str, Any]]]


class Given(NamedTuple):
    """What a template gets besides the conversations: variables, and whether messages
    come as lists of parts, which some templates demand.
    """

    variables: Mapping[str, Any]
    parts: bool = False


def conversation(*texts: str, system: Any = None) -> list[dict[str, Any]]:
    """Messages in which user and assistant take turns, the user first, after an
    optional system message.
    """
    turns = [
        {"role": ("user", "assistant")[i % 2], "content": text}
        for i, text in enumerate(texts)
    ]
    return ([] if system is None else [{"role": "system", "content": system}]) + turns


def in_parts(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same messages, each a list with one part of text, as models take them that
    see pictures too.
    """
    return [
        (
            message | {"content": [{"type": "text", "text": message["content"]}]}
            if isinstance(message["content"], str)
            else message
        )
        for message in messages
    ]


SWITCHES: dict[
    str, dict[str, Any]
] = {  # what a caller may switch on, and the template may say something to
    "with tools": {"tools": [TOOL]},
    "with documents": {"documents": [DOCUMENT]},
    "thinking switched off": {"enable_thinking": False},
    "thinking switched on": {"enable_thinking": True},
}
BARE: Chats = {
    "user": (conversation(USER), True, {}),
    "unopened": (conversation(USER), False, {}),
    "answered": (conversation(USER, ANSWER), False, {}),
    "several": (conversation(USER, ANSWER, AGAIN), True, {}),
}
# Where a template may inject something too; looked at, not stripped.
UNASKED: Chats = {
    f"no system message, {name}": (conversation(USER), True, given)
    for name, given in SWITCHES.items()
} | {"empty system message": (conversation(USER, system=""), True, {})}
ELSEWHERE: Chats = {
    **{
        f"{name}, system": (conversation(system=SYSTEM) + chat, opened, more)
        for name, (chat, opened, more) in BARE.items()
    },
    **{
        f"{name}, system": (conversation(USER, system=SYSTEM), True, given)
        for name, given in SWITCHES.items()
    },
    "parts, system": (
        conversation(USER, system=[{"type": "text", "text": SYSTEM}]),
        True,
        {},
    ),
    "other system": (
        conversation(
            "你是谁?",
            "Olá!",
            "¿Y ahora?",
            system="  Você é útil.\n\n{{ x }} <b>'\"\\n ",
        ),
        True,
        {},
    ),
}
CONVERSATIONS = BARE | UNASKED | ELSEWHERE


def render_all(
    sources: list[str], given: Given, chats: Chats
) -> list[dict[str, Rendered]]:
    """Every conversation by every template: one dict per template, with the names of
    `chats`.
    """
    results = iter(
        render(job for source in sources for job in _jobs(source, given, chats))
    )
    return [{name: next(results) for name in chats} for _ in sources]


def render_one(
    source: str, given: Given, chats: Chats
) -> tuple[dict[str, Rendered], Source]:
    """Every conversation by one template, and the texts of its source."""
    results, read = render_and_read(_jobs(source, given, chats), source)
    return dict(zip(chats, results, strict=True)), read


def _jobs(source: str, given: Given, chats: Chats) -> list[Job]:
    return [
        Job(
            source,
            in_parts(chat) if given.parts else chat,
            opened,
            dict(given.variables) | more,
        )
        for chat, opened, more in chats.values()
    ]


def demand(
    source: str, variables: Mapping[str, Any], shipped: dict[str, Rendered]
) -> tuple[dict[str, Any], bool]:
    """(what a template needs besides the messages, whether it needs them in parts),
    where `shipped` shows that it renders nothing otherwise.
    """
    plain = shipped["user"]
    asked = shipped["user, system"]
    if USER in (plain.text or "") or (plain.error and not asked.error):
        return {}, False
    if plain.error and (missing := demanded(source, variables)):
        return missing, False
    (result,) = render_all(
        [source], Given(variables, parts=True), {"user": BARE["user"]}
    )
    return {}, USER in (result["user"].text or "")


def demanded(source: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """What a template needs besides the messages, each with an empty value that it
    renders with: `functions`, for one, or a list of tools.

    Nothing where it renders without, or with no empty value.
    """
    given: dict[str, Any] = {}
    for _ in range(MOST_DEMANDED):
        error = _error(source, variables, given)
        missing = re.search(r"UndefinedError: '(\w+)' is undefined", error or "")
        if not error:
            return given
        trials = (
            [given | {missing[1]: value} for value in ("", [], {})]
            if missing and missing[1] not in given
            else []
        )
        if "TypeError" in error:
            trials += [given | {name: []} for name in ("tools", "documents")]
        better = [
            trial for trial in trials if _error(source, variables, trial) != error
        ]
        if not better:
            return {}
        given = min(better, key=lambda trial: bool(_error(source, variables, trial)))
    return {}


def _error(
    source: str, variables: Mapping[str, Any], given: dict[str, Any]
) -> str | None:
    """Why neither a question alone nor one behind a system message renders; None if one
    does.
    """
    chats = {"user": BARE["user"], "asked": ELSEWHERE["user, system"]}
    (result,) = render_all([source], Given(dict(variables) | given), chats)
    return result["user"].error if result["asked"].error else None
