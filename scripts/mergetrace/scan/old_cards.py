"""Models that older commits of a repository's card and configuration named, and that
the present ones perhaps do not.
"""

import tempfile
from dataclasses import replace
from pathlib import Path

from mergetrace.errors import NetworkError
from mergetrace.files.declared_merges import CARD
from mergetrace.files.tool_traces import CONFIGURATIONS
from mergetrace.hub.history import commits_before
from mergetrace.hub.listing import details
from mergetrace.hub.pinned import Pinned, open_reader
from mergetrace.hub.ranges import Patience
from mergetrace.scan.names import CONFIG, Named, named_models

FILES = (CARD, CONFIG, *CONFIGURATIONS)
MAX_COMMITS = 20
MAX_OLD_BYTES = 1 << 20  # of a file


def once_named(pinned: Pinned) -> list[Named]:
    """The models that the last MAX_COMMITS commits before the pinned one named.

    A commit that cannot be read names none. Files that did not change are read once.
    """
    seen = {_identity(pinned, name) for name in FILES}
    found: dict[str, Named] = {}
    for commit in commits_before(pinned)[:MAX_COMMITS]:
        try:
            _, older = details(pinned.repo, commit.id)
            named = _named(older, seen)
        except NetworkError:
            continue
        for each in named:
            file = f"{each.file} at {commit.id[:12]}"
            found.setdefault(each.repo, replace(each, source="history", file=file))
    return list(found.values())


def _named(older: Pinned, seen: set[str | None]) -> list[Named]:
    """The models that an older commit's files name which were not read yet."""
    new = [name for name in FILES if _identity(older, name) not in seen]
    new = [name for name in new if older.files[name].size <= MAX_OLD_BYTES]
    seen.update(_identity(older, name) for name in new)
    if not new:
        return []
    with (
        tempfile.TemporaryDirectory() as folder,
        open_reader(older.source, older.sizes, 1, Patience()) as reader,
    ):
        for name in new:
            data = reader.read(name, 0, older.files[name].size)
            (Path(folder) / name).write_bytes(data)
        return named_models(Path(folder))


def _identity(pinned: Pinned, name: str) -> str | None:
    """The hash of a file; None where there is none, which counts as seen."""
    file = pinned.files.get(name)
    return f"{name} {file.listed}" if file else None
