"""Records (frozen dataclasses) read from JSON and written as JSON.

The standard library alone: an evidence bundle reads its records with Python and numpy.
"""

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from mergetrace.errors import AuditError

Record = TypeVar("Record")


def from_json(kind: type[Record], value: Any, where: str) -> Record:
    """A record of the class `kind` from the JSON object of its fields.

    Keys that are no fields are passed over. A key that is missing gets the field's
    default. where: what the value is part of, for messages. Raises AuditError where a
    key without a default is missing, or where an object or a list should be and is not.
    """
    return cast(Record, _record(kind, value, where))


def as_json(value: Any) -> Any:
    """The JSON of a record: its fields in their order, those of records within too."""
    if is_dataclass(value):
        return {
            entry.name: as_json(getattr(value, entry.name)) for entry in fields(value)
        }
    if isinstance(value, Mapping):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [as_json(item) for item in value]
    return value


@cache
def _fields(kind: Any) -> tuple[tuple[Field[Any], Any], ...]:
    """The fields of a record's class, each with its type."""
    types = get_type_hints(kind)
    return tuple((entry, types[entry.name]) for entry in fields(kind))


def _record(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise AuditError(f"{where}: no JSON object; make the file anew")
    arguments = {}
    for entry, hint in _fields(kind):
        if entry.name in value:
            arguments[entry.name] = _value(
                hint, value[entry.name], f"{where}.{entry.name}"
            )
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise AuditError(f"{where}: {entry.name} is missing; make the file anew")
    return kind(**arguments)


def _value(hint: Any, value: Any, where: str) -> Any:
    """A value as its type says: records, and containers of records, are made."""
    origin = get_origin(hint)
    arguments = get_args(hint)
    if origin in (Union, UnionType):
        if value is None:
            return None
        present = [choice for choice in arguments if choice is not NoneType]
        return _value(present[0], value, where) if len(present) == 1 else value
    if is_dataclass(hint):
        return _record(hint, value, where)
    if origin is tuple:
        if not isinstance(value, Sequence):
            raise AuditError(f"{where}: no list; make the file anew")
        return tuple(_value(arguments[0], item, where) for item in value)
    if origin is Mapping:
        if not isinstance(value, Mapping):
            raise AuditError(f"{where}: no JSON object; make the file anew")
        return {
            key: _value(arguments[1], item, f"{where}.{key}")
            for key, item in value.items()
        }
    return value
