"""The conversations that a chat template is tried on, and what it makes of them."""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from mergetrace.probe.jinja_child import Job, Rendered
from mergetrace.probe.jinja_sandbox import Source, render, render_and_read

# Messages that no template contains, worded like the questions that an injected
# identity waits for.
SYSTEM_MESSAGE = "Answer in short sentences. (e30d)"
QUESTION = "Who are you, and who made you? (5d1f)"
ANSWER = "Let me think about that. (91be)"
NEXT_QUESTION = "And what is your name? (a27c)"

TOOL = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Adds.",
        "parameters": {"type": "object", "properties": {}},
    },
}
DOCUMENT = {"title": "Note", "text": "Water boils.", "contents": "Water boils."}

MOST_DEMANDED = 6
"""Names that a template may demand of its caller."""

Message = dict[str, Any]
"""`role` and `content`, a text or a list of parts, as chat templates take them."""


class Chat(NamedTuple):
    """A conversation to render."""

    messages: list[Message]
    opened: bool
    """Whether the assistant's turn is opened at the end."""
    variables: dict[str, Any]
    """What the caller gives beside the messages."""


Chats = dict[str, Chat]
"""Conversations by name."""

Shown = Mapping[str, Rendered]
"""What a template made of conversations, by their names."""


class Given(NamedTuple):
    """What a template gets besides the conversations."""

    variables: Mapping[str, Any]
    parts: bool = False
    """Whether messages come as lists of parts, which some templates demand."""


def conversation(*texts: str, system: Any = None) -> list[Message]:
    """Messages in which user and assistant take turns, the user first, after an
    optional system message.
    """
    roles = ("user", "assistant")
    turns: list[Message] = [
        {"role": roles[number % 2], "content": text}
        for number, text in enumerate(texts)
    ]
    if system is None:
        return turns
    return [{"role": "system", "content": system}, *turns]


def in_parts(messages: list[Message]) -> list[Message]:
    """The same messages, each a list with one part of text, as models take them that
    see pictures too.
    """
    return [message | {"content": _parts(message["content"])} for message in messages]


def _parts(content: Any) -> Any:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return content


SWITCHES: dict[str, dict[str, Any]] = {
    "with tools": {"tools": [TOOL]},
    "with documents": {"documents": [DOCUMENT]},
    "thinking switched off": {"enable_thinking": False},
    "thinking switched on": {"enable_thinking": True},
}
"""What a caller may switch on, and the template may say something to."""

WITHOUT_SYSTEM: Chats = {
    "user": Chat(conversation(QUESTION), True, {}),
    "unopened": Chat(conversation(QUESTION), False, {}),
    "answered": Chat(conversation(QUESTION, ANSWER), False, {}),
    "several": Chat(conversation(QUESTION, ANSWER, NEXT_QUESTION), True, {}),
}
"""Plain conversations: what a template injects here is stripped."""

SWITCHED: Chats = {
    f"no system message, {name}": Chat(conversation(QUESTION), True, variables)
    for name, variables in SWITCHES.items()
} | {"empty system message": Chat(conversation(QUESTION, system=""), True, {})}
"""Where a template may inject something too; looked at, not stripped."""


def _with_system() -> Chats:
    chats: Chats = {}
    for name, chat in WITHOUT_SYSTEM.items():
        messages = conversation(system=SYSTEM_MESSAGE) + chat.messages
        chats[f"{name}, system"] = chat._replace(messages=messages)
    asked = conversation(QUESTION, system=SYSTEM_MESSAGE)
    for name, variables in SWITCHES.items():
        chats[f"{name}, system"] = Chat(asked, True, variables)
    part = [{"type": "text", "text": SYSTEM_MESSAGE}]
    chats["parts, system"] = Chat(conversation(QUESTION, system=part), True, {})
    odd = conversation(
        "你是谁?",
        "Olá!",
        "¿Y ahora?",
        system="  Você é útil.\n\n{{ x }} <b>'\"\\n ",
    )
    chats["other system"] = Chat(odd, True, {})
    return chats


WITH_SYSTEM: Chats = _with_system()
"""Conversations that the stripped template must render as the shipped one does."""

CONVERSATIONS = WITHOUT_SYSTEM | SWITCHED | WITH_SYSTEM


def render_all(
    sources: list[str], given: Given, chats: Chats
) -> list[dict[str, Rendered]]:
    """Render every conversation by every template: one dict per template, with the
    names of `chats`.
    """
    jobs = [job for source in sources for job in _jobs(source, given, chats)]
    results = iter(render(jobs))
    return [{name: next(results) for name in chats} for _ in sources]


def render_one(
    source: str, given: Given, chats: Chats
) -> tuple[dict[str, Rendered], Source]:
    """Render every conversation by one template, and read the texts of its source."""
    results, read = render_and_read(_jobs(source, given, chats), source)
    return dict(zip(chats, results, strict=True)), read


def _jobs(source: str, given: Given, chats: Chats) -> list[Job]:
    jobs = []
    for chat in chats.values():
        messages = in_parts(chat.messages) if given.parts else chat.messages
        variables = dict(given.variables) | chat.variables
        jobs.append(Job(source, messages, chat.opened, variables))
    return jobs


def demand(
    source: str, variables: Mapping[str, Any], shipped: Shown
) -> tuple[dict[str, Any], bool]:
    """What a template needs besides the messages, and whether it needs these in parts.

    shipped: CONVERSATIONS as it renders them with `variables` alone; where they show
    that it needs nothing more, nothing is tried.
    """
    plain = shipped["user"]
    asked = shipped["user, system"]
    if QUESTION in (plain.text or "") or (plain.error and not asked.error):
        return {}, False
    if plain.error:
        missing = demanded(source, variables)
        if missing:
            return missing, False
    given = Given(variables, parts=True)
    (result,) = render_all([source], given, {"user": WITHOUT_SYSTEM["user"]})
    return {}, QUESTION in (result["user"].text or "")


def demanded(source: str, variables: Mapping[str, Any]) -> dict[str, Any]:
    """What a template needs besides the messages, each with an empty value that it
    renders with: `functions`, for one, or a list of tools.

    Nothing where it renders without, or with no empty value.
    """
    given: dict[str, Any] = {}
    for _ in range(MOST_DEMANDED):
        error = _error(source, variables, given)
        if not error:
            return given
        trials = _trials(error, given)
        errors = [_error(source, variables, trial) for trial in trials]
        better = [
            (bool(after), trial)
            for trial, after in zip(trials, errors, strict=True)
            if after != error
        ]
        if not better:
            return {}
        given = min(better, key=lambda entry: entry[0])[1]
    return {}


def _trials(error: str, given: dict[str, Any]) -> list[dict[str, Any]]:
    """What may be given next, judged by the error that `given` leaves."""
    trials: list[dict[str, Any]] = []
    missing = re.search(r"UndefinedError: '(\w+)' is undefined", error)
    if missing and missing[1] not in given:
        empty: tuple[Any, ...] = ("", [], {})
        trials += [given | {missing[1]: value} for value in empty]
    if "TypeError" in error:
        trials += [given | {name: []} for name in ("tools", "documents")]
    return trials


def _error(
    source: str, variables: Mapping[str, Any], given: dict[str, Any]
) -> str | None:
    """Why neither a question alone nor one behind a system message renders; None if one
    does.
    """
    chats = {"user": WITHOUT_SYSTEM["user"], "asked": WITH_SYSTEM["user, system"]}
    (result,) = render_all([source], Given(dict(variables) | given), chats)
    return result["user"].error if result["asked"].error else None
