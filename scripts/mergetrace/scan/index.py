"""Prints of many models on this disk: read once a commit, looked up in a second.

A folder: `catalogue.sqlite` has a row per model and protocol with what is known of it
without a weight, or why it has no print; `{shape}.npy` holds the codes of all models
that have the same blocks, a row each, and only grows. A row counts once the catalogue
names it, and that is written last: whatever a killed writer left behind it is written
over. One process at a time writes.
"""

import errno
import fcntl
import io
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.lib import format as npy

from mergetrace.errors import AuditError, ConfigurationError
from mergetrace.numerics.arrays import Singles
from mergetrace.numerics.dtypes import Codes
from mergetrace.outputs import NO_ROOM
from mergetrace.records.json_records import as_json, from_json
from mergetrace.scan.positions import BLOCKS, ELEMENTS, PROTOCOL
from mergetrace.scan.prints import (
    NORMS,
    QUANTILES,
    Facts,
    Print,
)

CATALOGUE = "catalogue.sqlite"
LOCK = ".lock"
ROW_BYTES = 2 * BLOCKS * ELEMENTS
HEADER_BYTES = 128  # of a .npy file, whatever its number of rows
PIECE_ROWS = 256  # that are read at a time: 8 MB
KEYS_A_QUESTION = 500
FOUND = "print"
"""The state of a model that has a print; any other says why it has none."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS models (
  key TEXT PRIMARY KEY, protocol INTEGER, state TEXT, facts TEXT, shape TEXT,
  row INTEGER, digest TEXT, quantiles BLOB, coarse INTEGER, bytes INTEGER);
CREATE TABLE IF NOT EXISTS shapes (shape TEXT PRIMARY KEY, signatures TEXT);
CREATE UNIQUE INDEX IF NOT EXISTS rows ON models (shape, row);
"""


@dataclass(frozen=True)
class Entry:
    """A model of the catalogue."""

    key: str
    state: str
    facts: Facts
    digest: str
    """Of its print; "" where it has none."""
    coarse: bool
    bytes: int
    """That were read for it."""


@dataclass(frozen=True)
class Group:
    """Models with the same blocks."""

    signatures: tuple[str, ...]
    path: Path
    keys: list[str]
    rows: list[int]
    """Of each key, ascending."""

    def pieces(self) -> Iterator[tuple[list[str], Codes]]:
        """The codes of all, some models at a time: uint16 [models, BLOCKS, ELEMENTS].
        Each lasts until the next is read.
        """
        buffer = np.zeros((PIECE_ROWS, BLOCKS, ELEMENTS), "<u2")
        path = self.path if self.path.exists() else os.devnull
        with open(path, "rb", buffering=0) as handle:
            for start in range(0, len(self.rows), PIECE_ROWS):
                rows = self.rows[start : start + PIECE_ROWS]
                for place, first, count in _stretches(rows):
                    handle.seek(HEADER_BYTES + first * ROW_BYTES)
                    part = buffer[place : place + count]
                    read = handle.readinto(part.view(np.uint8).data) or 0
                    # what is not there counts as zeros, which no digest agrees with
                    part.view(np.uint8).reshape(-1)[read:] = 0
                yield self.keys[start : start + len(rows)], buffer[: len(rows)]


