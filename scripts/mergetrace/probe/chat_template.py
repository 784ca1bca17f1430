"""What a chat template says that no message asked for, and the same template without it.

The method is to render and compare, not to read the template's source: a conversation is rendered with and without a
system message, and what stands where the system message would stand is what the template put there by itself.
"""

import re
from collections.abc import Iterator
from typing import Any

from mergetrace.probe.jinja_sandbox import Job, Rendered, render

# Sentinels: messages that no template contains, worded like the questions that an injected identity waits for.
SYSTEM = "Answer in short sentences. (e30d)"
USER = "Who are you, and who made you? (5d1f)"
ANSWER = "Let me think about that. (91be)"
AGAIN = "And what is your name? (a27c)"

AROUND = 80  # characters shown on either side of an injected text

_TOOL = {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": {"type": "object", "properties": {}}}}
_MARKUP = re.compile(r"<+[^<>\s]{1,60}>+|\[[^\[\]\s]{1,60}\]")  # <|im_start|>, <<SYS>>, </s>, [INST]
_ROLES = r"(?:system|user|assistant|model|developer|human|instruction|response)"


def analyse(source: str, special_tokens: dict[str, str]) -> dict[str, Any]:
    """What the template `source` injects, and the template without it.

    Returns `injected` (list of {condition, text, where, source_lines}, see `_placed`), `stripped` (template or None),
    `identical_elsewhere` (whether every conversation that has a system message renders the same in both; None where there
    is nothing to compare), `turn_end` (what follows an answer; None if unknown) and `reason` (why something is missing, or None).

    A text c counts as injected without a system message when `render([system: c, user]) == render([user])`.
    """
    shipped = _render([source], special_tokens, _CONVERSATIONS)[0]
    result = {"stripped": None, "injected": [], "identical_elsewhere": None, "turn_end": None, "reason": shipped["user"].error}
    if result["reason"]:
        return result
    result["turn_end"] = _after(shipped["answered"], ANSWER)
    proven = _proven(source, special_tokens, shipped)
    always = _always(shipped)
    result["injected"] = [_placed(condition, text, source, shipped) for condition, text in (always | proven).items()]
    kept, block, unclear = _first_turn(shipped, special_tokens.get("bos_token", ""))
    if unclear:
        return result | {"reason": unclear}
    text = _words(block)
    if not text and "no system message" in proven:
        return result | {"reason": "the injected text does not stand before the first message alone: it cannot be told from the turn's own frame"}
    if not text:
        return result | {"stripped": source, "identical_elsewhere": True}
    if "no system message" not in proven and text not in always.values():
        result["injected"].append(_placed("no system message", text, source, shipped))
    wanted = {name: Rendered(kept + USER + _after(shipped[name], USER)) for name in _BARE if shipped[name].text}
    edits = list(_edits(source, block, proven.get("no system message", text)))
    for edit, renders in zip(edits, _render(edits, special_tokens, _CONVERSATIONS), strict=True):
        if all(renders[name] == wanted[name] for name in wanted) and all(renders[name] == shipped[name] for name in _ELSEWHERE):
            return result | {"stripped": edit, "identical_elsewhere": True}
    return result | {"identical_elsewhere": False, "reason": "no edit of the template removes the injected text and leaves other conversations alone"}


def conversation(*texts: str, system: Any = None) -> list[dict[str, Any]]:
    """Messages in which user and assistant take turns, the user first, after an optional system message."""
    turns = [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]
    return ([] if system is None else [{"role": "system", "content": system}]) + turns


# name: (messages, whether the assistant's turn is opened, other variables)
_Chats = dict[str, tuple[list[dict[str, Any]], bool, dict[str, Any]]]
_BARE: _Chats = {
    "user": (conversation(USER), True, {}),
    "unopened": (conversation(USER), False, {}),
    "answered": (conversation(USER, ANSWER), False, {}),
    "several": (conversation(USER, ANSWER, AGAIN), True, {}),
}
_UNASKED: _Chats = {  # where a template may inject something too; looked at, not stripped
    "no system message, with tools": (conversation(USER), True, {"tools": [_TOOL]}),
    "empty system message": (conversation(USER, system=""), True, {}),
    "no system message, thinking switched off": (conversation(USER), True, {"enable_thinking": False}),
    "no system message, thinking switched on": (conversation(USER), True, {"enable_thinking": True}),
}
_ELSEWHERE: _Chats = {f"{name}, system": (conversation(system=SYSTEM) + chat, opened, more) for name, (chat, opened, more) in _BARE.items()} | {
    "tools, system": (conversation(USER, system=SYSTEM), True, {"tools": [_TOOL]}),
    "no thinking, system": (conversation(USER, system=SYSTEM), True, {"enable_thinking": False}),
    "thinking, system": (conversation(USER, system=SYSTEM), True, {"enable_thinking": True}),
    "parts, system": (conversation(USER, system=[{"type": "text", "text": SYSTEM}]), True, {}),
    "other system": (conversation("你是谁?", "Olá!", "¿Y ahora?", system="  Você é útil.\n\n{{ x }} <b>'\"\\n "), True, {}),
}
_CONVERSATIONS = _BARE | _UNASKED | _ELSEWHERE
_SHOWN_BY = {"no system message": "user", "always": "user, system"}  # condition: the conversation that shows its text, where the names differ


def _placed(condition: str, text: str, source: str, shipped: dict[str, Rendered]) -> dict[str, Any]:
    """An injected text with its place.

    `where`: {start, end, of, before, after}, characters of the conversation that shows it and what stands around it. `source_lines`:
    the template's lines that hold the text literally; none where its code puts the text together.
    """
    shown = shipped[_SHOWN_BY.get(condition, condition)].text or ""
    first, last = text.splitlines()[0], text.splitlines()[-1]
    start = shown.find(first)
    end = shown.find(last, start + len(first) - len(last)) + len(last)
    where = {"start": start, "end": end, "of": len(shown), "before": shown[max(0, start - AROUND) : start], "after": shown[end : end + AROUND]}
    literal = [number for number, line in enumerate(source.splitlines(), start=1) if any(spelling in line for spelling in _literals(first))]
    return {"condition": condition, "text": text, "where": where if start >= 0 else None, "source_lines": literal}


def _render(sources: list[str], special_tokens: dict[str, str], chats: _Chats) -> list[dict[str, Rendered]]:
    jobs = [Job(source, chat, opened, special_tokens | more) for source in sources for chat, opened, more in chats.values()]
    results = iter(render(jobs))
    return [{name: next(results) for name in chats} for _ in sources]


def _proven(source: str, special_tokens: dict[str, str], shipped: dict[str, Rendered]) -> dict[str, str]:
    """condition: text, where a system message of that text gives what no (or an empty) system message gives."""
    against = {
        "no system message": ("user", "user, system", {}),
        "empty system message": ("empty system message", "user, system", {}),
    }
    if shipped["no system message, with tools"] != shipped["user"]:  # many templates know no tools
        against["no system message, with tools"] = ("no system message, with tools", "tools, system", {"tools": [_TOOL]})
    for switch, asked, thinking in (("off", "no thinking, system", False), ("on", "thinking, system", True)):
        condition = f"no system message, thinking switched {switch}"
        if shipped[condition] != shipped["user"]:  # many templates know no such switch
            against[condition] = (condition, asked, {"enable_thinking": thinking})
    candidates = {condition: _candidate(shipped[plain].text, shipped[asked].text) for condition, (plain, asked, _) in against.items()}
    trials = {
        condition: (conversation(USER, system=text), True, against[condition][2]) for condition, text in candidates.items() if text and text.strip()
    }
    renders = _render([source], special_tokens, trials)[0] if trials else {}
    return {condition: candidates[condition].strip() for condition in trials if renders[condition] == shipped[against[condition][0]]}


def _candidate(plain: str | None, asked: str | None) -> str | None:
    """What stands in `plain` where `asked` has the system message; None if the two have different frames."""
    if plain is None or asked is None or SYSTEM not in asked:
        return None
    head, _, tail = asked.partition(SYSTEM)
    fits = len(plain) >= len(head) + len(tail) and plain.startswith(head) and plain.endswith(tail)
    return plain[len(head) : len(plain) - len(tail)] if fits else None


def _always(shipped: dict[str, Rendered]) -> dict[str, str]:
    """{"always": text} for words around a system message that nobody wrote, such as a date line."""
    asked = shipped["user, system"].text or ""
    before, found, after = asked.partition(SYSTEM)
    texts = [_words(before), _words(after.partition(USER)[0])] if found else []
    return {"always": "\n".join(filter(None, texts))} if any(texts) else {}


def _first_turn(shipped: dict[str, Rendered], bos: str) -> tuple[str, str, str | None]:
    """(what should precede the first user message, what the template puts there beyond that, why this is unclear or None).

    The measure is how a later user turn opens: what lies between answer and next question, less what closes an answer.
    """
    first = shipped["user"].text or ""
    several, answered, asked = (shipped[name].text or "" for name in ("several", "answered", "user, system"))
    if USER not in first:
        return "", "", "the template does not print the user's message"
    between = several.partition(ANSWER)[2].partition(AGAIN)
    closing = answered.partition(ANSWER)[2]
    if not between[1] or not between[0].startswith(closing):
        return "", "", "the template does not render several turns in a way that shows how a turn opens"
    if asked and _after(shipped["user, system"], USER) != _after(shipped["user"], USER):
        return "", "", "what the template prints after the user's message depends on the system message"
    opening = between[0].removeprefix(closing)
    before = first.partition(USER)[0]
    if before.endswith(opening):  # the block is a turn of its own: ChatML, Llama 3
        extra = before.removesuffix(opening)
        heading = opening.replace("user", "system")
        lead = extra.partition(heading)[0] if heading in extra and heading != opening else bos * extra.startswith(bos)
        lead = "" if _words(lead) else lead
        return lead + opening, extra.removeprefix(lead), None
    lead, found, extra = before.partition(opening)  # the block is inside the user's turn: Llama 2, Mistral
    if not found or _words(lead):
        return "", "", "the template opens its first turn unlike the later ones"
    return lead + opening, extra, None


def _edits(source: str, block: str, text: str) -> Iterator[str]:
    """Candidates for the stripped template: the literals removed from the source; failing that, the block removed from what it prints."""
    for unwanted in ((block, text), (block,), (text,)):
        edited = source
        for part in unwanted:
            for literal in _literals(part):
                edited = edited.replace(literal, "")
        if edited != source:
            yield edited
    # Jinja drops one newline at the end of a template and (trim_blocks) the one after the opening tag.
    yield (
        "{%- set has_system = messages and messages[0]['role'] == 'system' %}{% set as_shipped %}\n"
        + source.removesuffix("\n")
        + "{%+ endset %}{{- as_shipped if has_system else as_shipped | replace("
        + ascii(block)
        + ", '', 1) }}"
    )


def _literals(text: str) -> list[str]:
    """The spellings of `text` in a template's source: as it is, and as a string in either kind of quotes."""
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t")
    spellings = {text, escaped, escaped.replace("'", "\\'"), escaped.replace('"', '\\"')}
    return sorted(spellings - {""}, key=len, reverse=True)


def _words(text: str) -> str:
    """`text` without markup and a leading role name; empty if no other words are in it."""
    plain = _MARKUP.sub("\n", text).strip()
    if not re.search(r"[^\W\d_]", re.sub(rf"\b{_ROLES}\b", "", plain, flags=re.IGNORECASE)):
        return ""
    return re.sub(rf"^{_ROLES}\b\W*", "", plain, flags=re.IGNORECASE)


def _after(rendered: Rendered, message: str) -> str | None:
    _, found, rest = (rendered.text or "").partition(message)
    return rest if found else None
