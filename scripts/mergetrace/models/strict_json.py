"""JSON from strangers: one reading or none, and bounded before a parser recurses into it."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from mergetrace.errors import AuditError

MAX_MARKS = 4_000_000  # quotes, and brackets: a tensor's entry has ten and four
MAX_PASSES = 8  # at least as many levels; a header or an index has three
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def parse_object(raw: bytes, file: str | Path) -> dict[str, Any]:
    """The JSON object in `raw`; `file` is its name for messages.

    AuditError unless it is UTF-8 and an object, with no key twice, no NaN, no lone surrogate, and nested moderately.
    """
    _check_nesting(raw, file)

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
            raise AuditError(f"{file}: the key {shown(repeated)} stands twice in one object of its JSON; get the file from its maker again")
        return entries

    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=unique, parse_constant=_refuse_constant)
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # fails on a lone surrogate
    except (ValueError, RecursionError) as error:
        raise AuditError(f"{file}: its JSON cannot be read ({error}); download it again") from None
    if not isinstance(value, dict):
        raise AuditError(f"{file}: its JSON is not an object; download it again")
    return value


def shown(text: str) -> str:
    """A stranger's text, fit for a message: quoted, control characters escaped, cut at 80 characters."""
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _check_nesting(raw: bytes, file: str | Path) -> None:
    """Refuse what is made of too many pieces or nested deeply, by its quotes and its brackets outside strings alone."""
    unescaped = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    quotes = unescaped.count(b'"')
    brackets = b"" if quotes > MAX_MARKS else re.sub(rb'"[^"]*"', b"", unescaped).translate(None, _ALL_BUT_BRACKETS)
    if max(quotes, len(brackets)) > MAX_MARKS:
        raise AuditError(f"{file}: its JSON has more than {MAX_MARKS} strings or brackets, more than any model needs; it is not read")
    for _ in range(MAX_PASSES):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:
        raise AuditError(f"{file}: its JSON is nested too deeply, or its brackets do not match; download it again")
