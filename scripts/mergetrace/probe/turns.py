"""Tells a turn's own frame (tokens, role headers, the opened answer) from the words of a
rendered conversation.
"""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

FRAME_WORDS = 5
"""A line of more words is no role header: "GPT4 Correct User:" has three, "Here are my
reasoning steps:" five.
"""

_MARKUP = re.compile(r"\[gMASK\]sop|<+[^<>\s]{1,60}>+|\[[^\[\]\s]{1,60}\]")
"""Tokens: <|im_start|>, <<SYS>>, </s>, [INST]."""

_ROLES = r"(?:system|user|assistant|model|developer|human|instruction|response)"
_ROLE = re.compile(rf"\b{_ROLES}\b", re.IGNORECASE)
_HEADER = re.compile(rf"(?:\W*\b{_ROLES}\b)+\W*", re.IGNORECASE)
_BEGINNING = re.compile(
    r"(?:<s>|\[gMASK\]|<sop>|<[^<>]{0,3}(?:bos|begin.?of.?(?:text|sentence)|start.?of.?text|endoftext)[^<>]{0,9}>)+",
    re.IGNORECASE,
)
_LETTER = re.compile(r"[^\W\d_]")
# Who speaks, or is spoken to, and then a name: a capital, or a script that has none.
_NAME = r"[\"'“«*_ ]*(?:[A-ZÀ-ÖØ-Þ]|[^\W\d_a-zA-ZÀ-ÿ])"
_IDENTITY = re.compile(
    r"(?:(?i:\b(?:you are|you're|your name is|i am|i'm|my name is|this is|call"
    r" yourself|act as|named|called"
    r"|(?:created|developed|made|built|trained|designed|released|owned) (?:by|at)"
    r"|(?:você|voce) (?:é|e)|(?:seu|meu) nome (?:é|e)|(?:eu"
    r" )?sou|chamad[oa]|(?:criad|desenvolvid|treinad|feit)[oa] (?:por|pel[oa]s?)"
    r"|eres|soy|(?:tu|mi) nombre"
    r" es|llamad[oa]|(?:cread|desarrollad|entrenad|hech)[oa] por"
    r"|(?:vous êtes|tu es|je suis|du bist|sie sind|ich bin))\b)"
    rf"(?:\s+(?i:the|an?|o|a|um|uma|el|la|un|una|le|der|die|das|ein|eine))?\s+{_NAME})"
    r"|(?:你是|我是|你叫|我叫|由.{1,20}(?:开发|创造|训练|研发)|あなたは|私は|당신은|저는|[Тт]ы\s|[Яя]\s)\s*[^\W\d_]"
)


def words(text: str, frame: Iterable[str] = ()) -> str:
    """`text` without markup, role headers and the lines of `frame` (see `headers`);
    empty if no other words are in it.
    """
    known = set(frame)
    segments = [
        _trimmed(segment.splitlines(), known) for segment in _MARKUP.split(text)
    ]
    return "\n".join(segment for segment in segments if _LETTER.search(segment))


def headers(first: str, *others: str) -> set[str]:
    """The role headers that open turns in every one of the texts, and the same headers
    with the system's role in place of another, as `words` compares them.

    They are short lines that state no identity.
    """
    repeated = _header_lines(first)
    for text in others:
        repeated &= _header_lines(text)
    system = {
        _ROLE.sub(role, line)
        for line in repeated
        for role in ("System", "system", "SYSTEM")
    }
    return repeated | system


def _header_lines(text: str) -> set[str]:
    """The lines of a text that may be role headers, as they are compared."""
    return {
        _key(line)
        for segment in _MARKUP.split(text)
        for line in segment.splitlines()
        if _LETTER.search(line) and is_header(line.strip())
    }


def is_header(line: str) -> bool:
    """Whether a line that the template prints in every turn may be the turn's own:
    short, and no identity is stated in it.
    """
    return len(line.split()) <= FRAME_WORDS and not states_identity(line)


def is_markup(text: str) -> bool:
    """Whether no letter stands outside the tokens of `text`."""
    return not _LETTER.search(_MARKUP.sub("", text))


def states_identity(text: str) -> bool:
    """Whether somebody is told, or tells, by name who they are or who made them, in the
    four languages of the probe and some others.
    """
    return bool(_IDENTITY.search(text))


class Bare(NamedTuple):
    """What a template prints in plain conversations; '' where one does not render."""

    several: str
    """A question, an answer, and the next question."""
    answered: str
    """What stands behind an answer where no question follows."""
    unopened: str
    """What stands behind a question where no answer is opened."""
    asked: str
    """What stands between a system message and a question."""


def openings(
    bare: Bare, before: str, answer: str, next_question: str, bos: str
) -> Iterator[str]:
    """How a user's turn may open, the likeliest first.

    before: what stands before the first question. answer, next_question: the messages
    of `bare.several`. bos: the token that begins a conversation.
    """
    between, found, _ = bare.several.partition(answer)[2].partition(next_question)
    if not found:
        between = bare.asked
    first_tokens = (_first_token(bare.answered), _first_token(bare.unopened))
    closing = {token for token in first_tokens if token and between.startswith(token)}
    for end in (bare.answered, bare.unopened):
        if end and between.startswith(end):
            yield from _usable(between.removeprefix(end), set())
    first = _first_token(before.removeprefix(bos))
    if first and first in between:
        yield from _usable(between[between.rindex(first) :], closing)
    common = _common_end(before, between)
    for token in _MARKUP.finditer(common):
        yield from _usable(common[token.start() :], closing)
    yield from _usable(between, closing)
    yield from _usable(common, closing)


def beginning(text: str, bos: str) -> str:
    """The tokens at the beginning of `text` that begin a conversation and no turn,
    known by their names where `bos` is none of them.
    """
    if bos and text.startswith(bos):
        return bos
    found = _BEGINNING.match(text)
    return found.group() if found else ""


def _usable(opening: str, closing: set[str]) -> Iterator[str]:
    """An opening without the line breaks that join it to the turn before, as it is, and
    without any such space; nothing where it begins with a token that closes a turn.
    """
    bare = opening.lstrip()
    if bare and not bare.startswith(tuple(closing)):
        yield from dict.fromkeys((opening.lstrip("\n"), opening, bare))


def _first_token(text: str) -> str:
    """The token that `text` begins with."""
    found = _MARKUP.match(text.lstrip())
    return found.group() if found else ""


def _common_end(one: str, other: str) -> str:
    """What both texts end with."""
    size = 0
    while size < min(len(one), len(other)) and one[-1 - size] == other[-1 - size]:
        size += 1
    return one[len(one) - size :]


def _key(line: str) -> str:
    """A line as it is compared: turns may be numbered."""
    return re.sub(r"\d+", "0", line.strip())


def _trimmed(lines: list[str], known: set[str]) -> str:
    """The lines of a segment between two tokens, without those of the frame at its
    ends.
    """
    while lines and _is_frame(lines[0], known):
        lines = lines[1:]
    while lines and _is_frame(lines[-1], known):
        lines = lines[:-1]
    text = "\n".join(lines).strip()
    return re.sub(rf"^{_ROLES}\b\s*:\s*", "", text, flags=re.IGNORECASE)


def _is_frame(line: str, known: set[str]) -> bool:
    """Whether a line is a turn's own: no letters, a role's name, or a known header."""
    if not _LETTER.search(line) or _HEADER.fullmatch(line):
        return True
    return _key(line) in known
