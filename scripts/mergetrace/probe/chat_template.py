"""What a chat template says that no message asked for, and the same template without
it.

The method is to render and compare, not to read the template's source: a conversation
is rendered with and without a system message, and what stands where the system message
would stand is what the template put there by itself. The source is read for what no
conversation printed (see `unprinted`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mergetrace.probe import triggers
from mergetrace.probe.conversations import (
    ANSWER,
    CONVERSATIONS,
    QUESTION,
    SWITCHES,
    SYSTEM_MESSAGE,
    WITH_SYSTEM,
    WITHOUT_SYSTEM,
    Chat,
    Chats,
    Given,
    Shown,
    conversation,
    demand,
    render_all,
    render_one,
)
from mergetrace.probe.first_turn import INSTEAD, FirstTurn, after, first_turn, frame_of
from mergetrace.probe.stripping import Cut, cut, edits, literals
from mergetrace.probe.template_records import Analysis, Injected, Where
from mergetrace.probe.turns import is_header, words
from mergetrace.probe.unprinted import unaccounted

SHOWN_AROUND = 80
"""Characters shown on either side of an injected text."""

NO_SYSTEM = "no system message"
ALWAYS = "always"
BEHIND = "behind the message"


class _Comparison(NamedTuple):
    """The two conversations whose difference shows what is injected."""

    plain: str
    """The one in which nobody gave a system message."""
    asked: str
    """The one with a system message."""
    variables: dict[str, Any]
    """What the caller gives in both."""


def _comparisons() -> dict[str, _Comparison]:
    """By condition: under which circumstances a text is injected."""
    empty = "empty system message"
    comparisons = {
        NO_SYSTEM: _Comparison("user", "user, system", {}),
        empty: _Comparison(empty, "user, system", {}),
    }
    for name, variables in SWITCHES.items():
        condition = f"{NO_SYSTEM}, {name}"
        comparisons[condition] = _Comparison(condition, f"{name}, system", variables)
    return comparisons


_COMPARISONS = _comparisons()
_SHOWN_BY = {NO_SYSTEM: "user", ALWAYS: "user, system", BEHIND: "user"}
"""The conversation that shows a condition's text; elsewhere it has the condition's
name.
"""


def analyse(
    source: str,
    special_tokens: Mapping[str, str | list[str]],
    prompts: Sequence[str] = (),
    spellings: Sequence[str] = (),
) -> Analysis:
    """Find what the template `source` injects, and the template without it.

    prompts: user messages to try beside the built-in ones, since a template may speak
    only after certain words. spellings: of names that count as identities in its
    source.

    A text c counts as injected without a system message when `render([system: c, user])
    == render([user])`.
    """
    given = Given(special_tokens)
    shipped, read = render_one(source, given, CONVERSATIONS)
    variables, parts = demand(source, special_tokens, shipped)
    if variables or parts:
        given = Given({**special_tokens, **variables}, parts)
        (shipped,) = render_all([source], given, CONVERSATIONS)
    frame = frame_of(shipped)
    trials = _trials(shipped)
    messages: list[str] = []
    tried: Shown = {}
    if shipped["user"].text:
        messages = triggers.messages(prompts, read.compared)
        chats = trials | triggers.chats(messages)
        (tried,) = render_all([source], given, chats)
    proven = {
        condition: trial.messages[0]["content"].strip()
        for condition, trial in trials.items()
        if tried[condition] == shipped[_COMPARISONS[condition].plain]
    }
    bos = special_tokens.get("bos_token", "")
    turn = first_turn(shipped, frame, bos if isinstance(bos, str) else "")
    triggered = triggers.find(messages, shipped, tried, frame)
    injected = [
        _placed(condition, text, source, _shown(condition, shipped))
        for condition, text in _injected(shipped, frame, proven, turn).items()
    ]
    injected += [
        _placed(item.condition, item.text, source, item.shown)
        for item in triggered.items
    ]
    analysis: Analysis = {
        "stripped": None,
        "injected": injected,
        "identical_elsewhere": None,
        "turn_end": after(shipped["answered"], ANSWER),
        "variables": variables,
        "parts": parts,
        "unprinted": unaccounted(read, {**shipped, **tried}, injected, spellings),
        "reason": turn.unclear,
    }
    if turn.unclear:
        return analysis
    head = proven.get(NO_SYSTEM, turn.head)
    texts = [text for text in (head, turn.tail) if text]
    cuts = _complete(turn.cuts + triggered.cuts, texts, shipped)
    if cuts:
        stripped = _stripped(source, given, shipped, cuts, texts, triggered)
        analysis["stripped"] = stripped
        analysis["identical_elsewhere"] = stripped is not None
        if stripped is None:
            analysis["reason"] = (
                "no edit of the template removes the injected text and leaves other"
                f" conversations alone; {INSTEAD}"
            )
    elif NO_SYSTEM not in proven:
        analysis["stripped"] = source
        analysis["identical_elsewhere"] = True
    else:
        analysis["reason"] = (
            "the injected text does not stand before the first message alone: it cannot"
            f" be told from the turn's own frame; {INSTEAD}"
        )
    return analysis


def _injected(
    shipped: Shown, frame: set[str], proven: dict[str, str], turn: FirstTurn
) -> dict[str, str]:
    """The texts that the usual conversations show, by condition."""
    texts = _always(shipped, frame) | proven
    if turn.head and NO_SYSTEM not in proven and turn.head not in texts.values():
        texts[NO_SYSTEM] = turn.head
    if turn.tail and turn.tail not in texts.values():
        texts[BEHIND] = turn.tail
    return texts


def _stripped(
    source: str,
    given: Given,
    shipped: Shown,
    cuts: list[Cut],
    texts: list[str],
    triggered: triggers.Found,
) -> str | None:
    """The first edit of the template that prints what the cuts leave of every
    conversation without a system message, and else the same; None without such a one.
    """
    expected = {name: cut(text, cuts) for name, text in _plain(shipped).items()}
    expected |= {name: cut(text, cuts) for name, text in triggered.unasked.items()}
    if any(_remain(texts, rest) for rest in expected.values()):
        return None
    candidates = list(edits(source, cuts, texts))
    rendered = render_all(candidates, given, CONVERSATIONS | triggered.chats)
    for edit, renders in zip(candidates, rendered, strict=True):
        cut_away = all(renders[name].text == expected[name] for name in expected)
        if cut_away and all(renders[name] == shipped[name] for name in WITH_SYSTEM):
            return edit
    return None


def _plain(shipped: Shown) -> dict[str, str]:
    """The texts of the conversations without a system message that render."""
    rendered = {name: shipped[name].text for name in WITHOUT_SYSTEM}
    return {name: text for name, text in rendered.items() if text}


def _complete(cuts: list[Cut], texts: list[str], shipped: Shown) -> list[Cut]:
    """The cuts, and a cut for every line of the injected texts that a conversation
    prints once more elsewhere.
    """
    if not cuts:
        return []
    rests = [cut(text, cuts) for text in _plain(shipped).values()]
    again = [
        line
        for text in texts
        for line in text.splitlines()
        if any(_remain([line], rest) for rest in rests)
    ]
    return cuts + [(line, True) for line in dict.fromkeys(again)]


def _remain(texts: list[str], rest: str) -> bool:
    """Whether a line of the injected texts, and none of a mere word or two, is still in
    what a conversation prints.
    """
    lines = [line for text in texts for line in text.splitlines()]
    return any(line in rest and not is_header(line) for line in lines)


def _placed(condition: str, text: str, source: str, shown: str) -> Injected:
    """An injected text with its place in `shown`, a conversation that shows it."""
    first = text.splitlines()[0]
    spellings = literals(first)
    source_lines = [
        number
        for number, line in enumerate(source.splitlines(), start=1)
        if any(spelling in line for spelling in spellings)
    ]
    return {
        "condition": condition,
        "text": text,
        "where": _where(text, shown),
        "source_lines": source_lines,
    }


def _where(text: str, shown: str) -> Where | None:
    lines = text.splitlines()
    first = lines[0]
    last = lines[-1]
    start = shown.find(first)
    if start < 0:
        return None
    end = shown.find(last, start + len(first) - len(last)) + len(last)
    return {
        "start": start,
        "end": end,
        "of": len(shown),
        "before": shown[max(0, start - SHOWN_AROUND) : start],
        "after": shown[end : end + SHOWN_AROUND],
    }


def _shown(condition: str, shipped: Shown) -> str:
    return shipped[_SHOWN_BY.get(condition, condition)].text or ""


def _trials(shipped: Shown) -> Chats:
    """Conversations whose system message is the text that stands where a system message
    would, by condition.

    If one renders as the conversation without a system message does, the text is
    injected there.
    """
    trials: Chats = {}
    for condition, comparison in _COMPARISONS.items():
        plain = shipped[comparison.plain]
        if comparison.plain != "user" and plain == shipped["user"]:
            continue  # many templates know no such switch
        text = _in_place_of_system(plain.text, shipped[comparison.asked].text)
        if text and text.strip():
            messages = conversation(QUESTION, system=text)
            trials[condition] = Chat(messages, True, comparison.variables)
    return trials


def _in_place_of_system(plain: str | None, asked: str | None) -> str | None:
    """What stands in `plain` where `asked` has the system message; None if the two have
    different frames.
    """
    if plain is None or asked is None or SYSTEM_MESSAGE not in asked:
        return None
    head, _, tail = asked.partition(SYSTEM_MESSAGE)
    if len(plain) < len(head) + len(tail):
        return None
    if not plain.startswith(head) or not plain.endswith(tail):
        return None
    return plain[len(head) : len(plain) - len(tail)]


def _always(shipped: Shown, frame: set[str]) -> dict[str, str]:
    """The words around a system message that nobody wrote, such as a date line, under
    ALWAYS; nothing without any.
    """
    asked = shipped["user, system"].text or ""
    before, found, behind = asked.partition(SYSTEM_MESSAGE)
    if not found:
        return {}
    texts = [words(before, frame), words(behind.partition(QUESTION)[0], frame)]
    text = "\n".join(filter(None, texts))
    return {ALWAYS: text} if text else {}
