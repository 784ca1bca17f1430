"""Texts in a chat template's source that state an identity and that no injected text
accounts for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mergetrace.probe.identity import mentions
from mergetrace.probe.jinja_child import GAP, Rendered
from mergetrace.probe.jinja_sandbox import Source
from mergetrace.probe.turns import states_identity, words

MOST = 50  # texts told of one template
MAX_TEXT = 1_000  # characters of one


def unaccounted(
    source: Source,
    rendered: Mapping[str, Rendered],
    injected: Sequence[Mapping[str, Any]],
    spellings: Sequence[str],
) -> list[dict[str, Any]] | None:
    """Lines of the template's texts that state an identity and stand in no injected
    text: {text, line, printed}.

    printed: the name of a conversation that shows it, None where none does. spellings:
    of names that count as identities, beside whatever reads "You are Name". None where
    the source could not be looked through to its end and nothing was found.
    """
    told = [item["text"] for item in injected]
    outputs = {name: each.text for name, each in rendered.items() if each.text}
    found: dict[str, dict[str, Any]] = {}
    for first, text in source.texts:
        for number, line in enumerate(text.splitlines(), start=first):
            plain = words(line)[:MAX_TEXT]
            if plain in found or not (
                states_identity(plain) or mentions(plain, spellings).given
            ):
                continue
            if any(_stands(plain, each) for each in told):
                continue
            printed = next(
                (name for name, output in outputs.items() if _stands(plain, output)),
                None,
            )
            found[plain] = {"text": plain, "line": number, "printed": printed}
    longest = [
        text
        for text in found
        if not any(text != other and text in other for other in found)
    ]
    if not longest and not source.whole:
        return None
    return [found[text] for text in longest][:MOST]


def _stands(text: str, output: str) -> bool:
    """Whether what is constant of `text` stands in `output`, piece by piece."""
    place = 0
    for piece in [
        piece.strip() for line in text.splitlines() for piece in line.split(GAP)
    ]:
        place = output.find(piece, place)
        if place < 0:
            return False
        place += len(piece)
    return True
