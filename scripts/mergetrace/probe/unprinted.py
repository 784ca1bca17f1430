"""Texts in a chat template's source that state an identity and that no injected text
accounts for.
"""

from collections.abc import Sequence

from mergetrace.probe.conversations import Shown
from mergetrace.probe.identity import mentions
from mergetrace.probe.jinja_child import GAP
from mergetrace.probe.jinja_sandbox import Source
from mergetrace.probe.template_records import Injected, Unprinted
from mergetrace.probe.turns import states_identity, words

MOST_UNPRINTED = 50
"""Texts told of one template."""

MOST_LINE_CHARACTERS = 1_000
"""Characters told of one text."""


def unaccounted(
    source: Source,
    rendered: Shown,
    injected: Sequence[Injected],
    spellings: Sequence[str],
) -> list[Unprinted] | None:
    """Find lines of the template's texts that state an identity and stand in no injected
    text.

    spellings: of names that count as identities, beside whatever reads "You are Name".
    None where the source could not be looked through to its end and nothing was found.
    """
    known = [item["text"] for item in injected]
    outputs = {name: each.text for name, each in rendered.items() if each.text}
    found: dict[str, Unprinted] = {}
    for first_line, text in source.texts:
        for number, line in enumerate(text.splitlines(), start=first_line):
            plain = words(line)[:MOST_LINE_CHARACTERS]
            if plain in found or not _names_somebody(plain, spellings):
                continue
            if any(_stands(plain, each) for each in known):
                continue
            showing = [name for name, each in outputs.items() if _stands(plain, each)]
            printed = showing[0] if showing else None
            found[plain] = {"text": plain, "line": number, "printed": printed}
    longest = [text for text in found if not _is_part(text, found)]
    if not longest and not source.whole:
        return None
    return [found[text] for text in longest][:MOST_UNPRINTED]


def _names_somebody(text: str, spellings: Sequence[str]) -> bool:
    return states_identity(text) or bool(mentions(text, spellings).given)


def _is_part(text: str, others: dict[str, Unprinted]) -> bool:
    """Whether another of the texts holds this one."""
    return any(text != other and text in other for other in others)


def _stands(text: str, output: str) -> bool:
    """Whether what is constant of `text` stands in `output`, piece by piece."""
    place = 0
    for line in text.splitlines():
        for piece in line.split(GAP):
            place = output.find(piece.strip(), place)
            if place < 0:
                return False
            place += len(piece.strip())
    return True
