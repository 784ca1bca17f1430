"""What in a rendered conversation is a turn's own frame (tokens, role headers, the
opened answer), and what is words.
"""

import re
from collections.abc import Iterable, Iterator

# a line of more words is no role header: "GPT4 Correct User:" has three, "Here are my
# reasoning steps:" five
FRAME_WORDS = 5
_MARKUP = re.compile(
    r"\[gMASK\]sop|<+[^<>\s]{1,60}>+|\[[^\[\]\s]{1,60}\]"
)  # <|im_start|>, <<SYS>>, </s>, [INST]
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


def headers(*texts: str) -> set[str]:
    """The role headers that open turns in every one of `texts`, and the like of a
    system turn, as `words` compares them.

    They are short lines that state no identity.
    """
    repeated = (
        set.intersection(
            *(
                {_key(line) for line in _lines(text) if is_header(line)}
                for text in texts
            )
        )
        if texts
        else set()
    )
    return repeated | {
        _ROLE.sub(role, line)
        for line in repeated
        for role in ("System", "system", "SYSTEM")
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


def openings(
    texts: dict[str, str], before: str, answer: str, again: str, bos: str
) -> Iterator[str]:
    """How a user's turn may open, the likeliest first.

    texts: conversations by name, rendered: `several` (a question, `answer`, `again`),
    `answered`, `unopened` and `asked`, what stands behind the messages; '' where one
    does not render. before: what stands before the first question.
    """
    later = texts["several"].partition(answer)[2].partition(again)
    between = later[0] if later[1] else texts["asked"]
    answered = texts["answered"]
    unopened = texts["unopened"]
    closed = {
        token
        for token in (_first(answered), _first(unopened))
        if token and between.startswith(token)
    }
    for closing in (answered, unopened):
        if closing and between.startswith(closing):
            yield from _usable(between.removeprefix(closing), set())
    first = _first(before.removeprefix(bos))
    if first and first in between:
        yield from _usable(between[between.rindex(first) :], closed)
    common = _common_end(before, between)
    for place in [found.start() for found in _MARKUP.finditer(common)]:
        yield from _usable(common[place:], closed)
    yield from _usable(between, closed)
    yield from _usable(common, closed)


def beginning(text: str, bos: str) -> str:
    """The tokens at the beginning of `text` that begin a conversation and no turn,
    known by their names where `bos` is none of them.
    """
    if bos and text.startswith(bos):
        return bos
    found = _BEGINNING.match(text)
    return found.group() if found else ""


def _usable(opening: str, closed: set[str]) -> Iterator[str]:
    """An opening without the line breaks that join it to the turn before, as it is, and
    without any such space; none that closes a turn.
    """
    if opening.strip() and not any(
        opening.lstrip().startswith(token) for token in closed
    ):
        yield from dict.fromkeys((opening.lstrip("\n"), opening, opening.lstrip()))


def _first(text: str) -> str:
    """The token that `text` begins with."""
    found = _MARKUP.match(text.lstrip())
    return found.group() if found else ""


def _common_end(one: str, other: str) -> str:
    size = 0
    while size < min(len(one), len(other)) and one[-1 - size] == other[-1 - size]:
        size += 1
    return one[len(one) - size :]


def _lines(text: str) -> list[str]:
    return [
        line.strip()
        for segment in _MARKUP.split(text)
        for line in segment.splitlines()
        if _LETTER.search(line)
    ]


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
    return (
        not _LETTER.search(line) or bool(_HEADER.fullmatch(line)) or _key(line) in known
    )
