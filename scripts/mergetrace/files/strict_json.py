"""JSON from strangers: bounded before a parser recurses into it. A header has one
reading or none; a file of facts is read as loaders read it.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn

from mergetrace.errors import ModelFileError

MAX_MARKS = 4_000_000  # quotes, and brackets: a tensor's entry has ten and four
MAX_PASSES = 8  # at least as many levels; a header has three
MAX_LEVELS = 64  # of a file of facts; configurations have five or six
_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def parse_object(raw: bytes, file: str | Path, cure: str) -> dict[str, Any]:
    """The JSON object in `raw`; `file` is its name for messages, `cure` what helps
    where it is broken.

    ModelFileError unless it is UTF-8 and an object, with no key twice, no NaN, no lone
    surrogate, and nested moderately.
    """
    fault = _overgrown(raw, MAX_PASSES)
    if fault is not None:
        raise ModelFileError(f"{file}: its JSON {fault}")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        entries = dict(pairs)
        if len(entries) < len(pairs):
            repeated, _ = Counter(key for key, _ in pairs).most_common(1)[0]
            raise ModelFileError(
                f"{file}: the key {shown(repeated)} stands twice in one object of its"
                " JSON, so that it can be read in two ways"
            )
        return entries

    try:
        value = json.loads(
            raw.decode("utf-8"),
            object_pairs_hook=unique,
            parse_constant=_refuse_constant,
        )
        if b"\\u" in raw:
            # fails on a lone surrogate
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError) as error:
        raise ModelFileError(
            f"{file}: its JSON cannot be read ({error}); {cure}"
        ) from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{file}: its JSON is not an object")
    return value


def lenient(raw: bytes) -> Any:
    """The JSON value in `raw` as Python's own reader takes it: NaN and Infinity are
    numbers, and the last of two equal keys counts.

    A byte order mark is skipped; a byte that is not UTF-8 and a lone surrogate come out
    as U+FFFD. ValueError, with the reason, where it is not JSON, is nested more than
    MAX_LEVELS deep or has more pieces than any model needs.
    """
    fault = _overgrown(raw, MAX_LEVELS)
    if fault is not None:
        raise ValueError(f"its JSON {fault}")
    try:
        value = json.loads(raw.decode("utf-8-sig", errors="replace"))
        # A lone surrogate could not be written to any of our files.
        return _written(value) if b"\\u" in raw else value
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its JSON cannot be read ({error})") from None


def _written(value: Any) -> Any:
    """The value with its lone surrogates replaced, keys included."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_written(item) for item in value]
    if isinstance(value, dict):
        return {_written(key): _written(item) for key, item in value.items()}
    return value


def shown(text: str) -> str:
    """A stranger's text, fit for a message: quoted, control characters escaped, cut at
    80 characters.
    """
    return repr(text if len(text) <= 80 else text[:77] + "...")


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")


def _overgrown(raw: bytes, levels: int) -> str | None:
    """What is wrong where JSON is made of too many pieces or nested deeply, seen by its
    quotes and its brackets outside strings alone.
    """
    unescaped = raw.replace(rb"\\", b"").replace(rb"\"", b"")
    quotes = unescaped.count(b'"')
    brackets = b""
    if quotes <= MAX_MARKS:
        outside_strings = re.sub(rb'"[^"]*"', b"", unescaped)
        brackets = outside_strings.translate(None, _ALL_BUT_BRACKETS)
    if max(quotes, len(brackets)) > MAX_MARKS:
        return (
            f"has more than {MAX_MARKS} strings or brackets, more than any model needs;"
            " it is not read"
        )
    for _ in range(levels):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return "is nested too deeply, or its brackets do not match" if brackets else None
