"""Who a model says it is: the matching of names in the answers, the counts with their
intervals.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mergetrace.errors import AuditError
from mergetrace.probe.attributions import attributed
from mergetrace.probe.denials import denied
from mergetrace.probe.records import Answers, Identities, Record

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = [
    "model",
    "condition",
    "identity",
    "hits",
    "n",
    "share",
    "ci95_low",
    "ci95_high",
    "denied",
    "attributed",
    "reason",
]
_UNSPACED = {"CJK", "HIRAGANA", "HANGUL", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR"}
"""Scripts that put no space between words: any neighbour is a boundary there. Katakana
is left out: リオ is no part of マリオ.
"""

KINDS = ("given", "denied", "attributed")
"""How a name may be mentioned. A name that is given anywhere counts as given, one that
is denied anywhere else as denied.
"""


class Mentions(NamedTuple):
    """The spellings of one identity that an answer mentions."""

    given: list[str]
    """The answer gives them as its own."""
    denied: list[str]
    """It only denies them: "I am not Qwen"."""
    attributed: list[str]
    """It only puts them into others' mouths, or gives them to others: 'he said "I am
    Qwen"'."""


def load_identities(text_or_path: str) -> dict[str, list[str]]:
    """Read identities with their spellings, `{"Nex": ["Nex", "Nex-AGI"]}`, from JSON
    text or a JSON file. Raises AuditError naming the identity that is no such list.
    """
    text = text_or_path
    place = "identities"
    if not text.lstrip().startswith("{"):
        place = text_or_path
        if not Path(place).is_file():
            raise AuditError(
                f"{place}: no such file; identities are a JSON object or a file"
                " with one"
            )
        text = Path(place).read_text(encoding="utf-8", errors="replace")
    try:
        identities = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AuditError(f"{place}: not JSON ({error})") from None
    if not isinstance(identities, dict):
        raise AuditError(
            f"{place}: an object of spellings per identity is needed, found a"
            f" {type(identities).__name__}"
        )
    return {
        name: _checked(spellings, f"{place}: identity {name!r}")
        for name, spellings in identities.items()
    }


def _checked(spellings: object, place: str) -> list[str]:
    """`spellings` where they are texts that can be looked for; else AuditError."""
    if not isinstance(spellings, list) or not spellings:
        raise AuditError(f"{place} needs a list of one or more spellings")
    for spelling in spellings:
        if not isinstance(spelling, str):
            raise AuditError(f"{place} needs a list of one or more spellings")
        if not any(char.isalnum() for char in fold(spelling)):
            raise AuditError(
                f"{place} has the spelling {spelling!r}, which holds no letter or digit"
                " to look for"
            )
    return spellings


def fold(text: str) -> str:
    """`text` as it is compared: case, Latin accents, width, kinds of dash, apostrophe
    and white space do not count; invisible characters go.
    """
    chars = []
    for char in unicodedata.normalize("NFKD", text):
        category = unicodedata.category(char)
        if category == "Pd":
            chars.append("-")
        elif char in "‘’":
            chars.append("'")
        elif category != "Cf" and not "\u0300" <= char <= "\u036f":
            chars.append(char)
    composed = unicodedata.normalize("NFC", "".join(chars))
    return " ".join(composed.casefold().split())


def mentions(answer: str, spellings: Iterable[str]) -> Mentions:
    """Find those of `spellings` that stand in `answer` as whole words, in their order.

    A word ends where the script changes, between letter and digit (Qwen3 names Qwen),
    at anything that is neither, and anywhere in scripts without spaces. Spellings may
    overlap: "Nex-AGI" holds "Nex" too.
    """
    by_kind: dict[str, list[str]] = {kind: [] for kind in KINDS}
    folded = fold(answer)
    for spelling in spellings:
        kinds = {kind for _, _, kind in _mentions_of(folded, fold(spelling))}
        strongest = next((kind for kind in KINDS if kind in kinds), None)
        if strongest is not None:
            by_kind[strongest].append(spelling)
    return Mentions(**by_kind)


def words_around(answer: str, spelling: str, reach: int = 40) -> list[tuple[str, str]]:
    """Show every place where `spelling` stands in `answer`, as it is compared: (kind of
    KINDS, the words around it, `reach` characters on either side).
    """
    folded = fold(answer)
    return [
        (kind, folded[max(0, start - reach) : end + reach])
        for start, end, kind in _mentions_of(folded, fold(spelling))
    ]


def score(answers: Answers, identities: Identities) -> "pd.DataFrame":
    """Count, for every model and condition, the answers that name each identity.

    A hit is an answer that gives any of the identity's spellings; `denied` and
    `attributed` count the answers that mention it in that way alone. The reasoning of
    thinking models is no part of an answer. Columns: model, condition, identity, hits,
    n, share, ci95_low, ci95_high (NaN without answers), denied, attributed, and reason,
    why the model was not asked.
    """
    import pandas as pd

    rows = []
    for model, records in answers:
        for condition in dict.fromkeys(record["condition"] for record in records):
            asked = [record for record in records if record["condition"] == condition]
            reasons = [record["skipped"] for record in asked if "skipped" in record]
            for identity, spellings in identities.items():
                counts = _counts(asked, spellings)
                reason = reasons[0] if reasons else None
                rows.append((model, condition, identity, *counts, reason))
    return pd.DataFrame(rows, columns=_COLUMNS)


def _counts(
    records: Sequence[Record], spellings: Sequence[str]
) -> tuple[int, int, float, float, float, int, int]:
    """(hits, answers, share, the two ends of its interval, denials, attributions)."""
    from mergetrace.probe.intervals import share95

    answered = [record for record in records if "answer" in record]
    found = [mentions(record["answer"], spellings) for record in answered]
    hits = [bool(each.given) for each in found]
    denials = [bool(each.denied) and not each.given for each in found]
    attributions = [
        bool(each.attributed) and not each.given and not each.denied for each in found
    ]
    share = sum(hits) / len(hits) if hits else math.nan
    low, high = share95(hits, [record.get("prompt") for record in answered])
    return sum(hits), len(hits), share, low, high, sum(denials), sum(attributions)


def _mentions_of(folded: str, word: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, kind of KINDS) of every place where `word` stands."""
    for start in _places(folded, word):
        end = start + len(word)
        if denied(folded, start, end):
            yield start, end, "denied"
        elif attributed(folded, start):
            yield start, end, "attributed"
        else:
            yield start, end, "given"


def _places(text: str, word: str) -> Iterator[int]:
    """Where `word` begins in `text` as a whole word."""
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        joined_before = _joined(text[start - 1 : start], word[0])
        joined_behind = _joined(word[-1], text[end : end + 1])
        if not joined_before and not joined_behind:
            yield start
        start = text.find(word, start + 1)


def _joined(left: str, right: str) -> bool:
    """Whether two neighbouring characters belong to one word; an end of the text ("")
    joins nothing.
    """
    script = _script(left)
    return script is not None and script == _script(right) and script not in _UNSPACED


def _script(char: str) -> str | None:
    """The script of a letter as its Unicode name begins (LATIN, CJK, KATAKANA), "digit"
    for numbers, None for anything else.
    """
    if not char or not char.isalnum():
        return None
    if char.isnumeric() and not char.isalpha():
        return "digit"
    return re.split("[ -]", unicodedata.name(char, "?"))[0]
