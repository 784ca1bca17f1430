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
from typing import Any

import numpy as np

from mergetrace.errors import AuditError
from mergetrace.files.safetensors_file import read_header, read_into

Range = tuple[str, int, int]
"""Shard, first byte, number of bytes."""


def write_sampled(
    path: Path, ranges: list[Range], data: Iterator[bytes], source: Mapping[str, Any]
) -> None:
    """Write the file. data: the bytes of every range, in their order; only one is in
    memory at a time. source: repo and commit.
    """
    shards = sorted({shard for shard, _, _ in ranges})
    table = np.array(
        [(shards.index(shard), start, length) for shard, start, length in ranges], "<i8"
    ).reshape(-1, 3)
    count = len(table)
    total = int(table[:, 2].sum())
    header = {
        "__metadata__": {
            "repo": source["repo"],
            "commit": source["commit"],
            "shards": json.dumps(shards),
        }
    }
    at = 0
    for name, dtype, shape, size in (
        ("ranges", "I64", [count, 3], 24 * count),
        ("sha256", "U8", [count, 32], 32 * count),
        ("bytes", "U8", [total], total),
    ):
        header[name] = {
            "dtype": dtype,
            "shape": shape,
            "data_offsets": [at, at := at + size],
        }
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


class Sampled:
    """The file, open. Reads what it holds and refuses the rest."""

    def __init__(self, path: Path) -> None:
        header = read_header(path)
        self.path, self.descriptor = path, os.open(path, os.O_RDONLY)
        self.place = f"{header.metadata['repo']}@{header.metadata['commit'][:12]}"
        info = header.tensors["ranges"]
        table = np.empty(info.end - info.start, np.uint8)
        read_into(self.descriptor, info.start, table, path)
        numbers, starts, lengths = table.view("<i8").reshape(-1, 3).T
        positions = header.tensors["bytes"].start + np.cumsum(lengths) - lengths
        self._held: dict[
            str, list[tuple[int, int, int]]
            # (first byte, end, position here) by shard, ascending; neighbours as one
        ] = {}
        for number, start, length, position in zip(
            numbers.tolist(),
            starts.tolist(),
            lengths.tolist(),
            positions.tolist(),
            strict=True,
        ):
            held = self._held.setdefault(
                json.loads(header.metadata["shards"])[number], []
            )
            if held and held[-1][1] == start:
                held[-1] = held[-1][0], start + length, held[-1][2]
            else:
                held.append((start, start + length, position))

    def close(self) -> None:
        os.close(self.descriptor)

    def read_into(self, shard: str, offset: int, buffer: Any) -> None:
        """Fill `buffer` with the bytes of a shard from `offset` on. AuditError where
        they were not sampled.
        """
        held = self._held.get(shard, [])
        size = memoryview(buffer).nbytes
        place = bisect_right(held, offset, key=lambda entry: entry[0]) - 1
        if place < 0 or offset + size > held[place][1]:
            raise AuditError(
                f"{self.place}/{shard}: bytes {offset} to {offset + size} were not"
                " sampled; read the whole model (mode: full, or a local copy)"
            )
        read_into(
            self.descriptor, held[place][2] + offset - held[place][0], buffer, self.path
        )
