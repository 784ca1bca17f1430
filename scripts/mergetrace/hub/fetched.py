"""Byte ranges of a repository at one commit that are on this disk already: a journal
that only grows, so that nothing is fetched twice.

`{commit}.bin` holds the bytes one range after the other, `{commit}.jsonl` a line for
each: shard, start, length, position, sha256. The bytes are written first. A killed
writer leaves at worst bytes without a line, or half a line, which is cut off; a line
whose bytes do not hash to what it says (power was lost) is passed over. One writer at a
time.
"""

import fcntl
import hashlib
import json
import os
from bisect import bisect_right, insort
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from mergetrace.files.sampled import Range


class Fetched:
    """The journal, open and locked."""

    def __init__(self, folder: Path, commit: str) -> None:
        """Opens or begins the journal in `folder` (created). Waits for another writer
        to be done.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._bytes = open(folder / f"{commit}.bin", "a+b")
        fcntl.flock(self._bytes, fcntl.LOCK_EX)
        self._lines = open(folder / f"{commit}.jsonl", "a+b")
        self._held: dict[
            str, list[tuple[int, int, int]]
        ] = {}  # (first byte, end, position) by shard, ascending and disjoint
        self._load()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._bytes.close()

    def missing(self, wanted: Range) -> Iterator[Range]:
        """What of a range is not here yet."""
        shard, start, length = wanted
        at = start
        end = start + length
        for first, last, _ in self._overlapping(wanted):
            if first > at:
                yield shard, at, first - at
            at = last
        if at < end:
            yield shard, at, end - at

    def read(self, wanted: Range) -> bytes:
        """The bytes of a range of which nothing is missing."""
        shard, start, length = wanted
        parts = []
        for first, last, position in self._overlapping(wanted):
            skipped = max(start - first, 0)
            parts.append(
                os.pread(
                    self._bytes.fileno(),
                    min(last, start + length) - first - skipped,
                    position + skipped,
                )
            )
        data = b"".join(parts)
        if len(data) != length:
            raise ValueError(
                f"{length - len(data)} of {length} bytes of {shard} are missing"
            )
        return data

    def add(self, got: Range, data: bytes) -> None:
        """Keep a range of which all was missing."""
        shard, start, length = got
        position = self._bytes.seek(0, os.SEEK_END)
        self._bytes.write(data)
        self._bytes.flush()
        line = {
            "shard": shard,
            "start": start,
            "length": length,
            "position": position,
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        self._lines.write(json.dumps(line).encode() + b"\n")
        self._lines.flush()
        insort(self._held.setdefault(shard, []), (start, start + length, position))

    def _overlapping(self, wanted: Range) -> Iterator[tuple[int, int, int]]:
        shard, start, length = wanted
        held = self._held.get(shard, [])
        for entry in held[
            max(bisect_right(held, start, key=lambda entry: entry[0]) - 1, 0) :
        ]:
            if entry[0] >= start + length:
                return
            if entry[1] > start:
                yield entry

    def _load(self) -> None:
        self._lines.seek(0)
        text = self._lines.read()
        if torn := len(text) - (text.rfind(b"\n") + 1):
            self._lines.truncate(len(text) - torn)
        for line in text[: len(text) - torn].splitlines():
            if (entry := _entry(line)) is None:
                continue
            shard, start, length, position, sha256 = entry
            data = os.pread(self._bytes.fileno(), length, position)
            if hashlib.sha256(data).hexdigest() == sha256 and not any(
                self._overlapping((shard, start, length))
            ):
                insort(
                    self._held.setdefault(shard, []), (start, start + length, position)
                )


def _entry(line: bytes) -> tuple[str, int, int, int, str] | None:
    try:
        stated: dict[str, Any] = json.loads(line)
        return (
            stated["shard"],
            stated["start"],
            stated["length"],
            stated["position"],
            stated["sha256"],
        )
    except (ValueError, KeyError, TypeError):
        return None
