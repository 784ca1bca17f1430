"""A whole file of a pinned repository: fetched piece by piece, hashed on the way, taken
up again where it was cut off.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import BinaryIO

from mergetrace.errors import AuditError
from mergetrace.hub.pinned import RemoteFile
from mergetrace.hub.ranges import RangeReader

PIECE = (
    1 << 26
    # bytes asked for at a time and safe on the disk before the next is asked for: what an
    # interruption costs at most
)
CHUNK = 1 << 20


def fetch(
    reader: RangeReader,
    name: str,
    file: RemoteFile,
    partial: Path,
    target: Path,
    piece: int = PIECE,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Fetch a file of the repository to `target`, and make sure that its hash is the
    one the Hub lists.

    partial: beside `target`, where the bytes are collected. What is there of an earlier attempt is kept, whole pieces of it, and hashed again, for
    nobody knows what happened to it since. progress: called with every number of bytes that is there. AuditError where the hash is another (the
    bytes are thrown away), where the disk is too small, and for whatever the reader gives up on.
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    size = file.size
    with _alone(partial) as handle:
        kept = os.fstat(handle.fileno()).st_size
        kept = kept if kept == size else min(kept, size) // piece * piece
        handle.truncate(kept)
        if (free := shutil.disk_usage(partial.parent).free) < size - kept:
            raise AuditError(
                f"{target.parent}: {(size - kept) / 1e9:.2f} GB are needed for {name},"
                f" {free / 1e9:.2f} GB are free; make room, run again"
            )
        digest = file.hasher()
        _hash_kept(handle, digest, progress)
        for start in range(kept, size, piece):
            for chunk in reader.stream(name, start, min(piece, size - start)):
                handle.write(chunk)
                digest.update(chunk)
                progress(len(chunk))
            handle.flush()
            os.fsync(handle.fileno())
        if file.listed and (found := digest.hexdigest()) != file.listed:
            partial.unlink()
            raise AuditError(
                f"{reader.repo}@{reader.commit[:12]}/{name}: its hash is {found}, the"
                f" Hub lists {file.listed}: damaged on the way or on this disk, or"
                " altered where it is kept; it was thrown away, run again to fetch it"
                " anew"
            )
        _name(partial, target)


def settle(folder: Path, numbers: Iterable[int]) -> None:
    """Take away the second names of files that are known to be there (see `_name`)."""
    for number in numbers:
        (folder / f"{number:05}.partial").unlink(missing_ok=True)


def _name(partial: Path, target: Path) -> None:
    """Give the finished file its name, beside the one it has: were Snakemake killed
    before it learns of it, it would throw `target` away.
    """
    target.unlink(missing_ok=True)
    try:
        os.link(partial, target)
    except OSError:  # a file system without second names
        os.replace(partial, target)


def _alone(partial: Path) -> BinaryIO:
    """The file open for writing, and for nobody else: a job that outlived the Snakemake
    which started it may still be at work.
    """
    handle = open(partial, "ab+")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise AuditError(
            f"{partial}: another process is fetching this file; wait for it to end, or"
            " stop it, and run again"
        ) from None
    return handle


def _hash_kept(
    handle: BinaryIO, digest: "hashlib._Hash", progress: Callable[[int], None]
) -> None:
    handle.seek(0)
    while chunk := handle.read(CHUNK):
        digest.update(chunk)
        progress(len(chunk))
