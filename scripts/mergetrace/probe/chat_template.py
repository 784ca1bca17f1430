"""What a chat template says that no message asked for, and the same template without
it.

The method is to render and compare, not to read the template's source: a conversation
is rendered with and without a system message, and what stands where the system message
would stand is what the template put there by itself. The source is read for what no
conversation printed (see `unprinted`).
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from mergetrace.probe import triggers
from mergetrace.probe.conversations import (
    AGAIN,
    ANSWER,
    BARE,
    CONVERSATIONS,
    ELSEWHERE,
    SWITCHES,
    SYSTEM,
    USER,
    Chats,
    Given,
    conversation,
    demand,
    render_all,
    render_one,
)
from mergetrace.probe.jinja_child import Rendered
from mergetrace.probe.stripping import Cut, cut, edits, joined, literals
from mergetrace.probe.turns import (
    beginning,
    headers,
    is_header,
    is_markup,
    openings,
    words,
)
from mergetrace.probe.unprinted import unaccounted

AROUND = 80  # characters shown on either side of an injected text
UNPRINTED = "the template does not print the user's message as it was given"
INSTEAD = (
    "there is no stripped form to ask; ask under a system message of your own instead"
    " (condition `neutral`)"
)
# condition: (the conversation without the text's own message, the one with a system
# message, what the caller gives)
_AGAINST: dict[str, tuple[str, str, dict[str, Any]]] = {
    "no system message": ("user", "user, system", {}),
    "empty system message": ("empty system message", "user, system", {}),
    **{
        f"no system message, {name}": (
            f"no system message, {name}",
            f"{name}, system",
            more,
        )
        for name, more in SWITCHES.items()
    },
}
_SHOWN_BY = {
    "no system message": "user",
    "always": "user, system",
    "behind the message": "user",
}  # the conversation that shows its text


class _Turn(NamedTuple):
    """How the first turn is built: what is to be cut out of it, in which conversations
    `words` of it is the injected text.
    """

    cuts: list[Cut]
    head: str
    tail: str
    unclear: str | None


def analyse(
    source: str,
    special_tokens: dict[str, str],
    prompts: Sequence[str] = (),
    spellings: Sequence[str] = (),
) -> dict[str, Any]:
    """What the template `source` injects, and the template without it.

    prompts: user messages to try beside the built-in ones, since a template may speak
    only after certain words. spellings: of names that count as identities in its
    source.

    Returns
    - `injected`: list of {condition, text, where, source_lines}, see `_placed`
    - `stripped`: the template without it, or None
    - `identical_elsewhere`: whether every conversation that has a system message
      renders the same in both; None where nothing is compared
    - `turn_end`: what follows an answer; None if unknown
    - `variables`: what it must be given beside the messages, empty; `parts`: whether it
      takes messages as lists of parts alone
    - `unprinted`: see mergetrace.probe.unprinted; None where the source cannot be
      looked through
    - `reason`: why something is missing, or None.

    A text c counts as injected without a system message when `render([system: c, user])
    == render([user])`.
    """
    given = Given(special_tokens)
    shipped, read = render_one(source, given, CONVERSATIONS)
    variables, parts = demand(source, special_tokens, shipped)
    if variables or parts:
        given = Given(special_tokens | variables, parts)
        (shipped,) = render_all([source], given, CONVERSATIONS)
    frame = _frame(shipped)
    trials = _trials(shipped)
    messages = triggers.messages(prompts, read.compared)
    (tried,) = (
        render_all([source], given, trials | triggers.chats(messages))
        if shipped["user"].text
        else [{}]
    )
    proven = {
        condition: _text_of(trials[condition])
        for condition in trials
        if tried[condition] == shipped[_AGAINST[condition][0]]
    }
    turn = _first_turn(shipped, frame, special_tokens.get("bos_token", ""))
    found = triggers.found(messages if tried else [], shipped, tried, frame)
    injected = [
        _placed(condition, text, source, _shown(condition, shipped))
        for condition, text in _told(shipped, frame, proven, turn).items()
    ]
    injected += [
        _placed(item.condition, item.text, source, item.shown) for item in found.items
    ]
    result = {
        "stripped": None,
        "injected": injected,
        "identical_elsewhere": None,
        "turn_end": _after(shipped["answered"], ANSWER),
    }
    result |= {
        "variables": variables,
        "parts": parts,
        "unprinted": unaccounted(read, shipped | tried, injected, spellings),
        "reason": turn.unclear,
    }
    if turn.unclear:
        return result
    texts = [
        text for text in (proven.get("no system message", turn.head), turn.tail) if text
    ]
    cuts = _complete(turn.cuts + found.cuts, texts, shipped)
    if cuts:
        return result | _stripped(source, given, shipped, cuts, texts, found)
    if "no system message" not in proven:
        return result | {"stripped": source, "identical_elsewhere": True}
    why = (
        "the injected text does not stand before the first message alone: it cannot be"
        " told from the turn's own frame"
    )
    return result | {"reason": f"{why}; {INSTEAD}"}


def _told(
    shipped: dict[str, Rendered], frame: set[str], proven: dict[str, str], turn: _Turn
) -> dict[str, str]:
    """condition: text, of all that the usual conversations show."""
    told = _always(shipped, frame) | proven
    if (
        turn.head
        and "no system message" not in proven
        and turn.head not in told.values()
    ):
        told["no system message"] = turn.head
    if turn.tail and turn.tail not in told.values():
        told["behind the message"] = turn.tail
    return told


def _stripped(
    source: str,
    given: Given,
    shipped: dict[str, Rendered],
    cuts: list[Cut],
    texts: list[str],
    found: "triggers.Found",
) -> dict[str, Any]:
    """`stripped`, `identical_elsewhere` and `reason`: the first edit that prints what
    is left of every bare conversation and else the same.
    """
    bare = {name: cut(shipped[name].text, cuts) for name in BARE if shipped[name].text}
    bare |= {name: cut(text, cuts) for name, text in found.unasked.items()}
    candidates = (
        []
        if any(_remain(texts, rest) for rest in bare.values())
        else list(edits(source, cuts, texts))
    )
    for edit, renders in zip(
        candidates,
        render_all(candidates, given, CONVERSATIONS | found.chats),
        strict=True,
    ):
        if all(renders[name].text == bare[name] for name in bare) and all(
            renders[name] == shipped[name] for name in ELSEWHERE
        ):
            return {"stripped": edit, "identical_elsewhere": True}
    why = (
        "no edit of the template removes the injected text and leaves other"
        f" conversations alone; {INSTEAD}"
    )
    return {"identical_elsewhere": False, "reason": why}


def _complete(
    cuts: list[Cut], texts: list[str], shipped: dict[str, Rendered]
) -> list[Cut]:
    """The cuts, and a cut for every line of the injected texts that a conversation
    prints once more elsewhere.
    """
    rests = [cut(shipped[name].text, cuts) for name in BARE if shipped[name].text]
    again = [
        line
        for text in texts
        for line in text.splitlines()
        if any(_remain([line], rest) for rest in rests)
    ]
    return cuts + [(line, True) for line in dict.fromkeys(again)] if cuts else cuts


def _remain(texts: list[str], rest: str) -> bool:
    """Whether a line of the injected texts, and none of a mere word or two, is still in
    what a conversation prints.
    """
    return any(
        line in rest
        for text in texts
        for line in text.splitlines()
        if not is_header(line)
    )


def _placed(
    condition: str, text: str, source: str, shown: str | None
) -> dict[str, Any]:
    """An injected text with its place in `shown`, a conversation that shows it.

    `where`: {start, end, of, before, after}, characters of that conversation and what
    stands around it. `source_lines`: the template's lines that hold the text literally;
    none where its code puts the text together.
    """
    shown = shown or ""
    first = text.splitlines()[0]
    last = text.splitlines()[-1]
    start = shown.find(first)
    end = shown.find(last, start + len(first) - len(last)) + len(last)
    where = {
        "start": start,
        "end": end,
        "of": len(shown),
        "before": shown[max(0, start - AROUND) : start],
        "after": shown[end : end + AROUND],
    }
    literal = [
        number
        for number, line in enumerate(source.splitlines(), start=1)
        if any(spelling in line for spelling in literals(first))
    ]
    return {
        "condition": condition,
        "text": text,
        "where": where if start >= 0 else None,
        "source_lines": literal,
    }


def _shown(condition: str, shipped: dict[str, Rendered]) -> str | None:
    return shipped[_SHOWN_BY.get(condition, condition)].text


def _trials(shipped: dict[str, Rendered]) -> Chats:
    """Conversations with a system message of the text that stands where it would stand:
    if such a one renders as the one that has none does, by the condition's name, the
    text is injected there.
    """
    trials: Chats = {}
    for condition, (plain, asked, more) in _AGAINST.items():
        if plain != "user" and shipped[plain] == shipped["user"]:
            continue  # many templates know no such switch
        text = _candidate(shipped[plain].text, shipped[asked].text)
        if text and text.strip():
            trials[condition] = (conversation(USER, system=text), True, more)
    return trials


def _text_of(trial: tuple[list[dict[str, Any]], bool, dict[str, Any]]) -> str:
    return trial[0][0]["content"].strip()


def _candidate(plain: str | None, asked: str | None) -> str | None:
    """What stands in `plain` where `asked` has the system message; None if the two have
    different frames.
    """
    if plain is None or asked is None or SYSTEM not in asked:
        return None
    head, _, tail = asked.partition(SYSTEM)
    fits = (
        len(plain) >= len(head) + len(tail)
        and plain.startswith(head)
        and plain.endswith(tail)
    )
    return plain[len(head) : len(plain) - len(tail)] if fits else None


def _frame(shipped: dict[str, Rendered]) -> set[str]:
    """The role headers of users' turns: what stands before the first question and
    before the next.
    """
    between = _after(shipped["several"], ANSWER)
    first = (shipped["user"].text or shipped["user, system"].text or "").partition(
        USER
    )[0]
    return headers(first, between.partition(AGAIN)[0]) if between else set()


def _always(shipped: dict[str, Rendered], frame: set[str]) -> dict[str, str]:
    """{"always": text} for words around a system message that nobody wrote, such as a
    date line.
    """
    asked = shipped["user, system"].text or ""
    before, found, after = asked.partition(SYSTEM)
    texts = (
        [words(before, frame), words(after.partition(USER)[0], frame)] if found else []
    )
    return {"always": "\n".join(filter(None, texts))} if any(texts) else {}


def _first_turn(shipped: dict[str, Rendered], frame: set[str], bos: str) -> _Turn:
    """What a template puts before and behind the first user message beyond what it puts
    before and behind a later one.
    """
    first = shipped["user"].text
    if first is None:
        return _Turn([], "", "", _refused(shipped))
    if USER not in first:
        return _Turn(
            [], "", "", f"{UNPRINTED}, so what it adds around it cannot be told"
        )
    before, _, behind = first.partition(USER)
    tail, cuts = _behind(shipped, behind)
    repeated = [
        line
        for line in words(before, frame).splitlines()
        if line in words(_later(shipped), frame).splitlines()
    ]
    if not words(before, frame):
        return _Turn(cuts, "", tail, None)
    block = _block(shipped, frame, before, bos)
    if block is None:
        return _Turn(
            [],
            words(before, frame),
            tail,
            f"the template opens its first turn unlike the later ones; {INSTEAD}",
        )
    head = words(block, frame) or "\n".join(repeated)
    every = [(joined(line, before), True) for line in repeated if line not in block]
    return _Turn(
        ([(block, False)] if words(block, frame) else []) + every + cuts,
        head,
        tail,
        None,
    )


def _block(
    shipped: dict[str, Rendered], frame: set[str], before: str, bos: str
) -> str | None:
    """The part of `before`, which stands before the first message, that no turn opens
    with; None if that cannot be told.
    """
    texts = {name: shipped[name].text or "" for name in ("several",)}
    texts |= {
        "answered": _after(shipped["answered"], ANSWER) or "",
        "unopened": _after(shipped["unopened"], USER) or "",
    }
    texts["asked"] = (
        (shipped["user, system"].text or "").partition(SYSTEM)[2].partition(USER)[0]
    )
    for opening in openings(texts, before, ANSWER, AGAIN, bos):
        if before.endswith(opening):  # the block is a turn of its own: ChatML, Llama 3
            extra = before.removesuffix(opening)
            heading = opening.replace("user", "system")
            lead = (
                extra.partition(heading)[0]
                if heading in extra and heading != opening
                else ""
            )
            return extra.removeprefix(
                lead if lead and is_markup(lead) else beginning(extra, bos)
            )
        lead, found, extra = before.partition(
            opening
        )  # the block is inside the user's turn: Llama 2, Mistral
        if found and not words(lead, frame):
            return extra
    return None


def _behind(shipped: dict[str, Rendered], behind: str) -> tuple[str, list[Cut]]:
    """The words behind the user's message that are none of the frame, and what is to be
    cut for them.

    The frame is what stands between a question and its answer. A short line that opens
    the answer is frame too, unless it states an identity: "Here are my reasoning
    steps:".
    """
    middle = (shipped["several"].text or "").partition(USER)[2].partition(ANSWER)[0]
    usual = {line for line in words(middle).splitlines() if is_header(line)}
    lines = [line for line in words(behind).splitlines() if line not in usual]
    told = [number for number, line in enumerate(lines) if not is_header(line)]
    if not told:
        return "", []
    later = (shipped["several"].text or "").rpartition(AGAIN)[2]
    for block in _blocks(behind, middle):
        text = words(block)
        if (
            text
            and not any(
                line in behind.replace(block, "", 1) for line in text.splitlines()
            )
            and block in (later or behind)
        ):
            return text, [(block, True)]
    new = lines[told[0] : told[-1] + 1]
    return "\n".join(new), [(joined(line, behind), True) for line in new]


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


def _later(shipped: dict[str, Rendered]) -> str:
    return (_after(shipped["several"], ANSWER) or "").partition(AGAIN)[0]


def _refused(shipped: dict[str, Rendered]) -> str:
    """Why a question alone does not render, and what renders instead."""
    if shipped["user, system"].error:
        return shipped["user"].error
    return (
        f"{shipped['user'].error}; with a system message it renders: ask under one"
        " (condition `neutral`)"
    )


def _after(rendered: Rendered, message: str) -> str | None:
    _, found, rest = (rendered.text or "").partition(message)
    return rest if found else None
