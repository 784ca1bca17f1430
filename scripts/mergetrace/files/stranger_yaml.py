"""YAML from strangers: bounded before it is parsed, and bounded again where aliases would
make it grow. Nothing in it is run or built.
"""

from typing import Any

import yaml

# bytes; a configuration that names every layer of a large model has 20,000
MAX_YAML = 64 * 2**10
MAX_NODES = 20_000  # of a document whose aliases are written out
MAX_DEPTH = 24  # a gradient by filter in a slice of a module lies nine deep
MAX_TEXT = 200  # characters of a name or a value
MERGE_KEY = "<<"


class GrownError(ValueError):
    """A document that is larger than it looks, or is nested too deeply."""


class _Plain(yaml.SafeLoader):
    """YAML without merge keys, by which a small document could grow without end."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Leave `<<` a key like any other."""


def _as_text(loader: _Plain, node: yaml.ScalarNode) -> str:
    return loader.construct_scalar(node)


_Plain.add_constructor("tag:yaml.org,2002:merge", _as_text)


def stranger_yaml(raw: str | bytes) -> Any:
    """The first document of a stranger's YAML; None where it is too long or cannot be
    read. Values that aliases repeat are one object.
    """
    if len(raw) > MAX_YAML:
        return None
    try:
        if isinstance(raw, bytes):
            raw = raw.decode("utf-8-sig", errors="replace")
        return next(iter(yaml.load_all(raw, _Plain)), None)
    except (
        yaml.YAMLError,
        RecursionError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ):
        return None  # its constructors of dates and numbers raise what they like


def written_out(document: Any) -> Any:
    """A document as JSON could hold it: aliases and merge keys written out, texts cut,
    what is neither text, number, list nor mapping turned to text, keys that are no text
    left out.

    GrownError where it has more than MAX_NODES values or lies deeper than MAX_DEPTH.
    """
    return _Writer().value(document, 0)


class _Writer:
    """Writes one document out and counts what it writes."""

    def __init__(self) -> None:
        self.nodes = 0

    def value(self, value: Any, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise GrownError
        if isinstance(value, dict):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple):
            return [self.value(item, depth + 1) for item in value]
        return _scalar(value)

    def _mapping(self, mapping: dict[Any, Any], depth: int) -> dict[str, Any]:
        inherited: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key, item in mapping.items():
            written = self.value(item, depth + 1)
            if key == MERGE_KEY:
                inherited = _inherited(written)
            elif isinstance(key, str):
                own[_text(key)] = written
        return inherited | own


def _inherited(written: Any) -> dict[str, Any]:
    """What a merge key brings: of several mappings the first counts."""
    parts = written if isinstance(written, list) else [written]
    found: dict[str, Any] = {}
    for part in reversed(parts):
        if isinstance(part, dict):
            found |= part
    return found


def _scalar(value: Any) -> Any:
    """A number that JSON and float64 can hold, a truth value, nothing, or text."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and abs(value) < 2**53:
        return value
    if isinstance(value, float) and abs(value) < float("inf"):
        return value
    if isinstance(value, int):
        return _text(hex(value))  # of any length, which decimal digits are not
    return _text(str(value) if isinstance(value, str | float) else repr(value))


def _text(value: str) -> str:
    return value[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")
