"""Who a model says it is: the matching of names in the answers, the counts with their
intervals.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mergetrace.errors import AuditError
from mergetrace.probe.attributions import attributed
from mergetrace.probe.denials import denied

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
# Scripts that put no space between words: any neighbour is a boundary there. Katakana
# is left out: リオ is no part of マリオ.
_UNSPACED = {"CJK", "HIRAGANA", "HANGUL", "BOPOMOFO", "THAI", "LAO", "KHMER", "MYANMAR"}


class Mentions(NamedTuple):
    """The spellings that an answer gives, those it only denies ("I am not Qwen"), and
    those it only has of others ('he said "I am Qwen"').
    """

    given: list[str]
    denied: list[str]
    attributed: list[str]


def load_identities(text_or_path: str) -> dict[str, list[str]]:
    """Identities with their spellings, `{"Nex": ["Nex", "Nex-AGI"]}`, from JSON text or
    a JSON file. Raises AuditError.
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
    for name, spellings in identities.items():
        if (
            not isinstance(spellings, list)
            or not spellings
            or not all(isinstance(each, str) for each in spellings)
        ):
            raise AuditError(
                f"{place}: identity {name!r} needs a list of one or more spellings"
            )
        for each in spellings:
            if not any(char.isalnum() for char in fold(each)):
                raise AuditError(
                    f"{place}: identity {name!r} has the spelling {each!r}, which holds"
                    " no letter or digit to look for"
                )
    return identities


def fold(text: str) -> str:
    """`text` as it is compared: case, Latin accents, width, kinds of dash, apostrophe
    and white space do not count; invisible characters go.
    """
    decomposed = unicodedata.normalize("NFKD", text)
    kept = []
    for char in decomposed:
        category = unicodedata.category(char)
        if category == "Pd":
            kept.append("-")
        elif char in "‘’":
            kept.append("'")
        elif category != "Cf" and not "\u0300" <= char <= "\u036f":
            kept.append(char)
    return " ".join(unicodedata.normalize("NFC", "".join(kept)).casefold().split())


def mentions(answer: str, spellings: Iterable[str]) -> Mentions:
    """Those of `spellings` that stand in `answer` as whole words, in their order.

    A word ends where the script changes, between letter and digit (Qwen3 names Qwen),
    at anything that is neither, and anywhere in scripts without spaces. Spellings may
    overlap: "Nex-AGI" holds "Nex" too.
    """
    found = Mentions([], [], [])
    folded = fold(answer)
    for spelling in spellings:
        kinds = {kind for _, _, kind in _standings(folded, fold(spelling))}
        for kind in ("given", "denied", "attributed"):  # given once is given
            if kind in kinds:
                getattr(found, kind).append(spelling)
                break
    return found


def words_around(answer: str, spelling: str, reach: int = 40) -> list[tuple[str, str]]:
    """(given, denied or attributed; the words around it) of every place where
    `spelling` stands in `answer`, as it is compared.
    """
    folded = fold(answer)
    return [
        (kind, folded[max(0, start - reach) : end + reach])
        for start, end, kind in _standings(folded, fold(spelling))
    ]


def score(
    answers: Iterable[tuple[str, list[dict[str, Any]]]],
    identities: dict[str, list[str]],
) -> "pd.DataFrame":
    """Count, for every model and condition, the answers that name each identity.

    `answers` are (model, records of one file); a record has `condition` and either
    `answer` or, where the model could not be asked, `skipped` with the reason. A hit is
    an answer that gives any of the identity's spellings; `denied` and `attributed`
    count the answers that mention it only so. The reasoning of thinking models is no
    part of an answer. Columns: model, condition, identity, hits, n, share, ci95_low,
    ci95_high (NaN without answers), denied, attributed, reason.
    """
    import pandas as pd

    from mergetrace.probe.intervals import share95

    rows = []
    for model, records in answers:
        for condition in dict.fromkeys(record["condition"] for record in records):
            own = [record for record in records if record["condition"] == condition]
            told = [record for record in own if "answer" in record]
            reason = next(
                (record["skipped"] for record in own if "skipped" in record), None
            )
            for identity, spellings in identities.items():
                found = [mentions(record["answer"], spellings) for record in told]
                hit = [bool(each.given) for each in found]
                denying = sum(bool(each.denied and not each.given) for each in found)
                attributing = sum(
                    bool(each.attributed and not (each.given or each.denied))
                    for each in found
                )
                share = sum(hit) / len(hit) if hit else math.nan
                ends = share95(hit, [record.get("prompt") for record in told])
                rows.append(
                    (
                        model,
                        condition,
                        identity,
                        sum(hit),
                        len(hit),
                        share,
                        *ends,
                        denying,
                        attributing,
                        reason,
                    )
                )
    return pd.DataFrame(rows, columns=_COLUMNS)


def _standings(folded: str, word: str) -> Iterator[tuple[int, int, str]]:
    for start in _places(folded, word):
        end = start + len(word)
        kind = (
            "denied"
            if denied(folded, start, end)
            else "attributed"
            if attributed(folded, start)
            else "given"
        )
        yield start, end, kind


def _places(text: str, word: str) -> Iterator[int]:
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if not _joined(text[start - 1 : start], word[0]) and not _joined(
            word[-1], text[end : end + 1]
        ):
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
    return (
        "digit"
        if char.isnumeric() and not char.isalpha()
        else re.split("[ -]", unicodedata.name(char, "?"))[0]
    )
