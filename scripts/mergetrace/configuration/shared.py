"""What sections of the configuration share: their base class, short names, lists
without repetition, spellings.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
)

RESERVED_NAMES = frozenset(
    [
        "models",
        "probe",
        "stand-ins",
        "logs",
        "benchmarks",
        "comparisons",
        "scan",
        "watch",
        "prints",
    ]
)
"""Folders under results/ that no audit may be called."""

MAX_NAME_LENGTH = 63  # characters; a name becomes a folder and a SLURM job's comment
MAX_DONORS = 12  # of one audit: sums hold a number for every pair of them
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")

Item = TypeVar("Item")


class Section(BaseModel):
    """A part of the configuration. Unknown keys are refused, and a text is no number."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False
    )


def _checked_name(name: str) -> str:
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        raise ValueError(
            f"`{name}` cannot be a name; use lowercase letters, digits and single"
            f" hyphens, at most {MAX_NAME_LENGTH} characters"
        )
    if name in RESERVED_NAMES:
        raise ValueError(
            f"`{name}` cannot be a name; it is reserved, as are"
            f" {', '.join(sorted(RESERVED_NAMES - {name}))}"
        )
    return name


def _without_repetition(items: tuple[Item, ...]) -> tuple[Item, ...]:
    for item in items:
        if items.count(item) > 1:
            raise ValueError(f"`{item}` is listed more than once; list it once")
    return items


def _as_list(value: Any) -> Any:
    """A single name is as good as a list of one."""
    return [value] if isinstance(value, str) else value


Name = Annotated[str, AfterValidator(_checked_name)]
"""The short name of a model, an audit or a comparison."""

# YAML has lists, not tuples: hence `strict=False`, which concerns the tuple alone.
Unique = Annotated[
    tuple[Item, ...], Field(strict=False), AfterValidator(_without_repetition)
]
"""A list in which nothing is named twice."""

Names = Unique[Name]

Donors = Annotated[
    tuple[Name, ...],
    Field(strict=False, max_length=MAX_DONORS),
    AfterValidator(_without_repetition),
]

Bases = Annotated[
    tuple[Name, ...],
    Field(strict=False, min_length=1),
    AfterValidator(_without_repetition),
    BeforeValidator(_as_list),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ]
        }
    ),
]
"""A name, or a list of candidates."""

_Spelling = Annotated[str, Field(min_length=1, max_length=200)]
_Phrase = Annotated[str, Field(min_length=1, max_length=1000)]
Spellings = Mapping[
    str, Annotated[tuple[_Spelling, ...], Field(strict=False, min_length=1)]
]
Phrases = Mapping[
    str, Annotated[tuple[_Phrase, ...], Field(strict=False, min_length=1)]
]