class Index:
    """The folder, open for reading; `adding` opens it for writing."""

    def __init__(self, folder: Path) -> None:
        """Made where it is not there. ConfigurationError where it cannot be written."""
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with open(folder / LOCK, "ab"):
                pass
        except OSError as error:
            if error.errno in NO_ROOM:
                raise
            raise ConfigurationError(
                f"{folder}: prints cannot be kept there ({error.strerror}); it must be"
                " a folder that this user may write"
            ) from None
        with self._told():
            self._catalogue = sqlite3.connect(folder / CATALOGUE, timeout=600)
        with self._writing():
            self._catalogue.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._catalogue.close()

    def entries(self, keys: Iterable[str] | None = None) -> dict[str, Entry]:
        """The models of these keys that are there, by key; of None all."""
        columns = "key, state, facts, digest, coarse, bytes"
        return {
            row[0]: Entry(
                row[0],
                row[1],
                self._facts(row[2]),
                row[3],
                bool(row[4]),
                row[5],
            )
            for row in self._rows(columns, keys)
        }

    def quantiles(self, keys: Iterable[str]) -> dict[str, Singles]:
        """The sorted numbers of the norms, float32 [NORMS, QUANTILES], by key."""
        return {
            key: np.frombuffer(blob, "<f4").reshape(NORMS, QUANTILES)
            for key, blob in self._rows("key, quantiles", keys)
            if blob
        }

    def groups(self, keys: Iterable[str] | None = None) -> list[Group]:
        """The models of these keys that have a print, by their blocks."""
        places: dict[str, list[tuple[int, str]]] = {}
        for key, shape, row in self._rows("key, shape, row", keys):
            if shape:
                places.setdefault(shape, []).append((row, key))
        stated = dict(self._catalogue.execute("SELECT shape, signatures FROM shapes"))
        groups = []
        for shape, held in sorted(places.items()):
            held.sort()
            signatures = tuple(json.loads(stated[shape]))
            path = self.folder / f"{shape}.npy"
            found = [key for _, key in held]
            groups.append(Group(signatures, path, found, [row for row, _ in held]))
        return groups

    def add(self, prints: Iterable[tuple[Print, int]]) -> None:
        """Add prints, but for those that are there, all or none. With each the bytes
        that were read for it.
        """
        with self._writing():
            written = set()
            for taken, read in prints:
                if self._has(taken.facts.key):
                    continue
                shape, row = self._write(taken)
                blob = taken.quantiles.astype("<f4").tobytes()
                values = (shape, row, taken.digest, blob, int(taken.coarse), read)
                self._insert(taken.facts, FOUND, values)
                written.add(shape)
            for shape in sorted(written):
                self._finish(shape)

    def add_without(self, facts: Facts, state: str, read: int) -> None:
        """Note why a model has no print, so that it is not asked again."""
        with self._writing():
            if not self._has(facts.key):
                self._insert(facts, state, (None, None, "", None, 0, read))

    def damaged(self, keys: Iterable[str]) -> set[str]:
        """The models of these keys whose numbers are not those that were written."""
        asked = set(keys)
        entries, quantiles = self.entries(asked), self.quantiles(asked)
        found = set()
        for group in self.groups(asked):
            for some, codes in group.pieces():
                for key, own in zip(some, codes, strict=True):
                    entry = entries[key]
                    norms = quantiles[key]
                    taken = Print(entry.facts, group.signatures, own, norms)
                    if taken.digest != entry.digest:
                        found.add(key)
        return found

    def forget(self, keys: Iterable[str]) -> None:
        """Take models out of the catalogue, so that they are read again."""
        with self._writing():
            for key in keys:
                self._catalogue.execute("DELETE FROM models WHERE key = ?", (key,))

    def _facts(self, text: str) -> Facts:
        try:
            return from_json(Facts, json.loads(text), "facts")
        except (AuditError, ValueError):
            raise self._broken("what it says of a model is no JSON of ours") from None

    def _has(self, key: str) -> bool:
        question = "SELECT 1 FROM models WHERE key = ? AND protocol = ?"
        asked = self._catalogue.execute(question, (key, PROTOCOL))
        return asked.fetchone() is not None

    def _insert(self, facts: Facts, state: str, values: tuple[object, ...]) -> None:
        text = json.dumps(as_json(facts), sort_keys=True)
        row = (facts.key, PROTOCOL, state, text, *values)
        self._catalogue.execute(
            "INSERT OR REPLACE INTO models VALUES (?,?,?,?,?,?,?,?,?,?)", row
        )

    def _write(self, taken: Print) -> tuple[str, int]:
        """Put the codes of a print behind those that count; returns shape and row."""
        signatures = json.dumps(taken.signatures)
        shape = sha256(signatures.encode()).hexdigest()[:16]
        self._catalogue.execute(
            "INSERT OR IGNORE INTO shapes VALUES (?, ?)", (shape, signatures)
        )
        row = self._count(shape)
        path = self.folder / f"{shape}.npy"
        with open(path, "r+b" if path.exists() else "w+b") as handle:
            handle.seek(HEADER_BYTES + row * ROW_BYTES)
            handle.write(taken.codes.astype("<u2").tobytes())
        return shape, row

    def _finish(self, shape: str) -> None:
        """Cut off what does not count, say how many rows there are, and see to it that
        all is on the disk before the catalogue names it.
        """
        rows = self._count(shape)
        with open(self.folder / f"{shape}.npy", "r+b") as handle:
            handle.truncate(HEADER_BYTES + rows * ROW_BYTES)
            handle.write(_header(rows))
            handle.flush()
            os.fsync(handle.fileno())

    def _count(self, shape: str) -> int:
        """The rows of a shape that the catalogue names."""
        asked = self._catalogue.execute(
            "SELECT COALESCE(MAX(row) + 1, 0) FROM models WHERE shape = ?", (shape,)
        )
        return int(asked.fetchone()[0])

    def _rows(
        self, columns: str, keys: Iterable[str] | None
    ) -> Iterator[tuple[Any, ...]]:
        """Some columns of the models of these keys."""
        question = f"SELECT {columns} FROM models WHERE protocol = {PROTOCOL}"
        if keys is None:
            with self._told():
                yield from self._catalogue.execute(question).fetchall()
            return
        asked = sorted(set(keys))
        for start in range(0, len(asked), KEYS_A_QUESTION):
            some = asked[start : start + KEYS_A_QUESTION]
            marks = ",".join("?" * len(some))
            with self._told():
                asking = f"{question} AND key IN ({marks})"
                found = self._catalogue.execute(asking, some).fetchall()
            yield from found

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Wait until no other process writes; what is written then is kept whole or not
        at all.
        """
        with open(self.folder / LOCK, "ab") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            with self._told(), self._catalogue:
                yield

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say in a line what is wrong with the catalogue."""
        try:
            yield
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, "full", str(self.folder)) from None
            raise self._broken(str(error)) from None

    def _broken(self, why: str) -> AuditError:
        return AuditError(
            f"{self.folder}/{CATALOGUE}: damaged, or of another version ({why}); remove"
            f" {self.folder}, and the next scan reads the prints again"
        )


def state_digest(index: Index, keys: Iterable[str]) -> str:
    """The sha256 over what the index says of some models."""
    entries = index.entries(keys)
    lines = [
        f"{key} {entries[key].state} {entries[key].digest}" for key in sorted(entries)
    ]
    return sha256("\n".join(lines).encode()).hexdigest()


def _header(rows: int) -> bytes:
    """The beginning of a .npy file, HEADER_BYTES long."""
    with closing(io.BytesIO()) as held:
        shape = (rows, BLOCKS, ELEMENTS)
        description = {"descr": "<u2", "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(held, description)
        written = held.getvalue()
    assert len(written) == HEADER_BYTES
    return written


def _stretches(rows: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Runs of neighbouring rows: place in the list, first row, number of rows."""
    place = 0
    while place < len(rows):
        end = place + 1
        while end < len(rows) and rows[end] == rows[end - 1] + 1:
            end += 1
        yield place, rows[place], end - place
        place = end
