"""The small file that holds the sampled bytes of a model on the Hub.

The file is safetensors: `ranges` (I64 [n, 3]: number of the shard, first byte, bytes),
`sha256` (U8 [n, 32]) and `bytes` (U8, the ranges one after the other); its metadata
names the repository, the commit and the shards. It stands for the model's shards
wherever they are read.
"""

import hashlib
import json
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mergetrace.errors import ModelFileError
from mergetrace.files.safetensors_file import read_header, read_into

Range = tuple[str, int, int]
"""Shard, first byte, number of bytes."""


def write_sampled(
    path: Path, ranges: list[Range], data: Iterator[bytes], source: Mapping[str, Any]
) -> None:
    """Write the file.

    data: the bytes of every range, in their order; only one is in memory at a time.
    source: with `repo` and `commit`.
    """
    shards = sorted({shard for shard, _, _ in ranges})
    number_of = {shard: number for number, shard in enumerate(shards)}
    rows = [(number_of[shard], start, length) for shard, start, length in ranges]
    table = np.array(rows, "<i8").reshape(-1, 3)
    count = len(table)
    total = int(table[:, 2].sum())
    header: dict[str, Any] = {
        "__metadata__": {
            "repo": source["repo"],
            "commit": source["commit"],
            "shards": json.dumps(shards),
        }
    }
    start = 0
    for name, dtype, shape, size in (
        ("ranges", "I64", [count, 3], 24 * count),
        ("sha256", "U8", [count, 32], 32 * count),
        ("bytes", "U8", [total], total),
    ):
        offsets = [start, start + size]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
        start += size
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with open(path, "wb") as handle:
        handle.write(len(encoded).to_bytes(8, "little") + encoded + table.tobytes())
        hashes_at = handle.tell()
        hashes = bytearray()
        handle.write(bytes(32 * count))
        for piece in data:
            handle.write(piece)
            hashes += hashlib.sha256(piece).digest()
        handle.seek(hashes_at)
        handle.write(hashes)


class _Held(NamedTuple):
    """Bytes first..end of a shard, which lie here from `position` on."""

    first: int
    end: int
    position: int


class Sampled:
    """The file, open. Reads what it holds and refuses the rest."""

    def __init__(self, path: Path) -> None:
        header = read_header(path)
        self.path = path
        self.descriptor = os.open(path, os.O_RDONLY)
        self.place = f"{header.metadata['repo']}@{header.metadata['commit'][:12]}"
        info = header.tensors["ranges"]
        table = np.empty(info.end - info.start, np.uint8)
        read_into(self.descriptor, info.start, table, path)
        rows = table.view("<i8").reshape(-1, 3)
        shards = json.loads(header.metadata["shards"])
        position = header.tensors["bytes"].start
        self._held: dict[str, list[_Held]] = {}  # by shard, ascending
        for number, start, length in rows.tolist():
            self._take(shards[number], _Held(start, start + length, position))
            position += length

    def _take(self, shard: str, range_held: _Held) -> None:
        """Add a range; neighbours become one."""
        held = self._held.setdefault(shard, [])
        if held and held[-1].end == range_held.first:
            range_held = _Held(held[-1].first, range_held.end, held[-1].position)
            held.pop()
        held.append(range_held)

    def close(self) -> None:
        os.close(self.descriptor)

    def read_into(self, shard: str, offset: int, buffer: Any) -> None:
        """Fill `buffer` with the bytes of a shard from `offset` on. ModelFileError where
        they were not sampled.
        """
        held = self._held.get(shard, [])
        size = memoryview(buffer).nbytes
        place = bisect_right(held, offset, key=lambda each: each.first) - 1
        if place < 0 or offset + size > held[place].end:
            raise ModelFileError(
                f"{self.place}/{shard}: bytes {offset} to {offset + size} were not"
                " sampled; read the whole model (mode: full, or a local copy)"
            )
        position = held[place].position + offset - held[place].first
        read_into(self.descriptor, position, buffer, self.path)
