"""What is wrong with a configuration, in words: the key, what was found, what to do."""

import difflib
import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from mergetrace.configuration.structure import keys_of, section_at

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Place = tuple[int | str, ...]
"""The keys that lead to a value, from the outermost."""

MAX_SHOWN = 60  # characters of what was found
_UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
_REQUIREMENTS = {
    "string_type": "be a text",
    "int_type": "be a whole number",
    "float_type": "be a number",
    "bool_type": "be true or false",
    "finite_number": "be a finite number",
    "tuple_type": "be a list",
    "mapping_type": "be keys with values",
    "model_type": "be keys with values",
    "dataclass_type": "be keys with values",
    "greater_than": "be more than {gt:g}",
    "greater_than_equal": "be at least {ge:g}",
    "less_than": "be less than {lt:g}",
    "less_than_equal": "be at most {le:g}",
    "string_too_short": "have at least {min_length} characters",
    "string_too_long": "have at most {max_length} characters",
    "string_pattern_mismatch": "match {pattern}",
    "too_short": "list at least {min_length}",
    "too_long": "list at most {max_length}",
    "literal_error": "be {expected}",
}
"""What a value must do, by pydantic's name for the mistake."""


def nearest(name: str, names: Iterable[str]) -> str:
    """`did you mean X?` for the closest of `names`, else the list of them."""
    names = sorted(names)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean `{close[0]}`?" if close else f"known: {', '.join(names)}"


def explain(error: "ValidationError", root: type[Any]) -> str:
    """The first mistake of a configuration, in one or two lines. root: the class of the
    whole configuration.
    """
    mistakes = sorted(error.errors(), key=_outer_first)
    places = [mistake["loc"] for mistake in mistakes]
    for mistake in mistakes:
        # a list whose only entry is wrong counts as empty, too: the entry is the cause
        if not any(_lies_within(place, mistake["loc"]) for place in places):
            break
    return f"configuration: {_sentence(mistake, root)}"


def _outer_first(mistake: "ErrorDetails") -> tuple[int, str]:
    return len(mistake["loc"]), _dotted(mistake["loc"])


def _lies_within(place: Place, outer: Place) -> bool:
    return len(place) > len(outer) and place[: len(outer)] == outer


def _sentence(mistake: "ErrorDetails", root: type[Any]) -> str:
    place = mistake["loc"]
    kind = mistake["type"]
    if kind in _UNKNOWN_KEY:
        return _unknown_key(place, root)
    if kind == "missing":
        return (
            f"{_dotted(place[:-1])}: `{place[-1]}` is missing; add it"
            " (config/README.md lists every key)"
        )
    if kind == "value_error":
        reason = str(mistake["ctx"]["error"])
        return f"{_dotted(place)}: {reason}" if place else reason
    if mistake["input"] is None:
        return f"{_dotted(place)} is empty; give it a value or leave it out"
    requirement = _REQUIREMENTS.get(kind)
    if requirement is None:
        return f"{_dotted(place)}: {mistake['msg']}; see config/README.md"
    return (
        f"{_dotted(place)} must {requirement.format(**mistake.get('ctx', {}))}, not"
        f" {_shown(mistake['input'])}; see config/README.md"
    )


def _unknown_key(place: Place, root: type[Any]) -> str:
    section = section_at(root, _keys(place[:-1]))
    known = keys_of(section) if section else ()
    return (
        f"unknown key `{place[-1]}` at {_dotted(place[:-1])};"
        f" {nearest(str(place[-1]), known)}"
    )


def _keys(place: Place) -> Place:
    """A place without marks in brackets: pydantic's for a mistake in a name, and those
    that tell the kinds of a value apart.
    """
    return tuple(key for key in place if not str(key).startswith("["))


def _dotted(place: Place) -> str:
    """`audits.demo.donors`."""
    return ".".join(map(str, _keys(place))) or "the top level"


def _shown(value: Any) -> str:
    """What was found, cut after MAX_SHOWN characters."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
