"""What a repository of the local Hub holds."""

import hashlib
import os
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Protocol


class Content(Protocol):
    """The bytes of one file: given, on disk, or computed when they are asked for."""

    size: int
    sha256: str

    def read(self, start: int, length: int) -> bytes: ...


@dataclass
class InMemory:
    """A file that is given."""

    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    @cached_property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def read(self, start: int, length: int) -> bytes:
        return self.data[start : start + length]


@dataclass
class InFile:
    """A file on disk."""

    path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    @cached_property
    def sha256(self) -> str:
        with open(self.path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    def read(self, start: int, length: int) -> bytes:
        with open(self.path, "rb") as handle:
            return os.pread(handle.fileno(), length, start)


@dataclass
class Repo:
    """A repository: its files now, and what it held at earlier commits.

    private, gated: which tokens open it (None: everybody may read). renamed_to:
    requests are redirected there. announce: what the API says instead of the truth, by
    file name: {"size": ..., "sha256": ...}. created: when the Hub made it; None where
    that is not said. dates: of every commit, as whoever pushed it set them; by default
    each is an hour after the one before, and the first is made with the repository.
    tags: beside those that follow from files and card. parameters: counted where they
    are first asked for. says: what the API says of it whatever the truth, by key.
    """

    files: dict[str, Content]
    commit: str = ""
    private: bool = False
    gated: bool = False
    tokens: frozenset[str] | None = None
    renamed_to: str | None = None
    announce: dict[str, dict] = field(default_factory=dict)
    history: dict[str, dict[str, Content]] = field(default_factory=dict)
    created: str | None = "2026-06-14T00:00:00.000Z"
    dates: dict[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    downloads: int = 0
    parameters: int | None = None
    says: dict[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.push(self.files)

    def push(self, files: dict[str, Content], date: str | None = None) -> str:
        """A new commit of these files, of that date; `main` moves to it."""
        self.files = files
        self.commit = hashlib.sha1(
            f"{len(self.history)} {sorted(files)}".encode()
        ).hexdigest()
        start = datetime.fromisoformat(self.created or "2026-06-14T00:00:00.000Z")
        usual = (start + timedelta(hours=len(self.history))).strftime(
            "%Y-%m-%dT%H:%M:%S.000Z"
        )
        self.history[self.commit], self.dates[self.commit] = files, date or usual
        return self.commit

    def squash(self, date: str) -> str:
        """One commit of what is there now, in place of the whole history."""
        self.history.clear()
        self.dates.clear()
        return self.push(self.files, date)

    def log(self, commit: str) -> list[dict]:
        """The commits up to that one, newest first, as the API lists them."""
        ids = list(self.history)
        past = reversed(ids[: ids.index(commit) + 1])
        return [
            {
                "id": i,
                "title": f"commit {ids.index(i)}",
                "message": "",
                "authors": [{"user": "tester"}],
                "date": self.dates[i],
            }
            for i in past
        ]

    def last_commit(self, commit: str, name: str) -> dict:
        """The newest commit up to that one that changed a file, as the API says it."""
        log = self.log(commit)
        changed = next(
            entry
            for entry, before in zip(log, [*log[1:], None], strict=True)
            if before is None
            or self.history[before["id"]].get(name) != self.history[entry["id"]][name]
        )
        return {key: changed[key] for key in ("id", "title", "date")}

    def at(self, revision: str) -> tuple[str, dict[str, Content]] | None:
        """The commit and the files of a revision; None for one that is not there."""
        commit = self.commit if revision == "main" else revision
        return (commit, self.history[commit]) if commit in self.history else None


def is_lfs(name: str) -> bool:
    """Whether a file is kept in the storage that the endpoint redirects to."""
    return name.endswith((".safetensors", ".gguf", ".bin", "tokenizer.json"))


def git_sha1(data: bytes) -> str:
    """The id git gives a file: SHA-1 of `blob`, its size and its bytes."""
    return hashlib.sha1(b"blob %d\0%b" % (len(data), data)).hexdigest()


def folder_repo(folder: Path) -> Repo:
    """A repository of the files of a folder."""
    return Repo(
        {path.name: InFile(path) for path in sorted(folder.iterdir()) if path.is_file()}
    )
