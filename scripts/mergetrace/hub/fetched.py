"""The byte ranges of a repository at one commit that are on this disk already, in a
journal that only grows, so that nothing is fetched twice.

`{commit}.bin` holds the bytes one range after the other, `{commit}.jsonl` a line for
each: shard, start, length, position, sha256. The bytes are written first. A killed
writer leaves at worst bytes without a line, or half a line, which is cut off; a line
whose bytes do not have its sha256 (power was lost) is passed over. One process at a
time writes.
"""

import fcntl
import hashlib
import json
import os
from bisect import bisect_right, insort
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

from mergetrace.files.sampled import Range


class _Held(NamedTuple):
    """A range that is here: bytes first..end of a shard, from `position` of the file."""

    first: int
    end: int
    position: int


class Fetched:
    """The journal, open and locked."""

    def __init__(self, folder: Path, commit: str) -> None:
        """Open the journal in `folder` (created), or begin it. Waits until no other
        process writes to it.
        """
        folder.mkdir(parents=True, exist_ok=True)
        # both are closed by __exit__
        self._bytes = open(folder / f"{commit}.bin", "a+b")  # noqa: SIM115
        fcntl.flock(self._bytes, fcntl.LOCK_EX)
        self._lines = open(folder / f"{commit}.jsonl", "a+b")  # noqa: SIM115
        self._held: dict[str, list[_Held]] = {}  # by shard, ascending and disjoint
        self._load()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._bytes.close()

    def missing(self, wanted: Range) -> Iterator[Range]:
        """The parts of a range that are not here yet."""
        shard, start, length = wanted
        at = start
        end = start + length
        for held in self._overlapping(wanted):
            if held.first > at:
                yield shard, at, held.first - at
            at = held.end
        if at < end:
            yield shard, at, end - at

    def read(self, wanted: Range) -> bytes:
        """The bytes of a range. ValueError where some are missing."""
        shard, start, length = wanted
        parts = []
        for held in self._overlapping(wanted):
            first = max(start, held.first)
            size = min(held.end, start + length) - first
            position = held.position + first - held.first
            parts.append(os.pread(self._bytes.fileno(), size, position))
        data = b"".join(parts)
        if len(data) != length:
            raise ValueError(
                f"{length - len(data)} of {length} bytes of {shard} are missing"
            )
        return data

    def add(self, got: Range, data: bytes) -> None:
        """Add a range to the journal. Nothing of it may be there."""
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
        self._insert(shard, _Held(start, start + length, position))

    def _insert(self, shard: str, held: _Held) -> None:
        insort(self._held.setdefault(shard, []), held)

    def _overlapping(self, wanted: Range) -> Iterator[_Held]:
        """The ranges here that share bytes with the wanted one, ascending."""
        shard, start, length = wanted
        all_held = self._held.get(shard, [])
        before = bisect_right(all_held, start, key=lambda held: held.first) - 1
        for held in all_held[max(before, 0) :]:
            if held.first >= start + length:
                return
            if held.end > start:
                yield held

    def _load(self) -> None:
        """Read the journal; half a line at its end is cut off."""
        self._lines.seek(0)
        text = self._lines.read()
        whole_lines = text[: text.rfind(b"\n") + 1]
        if len(whole_lines) < len(text):
            self._lines.truncate(len(whole_lines))
        for line in whole_lines.splitlines():
            entry = _entry(line)
            if entry is not None:
                self._take(*entry)

    def _take(
        self, shard: str, start: int, length: int, position: int, sha256: str
    ) -> None:
        """Take a range from the journal, where its bytes are what was written."""
        data = os.pread(self._bytes.fileno(), length, position)
        sound = hashlib.sha256(data).hexdigest() == sha256
        if sound and not any(self._overlapping((shard, start, length))):
            self._insert(shard, _Held(start, start + length, position))


def _entry(line: bytes) -> tuple[str, int, int, int, str] | None:
    """Shard, start, length, position and sha256 of a line; None where it is none."""
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
