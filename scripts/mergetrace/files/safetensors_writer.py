"""A safetensors file written piece by piece: what the library does, without all of it in
memory at once.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from mergetrace.numerics.dtypes import BITS


@dataclass(frozen=True)
class Entry:
    """One tensor to be written."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    pieces: Callable[[], Iterable[bytes]]  # its bytes, one piece after the other

    @property
    def size(self) -> int:
        """Its bytes."""
        return prod(self.shape) * BITS[self.dtype] // 8


def write_tensors(
    path: Path, entries: Sequence[Entry], metadata: Mapping[str, str]
) -> None:
    """Write the tensors in their order."""
    encoded = _header(entries, metadata)
    with open(path, "wb") as handle:
        handle.write(len(encoded).to_bytes(8, "little") + encoded)
        for entry in entries:
            before = handle.tell()
            for piece in entry.pieces():
                handle.write(piece)
            assert handle.tell() - before == entry.size, entry.name


def places(
    entries: Sequence[Entry], metadata: Mapping[str, str]
) -> dict[str, tuple[int, int]]:
    """Where every tensor's bytes begin and end in the file that would be written."""
    at = 8 + len(_header(entries, metadata))
    found = {}
    for entry in entries:
        found[entry.name] = (at, at + entry.size)
        at += entry.size
    return found


def _header(entries: Sequence[Entry], metadata: Mapping[str, str]) -> bytes:
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    start = 0
    for entry in entries:
        header[entry.name] = {
            "dtype": entry.dtype,
            "shape": list(entry.shape),
            "data_offsets": [start, start + entry.size],
        }
        start += entry.size
    encoded = json.dumps(header).encode()
    return encoded + b" " * (-len(encoded) % 8)
