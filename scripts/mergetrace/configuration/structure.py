"""The keys of a section of the configuration, and which section lies where."""

import dataclasses
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

from mergetrace.thresholds import Thresholds

NAMED = "<name>"
"""Stands for a key that the user chooses, in the path of a key."""


@dataclasses.dataclass(frozen=True)
class Key:
    """A key of a section."""

    name: str
    """As it is written in the configuration."""
    attribute: str
    """The field that holds its value."""
    annotation: Any
    required: bool
    default: Any
    """None where the key is required or has no default."""


def is_section(annotation: Any) -> bool:
    """Whether values of this type are a section, with keys of its own."""
    return isinstance(annotation, type) and issubclass(
        annotation, (BaseModel, Thresholds)
    )


def keys_of(section: type[Any]) -> dict[str, Key]:
    """The keys of a section by name, in the order in which they are defined."""
    if issubclass(section, BaseModel):
        return {
            (entry.alias or attribute): Key(
                entry.alias or attribute,
                attribute,
                entry.annotation,
                entry.is_required(),
                None if entry.is_required() else entry.default,
            )
            for attribute, entry in section.model_fields.items()
        }
    types = get_type_hints(section)
    return {
        entry.name: Key(entry.name, entry.name, types[entry.name], False, entry.default)
        for entry in dataclasses.fields(section)
    }


def section_within(annotation: Any) -> tuple[str, type[Any] | None]:
    """The section that values of this type are or hold under names of the user's
    choice, and the path to it: empty, or `<name>`. None where there is no section.
    """
    if is_section(annotation):
        return "", annotation
    if get_origin(annotation) in (Union, UnionType):
        # a section, or something shorter in its place
        kinds = [next(iter(get_args(kind)), kind) for kind in get_args(annotation)]
        return "", next(filter(is_section, kinds), None)
    for argument in get_args(annotation):
        if is_section(argument):
            return NAMED, argument
    return "", None


def section_at(section: type[Any], path: tuple[Any, ...]) -> type[Any] | None:
    """The section that lies at `path` below `section`; None where there is none."""
    rest = list(path)
    current: type[Any] | None = section
    while rest and current is not None:
        key = keys_of(current).get(str(rest.pop(0)))
        named, current = section_within(key.annotation) if key else ("", None)
        if named and rest:
            rest.pop(0)
    return current
