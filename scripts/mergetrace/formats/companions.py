"""What packed numbers depend on besides their codes and one grid of scales: further
tensors, and where these lie.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from math import prod
from typing import TYPE_CHECKING

from mergetrace.numerics.dtypes import BITS

if TYPE_CHECKING:
    from mergetrace.files.tensor_records import TensorRecord

TIMES, OVER = "times", "over"
"""One number that every scale is multiplied by, or divided by."""
SHIFTS = "shifts"
"""Numbers that lie as the scales do and are added."""
ZEROS = "zeros"
"""Packed codes that stand for the number zero."""
ZEROS_LESS_ONE = "zeros less one"
"""The same as GPTQ's first format stores them."""
CODES, SCALES, GROUPS = "codes", "scales", "groups"
"""Of matrices that are stored with columns as rows: all that they are made of, and the
group of each column.
"""
LEVELS_OF, STATE = "levels", "state"
"""bitsandbytes' table of levels, and what it says of itself as JSON."""
SCALES_OF_SCALES, LEVELS_OF_SCALES = "scales of scales", "levels of scales"
"""What scales are made of that are packed themselves."""


@dataclass(frozen=True)
class Companion:
    """A tensor that packed numbers depend on."""

    shard: str  # the file that holds it
    dtype: str
    start: int  # absolute byte offset
    shape: tuple[int, ...]

    @classmethod
    def of(cls, record: "TensorRecord") -> "Companion":
        """A stored tensor as one."""
        return cls(record.shard, record.dtype, record.start, record.shape)

    @property
    def elements(self) -> int:
        """How many numbers or codes it holds."""
        return prod(self.shape)

    @property
    def bytes(self) -> int:
        """How many bytes it takes."""
        return self.elements * BITS[self.dtype] // 8


def written(companions: Mapping[str, "TensorRecord"]) -> str:
    """Companions by their role, as a text for the plan; "" where there are none."""
    found = {role: asdict(Companion.of(record)) for role, record in companions.items()}
    return json.dumps(found, default=int) if found else ""


@lru_cache(maxsize=4096)
def companions_in(text: str) -> Mapping[str, Companion]:
    """The companions of a view, by their role, from its `beside`."""
    entries = json.loads(text) if text else {}
    return {
        role: Companion(**entry | {"shape": tuple(entry["shape"])})
        for role, entry in entries.items()
    }


def moved(text: str, names: Mapping[str, str]) -> str:
    """A view's `beside` with other names of files. names: the new ones by the old."""
    found = companions_in(text)
    entries = {
        role: asdict(replace(each, shard=names.get(each.shard, each.shard)))
        for role, each in found.items()
    }
    return json.dumps(entries) if entries else ""


def of_one(text: str, number: int) -> str:
    """A view's `beside` of stacked matrices as that of one of them."""
    entries = {}
    for role, each in companions_in(text).items():
        size = each.bytes // each.shape[0]
        one = replace(each, start=each.start + number * size, shape=each.shape[1:])
        entries[role] = asdict(one)
    return json.dumps(entries)


def ranges_beside(text: str) -> Iterable[tuple[str, int, int]]:
    """Where a view's companions lie: (file, first byte, bytes) each."""
    for each in companions_in(text).values():
        yield each.shard, each.start, each.bytes
