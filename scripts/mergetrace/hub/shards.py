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

from mergetrace.errors import AuditError, NetworkError
from mergetrace.hub.pinned import RemoteFile
from mergetrace.hub.ranges import RangeReader

# asked for at a time, and safe on the disk before the next bytes are asked for: what an
# interruption costs at most
PIECE_BYTES = 1 << 26
CHUNK_BYTES = 1 << 20  # hashed at a time


def fetch(
    reader: RangeReader,
    name: str,
    file: RemoteFile,
    partial: Path,
    target: Path,
    piece: int = PIECE_BYTES,
    progress: Callable[[int], None] = lambda _: None,
) -> None:
    """Fetch a file of the repository to `target`, and make sure that its hash is the
    one the Hub lists.

    partial: beside `target`, where the bytes are collected. Whole pieces of an earlier
    attempt are kept and hashed again, for nobody knows what happened to them since.
    piece: bytes asked for at a time. progress: called with the number of bytes each time
    that some are there. AuditError where the hash is another (the bytes are thrown
    away), where the disk is too small, and for whatever the reader gives up on.
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    size = file.size
    with _alone(partial) as handle:
        kept = os.fstat(handle.fileno()).st_size
        if kept != size:
            kept = min(kept, size) // piece * piece
        handle.truncate(kept)
        free = shutil.disk_usage(partial.parent).free
        if free < size - kept:
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
        if file.listed and digest.hexdigest() != file.listed:
            partial.unlink()
            raise NetworkError(
                f"{reader.repo}@{reader.commit[:12]}/{name}: its hash is"
                f" {digest.hexdigest()}, the"
                f" Hub lists {file.listed}: damaged on the way or on this disk, or"
                " altered where it is kept; it was thrown away, run again to fetch it"
                " anew"
            )
        _give_name(partial, target)


def settle(folder: Path, numbers: Iterable[int]) -> None:
    """Remove the names that finished files had while they were fetched (see
    `_give_name`). numbers: of the files (see streaming).
    """
    for number in numbers:
        (folder / f"{number:05}.partial").unlink(missing_ok=True)


def _give_name(partial: Path, target: Path) -> None:
    """Give the finished file its final name, beside the one it has: a Snakemake that was
    killed before it learnt of `target` removes that, and the bytes remain.
    """
    target.unlink(missing_ok=True)
    try:
        os.link(partial, target)
    except OSError:  # a file system without hard links
        os.replace(partial, target)


def _alone(partial: Path) -> BinaryIO:
    """The file, open and locked, for the caller to close: a job that outlived the
    Snakemake which started it may still be writing it.
    """
    handle = open(partial, "ab+")  # noqa: SIM115
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
    """Feed a digest with the bytes that are in the file."""
    handle.seek(0)
    chunk = handle.read(CHUNK_BYTES)
    while chunk:
        digest.update(chunk)
        progress(len(chunk))
        chunk = handle.read(CHUNK_BYTES)
